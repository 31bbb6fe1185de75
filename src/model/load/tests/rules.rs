//! Mistakes in rules, and what is warned of.

use super::{check, header, in_server, rule, upstreams};

#[test]
fn rules_that_cannot_be() {
    check(&[
        (rule("path: /"), &["error at server.rules[0] (line 6, column 7): `upstreams` is missing; add `upstreams: ...` here"]),
        (rule("upstreams: []"), &["error at server.rules[0].upstreams (line 6, column 18): the rule has no upstream; add the id of at least one upstream"]),
        (rule("upstreams: [b]"), &["error at server.rules[0].upstreams[0] (line 6, column 19): unknown upstream `b`; did you mean `a`?"]),
        (rule("upstreams: [thing]"), &["error at server.rules[0].upstreams[0] (line 6, column 19): unknown upstream `thing`; define it under `server.upstreams`; known: a"]),
        (rule("upstreams: [a, a]"), &["error at server.rules[0].upstreams[1] (line 6, column 22): the upstream `a` is listed twice; give it a weight instead: `{id: a, weight: 2}`"]),
        (rule("upstreams: [{id: a, weight: 0}]"), &["error at server.rules[0].upstreams (line 6, column 18): all weights are 0: requests have nowhere to go; give at least one a weight of 1 or more"]),
        (rule("upstreams: [{weight: 1}]"), &["error at server.rules[0].upstreams[0] (line 6, column 19): `id` is missing; add `id: ...` here"]),
        (rule("path: /a(\nupstreams: [a]"), &["error at server.rules[0].path (line 6, column 13): the regular expression does not compile: unclosed group, at its character 3; put a `\\` before a character that stands for itself, or say `pathType: prefix` or `exact`"]),
        (rule("path: /a(?=b)\nupstreams: [a]"), &["error at server.rules[0].path (line 6, column 13): the regular expression does not compile: look-around, including look-ahead and look-behind, is not supported, at its character 3; these take unbounded time and are not supported; use several rules in order"]),
        (rule("path: '/é[z-a]'\nupstreams: [a]"), &["error at server.rules[0].path (line 6, column 13): the regular expression does not compile: invalid character class range, the start must be <= the end, at its character 4; put a `\\` before a character that stands for itself, or say `pathType: prefix` or `exact`"]),
        (rule("path: /[a-z]{900}{900}\nupstreams: [a]"), &["error at server.rules[0] (line 6, column 7): regular expression \"/[a-z]{900}{900}\" needs more than 4194304 bytes once compiled; make its regular expressions smaller: `pathType: prefix`, or fewer counted repetitions"]),
        (rule("path: a\npathType: prefix\nupstreams: [a]"), &["error at server.rules[0].path (line 6, column 13): the path `a` does not begin with `/`; write `/a`"]),
        (rule("path: /a?b\npathType: exact\nupstreams: [a]"), &["error at server.rules[0].path (line 6, column 13): the path `/a?b` has a query, which this `pathType` does not see; put it under the rule's `query`"]),
        (rule("path: /a b\npathType: exact\nupstreams: [a]"), &["error at server.rules[0].path (line 6, column 13): the path `/a b` has characters that no request's path can have; percent-encode them: a space is `%20`"]),
        (rule("pathType: exact\nupstreams: [a]"), &["error at server.rules[0].pathType (line 6, column 17): there is a `pathType` and no `path`; add `path`, or leave `pathType` out"]),
        (rule("host: '*'\nupstreams: [a]"), &["error at server.rules[0].host (line 6, column 13): `*` is not a host; leave `host` out: the rule takes any host then"]),
        (rule("host: 'a.*.b'\nupstreams: [a]"), &["error at server.rules[0].host (line 6, column 13): `a.*.b` has its `*` in the wrong place; a wildcard stands for whole names in front: `*.example.com`"]),
        (rule("host: a:80\nupstreams: [a]"), &["error at server.rules[0].host (line 6, column 13): `a:80` has a port, which is not compared; write `a`"]),
        (rule("host: http://a\nupstreams: [a]"), &["error at server.rules[0].host (line 6, column 13): `http://a` is not a host name; write a name like `shop.example.com`: no scheme, no port, no path"]),
        (rule("host: '[::x]'\nupstreams: [a]"), &["error at server.rules[0].host (line 6, column 13): `[::x]` is not a host name; write a name like `shop.example.com`: no scheme, no port, no path"]),
        (rule("host: bücher.example\nupstreams: [a]"), &["error at server.rules[0].host (line 6, column 13): `bücher.example` is not in ASCII; write its ASCII form, which begins with `xn--`"]),
        (rule("methods: []\nupstreams: [a]"), &["error at server.rules[0].methods (line 6, column 16): the list is empty; add an item, or leave the key out"]),
        (rule("methods: [get]\nupstreams: [a]"), &["error at server.rules[0].methods[0] (line 6, column 17): `get` is not a method: they are in upper case; write `GET`"]),
        (rule("methods: ['G T']\nupstreams: [a]"), &["error at server.rules[0].methods[0] (line 6, column 17): `G T` is not a method; write it like `GET`"]),
        (rule("headers: [{name: x}]\nupstreams: [a]"), &["error at server.rules[0].headers[0] (line 6, column 17): the condition says nothing about the value; add `value`, `regex` or `present: true`"]),
        (rule("headers: [{name: 'x y', value: z}]\nupstreams: [a]"), &["error at server.rules[0].headers[0].name (line 6, column 24): `x y` is not a header name; write letters, digits and `-`, like `x-forwarded-by`"]),
        (rule("headers: [{name: x, value: y, regex: z}]\nupstreams: [a]"), &["error at server.rules[0].headers[0] (line 6, column 17): the condition has more than one of `value`, `regex` and `present`; keep one, or write two conditions"]),
        (rule("headers: [{name: x, regex: '('}]\nupstreams: [a]"), &["error at server.rules[0].headers[0].regex (line 6, column 34): the regular expression does not compile: unclosed group, at its character 1; put a `\\` before a character that stands for itself, or say `pathType: prefix` or `exact`"]),
        (rule("headers: [{name: x, present: false}]\nupstreams: [a]"), &["error at server.rules[0].headers[0].present (line 6, column 36): `present` can only be true; write `present: true`; a condition that something is absent is a rule before this one"]),
        (rule("query: [{name: '', present: true}]\nupstreams: [a]"), &["error at server.rules[0].query[0].name (line 6, column 22): the parameter's name is empty; write its name, without the `?`"]),
        (rule("query: []\nupstreams: [a]"), &["error at server.rules[0].query (line 6, column 14): the list is empty; add an item, or leave the key out"]),
        ("server:\n  upstreams:\n    - id: a\n      url: a.example.com\n  rules:\n    - {name: r, path: /a, upstreams: [a]}\n    - {name: r, upstreams: [a]}\n".to_owned(), &["error at server.rules[1].name (line 7, column 14): two rules have the name `r`; give one another name; the first is on line 6"]),
        (rule("name: ''\nupstreams: [a]"), &["error at server.rules[0].name (line 6, column 13): a rule's name is empty; write a short name"]),
        (in_server("trustedProxies: [10.0.0.0/33]"), &["error at server.trustedProxies[0] (line 7, column 20): `10.0.0.0/33` is not a network; write it like `10.0.0.0/8` or `fd00::/8`, or a single IP address"]),
        (in_server("trustedProxies: [lan]"), &["error at server.trustedProxies[0] (line 7, column 20): `lan` is not a network; write it like `10.0.0.0/8` or `fd00::/8`, or a single IP address"]),
    ]);
}

#[test]
fn what_works_but_hardly_as_meant() {
    check(&[
        (
            "server:\n  upstreams:\n    - id: a\n      url: a.example.com\n".to_owned(),
            &[
                "warning at server (line 2, column 3): there is no rule: every request is answered with 404; add one: `- path: /` with `upstreams: [id]`",
                "warning at server.upstreams[0].id (line 3, column 11): no rule uses the upstream `a`; name it under a rule's `upstreams`, or remove it",
            ],
        ),
        (
            "server:\n  upstreams:\n    - id: a\n      url: a.example.com\n  rules: []\n"
                .to_owned(),
            &[
                "warning at server.upstreams[0].id (line 3, column 11): no rule uses the upstream `a`; name it under a rule's `upstreams`, or remove it",
                "warning at server.rules (line 5, column 10): there is no rule: every request is answered with 404; add one: `- path: /` with `upstreams: [id]`",
            ],
        ),
        (
            upstreams("    - {id: a, url: a}\n    - {id: b, url: b}\n"),
            &[
                "warning at server.upstreams[1].id (line 4, column 12): no rule uses the upstream `b`; name it under a rule's `upstreams`, or remove it",
            ],
        ),
        (
            header("key: x\nvalue: $hots $$ip"),
            &[
                "warning at server.headers[0].value (line 9, column 14): unknown variable `$hots` is left as written; did you mean `$host`? A dollar sign is written `$$`",
            ],
        ),
        (
            header("key: x\nvalue: ${remote}"),
            &[
                "warning at server.headers[0].value (line 9, column 14): unknown variable `${remote}` is left as written; known: $ip, $host, $scheme, $method, $path, $request_id, $upstream, $tls.version, $tls.cipher, $tls.sni, $tls.client.subject, $tls.client.san, $tls.client.fingerprint, $header.NAME; a dollar sign is written `$$`",
            ],
        ),
        (
            rule("path: test\nupstreams: [a]"),
            &[
                "warning at server.rules[0].path (line 6, column 13): this rule can never match: a path begins with `/`; write `/test`",
            ],
        ),
        (
            in_server("headers:\n    - {key: x, value: a}\n    - {key: X, value: b}"),
            &[
                "warning at server.headers[1] (line 9, column 7): the header `x` is set twice; the last one stays; remove one; the other is on line 8",
            ],
        ),
    ]);
}
