//! The hostile messages of tests/fixtures/http1 against the running program. What the codec makes of
//! each is held by its own tests; here: what a client is told, and that nothing of it gets through.

use std::fs;
use std::path::Path;

use crate::harness::{Sluice, Upstream};

/// A file's name begins with the reason for which it must be refused.
struct Case {
    file: String,
    bytes: Vec<u8>,
}

impl Case {
    /// Refused only after its head, which may have been sent on by then.
    fn is_about_the_body(&self) -> bool {
        let parts = ["bad-chunk", "-chunk-", "bare-", "trailer"];
        parts.iter().any(|part| self.file.contains(part))
    }

    /// What is refused are the bytes behind a whole answer: nobody asked for them.
    fn begins_with_a_good_one(&self) -> bool {
        let parts = ["body-of-204", "unframed-rest"];
        parts.iter().any(|part| self.file.contains(part))
    }
}

fn cases(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/http1")
        .join(folder);
    let read = |entry: fs::DirEntry| Case {
        file: entry.file_name().to_str().unwrap().to_owned(),
        bytes: fs::read(entry.path()).unwrap(),
    };
    let mut cases: Vec<Case> = fs::read_dir(folder)
        .unwrap()
        .map(|e| read(e.unwrap()))
        .collect();
    assert!(cases.len() > 20, "only {} cases", cases.len());
    cases.sort_by(|a, b| a.file.cmp(&b.file));
    cases
}

#[test]
fn hostile_requests_are_refused_and_never_forwarded() {
    let upstream = Upstream::saying("served");
    let sluice = Sluice::to(&upstream);
    let mut wrong = Vec::new();
    for case in cases("requests/refuse") {
        // Refused by the HTTP/1 codec, and by the proxy taken for what it is: `http2` speaks to it.
        if case.file == "unsupported-version.http2-preface.http" {
            continue;
        }
        let before = upstream.requests().len();
        let mut client = sluice.connect();
        // It may be refused before all of it has been sent.
        let _cut = client.offer(&case.bytes);
        let mut statuses = Vec::new();
        while let Ok(response) = client.try_response("GET") {
            statuses.push(response.status);
        }
        let served = statuses.iter().filter(|status| **status == 200).count();
        let seen = upstream.requests().split_off(before);
        // Where good requests stand before the bad one, they are served, and they alone.
        let whole = if case.is_about_the_body() {
            served
        } else {
            seen.len()
        };
        if !matches!(statuses.last(), Some(400..=599)) || whole != served {
            wrong.push(format!(
                "{}: answered {statuses:?}, forwarded {seen:?}",
                case.file
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_responses_are_never_passed_on_as_whole_ones() {
    let cases: Vec<Case> = cases("responses/refuse");
    let answers: Vec<Vec<u8>> = cases.iter().map(|case| case.bytes.clone()).collect();
    let upstream = Upstream::start(move |exchange| {
        let Some(request) = exchange.request()? else {
            return Ok(());
        };
        let number: usize = request
            .head
            .target()
            .trim_start_matches('/')
            .parse()
            .unwrap();
        exchange.write(&answers[number])
    });
    let sluice = Sluice::to(&upstream);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let method = if case.file.contains(".head-") {
            "HEAD"
        } else {
            "GET"
        };
        let mut client = sluice.connect();
        client.send(format!("{method} /{number} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let refused = |status| status == 502 || case.begins_with_a_good_one();
        if let Ok(response) = client.try_response(method)
            && !refused(response.status)
        {
            wrong.push(format!(
                "{}: {}{}",
                case.file,
                response.head.raw,
                response.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
