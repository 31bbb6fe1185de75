use super::check;

fn upstream(keys: &str) -> String {
    format!(
        "server:\n  upstreams:\n    - {{id: a, url: a, {keys}}}\n  rules:\n    - upstreams: [a]\n"
    )
}

#[test]
fn nothing_to_place_by() {
    let placed = |by: &str| {
        upstream(&format!(
            "balance: {{policy: consistent-hash, hashOn: {by}}}"
        ))
    };
    check(&[
        (placed("client-address"), &[]),
        (
            placed("source-ip"),
            &[
                "error at server.upstreams[0].balance.hashOn (line 3, column 66): expected `client-address`, found `source-ip`; write `client-address`",
            ],
        ),
        (
            placed("{cookie: ''}"),
            &[
                "error at server.upstreams[0].balance.hashOn.cookie (line 3, column 75): `` is not the name of a cookie; write letters, digits, `-`, `_` and `.`",
            ],
        ),
        (
            placed("{cookie: 'a b'}"),
            &[
                "error at server.upstreams[0].balance.hashOn.cookie (line 3, column 75): `a b` is not the name of a cookie; write letters, digits, `-`, `_` and `.`",
            ],
        ),
        (
            placed("{query: ''}"),
            &[
                "error at server.upstreams[0].balance.hashOn.query (line 3, column 74): the parameter's name is empty; write its name, without the `?`",
            ],
        ),
        (
            placed("{header: 'a b'}"),
            &[
                "error at server.upstreams[0].balance.hashOn.header (line 3, column 75): `a b` is not a header name; write letters, digits and `-`, like `x-forwarded-by`",
            ],
        ),
        (
            placed("{header: a, cookie: b}"),
            &[
                "error at server.upstreams[0].balance.hashOn (line 3, column 66): a request is placed by one thing; write one of `header`, `cookie` and `query` with a name, or `client-address`",
            ],
        ),
        (
            upstream("balance: {policy: random, hashOn: {header: a}}"),
            &[
                "error at server.upstreams[0].balance.hashOn (line 3, column 57): `hashOn` has no effect with this policy; remove it, or write `policy: consistent-hash`",
            ],
        ),
        (
            upstream("balance: round-robbin"),
            &[
                "error at server.upstreams[0].balance (line 3, column 32): expected one of round-robin, random, least-connections, peak-ewma, ip-hash, consistent-hash, found `round-robbin`; did you mean `round-robin`?",
            ],
        ),
    ]);
}

#[test]
fn cookies_that_browsers_refuse() {
    let sticky = |keys: &str| upstream(&format!("sticky: {{{keys}}}"));
    check(&[
        (sticky("cookie: __Host-a, attributes: {secure: true}"), &[]),
        (
            sticky("cookie: __Host-a"),
            &[
                "error at server.upstreams[0].sticky.cookie (line 3, column 40): browsers refuse `__Host-` without `secure`, or with a `path` or `domain`; write `secure: true`, and neither `path` nor `domain`; or another name",
            ],
        ),
        (
            sticky("cookie: __host-a, attributes: {secure: true, path: /x}"),
            &[
                "error at server.upstreams[0].sticky.cookie (line 3, column 40): browsers refuse `__Host-` without `secure`, or with a `path` or `domain`; write `secure: true`, and neither `path` nor `domain`; or another name",
            ],
        ),
        (
            sticky("cookie: __Secure-a"),
            &[
                "error at server.upstreams[0].sticky.cookie (line 3, column 40): browsers refuse `__Secure-` without `secure`; write `secure: true` among its `attributes`, or another name",
            ],
        ),
        (
            sticky("cookie: a, attributes: {sameSite: none}"),
            &[
                "error at server.upstreams[0].sticky.attributes.sameSite (line 3, column 66): browsers refuse `none` without `secure`; write `secure: true` beside it, or `sameSite: lax`",
            ],
        ),
    ]);
}
