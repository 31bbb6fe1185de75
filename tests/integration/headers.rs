//! Headers as the upstream and the client see them: what the config sets, what the proxy adds, what
//! must not pass.

use crate::harness::sluice::{Launch, config};
use crate::harness::upstream::ok;
use crate::harness::wire::Head;
use crate::harness::{Client, Sluice, Upstream};

/// What reaches the upstream when a client sends these header lines besides `Host`.
#[track_caller]
fn forwarded(server: &str, lines: &str) -> Head {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to_with(&upstream, server);
    let sent = format!("GET /p?q=1 HTTP/1.1\r\nHost: front.test:81\r\n{lines}\r\n");
    sluice.request(sent).with_status(200);
    upstream.the_request().head
}

#[test]
fn configured_headers_reach_the_upstream() {
    let head = forwarded(
        "headers:\n  - key: x-forward-for\n    value: $ip\n  - key: Authorization\n    value: Bearer xyz",
        "authorization: Basic of-the-client\r\n",
    );
    assert_eq!(head.header("x-forward-for"), Some("127.0.0.1"));
    assert_eq!(
        head.header("authorization"),
        Some("Bearer xyz"),
        "it replaces the client's"
    );
}

#[test]
fn values_know_the_request() {
    let head = forwarded(
        "headers:\n  - {key: x-a, value: '$host $scheme $method $path'}\n  \
         - {key: x-b, value: '$upstream/$header.x-in/$header.x-none/$$5'}\n  \
         - {key: x-c, value: '$request_id'}",
        "x-in: was here\r\n",
    );
    assert_eq!(head.header("x-a"), Some("front.test:81 http GET /p"));
    assert_eq!(head.header("x-b"), Some("app/was here//$5"));
    let id = head.header("x-request-id").expect("a request id");
    assert_eq!(head.header("x-c"), Some(id));
}

#[test]
fn a_value_can_come_from_the_environment() {
    let upstream = Upstream::saying("ok");
    let headers = "headers:\n  - {key: authorization, value: 'Bearer ${env:SLUICE_TEST_TOKEN}'}";
    let launch = Launch::new(&config(&upstream.url(), headers));
    let sluice = launch.env("SLUICE_TEST_TOKEN", "s3cret-token").start();
    sluice.get("/").with_status(200);
    let head = upstream.the_request().head;
    assert_eq!(head.header("authorization"), Some("Bearer s3cret-token"));
    assert!(
        !sluice.log().text().contains("s3cret-token"),
        "a secret stands in the log"
    );
}

#[test]
fn host_is_the_upstreams_unless_told_otherwise() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    sluice
        .request("GET / HTTP/1.1\r\nHost: front.test\r\n\r\n")
        .with_status(200);
    let own = upstream.address().to_string();
    assert_eq!(upstream.the_request().head.all("host"), [own.as_str()]);
    let head = forwarded("hostHeader: preserve", "");
    assert_eq!(head.all("host"), ["front.test:81"]);
}

#[test]
fn a_strangers_forwarded_headers_are_replaced() {
    let head = forwarded(
        "",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
         X-Forwarded-For: 7.7.7.7\r\nX-Request-Id: of-the-client\r\n",
    );
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(head.all("x-forwarded-host"), ["front.test:81"]);
    assert_ne!(head.header("x-request-id"), Some("of-the-client"));
}

#[test]
fn a_trusted_proxys_forwarded_headers_are_appended_to() {
    let head = forwarded(
        "trustedProxies: [127.0.0.0/8]\nheaders:\n  - {key: x-client, value: $ip}",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.test\r\nX-Request-Id: id-of-the-edge\r\n",
    );
    assert_eq!(
        head.all("x-forwarded-for").join(", "),
        "6.6.6.6, 7.7.7.7, 127.0.0.1"
    );
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(head.all("x-forwarded-host"), ["shop.test"]);
    assert_eq!(head.all("x-request-id"), ["id-of-the-edge"]);
    assert_eq!(
        head.header("x-client"),
        Some("7.7.7.7"),
        "the nearest address not trusted"
    );
}

#[test]
fn hop_by_hop_headers_stop_here() {
    let head = forwarded(
        "",
        "Connection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
         Proxy-Authorization: x\r\nTE: gzip\r\nTrailer: x-sum\r\nX-Mine: 1\r\nX-Yours: 2\r\n",
    );
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "x-mine",
        "upgrade",
    ] {
        assert_eq!(head.header(name), None, "{name}");
    }
    assert_ne!(head.header("te"), Some("gzip"));
    assert_eq!(head.header("x-yours"), Some("2"));
    assert!(!head.raw.to_lowercase().contains("x-mine"), "{}", head.raw);
}

#[test]
fn fields_go_on_as_they_are_spelled_and_in_their_order() {
    let head = forwarded("", "X-Tenant: one\r\nACCEPT:*/*\r\nx-TENANT:\t two \r\n");
    let lines = "\r\nX-Tenant: one\r\nACCEPT: */*\r\nx-TENANT: two\r\n";
    assert!(head.raw.contains(lines), "{}", head.raw);
}

#[test]
fn a_client_cannot_strip_what_the_upstream_relies_on() {
    let head = forwarded(
        "headers:\n  - {key: X-Api-Key, value: k}",
        "Connection: close, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, \
         Authorization, X-Api-Key, Host, Content-Length\r\nAuthorization: Basic c2Vzc2lvbg==\r\n",
    );
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(head.all("x-forwarded-host"), ["front.test:81"]);
    assert!(head.header("x-request-id").is_some());
    assert_eq!(head.header("authorization"), Some("Basic c2Vzc2lvbg=="));
    assert_eq!(head.header("x-api-key"), Some("k"));
    assert_eq!(head.all("host").len(), 1);
}

#[test]
fn hop_by_hop_headers_of_the_upstream_stop_here() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Inner, keep-alive\r\nKeep-Alive: timeout=5\r\n\
         X-Inner: secret\r\nProxy-Authenticate: Basic\r\nX-Outer: 1\r\nSet-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
    );
    let sluice = Sluice::to(&upstream);
    let head = sluice.get("/").with_status(200).head;
    for name in ["x-inner", "keep-alive", "proxy-authenticate"] {
        assert_eq!(head.header(name), None, "{name}:\n{}", head.raw);
    }
    assert_eq!(head.header("x-outer"), Some("1"));
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn via_is_added_where_asked_for_only() {
    let (upstream, answer) = (Upstream::saying("ok"), "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let without = Sluice::to(&upstream).request(answer).with_status(200);
    assert_eq!(without.header("via"), None);
    assert_eq!(upstream.the_request().head.header("via"), None);
    let upstream = Upstream::saying("ok");
    let with = Sluice::to_with(&upstream, "via: true")
        .request(answer)
        .with_status(200);
    assert!(
        with.header("via")
            .is_some_and(|via| via.starts_with("1.1 "))
    );
    let seen = upstream.the_request().head;
    assert!(
        seen.header("via")
            .is_some_and(|via| via.starts_with("1.1 ")),
        "{}",
        seen.raw
    );
}

#[test]
fn repeated_and_odd_headers_pass_as_they_are() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let mut client = Client::connect(sluice.address());
    let mut sent =
        b"GET / HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\nX-Empty:\r\nX-Bytes: ".to_vec();
    sent.extend_from_slice("é\t,;\"\r\n\r\n".as_bytes());
    client.request(sent).with_status(200);
    let head = upstream.the_request().head;
    assert_eq!(head.all("accept"), ["a", "b"]);
    assert_eq!(head.header("x-empty"), Some(""));
    assert_eq!(head.header("x-bytes"), Some("é\t,;\""));
}

#[test]
fn an_upstream_that_answers_twice_the_same_header_is_passed_on() {
    let upstream =
        Upstream::per_request(|_| ok("x").replacen("\r\n", "\r\nX-A: 1\r\nX-A: 2\r\n", 1));
    let sluice = Sluice::to(&upstream);
    assert_eq!(sluice.get("/").head.all("x-a"), ["1", "2"]);
}
