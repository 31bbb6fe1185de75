use super::{describe, readiness};
use crate::admin::fixtures::{status, worker};
use crate::admin::status::{ServerState, Status, WorkerState};

fn says(status: &Status) -> String {
    describe(&readiness(status), false)
}

#[test]
fn ready_when_every_worker_serves_the_committed_generation() {
    assert_eq!(says(&status()), "ok\n");
}

#[test]
fn each_lack_is_named() {
    let starting = Status {
        state: ServerState::Starting,
        ..status()
    };
    assert_eq!(says(&starting), "serving: starting\n");
    let draining = Status {
        state: ServerState::Draining,
        ..status()
    };
    assert_eq!(says(&draining), "serving: draining\n");
    let uncommitted = Status {
        generation: 0,
        ..status()
    };
    assert_eq!(
        says(&uncommitted),
        "generation: no generation is committed\n"
    );
    let unbound = Status {
        listeners: Vec::new(),
        ..status()
    };
    assert_eq!(says(&unbound), "listeners: no listener is bound\n");
    let alone = Status {
        workers: Vec::new(),
        ..status()
    };
    assert_eq!(says(&alone), "workers: no worker runs\n");
}

#[test]
fn one_worker_behind_is_enough_to_be_unready() {
    let mut behind = status();
    behind.workers[1].generation = 2;
    assert_eq!(
        says(&behind),
        "worker-1: serves generation 2 instead of 3\n"
    );
    behind.workers[1] = worker(1, WorkerState::BackingOff);
    assert_eq!(says(&behind), "worker-1: backing-off\n");
}

#[test]
fn a_worker_that_leaves_does_not_count() {
    let mut shrunk = status();
    shrunk.workers.push(worker(2, WorkerState::Draining));
    assert_eq!(says(&shrunk), "ok\n");
}

#[test]
fn verbose_lists_what_holds_too() {
    let text = describe(
        &readiness(&Status {
            state: ServerState::Draining,
            ..status()
        }),
        true,
    );
    assert!(
        text.starts_with("[-] serving: draining\n[+] generation ok\n"),
        "{text}"
    );
    assert!(text.ends_with("[+] worker-1 ok\n"), "{text}");
}
