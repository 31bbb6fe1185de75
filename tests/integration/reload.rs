//! A reload is a transaction, and nothing is lost: every way to edit the file, everything in it, good
//! and bad, while requests run.

mod addresses;
mod edits;
mod everything;
mod guard;
mod history;
mod killed;
mod load;
mod mixed;
mod replace;
mod streams;
mod watching;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::sluice::Launch;
use crate::harness::{Client, Response, Sluice, eventually};

/// A config whose echo upstream tells which generation answered. `mark` makes each one differ.
fn config(mark: u64, workers: u16) -> String {
    with(mark, workers, "127.0.0.1:0", "")
}

fn with(mark: u64, workers: u16, listen: &str, rest: &str) -> String {
    format!(
        "server:\n  listen: [{listen}]\n  workers: {workers}\n  headers:\n    - key: x-mark\n      value: '{mark}'\n  \
         upstreams:\n    - id: echo\n      url: builtin://echo\n  rules:\n    - path: /\n      \
         upstreams: [echo]\nreload:\n  debounce: 10ms\n  prepareTimeout: 60s\n{rest}"
    )
}

/// Clients of one machine, which is slow while others build: nothing depends on being fast.
fn start(yaml: &str) -> Sluice {
    Launch::new(yaml).start()
}

/// `POST` to the admin port; answered when what was asked for is over.
pub(crate) fn post(sluice: &Sluice, path: &str) -> Response {
    let request = format!("POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n");
    Client::connect(sluice.admin()).request(request)
}

fn status(sluice: &Sluice) -> Value {
    let response = Client::connect(sluice.admin()).get("/status");
    serde_json::from_slice(&response.body).unwrap()
}

/// The generation that serves.
fn generation(sluice: &Sluice) -> u64 {
    status(sluice)["generation"].as_u64().unwrap()
}

/// Writes a new config and waits until the reload that it causes is over, whatever its result.
fn reload(sluice: &Sluice, yaml: &str) -> Response {
    sluice.rewrite(yaml);
    post(sluice, "/reload")
}

/// What the echo upstream was sent in this header.
fn echoed(response: &Response, header: &str) -> Option<String> {
    let seen: Value = serde_json::from_slice(&response.body).ok()?;
    let headers = seen["headers"].as_array()?;
    let found = headers.iter().find(|pair| pair[0] == header)?;
    Some(found[1].as_str()?.to_owned())
}

fn answered_by(response: &Response) -> Option<u64> {
    let seen: Value = serde_json::from_slice(&response.body).ok()?;
    seen["generation"].as_u64()
}

fn committed(sluice: &Sluice) -> BTreeSet<u64> {
    let events = sluice.log().all("reload done");
    events
        .iter()
        .map(|event| event.number("generation"))
        .collect()
}

/// Every worker serves what is committed, and nobody else is left.
fn wait_until_all_serve(sluice: &Sluice, workers: usize) {
    eventually("all workers serve the committed generation", || {
        let status = status(sluice);
        let all = status["workers"].as_array()?.clone();
        let serving = |worker: &Value| {
            worker["state"] == "serving" && worker["generation"] == status["generation"]
        };
        (all.len() == workers && all.iter().all(serving)).then_some(())
    });
}
