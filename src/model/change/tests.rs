use super::*;

fn config(server: &str, rest: &str) -> Config {
    let text = format!("server:\n{server}\n{rest}\n");
    let loaded = crate::model::load(&text, &mut |_| Err("no secrets".to_owned()));
    let diagnostics = loaded.diagnostics;
    loaded
        .config
        .unwrap_or_else(|| panic!("{text}{diagnostics:?}"))
}

/// Rules by name, each on a path of its own, all to one upstream with these servers.
fn with(rules: &[&str], servers: &[&str]) -> Config {
    let rules: String = rules
        .iter()
        .map(|rule| format!("    - {{name: {rule}, path: /{rule}, upstreams: [app]}}\n"))
        .collect();
    let servers: String = servers
        .iter()
        .map(|url| format!("{{url: '{url}'}}, "))
        .collect();
    let server = format!(
        "  listen: 8080\n  upstreams:\n    - id: app\n      servers: [{servers}]\n  rules:\n{rules}"
    );
    config(&server, "")
}

fn words(old: &Config, new: &Config) -> Vec<String> {
    between(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_changed_is_no_word() {
    let config = with(&["a", "b"], &["http://10.0.0.1:80"]);
    assert_eq!(words(&config, &config), Vec::<String>::new());
}

#[test]
fn rules_come_go_and_move() {
    let one = &["http://10.0.0.1:80"];
    for (old, new, expected) in [
        (
            &["a", "b"][..],
            &["a", "x", "b"][..],
            &["rule `x` added at place 2"][..],
        ),
        (&["a", "b", "c"], &["a", "c"], &["rule `b` removed"]),
        (
            &["a", "b", "c", "d"],
            &["d", "a", "b", "c"],
            &["rule `d` moved from place 4 to 1"],
        ),
        (
            &["a", "b", "c"],
            &["c", "x"],
            &[
                "rule `a` removed",
                "rule `b` removed",
                "rule `x` added at place 2",
            ],
        ),
    ] {
        assert_eq!(
            words(&with(old, one), &with(new, one)),
            expected,
            "{old:?} to {new:?}"
        );
    }
}

#[test]
fn upstreams_gain_and_lose_servers() {
    let old = with(&["a"], &["http://10.0.0.1:80", "http://10.0.0.2:80"]);
    let new = with(&["a"], &["http://10.0.0.2:80", "http://todos:9000"]);
    assert_eq!(
        words(&old, &new),
        [
            "upstream `app` gains todos:9000",
            "upstream `app` loses 10.0.0.1:80"
        ]
    );
}

#[test]
fn an_upstream_that_only_changes_its_place_is_the_same_one() {
    let of = |upstreams: &str| {
        config(
            &format!(
                "  listen: 8080\n  upstreams: [{upstreams}]\n  rules:\n    - {{path: /, upstreams: [a]}}\n    \
                 - {{path: /b, upstreams: [b]}}"
            ),
            "",
        )
    };
    let (a, b) = ("{id: a, url: 'http://a:1'}", "{id: b, url: 'http://b:1'}");
    assert_eq!(
        words(&of(&format!("{a}, {b}")), &of(&format!("{b}, {a}"))),
        Vec::<String>::new()
    );
    let other = "{id: a, url: 'http://a:2'}";
    assert_eq!(
        words(&of(&format!("{a}, {b}")), &of(&format!("{other}, {b}"))),
        ["upstream `a` gains a:2", "upstream `a` loses a:1"]
    );
}

#[test]
fn settings_and_listeners_are_named_by_their_keys() {
    let of = |listen: &str, rest: &str| {
        let echo =
            "upstreams: [{id: e, url: 'builtin://echo'}]\n  rules: [{path: /, upstreams: [e]}]";
        config(&format!("  listen: {listen}\n  {echo}"), rest)
    };
    let old = of("8080", "");
    let new = of(
        "'127.0.0.1:9090'",
        "log:\n  level: debug\ndrain:\n  timeout: 1s",
    );
    assert_eq!(
        words(&old, &new),
        [
            format!("listens on {} no more", old.listeners[0].address),
            "listens on 127.0.0.1:9090 too".to_owned(),
            "`drain` changed".to_owned(),
            "`log` changed".to_owned(),
        ]
    );
}

#[test]
fn a_listener_that_stays_may_change() {
    let of = |listen: &str| {
        let echo =
            "upstreams: [{id: e, url: 'builtin://echo'}]\n  rules: [{path: /, upstreams: [e]}]";
        config(&format!("  listen: [{listen}]\n  {echo}"), "")
    };
    let old = of("'127.0.0.1:1', '127.0.0.1:2'");
    let trusting = "proxyProtocol: {trustedSources: [10.0.0.1]}";
    let new = of(&format!(
        "'127.0.0.1:2', {{address: '127.0.0.1:1', {trusting}}}"
    ));
    assert_eq!(
        words(&old, &new),
        ["listener 127.0.0.1:1 changed: proxyProtocol"]
    );
}

#[test]
fn a_tcp_listener_may_change_where_it_leads() {
    let of = |more: &str| {
        let upstreams = "upstreams: [{id: a, url: a.test}, {id: b, url: b.test}]";
        let listen = format!("{{address: '127.0.0.1:1'{more}}}");
        let rules = "rules: [{path: /, upstreams: [a, b]}]";
        config(
            &format!("  listen: [{listen}]\n  {upstreams}\n  {rules}"),
            "",
        )
    };
    let http = of("");
    let to_a = of(", protocol: tcp, upstream: a");
    let to_b = of(", protocol: tcp, upstream: b");
    let routed = of(", protocol: tcp, upstream: b, routes: [{sni: x.test, upstream: a}]");
    for (old, new, part) in [
        (&http, &to_a, "protocol"),
        (&to_a, &to_b, "upstream"),
        (&to_b, &routed, "routes"),
    ] {
        let expected = format!("listener 127.0.0.1:1 changed: {part}");
        assert_eq!(words(old, new), [expected]);
    }
}

#[test]
fn the_run_that_keeps_its_order_is_a_longest_one() {
    let kept = |values: &[usize]| rules::longest_rising(values).len();
    for (values, expected) in [
        (&[][..], 0),
        (&[3], 1),
        (&[3, 2, 1], 1),
        (&[3, 0, 1, 2], 3),
        (&[0, 4, 1, 2, 5, 3], 4),
    ] {
        assert_eq!(kept(values), expected, "{values:?}");
    }
}
