//! How it ends: at the edge by the clock, beside an application with its last connection.

use std::time::Duration;

use super::{Bench, kinds, plan_with, settings};
use crate::model::config::Lifecycle;
use crate::supervisor::state::{Action, Event, ExitReason};

const NOTHING: [&str; 0] = [];

/// Serves with two workers, and drains by these settings: 5 s of delay, 30 s in all or after it.
fn serving(lifecycle: Lifecycle) -> Bench {
    let mut bench = Bench::serving(2);
    let mut settings = settings(2);
    settings.lifecycle = lifecycle;
    settings.drain_min_delay = Duration::from_secs(5);
    let plan = plan_with(settings, bench.now);
    bench.on(Event::Wanted(Box::new(plan)));
    bench.obey_all(Event::Bound { generation: 2 });
    assert_eq!(bench.state.generation(), Some(2));
    bench
}

/// How long the workers get that are told to drain.
fn timeouts(actions: &[Action]) -> Vec<u64> {
    let timeout = |action: &Action| match action {
        Action::DrainWorker { timeout, .. } => timeout.map(|timeout| timeout.as_secs()),
        _ => None,
    };
    actions.iter().filter_map(timeout).collect()
}

#[test]
fn at_the_edge_all_is_served_on_until_the_delay_is_over() {
    let mut bench = serving(Lifecycle::Edge);
    let workers = [bench.worker(0), bench.worker(1)];
    assert_eq!(kinds(&bench.on(Event::Leave)), ["leave", "leave"]);
    assert!(!bench.state.is_ready() && bench.state.is_draining());
    assert_eq!(kinds(&bench.on(Event::Leave)), NOTHING);
    assert_eq!(kinds(&bench.on(Event::Connections(0))), NOTHING);
    assert_eq!(kinds(&bench.after(Duration::from_secs(4))), NOTHING);
    let over = bench.after(Duration::from_secs(1));
    assert_eq!(timeouts(&over), [30, 30]);
    assert_eq!(kinds(&bench.on(Event::Exited(workers[0]))), NOTHING);
    let done = bench.on(Event::Exited(workers[1]));
    assert!(matches!(done[..], [Action::Exit(ExitReason::Drained)]));
}

#[test]
fn a_worker_that_dies_meanwhile_is_replaced_and_told() {
    let mut bench = serving(Lifecycle::Edge);
    bench.on(Event::Leave);
    let victim = bench.worker(0);
    let mut all = bench.obey_all(Event::Exited(victim));
    all.extend(bench.obey_all(Event::Tick));
    assert!(kinds(&all).ends_with(&["commit", "leave"]), "{all:?}");
}

#[test]
fn nothing_new_is_taken_up_meanwhile() {
    let mut bench = serving(Lifecycle::Edge);
    bench.on(Event::Leave);
    assert_eq!(kinds(&bench.want("late", 2)), ["conclude"]);
}

#[test]
fn an_interrupt_ends_the_delay() {
    let mut bench = serving(Lifecycle::Edge);
    bench.on(Event::Leave);
    assert_eq!(timeouts(&bench.on(Event::Drain)), [30, 30]);
}

#[test]
fn a_sidecar_goes_on_until_nobody_is_connected() {
    let mut bench = serving(Lifecycle::Sidecar);
    assert_eq!(kinds(&bench.on(Event::Leave)), NOTHING);
    assert!(!bench.state.is_ready() && bench.state.awaits_idle());
    // The application may still want to open its first.
    assert_eq!(kinds(&bench.on(Event::Connections(0))), NOTHING);
    bench.after(Duration::from_secs(5));
    assert_eq!(kinds(&bench.on(Event::Connections(3))), NOTHING);
    assert_eq!(timeouts(&bench.on(Event::Connections(0))), [25, 25]);
}

#[test]
fn a_sidecar_is_cut_off_at_its_timeout() {
    let mut bench = serving(Lifecycle::Sidecar);
    bench.on(Event::Leave);
    bench.on(Event::Connections(1));
    assert_eq!(kinds(&bench.after(Duration::from_secs(29))), NOTHING);
    assert_eq!(timeouts(&bench.after(Duration::from_secs(1))), [0, 0]);
}

#[test]
fn who_quits_does_not_wait() {
    for lifecycle in [Lifecycle::Edge, Lifecycle::Sidecar] {
        let mut bench = serving(lifecycle);
        assert_eq!(kinds(&bench.on(Event::Quit)), NOTHING);
        assert_eq!(kinds(&bench.on(Event::Connections(1))), NOTHING);
        assert_eq!(timeouts(&bench.on(Event::Connections(0))), [30, 30]);
    }
}
