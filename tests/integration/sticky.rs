//! Clients that are kept with their endpoint by a cookie, and rules that look at cookies.

use nix::sys::signal::Signal;

use crate::harness::process::signal;
use crate::harness::upstream::ok;
use crate::harness::{Response, Sluice, Upstream, eventually};

fn config(upstreams: &[&Upstream], sticky: &str) -> String {
    let servers: Vec<String> = upstreams.iter().map(|one| one.url()).collect();
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 2\n  upstreams:\n    - id: app\n      servers: [{}]\n      \
         sticky: {sticky}\n  rules:\n    - path: /\n      upstreams: [app]\n",
        servers.join(", ")
    )
}

fn get(sluice: &Sluice, cookie: Option<&str>) -> Response {
    let line = cookie.map_or(String::new(), |cookie| {
        format!("Cookie: other=1; {cookie}\r\n")
    });
    sluice.request(format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n"))
}

/// Name and value of the cookie that is set, and its attributes.
fn set(response: &Response) -> Option<(String, String)> {
    let line = response.head.header("set-cookie")?;
    let (pair, attributes) = line.split_once(';').unwrap();
    Some((pair.to_owned(), attributes.trim().to_owned()))
}

#[test]
fn a_client_stays_with_its_server_over_workers_deaths_and_reloads() {
    let (a, b, c) = (
        Upstream::saying("a"),
        Upstream::saying("b"),
        Upstream::saying("c"),
    );
    let sticky = "{cookie: at, ttl: 1h, attributes: {path: /shop, secure: true, sameSite: strict}}";
    let sluice = Sluice::start(&config(&[&a, &b, &c], sticky));
    let first = get(&sluice, None);
    let (cookie, attributes) = set(&first).expect("a cookie is set");
    let server = first.text();
    assert_eq!(
        attributes,
        "Path=/shop; Max-Age=3600; Secure; HttpOnly; SameSite=Strict"
    );
    for upstream in [&a, &b, &c] {
        assert!(!cookie.contains(&upstream.address().port().to_string()));
    }
    let stays = |sluice: &Sluice| {
        for _ in 0..10 {
            let answer = get(sluice, Some(&cookie));
            assert!(set(&answer).is_none(), "it has its cookie already");
            assert_eq!(answer.with_status(200).text(), server);
        }
    };
    stays(&sluice);
    sluice.rewrite(&config(&[&a, &b, &c], sticky).replace("workers: 2", "via: true\n  workers: 2"));
    sluice.log().wait_for("reload done");
    eventually("the second generation is served", || {
        get(&sluice, Some(&cookie)).head.header("via").map(drop)
    });
    stays(&sluice);
    let victim = sluice.workers()[0];
    signal(victim, Signal::SIGKILL);
    eventually("another worker is there", || {
        let workers = sluice.workers();
        (workers.len() == 2 && !workers.contains(&victim)).then_some(())
    });
    eventually("both serve", || {
        (get(&sluice, Some(&cookie)).status == 200).then_some(())
    });
    stays(&sluice);
}

#[test]
fn a_server_that_is_gone_is_left_for_another_with_a_cookie_of_its_own() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let secret = "{cookie: at, secret: 'a secret that is long'}";
    let sluice = Sluice::start(&config(&[&a, &b], secret));
    let first = get(&sluice, None);
    let (cookie, _) = set(&first).unwrap();
    let (gone, left) = match first.text().as_str() {
        "a" => (&a, &b),
        _ => (&b, &a),
    };
    // Another proxy with the same secret knows the cookie; one with another does not.
    let replica = Sluice::start(&config(&[&b, &a], secret));
    assert_eq!(get(&replica, Some(&cookie)).text(), first.text());
    assert!(set(&get(&replica, Some(&cookie))).is_none());
    let stranger = Sluice::start(&config(&[&a, &b], "{cookie: at}"));
    assert!(set(&get(&stranger, Some(&cookie))).is_some());

    sluice.rewrite(&config(&[left], secret));
    sluice.log().wait_for("reload done");
    eventually("the one that is left answers, and says so", || {
        let answer = get(&sluice, Some(&cookie));
        let moved = set(&answer).is_some_and(|(other, _)| other != cookie);
        (moved && answer.status == 200).then_some(())
    });
    let before = gone.requests().len();
    get(&sluice, Some(&cookie)).with_status(200);
    assert_eq!(gone.requests().len(), before);
}

#[test]
fn a_rule_may_ask_for_a_cookie() {
    let (beta, stable) = (
        Upstream::answering(&ok("beta")),
        Upstream::answering(&ok("stable")),
    );
    let sluice = Sluice::start(&format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - {{id: beta, url: '{}'}}\n    - {{id: stable, \
         url: '{}'}}\n  rules:\n    - cookies: [{{name: track, regex: beta|canary}}]\n      upstreams: [beta]\n    - \
         upstreams: [stable]\n",
        beta.url(),
        stable.url()
    ));
    for (cookie, wanted) in [
        (Some("track=beta"), "beta"),
        (Some("track=canary; x=y"), "beta"),
        (Some("track=betas"), "stable"),
        (Some("xtrack=beta"), "stable"),
        (None, "stable"),
    ] {
        assert_eq!(
            get(&sluice, cookie).with_status(200).text(),
            wanted,
            "{cookie:?}"
        );
    }
}
