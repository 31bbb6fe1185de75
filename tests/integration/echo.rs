//! `builtin://echo`: an upstream inside the program, so that a first run needs nothing else.

use crate::harness::Sluice;

fn echoing(server: &str) -> Sluice {
    Sluice::start(&crate::harness::sluice::config("builtin://echo", server))
}

#[test]
fn echo_answers_with_what_it_received_as_json() {
    let sluice = echoing("headers:\n  - {key: x-client, value: $ip}");
    let sent =
        "POST /a/b?c=d HTTP/1.1\r\nHost: front.test\r\nX-Mine: 1\r\nContent-Length: 5\r\n\r\nhello";
    let response = sluice.request(sent).with_status(200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let echo = response.json();
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["path"], "/a/b");
    assert_eq!(echo["query"], "c=d");
    assert_eq!(echo["bodyBytes"], 5);
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(echo["bodySha256"], hello);
    let headers = echo["headers"]
        .as_array()
        .expect("a list of names and values");
    for (name, value) in [
        ("x-mine", "1"),
        ("x-client", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert!(
            headers.contains(&serde_json::json!([name, value])),
            "{name} in {headers:?}"
        );
    }
}

#[test]
fn echo_takes_many_requests_on_one_connection() {
    let sluice = echoing("");
    let mut client = sluice.connect();
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.get(path).with_status(200).json()["path"], path);
    }
    let head = client
        .request("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        .with_status(200);
    assert!(head.body.is_empty());
    client.get("/after").with_status(200);
}

#[test]
fn echo_says_which_generation_answered() {
    let sluice = echoing("");
    assert!(sluice.get("/").json()["generation"].is_u64());
}
