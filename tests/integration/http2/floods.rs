//! Clients that send what only costs: each kind ends in a GOAWAY within a bound, memory does not grow
//! with it, and others are served meanwhile.

use std::io::ErrorKind;

use crate::harness::http2::{
    CANCEL, CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, Http2, PING,
    PRIORITY, PROTOCOL_ERROR, SETTINGS, block, frame, headers, request, reset, window_update,
};
use crate::harness::{Gate, Sluice, Upstream};

use super::exchanges::metric;

/// More than any of the bounds, less than what would take long.
const MANY: usize = 200_000;

/// Sends `one` again and again until the connection ends, and gives back the code of its GOAWAY.
#[track_caller]
fn flood(sluice: &Sluice, start: &[u8], mut one: impl FnMut(usize) -> Vec<u8>) -> Option<u32> {
    let mut client = Http2::connect(sluice.address());
    client.send(start);
    let before = memory(sluice);
    let mut ended = false;
    for count in (0..MANY).step_by(100) {
        let batch: Vec<u8> = (count..count + 100).flat_map(&mut one).collect();
        if client.offer(batch).is_err() {
            ended = true;
            break;
        }
    }
    let grown = memory(sluice).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more for one connection");
    let code = last_goaway(&mut client);
    assert!(ended || code.is_some(), "{MANY} of them were taken");
    assert_eq!(sluice.get("/").status, 200, "others are served");
    code
}

fn last_goaway(client: &mut Http2) -> Option<u32> {
    let mut code = None;
    loop {
        match client.frame() {
            Ok(frame) if frame.kind == GOAWAY => {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
            Ok(_) => {}
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is still open");
                return code;
            }
        }
    }
}

/// Resident, of the only worker, in KiB.
fn memory(sluice: &Sluice) -> u64 {
    let worker = sluice.workers().first().copied().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let digits = line.unwrap().split_whitespace().nth(1).unwrap();
    digits.parse().unwrap()
}

#[track_caller]
fn assert_calmed(start: &[u8], one: impl FnMut(usize) -> Vec<u8>) {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let code = flood(&sluice, start, one);
    // A reset in the middle of what we send may overtake the GOAWAY.
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    let counted = metric(&sluice, "sluice_errors_total{reason=\"http2_flood\"}");
    assert_eq!(counted, Some(1.0));
}

#[test]
fn pings() {
    assert_calmed(&[], |_| frame(PING, 0, 0, &[7; 8]));
}

#[test]
fn settings() {
    assert_calmed(&[], |_| frame(SETTINGS, 0, 0, &[]));
}

#[test]
fn priorities_and_frames_of_no_known_type() {
    assert_calmed(&[], |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]));
    assert_calmed(&[], |_| frame(0x42, 0, 0, &[]));
}

#[test]
fn window_updates() {
    assert_calmed(&[], |_| window_update(0, 1));
}

#[test]
fn empty_data() {
    let start = headers(1, &request("POST", "/"), 0);
    assert_calmed(&start, |_| frame(DATA, 0, 1, &[]));
}

#[test]
fn continuations() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let start = frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
    let code = flood(&sluice, &start, |_| frame(CONTINUATION, 0, 1, &[]));
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    let large = block(&[("x-large", &"a".repeat(16_000))]);
    let code = flood(&sluice, &start, |_| frame(CONTINUATION, 0, 1, &large));
    let known = matches!(code, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR));
    assert!(known, "{code:?}");
    assert!(upstream.requests().iter().all(|r| r.head.target() == "/"));
}

/// CVE-2023-44487: requests that are given up at once, so that none of them counts as open.
#[test]
fn rapid_resets() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        while let Some(request) = exchange.request()? {
            if request.head.target() == "/held" {
                inside.pass();
            }
            exchange.write(crate::harness::upstream::ok("ok"))?;
        }
        Ok(())
    });
    let sluice = Sluice::to(&upstream);
    let code = flood(&sluice, &[], |count| {
        let stream = u32::try_from(2 * count + 1).unwrap();
        [
            headers(stream, &request("GET", "/held"), END_STREAM),
            reset(stream, CANCEL),
        ]
        .concat()
    });
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    let reached = upstream.requests().len();
    assert!(reached < 2_000, "{reached} requests reached the upstream");
    gate.open();
}

#[test]
fn faults_that_make_us_reset() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let code = flood(&sluice, &[], |count| {
        let stream = u32::try_from(2 * count + 1).unwrap();
        headers(stream, &[(":method", "GET")], END_STREAM)
    });
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
}

#[test]
fn headers_that_grow_when_they_are_unpacked() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    // One large entry into the table, and then a byte for each time that it is meant.
    let mut bomb = block(&request("GET", "/"));
    bomb.extend([0x40, 1, b'x', 127]);
    bomb.extend([0x81, 0x1e]);
    bomb.extend([b'a'; 4_000]);
    bomb.extend([0xbe; 12_000]);
    client.send(frame(HEADERS, 5, 1, &bomb));
    let answer = client.wait_for("an answer", |frame| {
        frame.stream == 1 || frame.kind == GOAWAY
    });
    if answer.kind == HEADERS {
        assert_eq!(answer.status(), 431);
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(sluice.get("/").status, 200);
}

#[test]
fn malformed_frames_end_the_connection_and_nothing_else() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let get = headers(1, &request("GET", "/"), END_STREAM);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a frame over the size", frame(DATA, 0, 1, &vec![0; 16_385])),
        ("data on stream 0", frame(DATA, 0, 0, b"x")),
        (
            "headers on stream 0",
            frame(HEADERS, 5, 0, &block(&request("GET", "/"))),
        ),
        (
            "headers on an even stream",
            headers(2, &request("GET", "/"), END_STREAM),
        ),
        ("data before headers", frame(DATA, 0, 1, b"x")),
        (
            "an older stream",
            [headers(5, &request("GET", "/"), 1), get].concat(),
        ),
        ("a ping of 7 bytes", frame(PING, 0, 0, &[0; 7])),
        ("settings of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        ("a window of nothing", window_update(0, 0)),
        (
            "a window beyond what there is",
            [window_update(0, 0x7fff_ffff), window_update(0, 0x7fff_ffff)].concat(),
        ),
        ("a push", frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
        (
            "padding longer than the frame",
            frame(HEADERS, 4 | 8, 1, &[200, 0x82]),
        ),
        (
            "an index beyond the table",
            frame(HEADERS, 5, 1, &[0xff, 0xff, 0x03]),
        ),
        ("a cut header block", frame(HEADERS, 5, 1, &[0x40, 0x7f])),
        ("another frame inside a header section", {
            let block = block(&request("GET", "/"));
            [frame(HEADERS, 1, 1, &block), frame(PING, 0, 0, &[0; 8])].concat()
        }),
    ];
    for (what, bytes) in cases {
        let mut client = Http2::connect(sluice.address());
        client.send(bytes);
        client.wait_for_end();
        let mut other = Http2::connect(sluice.address());
        assert_eq!(other.get(1, "/").status(), 200, "after {what}");
    }
    assert_eq!(sluice.workers().len(), 1);
}
