//! A generation that turns out worse than the one before is taken back, or never gets beyond one worker.

use std::process::Command;

use nix::sys::signal::Signal;

use super::{generation, post, status, wait_until_all_serve};
use crate::harness::load::{Connections, Failure, Load};
use crate::harness::{Launch, Sluice, Upstream, eventually, process};

fn config(upstream: &Upstream, workers: u16, more: &str) -> String {
    let url = upstream.url();
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: {workers}\n  upstreams:\n    - id: app\n      url: {url}\n  \
         rules:\n    - path: /\n      upstreams: [app]\nreload:\n  {more}: {{window: 3s, minRequests: 5}}\n"
    )
}

fn failing() -> Upstream {
    Upstream::answering("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n")
}

/// New connections, so that every worker gets some; what is not 200 is a failure.
fn load(sluice: &Sluice) -> Load {
    let load = Load::start(sluice.address(), Connections::New, 4, |r| r.status == 200);
    load.wait_for_more(20);
    load
}

#[test]
fn guard_goes_back_from_a_generation_that_fails_more() {
    let (good, bad) = (Upstream::saying("good"), failing());
    let sluice = Sluice::start(&config(&good, 1, "guard"));
    let load = load(&sluice);
    sluice.rewrite(&config(&bad, 1, "guard"));
    assert_eq!(post(&sluice, "/reload").status, 200);
    let back = sluice.log().wait_for("the guard goes back");
    assert!(back.text("why").unwrap().contains("5xx"));
    eventually("the generation before serves again", || {
        (generation(&sluice) == 3).then_some(())
    });
    sluice.settle();
    assert_eq!(sluice.get("/").text(), "good");
    let seen = status(&sluice);
    assert_eq!(seen["pinned"], 1);
    assert!(
        seen["configSource"]
            .as_str()
            .unwrap()
            .contains("responses with 5xx"),
        "{seen}"
    );
    let broken = |failure: &Failure| failure.why.contains(" 500 ");
    assert!(load.stop().iter().any(broken), "it was served for a while");

    sluice.rewrite(&config(&Upstream::saying("mended"), 1, "guard"));
    assert_eq!(post(&sluice, "/reload").status, 200);
    assert!(status(&sluice)["pinned"].is_null());
}

#[test]
fn a_guard_goes_on_in_a_new_binary() {
    let (good, bad) = (Upstream::saying("good"), failing());
    let long = |upstream| config(upstream, 1, "guard").replace("3s", "15s");
    let mut sluice = Sluice::start(&long(&good));
    let load = load(&sluice);
    eventually("what is usual has been seen", || {
        let seen = status(&sluice)["uptimeSeconds"].as_f64()?;
        (seen > 2.5).then_some(())
    });
    sluice.rewrite(&long(&bad));
    assert_eq!(post(&sluice, "/reload").status, 200);
    load.wait_for_failures(20);
    sluice.signal(Signal::SIGUSR2);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    let successor = status(&sluice)["pid"].as_u64().unwrap();
    let back = sluice.log().wait_for("the guard goes back");
    assert_eq!((back.number("from"), back.number("to")), (3, 1));
    eventually("the generation before the handover serves again", || {
        (sluice.get("/").text() == "good").then_some(())
    });
    assert_eq!(status(&sluice)["pinned"], 1);
    load.stop();
    process::signal(u32::try_from(successor).unwrap(), Signal::SIGINT);
}

#[test]
fn an_edit_that_a_new_binary_takes_up_is_guarded_too() {
    let (good, bad) = (Upstream::saying("good"), failing());
    let slow = |upstream| config(upstream, 1, "guard").replace("guard", "debounce: 1h\n  guard");
    let mut sluice = Sluice::start(&slow(&good));
    let load = load(&sluice);
    sluice.rewrite(&slow(&bad));
    sluice.signal(Signal::SIGUSR2);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
    let successor = status(&sluice)["pid"].as_u64().unwrap();
    let back = sluice.log().wait_for("the guard goes back");
    assert_eq!((back.number("from"), back.number("to")), (2, 1));
    eventually("the generation before the handover serves again", || {
        (sluice.get("/").text() == "good").then_some(())
    });
    load.stop();
    process::signal(u32::try_from(successor).unwrap(), Signal::SIGINT);
}

#[test]
fn guard_lets_a_generation_be_that_does_no_worse() {
    let (good, other) = (Upstream::saying("good"), Upstream::saying("other"));
    let sluice = Sluice::start(&config(&good, 1, "guard"));
    let load = load(&sluice);
    sluice.rewrite(&config(&other, 1, "guard"));
    assert_eq!(post(&sluice, "/reload").status, 200);
    sluice.log().wait_for("the guard is content");
    assert_eq!(generation(&sluice), 2);
    load.stop();
}

#[test]
fn canary_keeps_a_failing_generation_from_the_other_workers() {
    let (good, bad) = (Upstream::saying("good"), failing());
    let sluice = Sluice::start(&config(&good, 3, "canary"));
    let load = load(&sluice);
    sluice.rewrite(&config(&bad, 3, "canary"));
    let refused = post(&sluice, "/reload");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("canary"), "{}", refused.text());
    // Whoever hears of it is not answered by the canary any more.
    for _ in 0..20 {
        assert_eq!(sluice.get("/").text(), "good");
    }
    assert_eq!(generation(&sluice), 1);
    wait_until_all_serve(&sluice, 3);
    load.stop();
}

#[test]
fn a_reload_is_answered_when_it_is_over_however_long_it_takes() {
    let (good, other) = (Upstream::saying("good"), Upstream::saying("other"));
    let long = |upstream| config(upstream, 2, "canary").replace("3s", "62s");
    let sluice = Sluice::start(&long(&good));
    sluice.rewrite(&long(&other));
    // The clients of these tests wait a minute for an answer; this one waits for it.
    let admin = format!("http://{}", sluice.admin());
    let mut reload = Command::new(Launch::PROGRAM);
    let answer = reload.args(["reload", "--admin", &admin]).output().unwrap();
    let told = String::from_utf8_lossy(&answer.stdout);
    assert!(told.contains("generation 2 is served"), "{answer:?}");
    assert_eq!(generation(&sluice), 2);
}

#[test]
fn canary_that_does_well_is_followed_by_all() {
    let (good, other) = (Upstream::saying("good"), Upstream::saying("other"));
    let sluice = Sluice::start(&config(&good, 3, "canary"));
    let load = load(&sluice);
    sluice.rewrite(&config(&other, 3, "canary"));
    assert_eq!(post(&sluice, "/reload").status, 200);
    wait_until_all_serve(&sluice, 3);
    load.stop();
    assert_eq!(sluice.get("/").text(), "other");
}
