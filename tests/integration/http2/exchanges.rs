//! Requests and answers over HTTP/2 to an upstream of HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::http2::{
    ACK, CANCEL, DATA, END_STREAM, HEADERS, Http2, NO_ERROR, PING, RST_STREAM, WINDOW_UPDATE,
    frame, headers, request, reset, window_update,
};
use crate::harness::upstream::ok;
use crate::harness::{Gate, Sluice, Upstream, eventually};

#[test]
fn an_upstream_of_http1_is_asked_as_ever() {
    let upstream = Upstream::saying("hello");
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    let mut fields = request("GET", "/cart?x=1");
    fields.extend([
        ("cookie", "a=1"),
        ("x-between", "y"),
        ("cookie", "b=2"),
        ("cookie", "c=3"),
        ("te", "trailers"),
        ("x-space", "\t around it "),
    ]);
    client.send(headers(1, &fields, END_STREAM));
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    let head = upstream.the_request().head;
    assert_eq!(head.start_line, "GET /cart?x=1 HTTP/1.1");
    assert_eq!(head.header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(head.header("x-forwarded-host"), Some("shop.example"));
    assert_eq!(head.header("te"), Some("trailers"));
    assert!(
        head.raw.contains("\r\nx-space: around it\r\n"),
        "{}",
        head.raw
    );
    assert!(!head.raw.contains("\r\n:"), "{}", head.raw);
}

#[test]
fn rules_match_whatever_the_protocol() {
    let shop = Upstream::saying("shop");
    let other = Upstream::saying("other");
    let sluice = Sluice::start(&format!(
        "
        server:
          listen: 127.0.0.1:0
          workers: 1
          upstreams:
            - {{id: shop, url: '{}', hostHeader: preserve}}
            - {{id: other, url: '{}'}}
          headers: [{{key: x-by, value: '$host $method $path'}}]
          rules:
            - {{host: shop.example, path: /cart, upstreams: [shop]}}
            - {{path: /, upstreams: [other]}}
        accessLog: {{}}
        ",
        shop.url(),
        other.url()
    ));
    let mut client = Http2::connect(sluice.address());
    assert_eq!(client.get(1, "/cart").text(), "shop");
    assert_eq!(client.get(3, "/").text(), "other");
    let head = shop.the_request().head;
    assert_eq!(head.header("x-by"), Some("shop.example GET /cart"));
    assert_eq!(head.header("host"), Some("shop.example"));
}

#[test]
fn requests_of_one_connection_do_not_wait_for_each_other() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        while let Some(request) = exchange.request()? {
            if request.head.target() == "/slow" {
                inside.pass();
            }
            exchange.write(ok(request.head.target()))?;
        }
        Ok(())
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/slow"), END_STREAM));
    assert_eq!(client.get(3, "/fast").text(), "/fast");
    gate.open();
    assert_eq!(client.answer(1).text(), "/slow");
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let upstream = Upstream::per_request(|request| {
        let trailer = request.trailers.iter().find(|(name, _)| name == "x-sum");
        let sum = trailer.map_or("none", |(_, value)| value);
        let told = format!("{} {sum}", String::from_utf8_lossy(&request.body));
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n{:x}\r\n{told}\r\n0\r\n\
             x-t: 1\r\n\r\n",
            told.len()
        )
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("POST", "/"), 0));
    client.send(frame(DATA, 0, 1, b"one "));
    client.send(frame(DATA, 0, 1, b""));
    client.send(frame(DATA, 0, 1, b"two"));
    client.send(headers(1, &[("x-sum", "7")], END_STREAM));
    let answer = client.answer(1);
    assert_eq!(answer.text(), "one two 7");
    assert_eq!(
        answer.statuses,
        [200, 0],
        "headers, and trailers at the end"
    );
}

#[test]
fn head_204_and_304_have_no_body() {
    let upstream = Upstream::per_request(|request| match request.head.target() {
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_owned(),
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    let asked = [
        ("HEAD", "/", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
    ];
    for (stream, (method, path, status)) in (1..).step_by(2).zip(asked) {
        client.send(headers(stream, &request(method, path), END_STREAM));
        let head = client.wait_for("the head", |frame| frame.stream == stream);
        assert_eq!((head.kind, head.flags & END_STREAM), (HEADERS, END_STREAM));
        assert_eq!(head.status(), status);
    }
}

#[test]
fn interim_responses_are_passed_on() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let sluice = Sluice::to(&upstream);
    let answer = Http2::connect(sluice.address()).get(1, "/");
    assert_eq!(answer.statuses, [103, 200]);
    assert_eq!(answer.text(), "ok");
}

#[test]
fn a_client_that_expects_it_is_told_to_continue_once() {
    let upstream = Upstream::per_request(|request| ok(&request.body.len().to_string()));
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    let mut fields = request("POST", "/");
    fields.extend([("expect", "100-continue"), ("content-length", "3")]);
    client.send(headers(1, &fields, 0));
    client.wait_for("the 100", |frame| {
        frame.kind == HEADERS && frame.stream == 1
    });
    client.send(frame(DATA, END_STREAM, 1, b"abc"));
    let answer = client.answer(1);
    assert_eq!(answer.statuses, [200]);
    assert_eq!(answer.text(), "3");
}

#[test]
fn an_answer_before_the_end_of_the_request_is_whole_and_ends_the_request() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("POST", "/"), 0));
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    let ended = client.wait_for("the end of the request", |frame| frame.kind == RST_STREAM);
    assert_eq!(ended.payload, NO_ERROR.to_be_bytes());
    assert_eq!(client.get(3, "/").text(), "no", "the connection goes on");
}

/// Sends what is left of a request that has been answered: it is no failure, as which many clients
/// take a reset behind an answer, whatever its code.
#[track_caller]
fn send_the_rest(client: &mut Http2, rest: &[u8]) {
    let answer = client.answer(1);
    assert_eq!((answer.text().as_str(), answer.reset), ("told", None));
    client.send(frame(DATA, 0, 1, rest));
    client.send(frame(DATA, END_STREAM, 1, b""));
    client.send(frame(PING, 0, 0, &[7; 8]));
    let next = client.wait_for("the ping's answer, or a reset", |frame| {
        frame.kind == RST_STREAM || (frame.kind == PING && frame.flags == ACK)
    });
    assert_eq!(next.kind, PING, "{next:?}");
}

#[test]
fn a_client_that_is_answered_early_may_send_all_of_its_request() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange
            .write("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntold")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("POST", "/"), 0));
    send_the_rest(&mut client, &[7; 16_000]);
}

#[test]
fn a_body_of_known_length_may_be_ended_by_a_frame_of_its_own() {
    let upstream = Upstream::per_request(|request| {
        assert_eq!(request.body, b"abc");
        ok("told")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    let mut fields = request("POST", "/");
    fields.push(("content-length", "3"));
    client.send(headers(1, &fields, 0));
    client.send(frame(DATA, 0, 1, b"abc"));
    send_the_rest(&mut client, b"");
}

#[test]
fn a_client_that_gives_a_request_up_ends_it_at_the_upstream() {
    let upstream = Upstream::start(|exchange| {
        while exchange.head()?.is_some() {}
        Ok(())
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/"), END_STREAM));
    upstream.wait_for_requests(1);
    client.send(reset(1, CANCEL));
    eventually("the upstream's connection ends", || {
        (upstream.ended_connections() == 1).then_some(())
    });
    eventually("it is counted as the client's doing", || {
        let counted = metric(&sluice, "sluice_errors_total{reason=\"client_gone\"}");
        (counted == Some(1.0)).then_some(())
    });
}

/// A value of the metrics page.
pub(super) fn metric(sluice: &Sluice, series: &str) -> Option<f64> {
    let page = crate::harness::get(sluice.admin(), "/metrics").text();
    let line = page.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn an_answer_that_breaks_off_is_broken_off() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    });
    let sluice = Sluice::to(&upstream);
    let answer = Http2::connect(sluice.address()).get(1, "/");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "half"));
    assert_eq!(answer.reset, Some(2), "INTERNAL_ERROR, not an end");
}

#[test]
fn a_slow_reader_stops_the_upstream() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let upstream = Upstream::start(move |exchange| {
        exchange.head()?;
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"
        ))?;
        for _ in 0..LARGE / PIECE {
            exchange.write(vec![7; PIECE])?;
            counter.fetch_add(PIECE, Ordering::SeqCst);
        }
        Ok(())
    });
    let sluice = Sluice::to(&upstream);
    let mut client = Http2::connect(sluice.address());
    client.send(headers(1, &request("GET", "/"), END_STREAM));
    let mut read = 0;
    while read < 65_535 {
        let data = client.wait_for("data", |frame| frame.kind == DATA);
        read += data.payload.len();
    }
    assert_eq!(read, 65_535, "the window and not a byte more");
    // The rest waits at the upstream: in socket buffers, and in one buffer of the proxy.
    let before = until_still(&written);
    assert!(before < LARGE / 2, "{before} of {LARGE}");
    let rest = u32::try_from(LARGE).unwrap();
    client.send(window_update(0, rest));
    client.send(window_update(1, rest));
    while read < LARGE {
        let data = client.wait_for("data", |frame| frame.kind == DATA);
        read += data.payload.len();
    }
}

const LARGE: usize = 64 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// What a count comes to when it does not change any more.
fn until_still(count: &AtomicUsize) -> usize {
    let mut last = (0, 0);
    eventually("nothing moves any more", || {
        let now = count.load(Ordering::SeqCst);
        last = if now == last.0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        (last.1 > 30).then_some(now)
    })
}

#[test]
fn a_slow_upstream_stops_the_client() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.head()?;
        inside.pass();
        let mut length = 0;
        let framing = crate::harness::wire::Framing::Chunked;
        exchange
            .wire
            .read_body_into(framing, &mut |piece| length += piece.len())?;
        exchange.write(ok(&length.to_string()))
    });
    let windows = "http2: {initialStreamWindowSize: 64KiB, initialConnectionWindowSize: 128KiB}";
    let sluice = Sluice::to_with(&upstream, windows);
    let client = Http2::connect(sluice.address());
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let upload = thread::spawn(move || upload(client, &counter));
    let before = until_still(&sent);
    assert!(before < LARGE / 2, "{before} of {LARGE}");
    gate.open();
    assert_eq!(upload.join().unwrap(), LARGE.to_string());
}

/// Sends a large body as fast as the windows let it, and gives back the answer.
fn upload(mut client: Http2, sent: &AtomicUsize) -> String {
    const FRAME: usize = 16_384;
    client.send(headers(1, &request("POST", "/"), 0));
    let (mut stream, mut connection) = (64 * 1024_i64, 65_535_i64);
    while sent.load(Ordering::SeqCst) < LARGE {
        while stream.min(connection) < FRAME as i64 {
            let update = client.wait_for("room", |frame| frame.kind == WINDOW_UPDATE);
            let by = i64::from(u32::from_be_bytes(update.payload.try_into().unwrap()));
            match update.stream {
                0 => connection += by,
                _ => stream += by,
            }
        }
        client.send(frame(DATA, 0, 1, &[7; FRAME]));
        stream -= FRAME as i64;
        connection -= FRAME as i64;
        sent.fetch_add(FRAME, Ordering::SeqCst);
    }
    client.send(frame(DATA, END_STREAM, 1, b""));
    client.answer(1).text()
}
