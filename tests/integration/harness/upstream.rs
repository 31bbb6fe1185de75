//! Upstream servers that record: every byte that reaches one is kept, connection by connection, so
//! that a test can look at what really was forwarded, or that nothing was.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait::{Gate, eventually};
use super::wire::{Framing, Head, Headers, Wire};

/// A server on a free port; it stops accepting when dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What reached an upstream.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    stopped: AtomicBool,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Headers,
    /// Counted from 0 in the order of accepting.
    pub(crate) connection: usize,
}

/// One connection, seen from inside the upstream.
pub(crate) struct Exchange {
    pub(crate) wire: Wire,
    pub(crate) connection: usize,
    seen: Arc<Seen>,
}

impl Upstream {
    /// Answers each whole request with the same bytes, on as many connections as come.
    pub(crate) fn answering(response: &str) -> Upstream {
        let response = response.to_owned();
        Upstream::per_request(move |_| response.clone())
    }

    /// 200 with this text.
    pub(crate) fn saying(text: &str) -> Upstream {
        Upstream::answering(&ok(text))
    }

    /// 200 with this text when the gate is open.
    pub(crate) fn behind_gate(gate: &Gate, text: &str) -> Upstream {
        let (gate, answer) = (gate.clone(), ok(text));
        Upstream::start(move |exchange| {
            while exchange.request()?.is_some() {
                gate.pass();
                exchange.write(&answer)?;
            }
            Ok(())
        })
    }

    /// Answers each whole request with what `respond` makes of it.
    pub(crate) fn per_request(
        respond: impl Fn(&Recorded) -> String + Send + Sync + 'static,
    ) -> Upstream {
        Upstream::start(move |exchange| {
            while let Some(request) = exchange.request()? {
                exchange.wire.write(respond(&request).as_bytes())?;
            }
            Ok(())
        })
    }

    /// Runs `serve` for each connection in a thread of its own; an `Err` just ends the connection.
    pub(crate) fn start(
        serve: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Upstream {
        Upstream::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), serve)
    }

    pub(crate) fn on(
        listener: TcpListener,
        serve: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Upstream {
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (shared, serve) = (Arc::clone(&seen), Arc::new(serve));
        thread::spawn(move || accept(&listener, &shared, &serve));
        Upstream { address, seen }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As it is written in a config's `url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The only request that reached this upstream.
    #[track_caller]
    pub(crate) fn the_request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(
            requests.len(),
            1,
            "requests that reached the upstream: {requests:#?}"
        );
        requests.into_iter().next().unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for_requests(&self, count: usize) -> Vec<Recorded> {
        eventually(&format!("{count} requests reached the upstream"), || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many connections are over, from either side.
    pub(crate) fn ended_connections(&self) -> usize {
        self.seen.ended.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept; that it may be gone already is fine.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Exchange {
    /// The next whole request, recorded; `None` when the proxy closed the connection.
    pub(crate) fn request(&mut self) -> io::Result<Option<Recorded>> {
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let (body, trailers) = self.wire.read_body(head.request_framing())?;
        let recorded = Recorded {
            head,
            body,
            trailers,
            connection: self.connection,
        };
        if let Some(last) = self
            .seen
            .requests
            .lock()
            .unwrap()
            .iter_mut()
            .rev()
            .find(|r| r.connection == self.connection)
        {
            *last = recorded.clone();
        }
        Ok(Some(recorded))
    }

    /// The next head alone, recorded as a request without a body.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(head) = self.wire.read_head()? else {
            return Ok(None);
        };
        self.seen.requests.lock().unwrap().push(Recorded {
            head: head.clone(),
            body: Vec::new(),
            trailers: Vec::new(),
            connection: self.connection,
        });
        Ok(Some(head))
    }

    /// Reads the head and hands the body on in pieces, for bodies too large to keep.
    pub(crate) fn streamed(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Option<Head>> {
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let framing: Framing = head.request_framing();
        self.wire.read_body_into(framing, sink)?;
        Ok(Some(head))
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write(bytes.as_ref())
    }
}

/// A whole answer with this text.
pub(crate) fn ok(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn accept<F>(listener: &TcpListener, seen: &Arc<Seen>, serve: &Arc<F>)
where
    F: Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
{
    for stream in listener.incoming() {
        if seen.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = seen.connections.fetch_add(1, Ordering::SeqCst);
        let (seen, serve) = (Arc::clone(seen), Arc::clone(serve));
        thread::spawn(move || {
            let mut exchange = Exchange {
                wire: Wire::new(stream),
                connection,
                seen,
            };
            // A connection that fails is an ordinary end: tests look at what was recorded.
            let _ended = serve(&mut exchange);
            let seen = Arc::clone(&exchange.seen);
            drop(exchange);
            seen.ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}
