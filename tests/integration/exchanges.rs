//! The forms that an exchange can take besides one request and one answer: interim answers, old
//! clients, pipelining, answers without a body, and ends that come too early, from any side.

use std::io::ErrorKind;

use crate::harness::upstream::ok;
use crate::harness::{Gate, Sluice, Upstream, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn early_hints_are_passed_on() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")?;
        inside.pass();
        exchange.write(ok("page"))
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send(GET);
    let hints = client.head();
    assert_eq!(hints.status(), 103);
    assert_eq!(hints.header("link"), Some("</a.css>; rel=preload"));
    gate.open();
    assert_eq!(client.response("GET").with_status(200).text(), "page");
}

#[test]
fn early_hints_are_not_for_http_1_0() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let upstream = Upstream::answering(&format!("{hints}{}", ok("page")));
    let sluice = Sluice::to(&upstream);
    let response = sluice
        .request("GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        .with_status(200);
    assert!(response.interim.is_empty(), "{:?}", response.interim);
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_its_body() {
    let upstream = Upstream::start(|exchange| {
        let Some(head) = exchange.head()? else {
            return Ok(());
        };
        exchange.write("HTTP/1.1 100 Continue\r\n\r\n")?;
        let (body, _) = exchange.wire.read_body(head.request_framing())?;
        exchange.write(ok(&String::from_utf8_lossy(&body)))
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    client.send("body");
    assert_eq!(client.response("PUT").with_status(200).text(), "body");
}

#[test]
fn an_upstream_can_refuse_a_body_that_has_not_been_sent() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client
        .send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n");
    let refused = client.response("PUT").with_status(403);
    assert!(
        refused.interim.is_empty(),
        "it was told to go on: {:?}",
        refused.interim
    );
}

#[test]
fn a_client_that_does_not_wait_for_100_continue_is_served_too() {
    let upstream = Upstream::per_request(|request| ok(&String::from_utf8_lossy(&request.body)));
    let sluice = Sluice::to(&upstream);
    let sent = "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(sluice.request(sent).with_status(200).text(), "body");
}

#[test]
fn an_http_1_0_client_gets_a_whole_answer_and_the_end() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    let response = client
        .request("GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        .with_status(200);
    assert_eq!(
        response.header("transfer-encoding"),
        None,
        "chunks are not for HTTP/1.0"
    );
    assert_eq!(response.text(), "abc");
    client.assert_ended();
}

#[test]
fn an_http_1_0_client_can_keep_its_connection() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    for _ in 0..2 {
        let sent = "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n";
        let response = client.request(sent).with_status(200);
        let kept = response.header("connection").map(str::to_lowercase);
        assert_eq!(kept.as_deref(), Some("keep-alive"));
    }
}

#[test]
fn an_http_1_0_upstream_is_understood() {
    let upstream = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold")
    });
    let sluice = Sluice::to(&upstream);
    let response = sluice.get("/").with_status(200);
    assert!(
        response.head.start_line.starts_with("HTTP/1.1 "),
        "{}",
        response.head.start_line
    );
    assert_eq!(response.text(), "old");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::per_request(|request| ok(request.head.target()));
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    let post = "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /";
    client.send(format!(
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n{post}GET /3 HTTP/1.1\r\nHost: x\r\n\r\n"
    ));
    let answers: Vec<String> = (0..3).map(|_| client.response("GET").text()).collect();
    assert_eq!(answers, ["/1", "/2", "/3"]);
}

#[test]
fn a_request_can_come_byte_by_byte() {
    let upstream = Upstream::per_request(|request| ok(&String::from_utf8_lossy(&request.body)));
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    let sent = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                3\r\nabc\r\n0\r\n\r\n";
    for byte in sent.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response("POST").with_status(200).text(), "abc");
}

#[test]
fn a_connection_serves_one_request_after_the_other_and_closes_when_asked() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    for _ in 0..10 {
        client.get("/").with_status(200);
    }
    let last = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let closing = client.request(last).with_status(200);
    assert_eq!(closing.header("connection"), Some("close"));
    client.assert_ended();
    assert_eq!(
        upstream.connections(),
        1,
        "the connection to the upstream was kept as well"
    );
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let upstream = Upstream::per_request(|request| match request.head.method() {
        "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_owned(),
        _ => ok("next"),
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    let head = client
        .request("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        .with_status(200);
    assert_eq!(head.header("content-length"), Some("1234"));
    assert_eq!(client.get("/").text(), "next", "the connection goes on");
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let upstream = Upstream::per_request(|request| match request.head.target() {
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/304" => {
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n".to_owned()
        }
        _ => ok("next"),
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    let empty = client.get("/204").with_status(204);
    assert_eq!(empty.header("content-length"), None);
    assert_eq!(empty.header("transfer-encoding"), None);
    assert_eq!(
        client.get("/304").with_status(304).header("etag"),
        Some("\"x\"")
    );
    assert_eq!(client.get("/").text(), "next");
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_request_is_passed_on() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\n\r\nless")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc");
    assert_eq!(client.response("POST").with_status(413).text(), "less");
}

#[test]
fn an_answer_can_run_while_the_request_still_does() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..3 {
            let ping = exchange.wire.read_through(b"ping\r\n")?;
            assert!(ping.starts_with(b"4\r\n"));
            exchange.write("4\r\npong\r\n")?;
        }
        exchange.wire.read_through(b"0\r\n\r\n")?;
        exchange.write("0\r\n\r\n")
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for _ in 0..3 {
        client.send("4\r\nping\r\n");
        client.read_through("pong");
    }
    client.send("0\r\n\r\n");
    client.read_through("0\r\n\r\n");
}

#[test]
fn a_client_that_goes_away_cancels_the_upstream_request() {
    let upstream = Upstream::start(|exchange| {
        exchange.head()?;
        // Nothing is answered: the end of this connection can only come from the proxy.
        exchange.wire.fill().map(drop)
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send(GET);
    upstream.wait_for_requests(1);
    assert_eq!(upstream.ended_connections(), 0);
    drop(client);
    eventually("the upstream's connection ends", || {
        (upstream.ended_connections() == 1).then_some(())
    });
}

#[test]
fn a_client_that_goes_away_in_its_body_leaves_no_request_that_looks_whole() {
    let upstream = Upstream::start(|exchange| exchange.request().map(drop));
    let sluice = Sluice::to(&upstream);
    for (count, framing) in [(1, "Content-Length: 10"), (2, "Transfer-Encoding: chunked")] {
        let mut client = sluice.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n3\r\nabc\r\n"
        ));
        upstream.wait_for_requests(count);
        drop(client);
    }
    eventually("both connections end", || {
        (upstream.ended_connections() == 2).then_some(())
    });
    let requests = upstream.requests();
    assert!(
        requests.iter().all(|request| request.body.is_empty()),
        "{requests:#?}"
    );
}

#[test]
fn an_upstream_that_goes_away_in_its_body_is_seen_as_broken() {
    for framing in [
        "Content-Length: 100\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let upstream = Upstream::start(move |exchange| {
            exchange.request()?;
            exchange.write(format!("HTTP/1.1 200 OK\r\n{framing}"))
        });
        let sluice = Sluice::to(&upstream);
        let mut client = sluice.connect();
        client.send(GET);
        let broken = client
            .try_response("GET")
            .expect_err("a body that looks complete");
        let kind = broken.kind();
        assert!(
            matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
            "{broken}"
        );
    }
}

#[test]
fn a_broken_chunk_of_the_upstream_is_seen_as_broken() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n",
    );
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send(GET);
    client
        .try_response("GET")
        .expect_err("a body that looks complete");
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let upstream = Upstream::start(|exchange| {
        let Some(head) = exchange.request()?.map(|request| request.head) else {
            return Ok(());
        };
        assert_eq!(head.header("upgrade"), Some("raw"));
        assert_eq!(head.header("connection"), Some("upgrade"));
        let switching =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n";
        exchange.write(format!("{switching}\r\nhello"))?;
        let said = exchange.wire.read_through(b"!")?;
        exchange.write(said)?;
        exchange.wire.read_to_end().map(drop)
    });
    let sluice = Sluice::to(&upstream);
    let mut client = sluice.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    let switched = client.head();
    assert_eq!(switched.status(), 101);
    assert_eq!(switched.header("upgrade"), Some("raw"));
    assert_eq!(client.read_through("hello"), "hello");
    client.send("any \0 bytes!");
    assert_eq!(client.read_through("!"), "any \0 bytes!");
    client.finish_sending().assert_ended();
    eventually("the upstream's connection ends", || {
        (upstream.ended_connections() == 1).then_some(())
    });
}
