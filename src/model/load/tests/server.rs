//! Mistakes in addresses, upstreams and headers.

use super::{beside_server, check, header, in_server, load, secrets, upstreams};

#[test]
fn addresses() {
    check(&[
        (
            in_server("listen: []"),
            &[
                "error at server.listen (line 7, column 11): there is nothing to listen on; write a port, like `8080`",
            ],
        ),
        (
            in_server("listen: 99999"),
            &[
                "error at server.listen (line 7, column 11): `99999` is not a port; write a port from 1 to 65535, or 0 for any free one",
            ],
        ),
        (
            in_server("listen: localhost:80"),
            &[
                "error at server.listen (line 7, column 11): `localhost` is a name; connections are accepted on addresses; write `127.0.0.1:80`, or `[::1]:80` for IPv6",
            ],
        ),
        (
            in_server("listen: '::1:8080'"),
            &[
                "error at server.listen (line 7, column 11): `::1:8080` has an IPv6 address without brackets; write `[::1]:8080`",
            ],
        ),
        (
            in_server("listen: 10.0.0.1"),
            &[
                "error at server.listen (line 7, column 11): `10.0.0.1` has no port; write it like `10.0.0.1:8080`",
            ],
        ),
        (
            in_server("listen: shop:http"),
            &[
                "error at server.listen (line 7, column 11): `shop:http` is not an address to listen on; write a port (`8080`), `address:port` (`127.0.0.1:8080`) or `[::]:8080` for IPv6",
            ],
        ),
        (
            in_server("listen: '[10.0.0.1]:80'"),
            &[
                "error at server.listen (line 7, column 11): `[10.0.0.1]:80` is not an address; an IPv6 address stands in brackets, an IPv4 address does not",
            ],
        ),
        (
            in_server("listen: [8080, '0.0.0.0:8080']"),
            &[
                "error at server.listen[1] (line 7, column 18): `0.0.0.0:8080` is listened on twice; remove one; the first is on line 7",
            ],
        ),
        (
            in_server("listen: [{address: 1, proxyProtocol: {trustedSources: []}}]"),
            &[
                "error at server.listen[0].proxyProtocol.trustedSources (line 7, column 57): nobody may send a PROXY protocol header; write the networks of the load balancers, like `10.0.0.0/8`, or remove the section",
            ],
        ),
        (
            in_server(
                "listen: [{address: 1, proxyProtocol: {mode: on, trustedSources: [10.0.0.0/40]}}]",
            ),
            &[
                "error at server.listen[0].proxyProtocol.mode (line 7, column 47): expected one of require, optional, found `on`; write require or optional",
                "error at server.listen[0].proxyProtocol.trustedSources[0] (line 7, column 68): `10.0.0.0/40` is not a network; write it like `10.0.0.0/8` or `fd00::/8`, or a single IP address",
            ],
        ),
        (
            in_server("listen: [{address: 1, proxyProtocol: {mode: optional}}]"),
            &[
                "error at server.listen[0].proxyProtocol (line 7, column 40): `trustedSources` is missing; add `trustedSources: ...` here",
            ],
        ),
        (
            in_server("listen: [{address: 1, upstream: a}]"),
            &[
                "error at server.listen[0].upstream (line 7, column 35): `upstream` is for connections that are passed on as they are; add `protocol: tcp`; where requests go is said by `server.rules`",
            ],
        ),
        (
            in_server("listen: [{address: 1, protocol: tcp}]"),
            &[
                "error at server.listen[0].protocol (line 7, column 35): connections would go nowhere; add `upstream: ID`, or `routes:` by server name",
            ],
        ),
        (
            in_server("listen: [{address: 1, protocol: tcp, upstream: b, routes: []}]"),
            &[
                "error at server.listen[0].upstream (line 7, column 50): unknown upstream `b`; did you mean `a`?",
                "error at server.listen[0].routes (line 7, column 61): there is no route; add one, or leave the key out",
            ],
        ),
        (
            in_server(
                "listen: [{address: 1, protocol: tcp, routes: [{sni: [10.0.0.1, x, x], upstream: a}]}]",
            ),
            &[
                "error at server.listen[0].routes[0].sni[0] (line 7, column 56): `10.0.0.1` is an address; TLS clients ask for names; leave it to the listener's `upstream`, which takes what no route does",
                "warning at server.listen[0].routes[0].sni[2] (line 7, column 69): `x` is routed twice; the first one wins; remove one; the first is on line 7",
            ],
        ),
        (
            in_server(
                "listen: [{address: 1, protocol: tcp, upstream: a, redirectHttps: true, hsts: {}}]",
            ),
            &[
                "error at server.listen[0].redirectHttps (line 7, column 68): `redirectHttps` is for requests, and `protocol: tcp` sees none; put it at a listener for HTTP, or remove it",
                "error at server.listen[0].hsts (line 7, column 80): `hsts` is for requests, and `protocol: tcp` sees none; put it at a listener for HTTP, or remove it",
            ],
        ),
        (
            in_server("listen: [{adress: 1}]"),
            &[
                "error at server.listen[0] (line 7, column 12): `address` is missing; add `address: ...` here",
                "error at server.listen[0].adress (line 7, column 13): unknown key `adress`; did you mean `address`?",
            ],
        ),
        (
            in_server("listen: 127.0.0.1:70000"),
            &[
                "error at server.listen (line 7, column 11): `70000` is not a port; write a port from 1 to 65535, or 0 for any free one",
            ],
        ),
        (
            in_server("listen: 127.0.0.1:9901\nadmin: {listen: '127.0.0.1:9901'}"),
            &[
                "error at admin.listen (line 8, column 17): `127.0.0.1:9901` is an address of `server.listen` too; give the admin port an address of its own",
            ],
        ),
        (
            beside_server("admin: {listen: here}"),
            &[
                "error at admin.listen (line 7, column 17): `here` is not an address to listen on; write a port (`8080`), `address:port` (`127.0.0.1:8080`) or `[::]:8080` for IPv6",
            ],
        ),
        (
            beside_server("admin: {token: ''}"),
            &[
                "error at admin.token (line 7, column 16): the token is empty; give it a value, or leave the key out",
            ],
        ),
        (
            beside_server("admin: {token: 'env:NONE'}"),
            &[
                "error at admin.token (line 7, column 16): env:NONE cannot be read: it is not there; set the environment variable `NONE` where sluice starts",
            ],
        ),
    ]);
}

#[test]
fn upstreams_that_cannot_be_used() {
    check(&[
        (upstreams("    - url: a\n"), &["error at server.upstreams[0] (line 3, column 7): `id` is missing; add `id: ...` here", "error at server.rules[0].upstreams[0] (line 5, column 19): unknown upstream `a`; define it under `server.upstreams`"]),
        (upstreams("    - id: a\n"), &["error at server.upstreams[0] (line 3, column 7): the upstream has neither `url` nor `servers`; add `url: http://host:port`, or `servers:` with several"]),
        (upstreams("    - id: a\n      url: a\n      servers: [a]\n"), &["error at server.upstreams[0].servers (line 5, column 16): the upstream has both `url` and `servers`; keep one: `url` for a single server, `servers` for several"]),
        (upstreams("    - id: a\n      servers: []\n"), &["error at server.upstreams[0].servers (line 4, column 16): the upstream has no server; add one: `- url: http://host:port`"]),
        (upstreams("    - {id: a, url: a}\n    - {id: a, url: b}\n"), &["error at server.upstreams[1].id (line 4, column 12): the upstream `a` is defined twice; give one another id, or join their servers; the first is on line 3"]),
        (upstreams("    - {id: a, url: 'ftp://a'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `ftp` is not a scheme of an upstream; write `http://host:port`, `dns+srv://name`, `unix:/path`, or `builtin://echo`"]),
        (upstreams("    - {id: a, url: 'builtin://ecko'}\n"), &["error at server.upstreams[0].url (line 3, column 20): there is no builtin `ecko`; write `builtin://echo`"]),
        (upstreams("    - {id: a, url: 'a:0'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `0` is not a port; write a port from 1 to 65535"]),
        (upstreams("    - {id: a, url: 'a b'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `a b` is not a host name; write a name like `shop.example.com`: no scheme, no port, no path"]),
        (upstreams("    - {id: a, url: 'dns+srv://_http._tcp.a:80'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `dns+srv://_http._tcp.a:80` has more than a name; write `dns+srv://_http._tcp.name`: the ports are those of the SRV records"]),
        (upstreams("    - {id: a, url: 'dns+srv://10.0.0.1'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `dns+srv://10.0.0.1` has an address instead of a name; write `http://` before an address"]),
        (upstreams("    - {id: a, url: 'unix:app.sock'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `app.sock` is not the path of a socket; write the whole path: `unix:/run/app.sock`"]),
        (upstreams("    - {id: a, url: 'http://'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `http://` has no host; write `http://host:port`"]),
        (upstreams("    - {id: a, url: 'http://::1'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `http://::1` is not a url; an IPv6 address stands in brackets: `http://[::1]:9000`"]),
        (upstreams("    - {id: a, url: 'http://u:p@a'}\n"), &["error at server.upstreams[0].url (line 3, column 20): the url has a user name in it; set an `Authorization` header under `server.headers` instead"]),
        (upstreams("    - {id: a, url: 'a/?x=1'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `a/?x=1` has a query or a fragment; keep scheme, host, port and path; requests bring their own query"]),
        (upstreams("    - {id: a, url: 'a/ü'}\n"), &["error at server.upstreams[0].url (line 3, column 20): the path of `a/ü` has characters a path cannot have; percent-encode them: a space is `%20`"]),
        (upstreams("    - {id: a, url: 'bücher.example'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `bücher.example` is not in ASCII; write its ASCII form, which begins with `xn--`"]),
        (upstreams("    - {id: a, url: '1.2.3.999'}\n"), &["error at server.upstreams[0].url (line 3, column 20): `1.2.3.999` is not a host name; write a name like `shop.example.com`: no scheme, no port, no path"]),
        (upstreams("    - {id: a, url: 'builtin://echo', proxyProtocol: v1}\n"), &["error at server.upstreams[0].proxyProtocol (line 3, column 53): a builtin has no connections; remove it, or give the upstream a `url` of a server"]),
        (upstreams("    - {id: a, servers: ['builtin://echo']}\n"), &["error at server.upstreams[0].servers[0] (line 3, column 25): a builtin cannot be one of several servers; give the upstream `url: builtin://echo` and no servers"]),
        (upstreams("    - {id: a, servers: [{url: a, weight: 0}]}\n"), &["error at server.upstreams[0].servers[0].weight (line 3, column 42): expected a number from 1 to 1000000, found `0`; write a whole number, at least 1 and at most 1000000"]),
        ("server:\n  upstreams:\n    - {id: '', url: a}\n  rules:\n    - upstreams: ['']\n".to_owned(), &["error at server.upstreams[0].id (line 3, column 12): an upstream's id is empty; write a short name"]),
        ("server:\n  upstreams:\n    - {id: \"a\\tb\", url: a}\n  rules:\n    - upstreams: [\"a\\tb\"]\n".to_owned(), &["error at server.upstreams[0].id (line 3, column 12): an upstream's id `a\\tb` has characters that would not show; write it without control characters and spaces at its ends"]),
    ]);
}

#[test]
fn headers_that_cannot_be_set() {
    check(&[
        (
            header("key: x y\nvalue: z"),
            &[
                "error at server.headers[0].key (line 8, column 12): `x y` is not a header name; write letters, digits and `-`, like `x-forwarded-by`",
            ],
        ),
        (
            header("key: Host\nvalue: z"),
            &[
                "error at server.headers[0].key (line 8, column 12): `host` is not set as a header; use `hostHeader: preserve` or `hostHeader: upstream`",
            ],
        ),
        (
            header("key: Content-Length\nvalue: 1"),
            &[
                "error at server.headers[0].key (line 8, column 12): `content-length` belongs to the connection; the proxy sets it itself; remove it",
            ],
        ),
        (
            header("key: x"),
            &[
                "error at server.headers[0] (line 8, column 7): `value` is missing; add `value: ...` here",
            ],
        ),
        (
            header("value: x"),
            &[
                "error at server.headers[0] (line 8, column 7): `key` is missing; add `key: ...` here",
            ],
        ),
        (
            header("key: x\nvalue: \"a\\nb\""),
            &[
                "error at server.headers[0].value (line 9, column 14): a header value cannot contain a line feed; write the value on one line",
            ],
        ),
        (
            header("key: x\nvalue: env:NONE"),
            &[
                "error at server.headers[0].value (line 9, column 14): env:NONE cannot be read: it is not there; set the environment variable `NONE` where sluice starts",
            ],
        ),
        (
            header("key: x\nvalue: a ${file:/none}"),
            &[
                "error at server.headers[0].value (line 9, column 14): file:/none cannot be read: it is not there; put the value into `/none`, readable for sluice",
            ],
        ),
        (
            header("key: x\nvalue: ${env:}"),
            &[
                "error at server.headers[0].value (line 9, column 14): `` cannot be the name of an environment variable; write `env:NAME` or `file:/path`",
            ],
        ),
        (
            header("key: x\nvalue: ${ip"),
            &[
                "error at server.headers[0].value (line 9, column 14): `${` without its `}`; close it: `${ip}`; a dollar sign is written `$$`",
            ],
        ),
        (
            header("key: x\nvalue: env:LINES"),
            &[
                "error at server.headers[0].value (line 9, column 14): env:LINES contains a line feed, which a header value cannot; keep one line of plain text in it; a newline at its end is taken off",
            ],
        ),
    ]);
}

#[test]
fn protocols_that_cannot_be_spoken() {
    let tls = "tls: {verify: false, alpn: [h2, http/1.1]}";
    for (keys, expected) in [
        (
            "url: http://a, protocol: h2".to_owned(),
            "`h2` needs TLS, and not all of the upstream's servers have it; write `https://` before every host, or `protocol: h2c` for HTTP/2 without TLS",
        ),
        (
            format!("servers: [https://a, http://b], protocol: h2, {tls}"),
            "`h2` needs TLS, and not all of the upstream's servers have it; ",
        ),
        (
            "url: builtin://echo, protocol: h2".to_owned(),
            "`h2` needs TLS, and not all of the upstream's servers have it; ",
        ),
        (
            format!("url: https://a, protocol: h2c, {tls}"),
            "`h2c` is HTTP/2 without TLS, and a server has an `https://` url; write `protocol: h2`",
        ),
        (
            format!("url: https://a, protocol: h2, {tls}"),
            "with `protocol: h2`, `h2` alone is offered; remove `alpn`, or `protocol` to speak what the server agrees to",
        ),
        (
            format!("url: https://a, protocol: http1, {tls}"),
            "with `protocol: http1`, `h2` is not spoken; remove `h2`, or `protocol` to speak what the server agrees to",
        ),
        (
            format!("url: https://a, proxyProtocol: v2, {tls}"),
            "a connection of HTTP/2 is for many clients, and cannot name one; remove it, or write `alpn: [http/1.1]`",
        ),
        (
            "url: http://a, proxyProtocol: v1, protocol: h2c".to_owned(),
            "a connection of HTTP/2 is for many clients, and cannot name one; remove it, or write `protocol: http1`",
        ),
    ] {
        let yaml = upstreams(&format!("    - {{id: a, {keys}}}\n"));
        let loaded = load(&yaml, &mut secrets);
        let errors: Vec<_> = loaded.errors().map(ToString::to_string).collect();
        let first = errors.first().map_or("", String::as_str);
        assert!(first.contains(expected), "{yaml}{errors:#?}");
        assert!(loaded.config.is_none());
    }
    for keys in [
        format!("url: https://a, {tls}"),
        "url: https://a, protocol: h2, tls: {verify: false}".to_owned(),
        "servers: [https://a, http://b], tls: {verify: false, alpn: [h2]}".to_owned(),
    ] {
        let yaml = upstreams(&format!("    - {{id: a, {keys}}}\n"));
        let loaded = load(&yaml, &mut secrets);
        assert_eq!(loaded.errors().count(), 0, "{yaml}");
    }
}

#[test]
fn a_try_that_may_take_as_long_as_all_of_them_is_warned_of() {
    let with = |upstream: &str, rule: &str| {
        format!(
            "server:\n  upstreams:\n    - {{id: a, url: a, timeouts: {{{upstream}}}}}\n  rules:\n    \
            - {{upstreams: [a], timeouts: {{{rule}}}}}\n"
        )
    };
    check(&[
        (with("perTry: 2s, request: 3s", ""), &[]),
        (with("perTry: 2s", "request: 1s"), &[]),
        (
            with("perTry: 3s, request: 3s", ""),
            &[
                "warning at server.upstreams[0].timeouts.perTry (line 3, column 42): `perTry` is not shorter than `request`, which ends all tries: there is no second one; make `perTry` shorter than `request`, or leave it out",
            ],
        ),
        (
            with("", "perTry: 3s, request: 2s"),
            &[
                "warning at server.rules[0].timeouts.perTry (line 5, column 43): `perTry` is not shorter than `request`, which ends all tries: there is no second one; make `perTry` shorter than `request`, or leave it out",
            ],
        ),
    ]);
}
