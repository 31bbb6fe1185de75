//! Reloads of every kind under constant load: nothing fails, and nobody is answered by a generation
//! that was not committed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;

use super::{answered_by, committed, config, reload, start, wait_until_all_serve, with};
use crate::harness::load::{Connections, Failure, Load, visit_until_refused};
use crate::harness::{Response, Sluice, eventually};

/// So many of each kind; `SLUICE_RELOADS=1000` is what a release is tried with.
pub(super) fn reloads() -> u64 {
    wanted().unwrap_or(100)
}

/// Of those that start processes or open sockets.
pub(super) fn slow_reloads() -> u64 {
    wanted().unwrap_or(20)
}

fn wanted() -> Option<u64> {
    let wanted = std::env::var("SLUICE_RELOADS").ok();
    wanted.map(|n| n.parse().unwrap())
}

/// Clients of both kinds, and which generations answered them.
pub(super) struct Clients {
    loads: Vec<Load>,
    seen: Arc<Mutex<BTreeSet<u64>>>,
}

impl Clients {
    pub(super) fn of(sluice: &Sluice) -> Clients {
        let seen = Arc::<Mutex<BTreeSet<u64>>>::default();
        let kinds = [(Connections::Kept, 4), (Connections::New, 2)];
        let loads = kinds.map(|(connections, clients)| {
            let seen = Arc::clone(&seen);
            let accept = move |response: &Response| {
                let by = answered_by(response);
                seen.lock().unwrap().extend(by);
                response.status == 200 && by.is_some()
            };
            Load::start(sluice.address(), connections, clients, accept)
        });
        let clients = Clients {
            loads: loads.into(),
            seen,
        };
        clients.wait_for_more(20);
        clients
    }

    pub(super) fn wait_for_more(&self, count: usize) {
        self.loads.iter().for_each(|load| load.wait_for_more(count));
    }

    pub(super) fn stop(self, sluice: &Sluice) -> Vec<Failure> {
        self.wait_for_more(20);
        let failures = self.loads.into_iter().flat_map(Load::stop).collect();
        let seen = self.seen.lock().unwrap().clone();
        let committed = committed(sluice);
        assert!(seen.is_subset(&committed), "{seen:?} of {committed:?}");
        assert!(seen.len() > 1, "several generations answered");
        failures
    }
}

pub(super) fn assert_none(failures: &[Failure]) {
    assert!(
        failures.is_empty(),
        "{} failed: {:#?}",
        failures.len(),
        &failures[..1]
    );
}

#[test]
fn valid_and_invalid_reloads_lose_nothing() {
    let sluice = start(&config(1, 2));
    let clients = Clients::of(&sluice);
    for mark in 2..2 + reloads() {
        let answer = match mark % 5 {
            0 => reload(&sluice, &config(mark, 2).replace("[echo]", "[nobody]")),
            1 => reload(
                &sluice,
                &with(mark, 2, "127.0.0.1:0", "drain:\n  timeout: 7s\n"),
            ),
            _ => reload(&sluice, &config(mark, 2)),
        };
        assert_eq!(
            answer.status,
            if mark % 5 == 0 { 422 } else { 200 },
            "{}",
            answer.text()
        );
    }
    wait_until_all_serve(&sluice, 2);
    assert_none(&clients.stop(&sluice));
}

#[test]
fn workers_up_and_down_lose_nothing() {
    let sluice = start(&config(1, 2));
    let clients = Clients::of(&sluice);
    for mark in 2..2 + slow_reloads() {
        let workers = [1, 3, 2, 4][usize::try_from(mark % 4).unwrap()];
        let answer = reload(&sluice, &config(mark, workers));
        assert_eq!(answer.status, 200, "{}", answer.text());
        if mark % 10 == 0 {
            clients.wait_for_more(20);
        }
    }
    assert_eq!(reload(&sluice, &config(0, 2)).status, 200);
    assert_none(&clients.stop(&sluice));
    wait_until_all_serve(&sluice, 2);
}

#[test]
fn listeners_added_and_removed_lose_nothing_on_the_others() {
    let sluice = start(&config(1, 2));
    let clients = Clients::of(&sluice);
    for mark in 2..2 + slow_reloads() {
        let more = if mark % 2 == 0 {
            "127.0.0.1:0, '127.0.0.2:0'"
        } else {
            "127.0.0.1:0"
        };
        let answer = reload(&sluice, &with(mark, 2, more, ""));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_none(&clients.stop(&sluice));
}

/// Who connects to a removed address is served or refused, but never let in and cut off.
#[test]
fn whoever_was_let_in_by_a_listener_that_is_removed_is_served() {
    let mut sluice = start(&config(1, 2));
    let mut served = 0;
    for mark in (2..2 + slow_reloads()).step_by(2) {
        let both = with(mark, 2, "127.0.0.1:0, '127.0.0.2:0'", "");
        assert_eq!(reload(&sluice, &both).status, 200);
        sluice.learn_addresses();
        let removed = sluice.address_of("127.0.0.2:0");
        let visitors: Vec<_> = (0..4)
            .map(|_| thread::spawn(move || visit_until_refused(removed)))
            .collect();
        let answer = reload(&sluice, &with(mark + 1, 2, "127.0.0.1:0", ""));
        assert_eq!(answer.status, 200);
        for visitor in visitors {
            served += visitor.join().unwrap();
        }
    }
    assert!(served > 0, "the listener was in use");
}

#[test]
fn edits_faster_than_reloads_end_at_the_last_one() {
    let sluice = start(&config(1, 2));
    let clients = Clients::of(&sluice);
    let last = 1 + reloads();
    for mark in 2..=last {
        sluice.rewrite(&config(mark, 2));
    }
    eventually("the last edit is served", || {
        let seen = super::echoed(&sluice.get("/"), "x-mark");
        (seen == Some(last.to_string())).then_some(())
    });
    assert_none(&clients.stop(&sluice));
    wait_until_all_serve(&sluice, 2);
}
