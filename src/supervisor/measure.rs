//! What the guard and the canary judge by, as it stands in the shared segment.

use std::collections::BTreeMap;

use super::children::Children;
use super::state::guard::{Measure, Measured};
use crate::shm::Segment;
use crate::shm::series::{Family, split_method_and_code};
use crate::shm::totals::Totals;

/// Reasons that say that an upstream takes no connection.
const CONNECT_REASONS: [&str; 2] = ["connect_failed", "connect_timeout"];

pub(super) fn read(segment: &Segment, children: &Children, reasons: &[&str]) -> Measured {
    let of_worker = |id| {
        let row = children.get(id)?.row;
        let totals = Totals::read_rows(segment, |other| other == row);
        Some((id, measure(&totals, reasons)))
    };
    Measured {
        total: measure(&Totals::read(segment), reasons),
        workers: children
            .ids()
            .into_iter()
            .filter_map(of_worker)
            .collect::<BTreeMap<_, _>>(),
    }
}

fn measure(totals: &Totals, reasons: &[&str]) -> Measure {
    let mut measure = Measure::default();
    for (key, count) in &totals.scalars {
        match key.family() {
            Family::Requests => {
                measure.requests += count;
                let code = split_method_and_code(key.detail()).1;
                if code.is_some_and(|code| code >= 500) {
                    measure.server_errors += count;
                }
            }
            Family::Errors => {
                let reason = usize::try_from(key.first())
                    .ok()
                    .and_then(|at| reasons.get(at));
                if reason.is_some_and(|reason| CONNECT_REASONS.contains(reason)) {
                    measure.connect_errors += count;
                }
            }
            _ => {}
        }
    }
    measure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::error::Reason;
    use crate::shm::series::{Key, method_and_code};

    #[test]
    fn server_errors_and_failed_connects_are_told_from_the_rest() {
        let code = |code| {
            Key::new(
                Family::Requests,
                5,
                6,
                method_and_code(&http::Method::GET, code),
            )
        };
        let reason = |reason: Reason| Key::new(Family::Errors, reason.index() as u32, 0, 0);
        let mut totals = Totals::default();
        totals.scalars.extend([
            (code(200), 90),
            (code(404), 5),
            (code(502), 3),
            (code(503), 2),
            (reason(Reason::ConnectFailed), 3),
            (reason(Reason::ConnectTimeout), 1),
            (reason(Reason::NoRoute), 5),
        ]);
        let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        let expected = Measure {
            requests: 100,
            server_errors: 5,
            connect_errors: 4,
        };
        assert_eq!(measure(&totals, &reasons), expected);
    }
}
