use super::super::load;
use super::super::snapshot::Target;
use super::*;

fn snapshot(server: &str) -> Snapshot {
    let text = format!(
        "server:\n  listen: 8080\n  upstreams: [{{id: todos, url: 'http://todos.example.com/base'}}]\n  \
         rules: [{{path: /, upstreams: [todos]}}]\n{server}"
    );
    let loaded = load(&text, &mut |_| Ok("hidden".into()));
    let config = loaded
        .config
        .unwrap_or_else(|| panic!("{text}\n{:?}", loaded.diagnostics));
    Snapshot::build(&config, 1).unwrap()
}

fn server(snapshot: &Snapshot) -> &Server {
    match &snapshot.upstreams[0].target {
        Target::Servers(servers) => &servers[0],
        Target::Echo => panic!("no server"),
    }
}

fn rewritten(snapshot: &Snapshot, lines: &[(&'static str, &'static str)]) -> Fields {
    let mut headers = Fields::of(lines);
    let peer = "192.0.2.7".parse().unwrap();
    let passage = Passage {
        snapshot,
        upstream: &snapshot.upstreams[0],
        origin: forwarded::origin(peer, &headers, &snapshot.trusted_proxies),
        scheme: "http",
        host: "shop.example",
        method: &Method::GET,
        path: "/cart",
        request_id: RequestId::Given(HeaderValue::from_static("id-1")),
        tls: TlsFacts::default(),
    };
    let values = Values::default();
    if let Some(told) = passage.rewrite(&mut headers, &values) {
        told.put_into(&mut headers, &values);
    }
    headers
}

#[test]
fn settings_win_over_the_client_and_see_what_it_sent() {
    let snapshot = snapshot(
        "  headers:\n  - {key: x-forward-for, value: $ip}\n  - {key: Authorization, value: Bearer xyz}\n  \
         - {key: x-was, value: '$header.connection $method $path $upstream $request_id'}\n  \
         - {key: x-gone, value: $header.absent}\n",
    );
    let headers = rewritten(
        &snapshot,
        &[
            ("authorization", "Basic eA=="),
            ("connection", "x-a, authorization"),
            ("x-a", "1"),
            ("x-gone", "client's"),
        ],
    );
    assert_eq!(headers.text("x-forward-for"), "192.0.2.7");
    assert_eq!(headers.text("authorization"), "Bearer xyz");
    assert_eq!(
        headers.text("x-was"),
        "x-a, authorization GET /cart todos id-1"
    );
    assert_eq!(headers.text("x-forwarded-for"), "192.0.2.7");
    assert_eq!(headers.text("x-request-id"), "id-1");
    for gone in ["connection", "x-a", "x-gone", "via"] {
        assert!(!headers.has(gone), "{gone}");
    }
}

#[test]
fn via_is_added_where_asked_for_both_ways() {
    let snapshot = snapshot("  via: true\n");
    assert_eq!(rewritten(&snapshot, &[]).text("via"), "1.1 sluice");
    let mut response = Fields::of(&[("Connection", "close")]);
    rewrite_response(&mut response, &snapshot);
    assert_eq!(response.text("via"), "1.1 sluice");
    assert!(!response.has("connection"));
}

#[test]
fn host_is_the_upstreams_unless_told_otherwise() {
    for (settings, expected) in [
        ("", "todos.example.com"),
        ("  hostHeader: preserve\n", "shop.example"),
    ] {
        let snapshot = snapshot(settings);
        let headers = rewritten(&snapshot, &[("host", "shop.example")]);
        let host = host(&snapshot.upstreams[0], server(&snapshot), &headers);
        assert_eq!(host, expected.as_bytes(), "{settings}");
    }
}

#[test]
fn target_begins_with_the_servers_base_path() {
    let snapshot = snapshot("");
    assert_eq!(target("/x?y", server(&snapshot)), "/base/x?y");
}
