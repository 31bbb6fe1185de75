use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::crowd::CONNECTIONS_PER_PEER;
use super::{Door, serve};
use crate::admin::Verb;
use crate::admin::fixtures::status;
use crate::admin::{Command, CommandError, CommandReply, ENDPOINTS, ServerState, Sources, Status};
use crate::shm::Segment;
use crate::shm::layout::Layout;

/// Runs the admin port with a supervisor that answers as told, and `client` on a thread of its own.
fn with_admin<T: Send + 'static>(
    status: Status,
    answer: fn(&Verb) -> Result<CommandReply, CommandError>,
    client: impl FnOnce(std::net::SocketAddr) -> T + Send + 'static,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
        let (_status, receiver) = watch::channel(Arc::new(status));
        let (commands, mut asked) = mpsc::channel::<Command>(4);
        let segment = Segment::create_sized(Layout { chunks: 16 }).expect("a segment");
        let sources = Sources {
            status: receiver,
            commands,
            segment,
            reasons: &["some-reason"],
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (_door, door) = watch::channel(Door::Open);
        let server = spawn_local(serve(vec![listener], sources, door));
        spawn_local(async move {
            while let Some(Command { verb, reply }) = asked.recv().await {
                // A client that is gone does not want the answer.
                drop(reply.send(answer(&verb)));
            }
        });
        let result = tokio::task::spawn_blocking(move || client(address)).await;
        server.abort();
        result.expect("the client ends")
    })
}

fn done(_: &Verb) -> Result<CommandReply, CommandError> {
    Ok(CommandReply {
        changes: Vec::new(),
        generation: 4,
        message: "committed".to_owned(),
    })
}

fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin port is open");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn call(address: std::net::SocketAddr, method: &str, path: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    ask(address, &head)
}

#[test]
fn every_documented_endpoint_answers() {
    let answers = with_admin(status(), done, |address| {
        ENDPOINTS.map(|(method, path)| (path, call(address, method, path)))
    });
    for (path, answer) in answers {
        let code = if path == "/log" {
            "400"
        } else if path == "/config" {
            "503"
        } else {
            "200"
        };
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{path}: {answer}"
        );
    }
}

#[test]
fn changes_need_post_and_reading_does_not_take_it() {
    with_admin(status(), done, |address| {
        for (method, path) in [
            ("GET", "/reload"),
            ("POST", "/status"),
            ("DELETE", "/drain"),
        ] {
            let answer = call(address, method, path);
            assert!(
                answer.starts_with("HTTP/1.1 405 "),
                "{method} {path}: {answer}"
            );
        }
        assert!(call(address, "GET", "/nothing").starts_with("HTTP/1.1 404 "));
    });
}

#[test]
fn a_refused_reload_says_why() {
    fn refuse(_: &Verb) -> Result<CommandReply, CommandError> {
        Err(CommandError::Refused(vec![
            "server.rules[2]: unknown upstream".to_owned(),
        ]))
    }
    let answer = with_admin(status(), refuse, |address| call(address, "POST", "/reload"));
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    assert!(
        answer.ends_with(r#"{"errors":["server.rules[2]: unknown upstream"]}"#),
        "{answer}"
    );
}

#[test]
fn draining_is_alive_and_not_ready() {
    let draining = Status {
        state: ServerState::Draining,
        ..status()
    };
    with_admin(draining, done, |address| {
        let ready = call(address, "GET", "/readyz");
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("\r\nserving: draining\n"));
        let alive = call(address, "GET", "/livez?verbose");
        assert!(alive.starts_with("HTTP/1.1 200 ") && alive.ends_with("[+] supervisor ok\n"));
    });
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let answer = with_admin(status(), done, |address| {
        let head = "POST /drain HTTP/1.1\r\nhost: a\r\norigin: https://example.com\r\n";
        ask(address, &format!("{head}connection: close\r\n\r\n"))
    });
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn silent_connections_give_way_to_those_that_ask() {
    with_admin(status(), done, |address| {
        let silent: Vec<TcpStream> = (0..CONNECTIONS_PER_PEER)
            .map(|_| TcpStream::connect(address).expect("accepted"))
            .collect();
        assert!(call(address, "GET", "/livez").starts_with("HTTP/1.1 200 "));
        let mut first = silent.first().expect("one of them");
        first
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        let closed = first.read(&mut [0]);
        assert!(matches!(closed, Ok(0)), "it was sent away: {closed:?}");
    });
}

#[test]
fn an_endless_head_is_cut_off() {
    let answer = with_admin(status(), done, |address| {
        let mut stream = TcpStream::connect(address).expect("the admin port is open");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        let line = format!("x-filler: {}\r\n", "a".repeat(1_000));
        let head = format!("GET /livez HTTP/1.1\r\n{}", line.repeat(64));
        // The server may close before it has read everything.
        drop(stream.write_all(head.as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    });
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}
