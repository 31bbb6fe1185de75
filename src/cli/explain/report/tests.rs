use super::super::text;
use super::*;
use crate::model;

const CONFIG: &str = "
server:
  listen: 8080
  trustedProxies: [10.0.0.0/8]
  upstreams:
    - {id: todos, url: 'http://todos.example.com/base'}
    - {id: dummy, servers: [{url: 'http://127.0.0.1:9000', weight: 3}, {url: 'http://[::1]:9001'}]}
    - {id: echo, url: 'builtin://echo'}
  headers:
    - {key: x-forward-for, value: $ip}
    - {key: Authorization, value: Bearer xyz}
    - {key: x-token, value: 'v1 ${env:TOKEN}'}
  rules:
    - {name: admin, host: admin.example, path: /, upstreams: [echo]}
    - {name: orders, path: /orders, methods: [POST], upstreams: [echo]}
    - {name: blue, path: /orders, headers: [{name: x-env, value: blue}], upstreams: [echo]}
    - {name: split, path: /orders, upstreams: [{id: todos, weight: 1}, {id: dummy, weight: 3}]}
    - {name: test, path: /test, pathType: exact, upstreams: [dummy]}
";

fn report(yaml: &str, url: &str, lines: &[&str], shown: Shown) -> Report {
    let loaded = model::load(yaml, &mut |_| Ok(MASK.to_owned()));
    let config = loaded
        .config
        .unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    let snapshot = Snapshot::build(&config, 1).unwrap();
    let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    let request = Request::parse(url, "GET", &lines, "10.0.0.1".parse().unwrap()).unwrap();
    Report::build(&config, &snapshot, &request, shown)
}

fn printed(report: &Report) -> String {
    let mut out = Vec::new();
    text::write(&mut out, report).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn everything_about_a_request_is_said() {
    let lines = [
        "X-Env: red",
        "X-Forwarded-For: 192.0.2.7",
        "Connection: x-env",
    ];
    let report = report(
        CONFIG,
        "http://shop.example/orders/7?x=1",
        &lines,
        Shown::Relevant,
    );
    assert_eq!(
        printed(&report),
        "\
GET http://shop.example/orders/7?x=1 from 192.0.2.7

rules tried, in order:
  1  admin   host: `shop.example` is not `admin.example`
  2  orders  method: GET is not POST
  3  blue    header x-env: `red` is not `blue`
  4  split   takes it

route split, rule 4 of 5

upstream todos, 25% of the route's requests
  todos.example.com:80 (100%) is asked for /base/orders/7?x=1 with host: todos.example.com
    authorization: ***
    x-forward-for: 192.0.2.7
    x-forwarded-for: 192.0.2.7, 10.0.0.1
    x-forwarded-host: shop.example
    x-forwarded-proto: http
    x-request-id: (a new id)
    x-token: v1 ***

upstream dummy, 75% of the route's requests
  127.0.0.1:9000 (75%) is asked for /orders/7?x=1 with host: 127.0.0.1:9000
  [::1]:9001 (25%) is asked for /orders/7?x=1 with host: [::1]:9001
    authorization: ***
    x-forward-for: 192.0.2.7
    x-forwarded-for: 192.0.2.7, 10.0.0.1
    x-forwarded-host: shop.example
    x-forwarded-proto: http
    x-request-id: (a new id)
    x-token: v1 ***
"
    );
}

#[test]
fn request_that_nobody_takes_is_a_404() {
    let report = report(CONFIG, "/nothing", &[], Shown::Relevant);
    assert!(report.route.is_none() && report.upstreams.is_empty());
    assert_eq!(report.rules.len(), 5);
    assert!(printed(&report).ends_with("no rule of 5 takes it: 404 Rule not found\n"));
}

#[test]
fn upstream_inside_the_program_has_no_address() {
    let report = report(CONFIG, "http://admin.example/", &[], Shown::Relevant);
    assert!(printed(&report).contains("\n  answered inside the program\n"));
}

#[test]
fn programs_read_the_same() {
    let report = report(CONFIG, "/test", &["x-a: 1"], Shown::Relevant);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["route"]["name"], "test");
    assert_eq!(json["rules"][0]["mismatch"], "host");
    assert_eq!(json["rules"][4]["taken"], true);
    assert_eq!(json["rulesTotal"], 5);
    assert_eq!(json["upstreams"][0]["servers"][0]["share"], 0.75);
    let headers = json["upstreams"][0]["headers"].as_array().unwrap();
    assert!(headers.contains(&serde_json::json!({"name": "x-a", "value": "1"})));
}

#[test]
fn of_many_rules_those_that_came_closest_are_shown() {
    let many: String = (0..500)
        .map(|n| {
            format!(
                "    - {{host: h{n}.example, path: /, upstreams: [a]}}\n    \
                 - {{path: /p{n}, upstreams: [a]}}\n"
            )
        })
        .collect();
    let yaml = format!(
        "server:\n  listen: 8080\n  upstreams: [{{id: a, url: 'builtin://echo'}}]\n  rules:\n{many}    \
         - {{name: post, path: /x, methods: [POST], upstreams: [a]}}\n    \
         - {{name: last, path: /, upstreams: [a]}}\n"
    );
    let relevant = report(&yaml, "http://shop.example/x", &[], Shown::Relevant);
    let names: Vec<_> = relevant
        .rules
        .iter()
        .map(|rule| rule.name.as_str())
        .collect();
    assert_eq!(names, ["post", "last"]);
    assert_eq!(
        (relevant.rules_tried, relevant.rules_not_shown),
        (1002, 1000)
    );
    assert!(printed(&relevant).contains("and 1000 more that came less close; --all shows them"));
    let all = report(&yaml, "http://shop.example/x", &[], Shown::All);
    assert_eq!((all.rules.len(), all.rules_not_shown), (1002, 0));
}
