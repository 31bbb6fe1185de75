//! Constant load: clients that ask again and again, and keep account of each answer that failed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::wait::{DEADLINE, eventually};
use super::wire::{Response, Wire};

/// What a client does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Opens a new connection for each request.
    New,
    /// Stays on its connection for as long as that stands.
    Kept,
}

pub(crate) struct Load {
    account: Arc<Account>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Account {
    served: AtomicUsize,
    failures: Mutex<Vec<Failure>>,
    stop: AtomicBool,
}

/// A request without a whole answer, or with one that the test does not accept.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Before its connection was opened; for a kept one, before the request was sent.
    pub(crate) began: Instant,
    pub(crate) why: String,
    pub(crate) connections: Connections,
}

impl Load {
    /// This many clients that ask for `/`; `accept` says whether an answer is a right one.
    pub(crate) fn start(
        address: SocketAddr,
        connections: Connections,
        clients: usize,
        accept: impl Fn(&Response) -> bool + Send + Sync + 'static,
    ) -> Load {
        let account = Arc::<Account>::default();
        let accept = Arc::new(accept);
        let client = |_| {
            let (account, accept) = (Arc::clone(&account), Arc::clone(&accept));
            thread::spawn(move || account.ask_on(address, connections, &*accept))
        };
        let clients = (0..clients).map(client).collect();
        Load { account, clients }
    }

    pub(crate) fn served(&self) -> usize {
        self.account.served.load(Ordering::SeqCst)
    }

    /// Waits until this many more have been served.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, count: usize) {
        let before = self.served();
        eventually(&format!("{count} more requests are served"), || {
            (self.served() >= before + count).then_some(())
        });
    }

    /// Waits until this many more have failed.
    #[track_caller]
    pub(crate) fn wait_for_failures(&self, count: usize) {
        let before = self.failures().len();
        eventually(&format!("{count} more requests fail"), || {
            (self.failures().len() >= before + count).then_some(())
        });
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.account.failures.lock().unwrap().clone()
    }

    /// Ends the load after the answers under way, and gives back what failed.
    pub(crate) fn stop(mut self) -> Vec<Failure> {
        self.account.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        self.failures()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.account.stop.store(true, Ordering::SeqCst);
    }
}

impl Account {
    fn ask_on(
        &self,
        address: SocketAddr,
        connections: Connections,
        accept: &dyn Fn(&Response) -> bool,
    ) {
        let mut kept = None;
        while !self.stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            let why = match ask(address, connections, &mut kept) {
                Ok(response) if accept(&response) => {
                    self.served.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                Ok(response) => format!("{}{}", response.head.raw, response.text()),
                Err(error) => error.to_string(),
            };
            kept = None;
            let mut failures = self.failures.lock().unwrap();
            failures.push(Failure {
                began,
                why,
                connections,
            });
        }
    }
}

fn ask(
    address: SocketAddr,
    connections: Connections,
    kept: &mut Option<Wire>,
) -> io::Result<Response> {
    let mut wire = match kept.take() {
        Some(wire) => wire,
        None => Wire::new(TcpStream::connect_timeout(&address, DEADLINE)?),
    };
    let close = match connections {
        Connections::New => "connection: close\r\n",
        Connections::Kept => "",
    };
    wire.write(format!("GET / HTTP/1.1\r\nhost: load\r\n{close}\r\n").as_bytes())?;
    let response = wire.read_response("GET")?;
    let closing = response
        .header("connection")
        .is_some_and(|value| value.contains("close"));
    if connections == Connections::Kept && !closing {
        *kept = Some(wire);
    }
    Ok(response)
}

/// A connection for each request, until there is no more; how many there were.
pub(crate) fn visit_until_refused(address: SocketAddr) -> usize {
    let mut served = 0;
    while let Ok(mut stream) = TcpStream::connect(address) {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        let exchange = stream
            .write_all(request)
            .and_then(|()| stream.read_to_end(&mut answer));
        exchange.unwrap_or_else(|error| panic!("cut off after {served} were served: {error}"));
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
        served += 1;
    }
    served
}
