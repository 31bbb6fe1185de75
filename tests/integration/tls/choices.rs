//! What requests are placed, kept, split and copied by, over HTTP/2 and TLS as over HTTP/1.1.

use std::collections::BTreeMap;

use super::http2::curl;
use crate::harness::certificates::Authority;
use crate::harness::{Sluice, Upstream, eventually};

/// Three servers behind a listener with TLS, with these lines for the upstream, and rules.
struct Stage {
    ca: Authority,
    servers: [Upstream; 3],
    sluice: Sluice,
}

impl Stage {
    fn set(upstream: &str, rules: &str) -> Stage {
        let ca = Authority::new();
        let pair = ca.pair("a", &["a.test"]);
        let servers = ["a", "b", "c"].map(Upstream::saying);
        let [a, b, c] = servers.each_ref().map(Upstream::url);
        let sluice = Sluice::start(&format!(
            "server:\n  listen:\n    - address: 127.0.0.1:0\n      tls: {{certificates: [{pair}]}}\n  \
             workers: 2\n  upstreams:\n    - id: app\n      servers: ['{a}', '{b}', '{c}']\n      {upstream}\n    \
             - {{id: beta, url: '{b}'}}\n    - {{id: shadow, url: '{c}'}}\n  rules:\n{rules}"
        ));
        Stage {
            ca,
            servers,
            sluice,
        }
    }

    /// Who answers a request with these arguments of curl, how often of twelve times.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Option<BTreeMap<String, u32>> {
        let mut counts = BTreeMap::new();
        for _ in 0..12 {
            let told = curl(&self.sluice, &self.ca, arguments)?;
            *counts.entry(told).or_default() += 1;
        }
        Some(counts)
    }
}

const ALL: &str = "    - {path: /, upstreams: [app]}\n";

#[test]
fn a_client_is_kept_by_its_cookie() {
    let stage = Stage::set(
        "sticky: {cookie: at, attributes: {secure: true}}\n      balance: round-robin",
        ALL,
    );
    let Some(first) = curl(&stage.sluice, &stage.ca, &["-i"]) else {
        return;
    };
    let lower = first.to_ascii_lowercase();
    assert!(lower.starts_with("http/2 200"), "{first}");
    let line = first.lines().find(|line| line.starts_with("set-cookie: "));
    let cookie = line.unwrap().trim_start_matches("set-cookie: ");
    assert!(cookie.contains("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let server = first.trim().chars().last().unwrap().to_string();
    let kept = stage.ask(&["-b", &format!("x=1; {pair}")]).unwrap();
    assert_eq!(kept, BTreeMap::from([(server, 12)]));
    assert_eq!(stage.ask(&[]).unwrap().len(), 3, "others are not");
}

#[test]
fn a_key_is_placed_whatever_it_stands_in() {
    for (on, keys) in [
        ("{header: X-User}", ["x-user: KEY"]),
        ("{cookie: sid}", ["cookie: a=b; sid=KEY"]),
    ] {
        let balance = format!("balance: {{policy: consistent-hash, hashOn: {on}}}");
        let stage = Stage::set(&balance, ALL);
        let mut used = std::collections::BTreeSet::new();
        for key in 0..6 {
            let header = keys[0].replace("KEY", &format!("user-{key}"));
            let Some(placed) = stage.ask(&["-H", &header]) else {
                return;
            };
            assert_eq!(placed.len(), 1, "{on}: {placed:?}");
            used.extend(placed.into_keys());
        }
        assert!(used.len() > 1, "{on}: {used:?}");
    }
    let stage = Stage::set("balance: ip-hash", ALL);
    let Some(placed) = stage.ask(&[]) else { return };
    assert_eq!(placed.len(), 1);
}

#[test]
fn rules_split_by_header_and_cookie_and_copy_what_they_are_told() {
    let stage = Stage::set(
        "balance: round-robin",
        "    - {headers: [{name: x-track, value: beta}], upstreams: [beta]}\n    \
         - {cookies: [{name: track, value: beta}], upstreams: [beta]}\n    \
         - {path: /seen, upstreams: [beta], mirror: {upstream: shadow}, methods: [PUT]}\n    \
         - {path: /, upstreams: [app]}\n",
    );
    let Some(by_header) = stage.ask(&["-H", "x-track: beta"]) else {
        return;
    };
    assert_eq!(by_header, BTreeMap::from([("b".to_owned(), 12)]));
    let by_cookie = stage.ask(&["-b", "a=b; track=beta"]).unwrap();
    assert_eq!(by_cookie, BTreeMap::from([("b".to_owned(), 12)]));
    assert_eq!(stage.ask(&["-b", "track=gamma"]).unwrap().len(), 3);

    let put = ["-X", "PUT", "-d", "a body that is copied"];
    assert_eq!(curl(&stage.sluice, &stage.ca, &put).unwrap(), "b");
    let [_, _, shadow] = &stage.servers;
    eventually("the copy is there, whole", || {
        let all = shadow.requests();
        let copy = all.iter().find(|one| one.head.method() == "PUT")?;
        assert_eq!(copy.body, b"a body that is copied");
        assert_eq!(copy.head.header("x-forwarded-proto"), Some("https"));
        Some(())
    });
}
