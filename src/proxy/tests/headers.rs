//! Headers as the upstream and the client see them.

use super::support::play;
use crate::model::config::HeaderSetting;
use crate::model::template;

fn setting(name: &str, value: &str) -> HeaderSetting {
    let parsed = template::parse(value, &mut |_| Err("none".into())).unwrap();
    HeaderSetting {
        name: name.into(),
        value: parsed.template,
    }
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    play(
        |_| {},
        |stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Secret, keep-alive, \
                           Authorization, X-Forwarded-For\r\nKeep-Alive: timeout=5\r\n\
                           X-Secret: 1\r\nAuthorization: Bearer a\r\nProxy-Connection: close\r\n\
                           Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            for gone in [
                "x-secret",
                "keep-alive",
                "\r\nconnection:",
                "proxy-c",
                "upgrade",
            ] {
                let lower = head.to_ascii_lowercase();
                assert!(!lower.contains(gone), "{gone} in {head}");
            }
            assert!(head.contains("\r\nAuthorization: Bearer a\r\n"), "{head}");
            assert!(
                head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
                "{head}"
            );

            upstream
                .send(
                    "HTTP/1.1 200 OK\r\nConnection: X-Internal\r\nX-Internal: 1\r\n\
                     Keep-Alive: timeout=5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
                     Content-Length: 0\r\n\r\n",
                )
                .await;
            let head = client.head().await;
            let lower = head.to_ascii_lowercase();
            assert!(
                !lower.contains("internal") && !lower.contains("keep-alive"),
                "{head}"
            );
            assert!(
                head.contains("Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n"),
                "{head}"
            );
        },
    );
}

#[test]
fn configured_headers_replace_those_of_the_client() {
    play(
        |config| {
            config.headers = vec![
                setting("x-forward-for", "$ip"),
                setting("authorization", "Bearer xyz"),
                setting(
                    "x-all",
                    "$scheme $method $host $path $upstream $header.x-in $$",
                ),
                setting("x-none", "$header.missing"),
                setting("x-id", "$request_id"),
            ];
        },
        |stage| async move {
            let request = "GET /p?q HTTP/1.1\r\nHost: h:1\r\nAuthorization: Basic a\r\nX-In: i\r\n\
                           X-None: from client\r\nX-Request-Id: mine\r\n\r\n";
            let (_client, _upstream, head) = stage.forwarded(request).await;
            assert!(head.contains("\r\nx-forward-for: 127.0.0.1\r\n"), "{head}");
            let lower = head.to_ascii_lowercase();
            assert_eq!(lower.matches("authorization").count(), 1, "{head}");
            assert!(head.contains("\r\nauthorization: Bearer xyz\r\n"), "{head}");
            assert!(
                head.contains("\r\nx-all: http GET h:1 /p app i $\r\n"),
                "{head}"
            );
            assert!(!lower.contains("x-none"), "{head}");
            let after = |name: &str| head.split(name).nth(1).unwrap()[..32].to_owned();
            assert_eq!(after("\r\nx-id: "), after("\r\nx-request-id: "), "{head}");
        },
    );
}

#[test]
fn a_trusted_proxy_is_believed() {
    play(
        |config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()],
        |stage| async move {
            let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\n\
                           X-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n\r\n";
            let (mut client, mut upstream, head) = stage.forwarded(request).await;
            assert!(
                head.contains("\r\nx-forwarded-for: 1.1.1.1, 127.0.0.1\r\n"),
                "{head}"
            );
            assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n"), "{head}");
            assert!(head.contains("\r\nx-request-id: mine\r\n"), "{head}");
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
            client.head().await;
            assert_eq!(stage.observed().await.client.to_string(), "1.1.1.1");
        },
    );
}
