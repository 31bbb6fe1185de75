//! The upstream inside the program.

use serde_json::Value;

use super::support::{Stage, play};
use crate::model::config::{Config, Target};

fn echoing(config: &mut Config) {
    config.upstreams[0].target = Target::Echo;
}

async fn ask(stage: &Stage, request: &str) -> (String, Value) {
    let mut client = stage.client().await;
    client.send(request).await;
    let head = client.head().await;
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let body = client.exactly(length.unwrap().parse().unwrap()).await;
    (head, serde_json::from_str(&body).unwrap())
}

#[test]
fn it_tells_what_it_received() {
    play(echoing, |stage| async move {
        let request = "PUT /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\
                       \r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: u\r\n\r\n";
        let (head, told) = ask(&stage, request).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("\r\ncontent-type: application/json\r\n"),
            "{head}"
        );
        for (key, value) in [
            ("method", "PUT"),
            ("uri", "/a/b?c=d"),
            ("path", "/a/b"),
            ("query", "c=d"),
            ("version", "HTTP/1.1"),
            ("client", "127.0.0.1"),
            ("route", "to 0 by /"),
            ("upstream", "app"),
            (
                "bodySha256",
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            ),
        ] {
            assert_eq!(told[key], value, "{key} in {told}");
        }
        assert_eq!(told["generation"], 1);
        assert_eq!(told["bodyBytes"], 5);
        assert_eq!(told["trailers"][0][1], "u");
        let headers = told["headers"].as_array().unwrap();
        assert!(
            headers
                .iter()
                .any(|header| header[0] == "x-a" && header[1] == "b"),
            "{told}"
        );
        assert!(
            headers.iter().any(|header| header[0] == "x-forwarded-for"),
            "{told}"
        );
    });
}

#[test]
fn it_answers_as_the_query_asks() {
    play(echoing, |stage| async move {
        let request = |query: &str| format!("GET /?{query} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (head, _) = ask(&stage, &request("status=503")).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        let (head, _) = ask(&stage, &request("status=99&status=x&delay=")).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let began = std::time::Instant::now();
        ask(&stage, &request("delay=120")).await;
        assert!(began.elapsed() >= std::time::Duration::from_millis(120));
    });
}
