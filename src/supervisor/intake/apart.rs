//! What is served while the file says something else: an earlier generation that is pinned, or the last
//! good one. What it names beside itself is looked at all the same: a certificate that is renewed meanwhile
//! has to be served, since its expiry does not wait for the file.

use std::time::Instant;

use super::{Before, Sight, Stays, planned};
use crate::source::document;
use crate::source::files::Named;
use crate::supervisor::launch::{Broken, Wanted};
use crate::supervisor::state::{Plan, Source};

/// The files of a generation that is served apart from the file, as they were last.
#[derive(Debug)]
pub(super) struct Apart {
    generation: u64,
    files: Named,
}

/// Looks at what is served where there was nothing new to see in the file.
pub(super) fn renew(sight: Sight, before: Before, seen: Instant) -> (Sight, Option<Apart>) {
    let quiet = matches!(sight, Sight::Same | Sight::Pinned { .. });
    let Some(generation) = before.served.generation.as_ref().filter(|_| quiet) else {
        return (sight, before.apart);
    };
    if !before.is_apart(&generation.plan) {
        return (sight, None);
    }
    let known = before.apart.as_ref();
    let known = known.filter(|apart| apart.generation == generation.number);
    let known = match (known, generation.plan.source.brings_back()) {
        (Some(apart), _) => Some(&apart.files),
        (None, None) => Some(&*generation.plan.files),
        // It was brought back with what these were in its time, whatever they were then.
        (None, Some(_)) => None,
    };
    let files = generation.plan.files.again();
    let sight = match known {
        Some(known) if *known != files => reread(sight, &generation.plan, &before, seen),
        _ => sight,
    };
    let apart = Apart {
        generation: generation.number,
        files,
    };
    (sight, Some(apart))
}

impl Before {
    fn is_apart(&self, plan: &Plan) -> bool {
        let file = self.last.as_ref().map(|last| &last.hash);
        let other = plan.source != Source::File || file != Some(&plan.hash);
        other && self.served.stays == Stays::Yes
    }
}

fn reread(sight: Sight, plan: &Plan, before: &Before, seen: Instant) -> Sight {
    let source = match &plan.source {
        Source::File => Source::LastGood,
        source => source.clone(),
    };
    let text = String::from_utf8_lossy(&plan.text.join()).into_owned();
    let document = document::parse(text, &|fingerprint| before.tolerates(fingerprint));
    match Wanted::from(document, source, seen) {
        Ok(wanted) if wanted.config == *plan.config => sight,
        Ok(wanted) => match planned(wanted, &before.served, false, sight.into_tickets()) {
            Sight::Plan(mut planned) => {
                planned.last = None;
                Sight::Plan(planned)
            }
            Sight::Invalid(broken, tickets) => Sight::NotRenewed(broken, tickets),
            other => other,
        },
        Err(document) => Sight::NotRenewed(Broken::of(&document), sight.into_tickets()),
    }
}
