//! Which rule takes a request: order, patterns and conditions, as the upstream that answers shows.

use crate::harness::{Sluice, Upstream, request};

/// Upstreams `a`, `b` and `c` that answer with their own id, behind the rules of a test.
struct Routed {
    sluice: Sluice,
    _upstreams: [Upstream; 3],
}

impl Routed {
    /// `rules` as the lines of the list below `rules:`.
    #[track_caller]
    fn by(rules: &str) -> Routed {
        let upstreams = ["a", "b", "c"].map(Upstream::saying);
        let [a, b, c] = upstreams.each_ref().map(Upstream::url);
        let rules: String = rules
            .lines()
            .map(|line| format!("    {}\n", line.trim()))
            .collect();
        let sluice = Sluice::start(&format!(
            "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - {{id: a, url: '{a}'}}\n    \
             - {{id: b, url: '{b}'}}\n    - {{id: c, url: '{c}'}}\n  rules:\n{rules}"
        ));
        Routed {
            sluice,
            _upstreams: upstreams,
        }
    }

    /// Who answers `GET target`: an id, or the status where no upstream did.
    #[track_caller]
    fn answer(&self, target: &str) -> String {
        self.answer_to(&format!(
            "GET {target} HTTP/1.1\r\nHost: sluice.test\r\n\r\n"
        ))
    }

    #[track_caller]
    fn answer_for_host(&self, host: &str) -> String {
        self.answer_to(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    #[track_caller]
    fn answer_to(&self, bytes: &str) -> String {
        let response = request(self.sluice.address(), bytes);
        if response.status == 200 {
            response.text()
        } else {
            response.status.to_string()
        }
    }
}

#[test]
fn the_first_rule_that_matches_wins() {
    let routed = Routed::by(
        "- {path: /test, upstreams: [a]}
         - {path: /test/more, upstreams: [b]}
         - {path: /, upstreams: [c]}",
    );
    assert_eq!(routed.answer("/test"), "a");
    assert_eq!(
        routed.answer("/test/more"),
        "a",
        "the later rule is more specific, and later"
    );
    assert_eq!(routed.answer("/other"), "c");
}

#[test]
fn a_plain_path_is_an_expression_anchored_at_the_start_of_path_and_query() {
    let routed = Routed::by(
        r"- {path: '/test', upstreams: [a]}
          - {path: '/item/\d+$', upstreams: [b]}
          - {path: '/find\?.*q=x', upstreams: [c]}",
    );
    assert_eq!(routed.answer("/testing"), "a");
    assert_eq!(routed.answer("/test?x=/item/1"), "a");
    assert_eq!(routed.answer("/a/test"), "404");
    assert_eq!(routed.answer("/item/42"), "b");
    assert_eq!(routed.answer("/item/42x"), "404");
    assert_eq!(routed.answer("/find?p=1&q=x"), "c");
    assert_eq!(routed.answer("/find?p=1"), "404");
}

#[test]
fn expressions_and_literals_keep_their_order_among_each_other() {
    let routed = Routed::by(
        "- {path: '/v[0-9]+/users', upstreams: [a]}
         - {path: /v1/users, upstreams: [b]}
         - {path: '/(v1|v2)/.*', upstreams: [c]}
         - {path: '(?i)/UPPER', upstreams: [b]}",
    );
    assert_eq!(routed.answer("/v1/users"), "a");
    assert_eq!(routed.answer("/v2/things"), "c");
    assert_eq!(routed.answer("/v3/things"), "404");
    assert_eq!(routed.answer("/upper"), "b");
}

#[test]
fn path_types_say_otherwise() {
    let routed = Routed::by(
        "- {path: /exact, pathType: exact, upstreams: [a]}
         - {path: /api, pathType: prefix, upstreams: [b]}
         - {path: '/re.*x', pathType: regex, upstreams: [c]}",
    );
    assert_eq!(routed.answer("/exact"), "a");
    assert_eq!(
        routed.answer("/exact?q=1"),
        "a",
        "the query is not part of the path"
    );
    assert_eq!(routed.answer("/exact/"), "404");
    for inside in ["/api", "/api/", "/api/x", "/api?x"] {
        assert_eq!(routed.answer(inside), "b", "{inside}");
    }
    assert_eq!(routed.answer("/apix"), "404", "prefixes go by path element");
    assert_eq!(routed.answer("/re/x"), "c");
}

#[test]
fn hosts_are_exact_or_wildcards_without_case_port_or_final_dot() {
    let routed = Routed::by(
        "- {host: www.example.com, path: /, upstreams: [a]}
         - {host: '*.example.com', path: /, upstreams: [b]}",
    );
    for exact in [
        "www.example.com",
        "WWW.Example.COM",
        "www.example.com:8080",
        "www.example.com.",
    ] {
        assert_eq!(routed.answer_for_host(exact), "a", "{exact}");
    }
    for below in ["api.example.com", "a.b.example.com", "API.example.com:1"] {
        assert_eq!(routed.answer_for_host(below), "b", "{below}");
    }
    for outside in ["example.com", "badexample.com", "example.com.evil.test"] {
        assert_eq!(routed.answer_for_host(outside), "404", "{outside}");
    }
}

#[test]
fn an_absolute_target_names_the_host() {
    let routed = Routed::by(
        "- {host: www.example.com, path: /in, upstreams: [a]}
         - {path: /, upstreams: [b]}",
    );
    let sent = "GET http://www.example.com/in HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    assert_eq!(routed.answer_to(sent), "a");
}

#[test]
fn methods_narrow_a_rule() {
    let routed = Routed::by(
        "- {path: /, methods: [POST, PUT], upstreams: [a]}
         - {path: /, methods: [GET], upstreams: [b]}",
    );
    let with = |method: &str| {
        let length = "content-length: 0";
        routed.answer_to(&format!(
            "{method} / HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n"
        ))
    };
    assert_eq!(with("POST"), "a");
    assert_eq!(with("PUT"), "a");
    assert_eq!(with("GET"), "b");
    assert_eq!(with("DELETE"), "404");
    assert_eq!(with("post"), "404", "methods have case");
}

#[test]
fn header_conditions_narrow_a_rule() {
    let routed = Routed::by(
        "- {path: /, headers: [{name: X-Version, value: beta}], upstreams: [a]}
         - {path: /, headers: [{name: x-version, regex: 'v[0-9]+'}, {name: x-key, present: true}], upstreams: [b]}
         - {path: /, upstreams: [c]}",
    );
    let with =
        |headers: &str| routed.answer_to(&format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n"));
    assert_eq!(with("x-version: beta\r\n"), "a");
    assert_eq!(with("X-VERSION: beta\r\n"), "a");
    assert_eq!(with("x-version: Beta\r\n"), "c", "values have case");
    assert_eq!(with("x-version: v2\r\nx-key: 1\r\n"), "b");
    assert_eq!(with("x-version: v2\r\n"), "c", "all conditions must hold");
    assert_eq!(
        with("x-version: v2x\r\nx-key: 1\r\n"),
        "c",
        "the whole value is matched"
    );
}

#[test]
fn query_conditions_narrow_a_rule() {
    let routed = Routed::by(
        "- {path: /, query: [{name: debug, present: true}], upstreams: [a]}
         - {path: /, query: [{name: user, value: 'a b'}], upstreams: [b]}
         - {path: /, upstreams: [c]}",
    );
    assert_eq!(routed.answer("/?debug"), "a");
    assert_eq!(routed.answer("/?x=1&debug=0"), "a");
    assert_eq!(routed.answer("/?user=a%20b"), "b");
    assert_eq!(routed.answer("/?user=a+b"), "b");
    assert_eq!(routed.answer("/?user=ab"), "c");
    assert_eq!(routed.answer("/?debugger=1"), "c");
}

#[test]
fn several_upstreams_take_turns() {
    let routed = Routed::by("- {path: /, upstreams: [a, b]}");
    let mut answers: Vec<String> = (0..6).map(|_| routed.answer("/")).collect();
    answers.sort();
    assert_eq!(answers, ["a", "a", "a", "b", "b", "b"]);
}

#[test]
fn weights_share_out_the_requests() {
    let routed = Routed::by(
        "- {path: /, upstreams: [{id: a, weight: 3}, {id: b, weight: 1}, {id: c, weight: 0}]}",
    );
    let answers: Vec<String> = (0..40).map(|_| routed.answer("/")).collect();
    let share = |id: &str| answers.iter().filter(|answer| *answer == id).count();
    assert_eq!([share("a"), share("b"), share("c")], [30, 10, 0]);
    let mut longest = answers.chunk_by(|x, y| x == y).map(<[String]>::len);
    assert!(
        longest.all(|run| run <= 6),
        "smooth, not in blocks: {answers:?}"
    );
}

#[test]
fn several_servers_of_an_upstream_take_turns() {
    let servers = ["one", "two"].map(Upstream::saying);
    let [one, two] = servers.each_ref().map(Upstream::url);
    let sluice = Sluice::start(&format!(
        "
        server:
          listen: 127.0.0.1:0
          workers: 1
          upstreams:
            - id: app
              servers: [{{url: '{one}', weight: 1}}, {{url: '{two}', weight: 3}}]
          rules:
            - {{path: /, upstreams: [app]}}
        "
    ));
    let answers: Vec<String> = (0..8).map(|_| sluice.get("/").text()).collect();
    let share = |text: &str| answers.iter().filter(|answer| *answer == text).count();
    assert_eq!([share("one"), share("two")], [2, 6]);
}

#[test]
fn no_rule_is_404_rule_not_found() {
    let routed = Routed::by("- {path: /here, upstreams: [a]}");
    let response = routed.sluice.get("/elsewhere").with_status(404);
    assert_eq!(response.text().trim_end(), "Rule not found");
}

#[test]
fn the_target_reaches_the_upstream_as_it_was_sent() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let target = "/a/../b//c%2Fd;p=1/%7e?x=1&y=%20+&&z=[1]|";
    sluice.get(target).with_status(200);
    assert_eq!(upstream.the_request().head.target(), target);
}

#[test]
fn a_path_in_the_url_of_an_upstream_is_put_before_the_path() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::start(&crate::harness::sluice::config(
        &format!("{}/base/", upstream.url()),
        "",
    ));
    sluice.get("/x?y=1").with_status(200);
    assert_eq!(upstream.the_request().head.target(), "/base/x?y=1");
}
