//! Bodies in both directions: nothing lost, nothing added, nothing collected in memory, whatever
//! their size and framing.

use std::sync::mpsc;
use std::thread;

use sha2::{Digest, Sha256};

use crate::harness::process::peak_memory;
use crate::harness::upstream::ok;
use crate::harness::{Client, DEADLINE, Gate, Sluice, Upstream, eventually};

/// What a worker may ever have resident, however large the bodies: they pass through it.
const WORKER_MEMORY: u64 = 64 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;

/// The size of a large body; more by `SLUICE_TEST_BODY_MIB=2048`.
fn large() -> u64 {
    let asked = std::env::var("SLUICE_TEST_BODY_MIB").ok();
    asked.map_or(256, |mib| {
        mib.parse().expect("SLUICE_TEST_BODY_MIB is a number")
    }) * MIB
}

/// Bytes that do not repeat at any power of two, so that a piece lost or doubled shows.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..65_521).map(next).collect()
}

/// `length` bytes of the pattern, piece by piece.
fn pieces(length: u64, mut take: impl FnMut(&[u8])) {
    let pattern = pattern();
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap().min(pattern.len());
        take(&pattern[..now]);
        left -= now as u64;
    }
}

fn checksum_of(length: u64) -> String {
    let mut sum = Sha256::new();
    pieces(length, |piece| sum.update(piece));
    hex(sum)
}

fn hex(sum: Sha256) -> String {
    sum.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Answers with the length and the checksum of the body that reached it.
fn summing() -> Upstream {
    Upstream::start(|exchange| {
        loop {
            let (mut sum, mut length) = (Sha256::new(), 0);
            let mut take = |piece: &[u8]| {
                sum.update(piece);
                length += piece.len();
            };
            if exchange.streamed(&mut take)?.is_none() {
                return Ok(());
            }
            exchange.write(ok(&format!("{length} {}", hex(sum))))?;
        }
    })
}

/// Sends a body of the pattern, framed by what `piece` writes around each of its pieces.
fn send_body(client: &mut Client, head: &str, length: u64, chunked: bool) {
    client.send(head);
    pieces(length, |piece| {
        if chunked {
            client.send(format!("{:x}\r\n", piece.len()));
        }
        client.send(piece);
        if chunked {
            client.send("\r\n");
        }
    });
    if chunked {
        client.send("0\r\n\r\n");
    }
}

#[test]
fn a_posted_body_arrives_byte_for_byte() {
    let upstream = summing();
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    for length in [0, 1, 4095, 4096, 65_536, 1_000_003] {
        for chunked in [false, true] {
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {length}"),
            };
            let head = format!("POST /up HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
            send_body(&mut client, &head, length, chunked);
            let answer = client.response("POST").with_status(200).text();
            assert_eq!(
                answer,
                format!("{length} {}", checksum_of(length)),
                "{framing}"
            );
        }
    }
    assert_eq!(
        upstream.connections(),
        1,
        "one kept connection carried them all"
    );
}

#[test]
fn the_framing_of_a_request_is_kept() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client
        .request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .with_status(200);
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2;ext=\"1\"\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    client.request(chunked).with_status(200);
    client
        .request("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n")
        .with_status(200);
    let [counted, chunked, none] = <[_; 3]>::try_from(upstream.requests()).unwrap();
    assert_eq!(counted.head.header("content-length"), Some("3"));
    assert_eq!(counted.head.header("transfer-encoding"), None);
    assert_eq!(chunked.head.header("content-length"), None);
    assert_eq!(chunked.head.header("transfer-encoding"), Some("chunked"));
    assert_eq!([&counted.body[..], &chunked.body[..]], [b"abc", b"abc"]);
    assert_eq!(none.head.header("content-length"), None);
    assert_eq!(none.head.header("transfer-encoding"), None);
}

#[test]
fn trailers_pass_in_both_directions() {
    let upstream = Upstream::per_request(|request| {
        let sum = request
            .trailers
            .iter()
            .find(|(name, _)| name == "x-sum")
            .unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nTrailer: x-back\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\nz\r\n0\r\nx-back: {}\r\n\r\n",
            sum.1
        )
    });
    let sluice = Sluice::to(&upstream);
    let response = sluice.request(
        "POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: te\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 900150\r\n\r\n",
    );
    assert_eq!(response.text(), "z");
    assert_eq!(
        response.trailers,
        [("x-back".to_owned(), "900150".to_owned())]
    );
}

#[test]
fn a_trailer_cannot_pose_as_a_header() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
         Content-Length: 5\r\nAuthorization: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    let answered = client.try_response("POST").map(|response| response.status);
    for request in upstream.requests() {
        assert_eq!(request.trailers, [], "answered {answered:?}");
    }
}

#[test]
fn a_large_upload_runs_in_constant_memory() {
    let (length, upstream) = (large(), summing());
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    send_body(&mut client, &head, length, false);
    let answer = client.response("POST").with_status(200).text();
    assert_eq!(answer, format!("{length} {}", checksum_of(length)));
    assert_memory_is_bounded(&sluice);
}

#[test]
fn a_large_download_runs_in_constant_memory_for_a_reader_that_waits() {
    let length = large();
    let (sent, stalled) = mpsc::channel();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ))?;
        let mut result = Ok(());
        pieces(length, |piece| {
            if result.is_ok() {
                result = exchange.write(piece);
                let _told = sent.send(piece.len());
            }
        });
        result
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.head();
    // Nobody reads: the upstream must come to a halt long before the end.
    let mut before = 0;
    while let Ok(piece) = stalled.recv_timeout(std::time::Duration::from_secs(1)) {
        before += piece as u64;
    }
    assert!(
        before < length / 2,
        "{before} of {length} bytes went somewhere without a reader"
    );
    let mut sum = Sha256::new();
    let framing = head.response_framing("GET");
    client
        .wire
        .read_body_into(framing, &mut |piece| sum.update(piece))
        .unwrap();
    assert_eq!(hex(sum), checksum_of(length));
    assert_memory_is_bounded(&sluice);
}

#[test]
fn a_chunked_download_is_passed_on_as_it_comes() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        inside.pass();
        exchange.write("6\r\nsecond\r\n0\r\n\r\n")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let early = client.read_through("first");
    assert!(!early.contains("second"));
    gate.open();
    client.read_through("second");
    client.read_through("0\r\n\r\n");
}

#[test]
fn an_answer_without_a_length_ends_with_the_connection() {
    let upstream = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
    });
    let sluice = Sluice::to(&upstream);
    assert_eq!(sluice.get("/").with_status(200).text(), "until the end");
}

#[test]
fn an_upload_waits_for_an_upstream_that_does_not_read() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.head()?;
        inside.pass();
        Ok(())
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        256 * MIB
    ));
    client
        .wire
        .stream()
        .set_write_timeout(Some(DEADLINE / 20))
        .unwrap();
    let sender = thread::spawn(move || {
        let mut taken = 0_u64;
        let piece = pattern();
        while client.offer(&piece).is_ok() {
            taken += piece.len() as u64;
        }
        taken
    });
    let taken = sender.join().unwrap();
    assert!(
        taken < 64 * MIB,
        "{taken} bytes were taken that nobody reads"
    );
    assert_memory_is_bounded(&sluice);
    gate.open();
    eventually("the upstream's connection ends", || {
        (upstream.ended_connections() == 1).then_some(())
    });
}

#[track_caller]
fn assert_memory_is_bounded(sluice: &Sluice) {
    let workers = sluice.workers();
    assert!(!workers.is_empty(), "no workers to look at");
    for worker in workers {
        let peak = peak_memory(worker);
        assert!(
            peak < WORKER_MEMORY,
            "worker {worker} has had {} MiB",
            peak / MIB
        );
    }
}
