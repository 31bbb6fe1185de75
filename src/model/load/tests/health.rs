use super::check;

fn upstream(check: &str) -> String {
    format!(
        "server:\n  upstreams:\n    - {{id: a, url: a, healthCheck: {{{check}}}}}\n  rules:\n    - upstreams: [a]\n"
    )
}

#[test]
fn health_checks_that_cannot_be() {
    check(&[
        (
            upstream("type: htp"),
            &[
                "error at server.upstreams[0].healthCheck.type (line 3, column 43): expected one of http, tcp, grpc, found `htp`; did you mean `http`?",
            ],
        ),
        (
            upstream("type: tcp, path: /x"),
            &[
                "error at server.upstreams[0].healthCheck (line 3, column 36): a check of type `tcp` has no `path`; remove `path`, or change `type`",
            ],
        ),
        (
            upstream("service: a"),
            &[
                "error at server.upstreams[0].healthCheck (line 3, column 36): a check of type `http` has no `service`; remove `service`, or change `type`",
            ],
        ),
        (
            upstream("path: healthz"),
            &[
                "error at server.upstreams[0].healthCheck.path (line 3, column 43): `healthz` is not a path; begin it with `/`, as in `/healthz`",
            ],
        ),
        (
            upstream("method: get"),
            &[
                "error at server.upstreams[0].healthCheck.method (line 3, column 45): `get` is not a method to check with; write one in upper case, like `GET` or `HEAD`",
            ],
        ),
        (
            upstream("host: 'a b'"),
            &[
                "error at server.upstreams[0].healthCheck.host (line 3, column 43): `a b` cannot be sent as Host; write a name like `shop.example.com`",
            ],
        ),
        (
            upstream("expectedStatus: [200, 299-200]"),
            &[
                "error at server.upstreams[0].healthCheck.expectedStatus[1] (line 3, column 59): `299-200` is not a status or a range of them; write one like `200`, `200-299` or `2xx`",
            ],
        ),
        (
            upstream("expectedStatus: []"),
            &[
                "error at server.upstreams[0].healthCheck.expectedStatus (line 3, column 53): no status is expected; add one, like `200`, or leave the key out",
            ],
        ),
        (
            upstream("intervall: 1s"),
            &[
                "error at server.upstreams[0].healthCheck.intervall (line 3, column 37): unknown key `intervall`; did you mean `interval`?",
            ],
        ),
        (
            upstream("unhealthyThreshold: 0"),
            &[
                "error at server.upstreams[0].healthCheck.unhealthyThreshold (line 3, column 57): expected a number from 1 to 1000, found `0`; write a whole number, at least 1 and at most 1000",
            ],
        ),
        (
            upstream("headers: [{key: host, value: a}]"),
            &[
                "error at server.upstreams[0].healthCheck.headers[0].key (line 3, column 53): `host` is not set as a header; use `hostHeader: preserve` or `hostHeader: upstream`",
            ],
        ),
    ]);
}

#[test]
fn headers_and_schemes_of_checks() {
    let variable = "error at server.upstreams[0].healthCheck.headers[0].value (line 3, column 65): `$ip` is of a request, and a check is sent for none; write the value itself, or a secret like `env:NAME`; a dollar sign is written `$$`";
    check(&[
        (
            upstream("headers: [{key: x-a, value: 'for $ip'}]"),
            &[variable],
        ),
        (
            upstream("headers: [{key: x-a, value: '${header.x-b}'}]"),
            &[
                "error at server.upstreams[0].healthCheck.headers[0].value (line 3, column 65): `$header.x-b` is of a request, and a check is sent for none; write the value itself, or a secret like `env:NAME`; a dollar sign is written `$$`",
            ],
        ),
        (
            upstream("headers: [{key: x-a, value: 'a$$b env:TOKEN'}]"),
            &[],
        ),
        (upstream("headers: [{key: x-a, value: env:TOKEN}]"), &[]),
        (
            upstream("scheme: https"),
            &[
                "error at server.upstreams[0].healthCheck.scheme (line 3, column 45): a server has an `http://` url, so nothing says how to speak TLS with it; write `https://` there, or remove `scheme`",
            ],
        ),
        (upstream("scheme: http, port: 81"), &[]),
    ]);
}
