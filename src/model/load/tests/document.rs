//! Mistakes of YAML, of keys and of types.

use super::{beside_server, check, in_server, rule};

#[test]
fn what_is_no_document() {
    check(&[
        (
            "".to_owned(),
            &[
                "error at (document) (line 1, column 1): the configuration is empty; begin with `server:`, and under it `upstreams` and `rules`",
            ],
        ),
        (
            "# nothing\n".to_owned(),
            &[
                "error at (document) (line 1, column 1): the configuration is empty; begin with `server:`, and under it `upstreams` and `rules`",
            ],
        ),
        (
            "---\n".to_owned(),
            &[
                "error at (document) (line 1, column 1): the configuration is empty; begin with `server:`, and under it `upstreams` and `rules`",
            ],
        ),
        (
            "server: {}\n---\nserver: {}\n".to_owned(),
            &[
                "error at (document) (line 2, column 1): a second document begins here; keep one document in the file: remove this `---` and what follows, or join the two",
            ],
        ),
        (
            "server:\n\tlisten: 1\n".to_owned(),
            &[
                "error at (document) (line 2, column 2): this is not YAML: tabs disallowed within this context (block indentation); indent with spaces",
            ],
        ),
        (
            "server: [1, 2\n".to_owned(),
            &[
                "error at (document) (line 2, column 1): this is not YAML: while parsing a flow sequence, expected ',' or ']'; check the indentation, the quotes and the colons here and on the line before",
            ],
        ),
        (
            "server: *none\n".to_owned(),
            &[
                "error at (document) (line 1, column 9): this is not YAML: while parsing node, found unknown anchor; define the anchor (`&name`) before its alias",
            ],
        ),
        (
            "a: &x [*x]\n".to_owned(),
            &[
                "error at a[0] (line 1, column 8): this alias stands inside what it refers to; write the value out here",
            ],
        ),
        (
            "- 1\n".to_owned(),
            &[
                "error at (document) (line 1, column 1): expected keys with values, found a list; write `key: value` lines below it",
            ],
        ),
        (
            "text\n".to_owned(),
            &[
                "error at (document) (line 1, column 1): expected keys with values, found `text`; write `key: value` lines below it",
            ],
        ),
        (
            "server: !secret x\n".to_owned(),
            &[
                "error at (document) (line 1, column 9): the tag `!secret` has no meaning here; remove it; a text that begins with `!` needs quotes",
            ],
        ),
        (
            "? [a]\n: b\n".to_owned(),
            &[
                "error at (document) (line 1, column 3): a key must be a plain text; write `key: value`",
            ],
        ),
        (
            in_server("workers: 1\n  workers: 2"),
            &[
                "error at server.workers (line 8, column 3): the key `workers` is given twice; remove one of the two; the first is on line 7",
            ],
        ),
        (
            "server:\n  <<: {listen: 1}\n  rules:\n    - upstreams: []\n".to_owned(),
            &[
                "error at server.<< (line 2, column 3): unknown key `<<`; YAML 1.2 has no merge keys: write the keys out, or use an alias for a whole value",
                "error at server.rules[0].upstreams (line 4, column 18): the rule has no upstream; add the id of at least one upstream",
            ],
        ),
        (
            "log: {level: info}\n".to_owned(),
            &[
                "error at (document) (line 1, column 1): `server` is missing; add `server: ...` here",
            ],
        ),
    ]);
}

#[test]
fn keys_that_are_unknown_or_misplaced() {
    check(&[
        (
            in_server("worker: 2"),
            &[
                "error at server.worker (line 7, column 3): unknown key `worker`; did you mean `workers`? `worker` itself belongs at the top level",
            ],
        ),
        (
            in_server("trustedProxes: []"),
            &[
                "error at server.trustedProxes (line 7, column 3): unknown key `trustedProxes`; did you mean `trustedProxies`?",
            ],
        ),
        (
            in_server("drain: {}"),
            &[
                "error at server.drain (line 7, column 3): unknown key `drain`; `drain` belongs at the top level",
            ],
        ),
        (
            in_server("error_header: true"),
            &[
                "error at server.error_header (line 7, column 3): unknown key `error_header`; write `errorHeader`",
            ],
        ),
        (
            in_server("colour: red"),
            &[
                "error at server.colour (line 7, column 3): unknown key `colour`; known here: listen, workers, upstreams, headers, rules, trustedProxies, hostHeader, via, errorHeader, limits, http2, sessionTickets",
            ],
        ),
        (
            beside_server("limits: {}"),
            &[
                "error at limits (line 7, column 1): unknown key `limits`; `limits` belongs under `server`",
            ],
        ),
        (
            beside_server("idleTimeout: 5s"),
            &[
                "error at idleTimeout (line 7, column 1): unknown key `idleTimeout`; `idleTimeout` belongs under `server.upstreams[].keepalive` or under `server.limits`",
            ],
        ),
        (
            rule("pathTyp: exact\nupstreams: [a]"),
            &[
                "error at server.rules[0].pathTyp (line 6, column 7): unknown key `pathTyp`; did you mean `pathType`?",
            ],
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind() {
    check(&[
        (
            in_server("via: maybe"),
            &[
                "error at server.via (line 7, column 8): expected true or false, found `maybe`; write `true` or `false`",
            ],
        ),
        (
            in_server("workers: 0"),
            &[
                "error at server.workers (line 7, column 12): expected a number from 1 to 1024, or `auto`, found `0`; write how many worker processes to run, or `auto`",
            ],
        ),
        (
            in_server("workers: many"),
            &[
                "error at server.workers (line 7, column 12): expected a number from 1 to 1024, or `auto`, found `many`; write how many worker processes to run, or `auto`",
            ],
        ),
        (
            in_server("workers: [1]"),
            &[
                "error at server.workers (line 7, column 12): expected a number from 1 to 1024, or `auto`, found a list; write how many worker processes to run, or `auto`",
            ],
        ),
        (
            in_server("limits: 5"),
            &[
                "error at server.limits (line 7, column 11): expected keys with values, found `5`; write `key: value` lines below it",
            ],
        ),
        (
            in_server("limits: {headerBytes: 10}"),
            &[
                "error at server.limits.headerBytes (line 7, column 25): expected a size from 1KiB to 1MiB, found `10`; write a size like `64KiB` or `10MiB`, or a number of bytes",
            ],
        ),
        (
            in_server("limits: {headerBytes: 64kb}"),
            &[
                "error at server.limits.headerBytes (line 7, column 25): expected a size from 1KiB to 1MiB, found `64kb`; write a size like `64KiB` or `10MiB`, or a number of bytes",
            ],
        ),
        (
            in_server("limits: {headerCount: -1}"),
            &[
                "error at server.limits.headerCount (line 7, column 25): expected a number from 1 to 4096, found `-1`; write a whole number, at least 1 and at most 4096",
            ],
        ),
        (
            in_server("limits: {bodyBytes: lots}"),
            &[
                "error at server.limits.bodyBytes (line 7, column 23): expected a size or `unlimited`, found `lots`; write a size like `64KiB` or `10MiB`, a number of bytes, or `unlimited`",
            ],
        ),
        (
            in_server("limits: {idleTimeout: 5}"),
            &[
                "error at server.limits.idleTimeout (line 7, column 25): expected a duration, found `5`; write a number with its unit: `250ms`, `5s`, `1m` or `1h`",
            ],
        ),
        (
            in_server("limits: {idleTimeout: 0s}"),
            &[
                "error at server.limits.idleTimeout (line 7, column 25): expected more than no time, found `0s`; write at least `1ms`",
            ],
        ),
        (
            in_server("limits: {idleTimeout: 9000h}"),
            &[
                "error at server.limits.idleTimeout (line 7, column 25): expected at most one year, found `9000h`; write a shorter time",
            ],
        ),
        (
            in_server("hostHeader: Preserve"),
            &[
                "error at server.hostHeader (line 7, column 15): expected one of upstream, preserve, found `Preserve`; did you mean `preserve`?",
            ],
        ),
        (
            in_server("hostHeader: client"),
            &[
                "error at server.hostHeader (line 7, column 15): expected one of upstream, preserve, found `client`; write upstream or preserve",
            ],
        ),
        (
            rule("path: [/a]\nupstreams: [a]"),
            &[
                "error at server.rules[0].path (line 6, column 13): expected a text, found a list; write one value; put it in quotes if YAML takes it for more",
            ],
        ),
        (
            rule("path: /a\nupstreams: a"),
            &[
                "error at server.rules[0].upstreams (line 7, column 18): expected a list, found `a`; write `- item` lines below it, or `[item, item]`",
            ],
        ),
        (
            rule("path: /a\nupstreams: [~]"),
            &[
                "error at server.rules[0].upstreams[0] (line 7, column 19): expected a text, found nothing; write a value, or remove the item",
            ],
        ),
        (
            beside_server("log: {level: verbose}"),
            &[
                "error at log.level (line 7, column 14): expected one of error, warn, info, debug, trace, found `verbose`; write error, warn, info, debug or trace",
            ],
        ),
        (
            beside_server("reload: {orphanedStreams: kill}"),
            &[
                "error at reload.orphanedStreams (line 7, column 27): expected one of keep, drain, found `kill`; write keep or drain",
            ],
        ),
    ]);
}
