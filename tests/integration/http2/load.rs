//! Much over HTTP/2 at once, by clients that others wrote: nothing is lost through reloads and drains,
//! and nothing collects in memory.

use std::process::{Child, Stdio};

use crate::harness::certificates::Authority;
use crate::harness::foreign::{find, run};
use crate::harness::http2::{END_STREAM, HEADERS, Http2, headers, request, window_update};
use crate::harness::process::peak_memory;
use crate::harness::upstream::ok;
use crate::harness::{Sluice, Upstream, eventually, get};

/// TLS at the first listener, plain HTTP at the second.
fn both(ca: &Authority, workers: usize, round: usize) -> String {
    let pair = ca.pair("a", &["a.test"]);
    format!(
        "server:\n  listen:\n    - address: 127.0.0.1:0\n      tls: {{certificates: [{pair}]}}\n    \
         - 127.0.0.2:0\n  workers: {workers}\n  upstreams:\n    - {{id: app, url: builtin://echo}}\n  \
         headers: [{{key: x-round, value: '{round}'}}]\n  rules:\n    - {{path: /, upstreams: [app]}}\n"
    )
}

/// At each listener.
fn h2load(sluice: &Sluice, arguments: &[&str]) -> Option<[Child; 2]> {
    let secure = format!("https://{}/", sluice.address());
    let plain = format!("http://{}/", sluice.address_of("127.0.0.2:0"));
    let mut command = find("h2load")?;
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut again = find("h2load")?;
    again.args(arguments).stdin(Stdio::null());
    again.stdout(Stdio::piped()).stderr(Stdio::piped());
    let children = [command.arg(secure), again.arg(plain)].map(|command| command.spawn().unwrap());
    Some(children)
}

/// All that it says, none of which is of an answer other than 2xx.
#[track_caller]
fn told(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("2xx, 0 3xx, 0 4xx, 0 5xx"), "{told}{errors}");
    told
}

fn served(sluice: &Sluice) -> u64 {
    let page = get(sluice.admin(), "/metrics").text();
    let counts = page
        .lines()
        .filter(|line| line.starts_with("sluice_http_requests_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64);
    counts.sum()
}

#[test]
fn h2load_has_not_one_failed_request_through_reloads() {
    let ca = Authority::new();
    let sluice = Sluice::start(&both(&ca, 2, 0));
    let Some(loads) = h2load(&sluice, &["-n3000", "-c8", "-m10"]) else {
        return;
    };
    for round in 1..=10 {
        sluice.rewrite(&both(&ca, 2, round));
        eventually("it is reloaded", || {
            (sluice.log().all("reload done").len() > round).then_some(())
        });
    }
    for load in loads {
        let told = told(load);
        let none = " 3000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(told.contains(none), "{told}");
    }
}

/// After a GOAWAY h2load opens no other connection, and counts what it has not sent yet as failed: so
/// what has succeeded is compared with what was served.
#[test]
fn h2load_has_an_answer_to_all_that_it_sent_through_the_drain_of_a_worker() {
    let ca = Authority::new();
    let sluice = Sluice::start(&both(&ca, 2, 0));
    let Some(loads) = h2load(&sluice, &["-n10000", "-c16", "-m10"]) else {
        return;
    };
    eventually("they are at it", || (served(&sluice) > 500).then_some(()));
    sluice.rewrite(&both(&ca, 1, 0));
    eventually("a worker is gone", || {
        (sluice.workers().len() == 1).then_some(())
    });
    let succeeded = loads.map(|load| {
        let told = told(load);
        let before = told.split(" succeeded").next().unwrap();
        before.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    });
    let succeeded: u64 = succeeded.iter().sum();
    eventually("each request that was served has got its answer", || {
        (served(&sluice) == succeeded).then_some(())
    });
}

const GIBIBYTE: usize = 1 << 30;
const PIECE: usize = 1 << 16;
/// What a worker may ever have resident.
const WORKER_MEMORY: u64 = 64 << 20;

/// Answers a GET with a gibibyte, and anything else with how much it was sent.
fn large() -> Upstream {
    Upstream::start(|exchange| {
        let Some(head) = exchange.head()? else {
            return Ok(());
        };
        if head.method() != "GET" {
            let (mut length, framing) = (0, head.request_framing());
            exchange
                .wire
                .read_body_into(framing, &mut |piece| length += piece.len())?;
            return exchange.write(ok(&length.to_string()));
        }
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {GIBIBYTE}\r\n\r\n"
        ))?;
        let piece = vec![7; PIECE];
        (0..GIBIBYTE / PIECE).try_for_each(|_| exchange.write(&piece))
    })
}

#[test]
fn a_gibibyte_each_way_beside_clients_that_do_not_read_takes_little_memory() {
    let upstream = large();
    let sluice = Sluice::to(&upstream);
    let worker = sluice.workers()[0];
    let idle: Vec<Http2> = (0..10)
        .map(|_| {
            let mut client = Http2::connect(sluice.address());
            let all = u32::try_from(GIBIBYTE).unwrap();
            client.send(headers(1, &request("GET", "/"), END_STREAM));
            client.send([window_update(0, all), window_update(1, all)].concat());
            client.wait_for("the begin of an answer", |frame| frame.kind == HEADERS);
            client
        })
        .collect();
    let url = format!("http://{}/", sluice.address());
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(GIBIBYTE as u64).unwrap();
    let path = file.path().to_str().unwrap();
    for (arguments, answer) in [
        (["-o", "/dev/null"], format!("{GIBIBYTE} 200")),
        (["-T", path], format!("{GIBIBYTE}10 200")),
    ] {
        let Some(mut curl) = find("curl") else { return };
        let output = run(curl
            .args(["-sS", "--max-time", "300", "--noproxy", "*", &url])
            .args([
                "--http2-prior-knowledge",
                "-w",
                "%{size_download} %{http_code}",
            ])
            .args(arguments));
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            answer,
            "{arguments:?}"
        );
    }
    let peak = peak_memory(worker);
    assert!(peak < WORKER_MEMORY, "{peak} bytes");
    drop(idle);
}
