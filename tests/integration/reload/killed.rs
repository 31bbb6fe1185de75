//! Workers that are killed in the middle of a reload, at a moment that is known: others are stopped
//! so that the moment lasts.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::load::{Clients, slow_reloads};
use super::{generation, post, reload, start, status, wait_until_all_serve, with};
use crate::harness::log::Event;
use crate::harness::{Sluice, eventually, process};

/// So many that there are others while one waits for its replacement: each death of a young worker
/// makes the pause before the next one longer.
const WORKERS: u16 = 8;
/// So many with one supervisor: with more of them the pauses would be most of the time.
const ROUNDS: u64 = 10;

/// A worker that is stopped is not taken for one that hangs, however slow the machine.
fn config(mark: u64) -> String {
    let patient = "worker:\n  hangTimeout: 1h\n";
    with(mark, WORKERS, "127.0.0.1:0", patient)
        .replace("prepareTimeout: 60s", "prepareTimeout: 10m")
}

/// Two workers that serve, by slot and process; those that have lived longest.
fn victims(sluice: &Sluice) -> [(u64, u32); 2] {
    eventually("enough workers serve", || {
        let status = status(sluice);
        let workers = status["workers"].as_array()?;
        let mut serving: Vec<&Value> = workers
            .iter()
            .filter(|one| one["state"] == "serving" && one["generation"] == status["generation"])
            .collect();
        serving.sort_by(|a, b| a["startedAt"].as_str().cmp(&b["startedAt"].as_str()));
        let it = |one: &Value| {
            let pid = u32::try_from(one["pid"].as_u64()?).ok()?;
            Some((one["slot"].as_u64()?, pid))
        };
        match serving[..] {
            [first, second, _, ..] => Some([it(first)?, it(second)?]),
            _ => None,
        }
    })
}

/// Waits until the supervisor says this of a generation after `before`, and of this slot if of one.
fn wait_for(sluice: &Sluice, message: &str, before: u64, slot: Option<u64>) {
    let said = |event: &Event| {
        let is_it =
            event.message() == message && slot.is_none_or(|slot| event.number("slot") == slot);
        (is_it && event.number("generation") > before).then_some(())
    };
    sluice.log().wait_until(message, said);
}

/// The others wait for this one, which has been asked to prepare and has not answered.
fn kill_in_the_middle_of_prepare(sluice: &Sluice, mark: u64) {
    let before = generation(sluice);
    let [(_, victim), (other, _)] = victims(sluice);
    process::signal(victim, Signal::SIGSTOP);
    sluice.rewrite(&config(mark));
    wait_for(sluice, "prepared", before, Some(other));
    assert_eq!(generation(sluice), before, "one has not prepared");
    process::signal(victim, Signal::SIGKILL);
}

/// It has prepared, and is stopped before the last one has: the commit is decided, and it cannot know.
fn kill_in_the_middle_of_commit(sluice: &Sluice, mark: u64) {
    let before = generation(sluice);
    let [(slot, victim), (_, last)] = victims(sluice);
    process::signal(last, Signal::SIGSTOP);
    sluice.rewrite(&config(mark));
    wait_for(sluice, "prepared", before, Some(slot));
    process::signal(victim, Signal::SIGSTOP);
    process::signal(last, Signal::SIGCONT);
    wait_for(sluice, "generation committed", before, None);
    process::signal(victim, Signal::SIGKILL);
}

/// A killed worker takes with it what it had in flight, one request on each connection, and no more.
#[test]
fn workers_killed_in_the_middle_of_reloads_are_replaced_at_the_right_generation() {
    let mut rounds = slow_reloads();
    while rounds > 0 {
        let now = rounds.min(ROUNDS);
        kill_in_rounds(now);
        rounds -= now;
    }
}

fn kill_in_rounds(rounds: u64) {
    let sluice = start(&config(1));
    let told = "/log?level=info,sluice::supervisor=debug";
    assert_eq!(post(&sluice, told).status, 200);
    let clients = Clients::of(&sluice);
    let mut mark = 1;
    for _ in 0..rounds {
        for kill in [kill_in_the_middle_of_prepare, kill_in_the_middle_of_commit] {
            mark += 1;
            kill(&sluice, mark);
            let answer = post(&sluice, "/reload");
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(generation(&sluice), mark, "each edit is one generation");
        }
        clients.wait_for_more(5);
    }
    wait_until_all_serve(&sluice, WORKERS.into());
    assert_eq!(reload(&sluice, &with(0, 2, "127.0.0.1:0", "")).status, 200);
    wait_until_all_serve(&sluice, 2);
    let failures = clients.stop(&sluice);
    let kills = usize::try_from(2 * rounds).unwrap();
    assert!(
        failures.len() <= kills * 6,
        "more than was in flight: {failures:#?}"
    );
    let refused = failures
        .iter()
        .filter(|failure| failure.why.contains("refused"));
    assert_eq!(refused.count(), 0, "a connection waits for the replacement");
}
