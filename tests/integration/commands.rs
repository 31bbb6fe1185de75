//! The commands that look at a config without running it.

use std::process::Output;

use crate::harness::sluice::command;

const BROKEN: &str = "
    server:
      listen: 127.0.0.1:0
      wokers: 2
      upstreams:
        - {id: app, url: 'http://127.0.0.1:9000'}
        - {id: app, url: 'http://127.0.0.1:99999'}
      rules:
        - {path: '/a(', upstreams: [app]}
        - {path: /, upstreams: [ap]}
    ";

const FINE: &str = "
    server:
      listen: 127.0.0.1:0
      upstreams:
        - {id: todos, url: todos.example.com}
        - {id: dummy, url: 'http://127.0.0.1:9000'}
      headers:
        - {key: x-forward-for, value: $ip}
        - {key: Authorization, value: Bearer xyz}
      rules:
        - {name: testing, path: /test, methods: [GET], upstreams: [dummy]}
        - {name: rest, path: /, upstreams: [todos]}
    ";

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything it printed, wherever.
fn printed(output: &Output) -> String {
    out(output) + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn check_accepts_a_valid_config() {
    let output = command(FINE, &["check", "-c", "CONFIG"]);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[test]
fn check_prints_all_errors_at_once_with_path_place_and_cure() {
    let output = command(BROKEN, &["check", "-c", "CONFIG"]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    let parts = [
        "server.wokers",
        "workers",
        "server.upstreams[1].id",
        "server.upstreams[1].url",
        "server.rules[0].path",
        "server.rules[1].upstreams[0]",
        "sluice.yaml:3:",
        "sluice.yaml:9:",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn check_prints_json_for_programs() {
    let output = command(BROKEN, &["check", "-c", "CONFIG", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON on stdout");
    let found = json["diagnostics"].as_array().expect("diagnostics");
    let at = |path: &str| {
        let found = found.iter().find(|diagnostic| diagnostic["path"] == path);
        found.unwrap_or_else(|| panic!("{path} is not in {json:#}"))
    };
    assert_eq!(at("server.wokers")["line"], 3);
    assert_eq!(at("server.rules[0].path")["severity"], "error");
    assert!(at("server.rules[1].upstreams[0]")["column"].is_u64());
}

#[test]
fn check_warns_of_a_rule_that_never_matches() {
    let yaml = "
        server:
          listen: 127.0.0.1:0
          upstreams:
            - {id: app, url: 'builtin://echo'}
          rules:
            - {path: /, upstreams: [app]}
            - {path: /never, upstreams: [app]}
        ";
    let output = command(yaml, &["check", "-c", "CONFIG"]);
    assert_eq!(output.status.code(), Some(0), "a warning is no error");
    let text = printed(&output);
    assert!(
        text.contains("warning") && text.contains("server.rules[1]"),
        "{text}"
    );
}

#[test]
fn check_refuses_an_empty_file_and_one_that_is_not_there() {
    let empty = command("", &["check", "-c", "CONFIG"]);
    assert_eq!(empty.status.code(), Some(1), "{}", printed(&empty));
    let missing = command("", &["check", "-c", "/nowhere/sluice.yaml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        printed(&missing).contains("/nowhere/sluice.yaml"),
        "{}",
        printed(&missing)
    );
}

#[test]
fn explain_names_the_rules_tried_the_winner_and_what_would_be_sent() {
    let url = "http://front.test/testing?x=1";
    let get = command(FINE, &["explain", "-c", "CONFIG", url]);
    assert_eq!(get.status.code(), Some(0), "{}", printed(&get));
    let text = out(&get);
    for part in [
        "testing",
        "dummy",
        "127.0.0.1:9000",
        "authorization: ",
        "x-forward-for: ",
    ] {
        assert!(
            text.to_lowercase().contains(part),
            "{part} is not in\n{text}"
        );
    }
    let post = command(FINE, &["explain", "-c", "CONFIG", "-X", "POST", url]);
    let text = out(&post);
    for part in ["testing", "method", "rest", "todos"] {
        assert!(
            text.to_lowercase().contains(part),
            "{part} is not in\n{text}"
        );
    }
}

#[test]
fn explain_says_what_is_missing_and_needs_no_secret() {
    let yaml = |listener: &str| {
        format!(
            "server:\n  listen: [{{address: 8080{listener}}}]\n  headers: [{{key: x-a, value: \
             'env:NEVER_SET'}}]\n  upstreams: [{{id: echo, url: 'builtin://echo'}}]\n  rules: [{{path: /, \
             upstreams: [echo]}}]\n"
        )
    };
    let ask = ["explain", "-c", "CONFIG", "http://x/"];
    let output = command(&yaml(""), &ask);
    assert_eq!(output.status.code(), Some(0));
    let certificate = "{cert: /nonexistent/tls.crt, key: /nonexistent/tls.key}";
    let output = command(
        &yaml(&format!(", tls: {{certificates: [{certificate}]}}")),
        &ask,
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/nonexistent/tls.crt"), "{said}");
}

#[test]
fn explain_says_so_when_no_rule_takes_the_request() {
    let yaml = FINE.replace("path: /,", "path: /only-here,");
    let output = command(
        &yaml,
        &["explain", "-c", "CONFIG", "http://front.test/elsewhere"],
    );
    let text = printed(&output);
    assert!(
        text.contains("404") && text.contains("Rule not found"),
        "{text}"
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["--no-such-option"][..],
        &["no-such-command"],
        &["check", "--format", "xml"],
    ] {
        let output = command("", arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            printed(&output)
        );
    }
}

#[test]
fn the_version_is_the_packages() {
    let output = command("", &["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        out(&output).contains(env!("CARGO_PKG_VERSION")),
        "{}",
        printed(&output)
    );
}
