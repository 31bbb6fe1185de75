//! What ends where it began: a canary that did worse, a successor that never came.

use super::super::guard::{Measure, Measured};
use super::*;
use crate::model::config::Comparison;

const COMPARISON: Comparison = Comparison {
    window: Duration::from_secs(3),
    bound: 5,
    min_requests: 1,
};

fn settings_with(guard: Option<Comparison>, canary: Option<Comparison>) -> Settings {
    Settings {
        guard,
        canary,
        ..settings(2)
    }
}

impl Bench {
    fn want_with(&mut self, hash: &str, settings: Settings) {
        let mut plan = plan_with(settings, self.now);
        plan.hash = hash.to_owned();
        self.on(Event::Wanted(Box::new(plan)));
    }

    fn fail(&mut self, requests: u64) {
        let total = Measure {
            requests,
            server_errors: requests,
            connect_errors: 0,
        };
        let workers = [0, 1].map(|slot| {
            let errors = if slot == 0 { requests } else { 0 };
            let of_slot = Measure {
                server_errors: errors,
                ..total
            };
            (self.worker(slot), of_slot)
        });
        let workers = workers.into();
        self.on(Event::Measured(Measured { total, workers }));
    }

    /// Worker 0 serves generation 2 alone, and fails.
    fn with_a_bad_canary() -> (Bench, WorkerId) {
        let mut bench = Bench::serving(2);
        bench.want_with("second", settings_with(None, Some(COMPARISON)));
        bench.on(Event::Bound { generation: 2 });
        let (canary, other) = (bench.worker(0), bench.worker(1));
        bench.on(Event::Prepared(canary, 2));
        bench.on(Event::Prepared(other, 2));
        bench.on(Event::Committed(canary, 2));
        bench.fail(0);
        bench.fail(100);
        (bench, canary)
    }
}

#[test]
fn a_canary_that_did_worse_is_told_when_its_worker_is_back() {
    let (mut bench, canary) = Bench::with_a_bad_canary();
    let judged = kinds(&bench.after(Duration::from_secs(3)));
    assert_eq!(judged, ["abort", "unbind", "prepare"]);
    bench.want("third", 2);
    assert_eq!(kinds(&bench.on(Event::Prepared(canary, 1))), ["commit"]);
    let back = bench.on(Event::Committed(canary, 1));
    assert_eq!(kinds(&back), ["conclude", "bind"], "and the next begins");
    assert!(errors(&back)[0].contains("the canary did worse"));
}

#[test]
fn a_canary_that_does_not_come_back_is_replaced_and_told_then() {
    let (mut bench, canary) = Bench::with_a_bad_canary();
    bench.after(Duration::from_secs(3));
    let killed = kinds(&bench.after(Duration::from_secs(5)));
    assert_eq!(killed, ["kill"]);
    let gone = bench.on(Event::Exited(canary));
    assert_eq!(kinds(&gone), ["conclude", "spawn"]);
}

#[test]
fn while_something_is_handed_over_nothing_begins_and_the_latest_comes_after() {
    let mut bench = Bench::serving(1);
    bench.on(Event::Hold);
    assert_eq!(kinds(&bench.want("second", 1)), [""; 0]);
    assert_eq!(kinds(&bench.want("third", 1)), ["conclude"], "superseded");
    assert_eq!(
        (bench.state.last_number(), bench.state.is_busy()),
        (1, false)
    );
    assert!(bench.state.is_reloading(), "what is served will not stay");
    assert_eq!(kinds(&bench.on(Event::Release)), ["bind"]);
    bench.obey_all(Event::Bound { generation: 2 });
    let committed = bench.state.committed().expect("committed");
    assert_eq!(committed.plan.hash, "third");
}

#[test]
fn what_waits_when_another_process_serves_is_passed_on() {
    let mut bench = Bench::serving(1);
    bench.on(Event::Hold);
    bench.want("second", 1);
    let replaced = kinds(&bench.on(Event::Replaced));
    assert_eq!(replaced, ["pass on", "close", "drain"], "and not refused");
}

#[test]
fn what_is_on_its_way_when_something_is_handed_over_goes_on() {
    let mut bench = Bench::serving(1);
    bench.want("second", 1);
    bench.on(Event::Hold);
    bench.want("third", 1);
    bench.obey_all(Event::Bound { generation: 2 });
    assert_eq!(bench.state.generation(), Some(2));
    assert!(!bench.state.is_busy(), "the third waits");
}

#[test]
fn a_refused_edit_does_not_save_a_generation_from_its_guard() {
    let mut bench = Bench::serving(2);
    bench.fail(0);
    bench.want_with("second", settings_with(Some(COMPARISON), None));
    bench.obey_all(Event::Bound { generation: 2 });
    bench.fail(100);
    bench.now += Duration::from_secs(2);
    bench.want("third", 2);
    let late = bench.after(Duration::from_secs(2));
    assert_eq!(kinds(&late), [""; 0], "another is on its way");
    let generation = 3;
    let reasons = vec!["address in use".to_owned()];
    let refused = bench.on(Event::NotBound {
        generation,
        reasons,
    });
    assert!(kinds(&refused).ends_with(&["conclude", "go back"]));
}
