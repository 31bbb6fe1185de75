//! Copies of requests for a second upstream: they arrive whole, and nobody waits for them.

use crate::harness::port::Dead;
use crate::harness::{Gate, Sluice, Upstream, client, eventually};

fn config(main: &str, shadow: &str, mirror: &str) -> String {
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - {{id: main, url: '{main}'}}\n    - {{id: \
         shadow, url: '{shadow}'}}\n  rules:\n    - path: /\n      upstreams: [main]\n      mirror: {mirror}\n"
    )
}

fn counted(sluice: &Sluice, outcome: &str) -> u64 {
    let metrics = client::get(sluice.admin(), "/metrics").text();
    let line = metrics.lines().find(|line| {
        let name = line.starts_with("sluice_mirror_requests_total{");
        name && line.contains("upstream=\"shadow\"") && line.contains(&format!("\"{outcome}\""))
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn copies_arrive_whole_and_their_answers_are_nobodys() {
    let (main, shadow) = (Upstream::saying("main"), Upstream::saying("shadow"));
    let mirror = "{upstream: shadow, maxBody: 1KiB}";
    let sluice = Sluice::start(&config(&main.url(), &shadow.url(), mirror));
    assert_eq!(sluice.get("/a?b=c").with_status(200).text(), "main");
    let copied = shadow.wait_for_requests(1);
    assert_eq!(copied[0].head.start_line, "GET /a?b=c HTTP/1.1");

    let post = "POST /p HTTP/1.1\r\nHost: x\r\nX-Mark: 7\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(sluice.request(post).with_status(200).text(), "main");
    let chunked = "PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(sluice.request(chunked).with_status(200).text(), "main");
    let copied = shadow.wait_for_requests(3);
    let body_of = |target: &str| {
        let mut all = copied.iter();
        let found = all.find(|request| request.head.target() == target).unwrap();
        (
            found.body.clone(),
            found.head.header("x-mark").map(str::to_owned),
        )
    };
    assert_eq!(body_of("/p"), (b"hello".to_vec(), Some("7".to_owned())));
    assert_eq!(body_of("/c"), (b"abcde".to_vec(), None));
    eventually("three copies were answered", || {
        (counted(&sluice, "answered") == 3).then_some(())
    });

    // One that is too long goes to the main upstream alone.
    let long = format!(
        "POST /l HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{}",
        "x".repeat(2_000)
    );
    assert_eq!(sluice.request(&long).with_status(200).text(), "main");
    eventually("one copy was dropped", || {
        (counted(&sluice, "dropped") == 1).then_some(())
    });
    assert_eq!(shadow.requests().len(), 3);
    let metrics = client::get(sluice.admin(), "/metrics").text();
    let of_shadow =
        |line: &&str| line.starts_with("sluice_http_requests_total") && line.contains("shadow");
    assert_eq!(
        metrics.lines().find(of_shadow),
        None,
        "copies are no requests of clients"
    );
}

#[test]
fn a_mirror_that_hangs_or_is_dead_harms_nobody_and_is_bounded() {
    let main = Upstream::saying("main");
    let gate = Gate::closed();
    let hangs = Upstream::behind_gate(&gate, "late");
    let mirror = "{upstream: shadow, maxInFlight: 2}";
    let sluice = Sluice::start(&config(&main.url(), &hangs.url(), mirror));
    for _ in 0..6 {
        assert_eq!(sluice.get("/").with_status(200).text(), "main");
    }
    eventually("more than two at once were dropped", || {
        (counted(&sluice, "dropped") == 4).then_some(())
    });
    gate.open();
    eventually("the two were answered", || {
        (counted(&sluice, "answered") == 2).then_some(())
    });

    let dead = Dead::new();
    let sluice = Sluice::start(&config(&main.url(), &dead.url(), "{upstream: shadow}"));
    for _ in 0..3 {
        assert_eq!(sluice.get("/").with_status(200).text(), "main");
    }
    eventually("three failures are counted", || {
        (counted(&sluice, "failed") == 3).then_some(())
    });
}

#[test]
fn a_share_is_copied() {
    let (main, shadow) = (Upstream::saying("main"), Upstream::saying("shadow"));
    let mirror = "{upstream: shadow, percent: 30}";
    let sluice = Sluice::start(&config(&main.url(), &shadow.url(), mirror));
    let mut client = sluice.connect();
    for _ in 0..400 {
        client.get("/").with_status(200);
    }
    eventually("the copies are through", || {
        let (answered, dropped) = (counted(&sluice, "answered"), counted(&sluice, "dropped"));
        let all = answered + dropped + counted(&sluice, "failed");
        (answered as usize == shadow.requests().len() && all > 0).then_some(())
    });
    let share = shadow.requests().len();
    assert!((70..=170).contains(&share), "{share} of 400 for 30 %");
}

#[test]
fn each_rule_has_a_bound_of_its_own() {
    let main = Upstream::saying("main");
    let gate = Gate::closed();
    let hangs = Upstream::behind_gate(&gate, "late");
    let mirror = "{upstream: shadow, maxInFlight: 2}";
    let two = config(&main.url(), &hangs.url(), mirror).replace(
        "    - path: /\n",
        &format!(
            "    - path: /other\n      upstreams: [main]\n      mirror: {mirror}\n    - path: /\n"
        ),
    );
    let sluice = Sluice::start(&two);
    for target in ["/", "/other", "/", "/other", "/", "/other"] {
        sluice.get(target).with_status(200);
    }
    eventually("the third of each was dropped", || {
        (counted(&sluice, "dropped") == 2).then_some(())
    });
    hangs.wait_for_requests(4);
    // Those that are under way count in the next generation too.
    sluice.rewrite(&two.replace("  workers: 1\n", "  workers: 1\n  via: true\n"));
    eventually("the next generation serves", || {
        let answer = sluice.get("/");
        answer.head.header("via").map(drop)
    });
    assert_eq!(hangs.requests().len(), 4);
    gate.open();
    eventually("all four were answered", || {
        (counted(&sluice, "answered") == 4).then_some(())
    });
}
