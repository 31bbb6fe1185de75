//! Unix sockets as upstreams.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::harness::upstream::ok;
use crate::harness::{Sluice, Upstream, eventually, get};

/// Answers on a Unix socket, one connection after the other, with how many have come.
fn on_unix(listener: UnixListener) {
    for (count, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { return };
        // It ends with the connection.
        thread::spawn(move || serve_unix(BufReader::new(stream), count));
    }
}

fn serve_unix(mut stream: BufReader<UnixStream>, count: usize) -> io::Result<()> {
    loop {
        let (mut host, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("host", value)) => host = value.to_owned(),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        stream.read_exact(&mut vec![0; length])?;
        let text = format!("connection {count} host {host} body {length}");
        stream.get_mut().write_all(ok(&text).as_bytes())?;
    }
}

#[test]
fn unix_sockets_are_endpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let url = format!("unix:{}", path.display());
    let yaml = crate::harness::sluice::config(&url, "errorHeader: true");
    let sluice = Sluice::start(&yaml);
    let response = sluice.get("/");
    assert_eq!(response.status, 502, "{}", response.head.raw);
    assert_eq!(response.header("x-sluice-error"), Some("connect_failed"));

    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || on_unix(listener));
    assert_eq!(sluice.get("/").text(), "connection 0 host localhost body 0");
    let big = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    // And the connection is kept.
    assert_eq!(
        sluice.request(big).text(),
        "connection 0 host localhost body 300000"
    );
    let page = get(sluice.admin(), "/upstreams").text();
    assert!(page.contains(&format!("\"address\":\"{url}\"")), "{page}");
}

#[test]
fn a_unix_socket_may_be_one_of_several_servers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || on_unix(listener));
    let other = Upstream::saying("over tcp");
    let yaml = crate::harness::sluice::config("URL", "");
    let servers = format!("servers: ['unix:{}', '{}']", path.display(), other.url());
    let sluice = Sluice::start(&yaml.replace("url: URL", &servers));
    for wanted in ["over tcp", "connection"] {
        eventually(wanted, || {
            sluice.get("/").text().starts_with(wanted).then_some(())
        });
    }
}
