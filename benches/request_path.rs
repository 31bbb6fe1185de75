//! What one proxied request costs, from the first byte read to the last one written, in instructions:
//! `bench/instructions` runs this under callgrind with two counts of requests and takes the difference,
//! which is the same to a few in a thousand however busy the machine is.
//!
//! `request_path WORKLOAD COUNT` serves so many requests over one connection, one after the other. The
//! client and the upstream are another process, so that only the proxy is counted.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on is to end"
)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use sluice::model::load;
use sluice::proxy::Proxy;
use sluice::proxy::observe::Observer;
use sluice::shm::Segment;
use sluice::shm::layout::Layout;
use sluice::shm::names::Names;
use sluice::shm::recorder::Recorder;

const BROWSER: &str = include_str!("../tests/fixtures/http1/requests/accept/none.browser.http");

/// What is asked, what is answered, and what the configuration has besides the one rule.
struct Workload {
    name: &'static str,
    request: fn() -> String,
    response: fn() -> String,
    settings: &'static str,
    rules: fn() -> String,
    connections: Connections,
}

/// How the client uses its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connections {
    One,
    /// Each request has its own, and says so.
    OneEach,
}

const PLAIN: Workload = Workload {
    name: "small",
    request: || "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n".to_owned(),
    response: || {
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\nhello, world\n"
            .to_owned()
    },
    settings: "",
    rules: String::new,
    connections: Connections::One,
};

const WORKLOADS: &[Workload] = &[
    PLAIN,
    Workload {
        name: "browser",
        request: || BROWSER.to_owned(),
        ..PLAIN
    },
    Workload {
        name: "headers",
        request: || with_fields("GET / HTTP/1.1\r\nHost: example.com\r\n", "X-Ask", "\r\n"),
        response: || {
            let end = "Content-Length: 13\r\n\r\nhello, world\n";
            with_fields("HTTP/1.1 200 OK\r\n", "X-Answer", end)
        },
        ..PLAIN
    },
    Workload {
        name: "settings",
        settings: "  headers:\n    - {key: x-real-ip, value: $ip}\n    \
                   - {key: authorization, value: Bearer xyz}\n",
        ..PLAIN
    },
    Workload {
        name: "rules",
        rules: || {
            (0..1000)
                .map(|n| format!("    - {{path: /rule-{n}/, upstreams: [up]}}\n"))
                .collect()
        },
        ..PLAIN
    },
    Workload {
        name: "connections",
        request: || {
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n".to_owned()
        },
        connections: Connections::OneEach,
        ..PLAIN
    },
];

fn with_fields(start: &str, name: &str, end: &str) -> String {
    let fields = (0..20).map(|n| format!("{name}-{n}: value number {n} of twenty\r\n"));
    format!("{start}{}{end}", fields.collect::<String>())
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    match &args[..] {
        [] => WORKLOADS.iter().for_each(|one| println!("{}", one.name)),
        [name, count] => proxy(find(name), count),
        [peers, name, count] if peers == "peers" => play_peers(find(name), count),
        _ => panic!("request_path WORKLOAD COUNT, or nothing for a list"),
    }
}

fn find(name: &str) -> &'static Workload {
    let found = WORKLOADS.iter().find(|one| one.name == name);
    found.unwrap_or_else(|| panic!("no workload {name:?}"))
}

/// The measured side: the data plane as a worker runs it.
fn proxy(workload: &Workload, count: &str) {
    let (mut peers, upstream) = start_peers(workload, count);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build_local(Default::default())
        .expect("a runtime");
    runtime.block_on(async {
        let proxy = stage(workload, upstream);
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("its address");
        let _listening = proxy.serve(socket, 0).expect("a listener");
        let mut told = peers.stdin.take().expect("a pipe");
        writeln!(told, "{address}").expect("the peers listen");
        let ended = tokio::task::spawn_blocking(move || peers.wait()).await;
        let status = ended.expect("a thread").expect("a status");
        assert!(status.success(), "the peers failed: {status}");
    });
}

fn stage(workload: &Workload, upstream: SocketAddr) -> Rc<Proxy> {
    let text = format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - id: up\n      \
         url: http://{upstream}\n      hostHeader: preserve\n{}  rules:\n{}    \
         - {{path: /, upstreams: [up]}}\n",
        workload.settings,
        (workload.rules)(),
    );
    let loaded = load(&text, &mut |_| Err("no secrets here".to_owned()));
    let errors: Vec<_> = loaded.errors().collect();
    assert!(errors.is_empty(), "{errors:?}");
    let config = loaded.config.expect("a config without errors");
    let segment = Segment::create_sized(Layout { chunks: 16 }).expect("a segment");
    let row = segment.lease(0).expect("a row");
    let recorder = Recorder::open(segment, row).expect("a recorder");
    let proxy = Proxy::new(Rc::new(Observer::new(recorder)));
    let index = Names::default().assign(&config, Instant::now(), &HashSet::new());
    let prepared = proxy.prepare(&config, &index, 1).expect("a generation");
    proxy.commit(prepared);
    proxy
}

fn start_peers(workload: &Workload, count: &str) -> (Child, SocketAddr) {
    let ourselves = std::env::current_exe().expect("a path");
    let mut peers = Command::new(ourselves)
        .args(["peers", workload.name, count])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut line = String::new();
    let out = peers.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let address = line.trim().parse().expect("an address");
    (peers, address)
}

/// The client and the upstream.
fn play_peers(workload: &'static Workload, count: &str) {
    let count: u64 = count.parse().expect("a number");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            std::thread::spawn(move || answer(stream, (workload.response)().as_bytes()));
        }
    });
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
    ask(line.trim(), workload, count);
}

/// Answers every head; the requests of the workloads have no bodies.
fn answer(mut stream: TcpStream, response: &[u8]) {
    stream.set_nodelay(true).expect("a socket");
    while until(&mut stream, |read| read.ends_with(b"\r\n\r\n")).is_some() {
        stream.write_all(response).expect("somebody to answer");
    }
}

fn ask(proxy: &str, workload: &Workload, count: u64) {
    let mut stream = connect(proxy);
    let (request, response) = ((workload.request)(), (workload.response)());
    let body = response.split_once("\r\n\r\n").expect("a head").1;
    for asked in 0..count {
        if workload.connections == Connections::OneEach && asked > 0 {
            stream = connect(proxy);
        }
        stream.write_all(request.as_bytes()).expect("a proxy");
        let whole = |read: &[u8]| read.ends_with(body.as_bytes());
        let answer = until(&mut stream, whole).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
    }
}

fn connect(proxy: &str) -> TcpStream {
    let stream = TcpStream::connect(proxy).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// What is read until it is whole; `None` at the end.
fn until(stream: &mut TcpStream, is_whole: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut piece = [0; 16 * 1024];
    while !is_whole(&read) {
        match stream.read(&mut piece).expect("a connection") {
            0 => return None,
            count => read.extend_from_slice(&piece[..count]),
        }
    }
    Some(read)
}
