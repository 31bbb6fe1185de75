//! What became of the last configurations, and the configurations themselves, to go back to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::pieces::Pieces;
use super::plan::{Plan, Source};
use crate::source::files::Named;

/// Committed generations that are remembered, and as many refusals.
pub const KEPT: usize = 20;
/// Configurations are kept up to this many bytes together; the newest is kept in any case.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Committed,
    /// Committed, and its configuration an earlier one's.
    RolledBack,
    /// Invalid, or refused by a worker, or not bound.
    Rejected,
    /// A newer one came before it was prepared.
    Superseded,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// `None` where it was not committed.
    pub generation: Option<u64>,
    pub hash: String,
    pub source: Source,
    /// Milliseconds since 1970.
    pub at: u64,
    /// From the event to the end.
    pub took: Duration,
    pub verdict: Verdict,
    pub errors: Vec<String>,
    pub changes: Vec<String>,
    /// To go back to; `None` where it was not committed, or is forgotten for want of room.
    /// It stays here: another binary may read it otherwise.
    #[serde(skip)]
    pub packed: Option<Arc<Pieces>>,
    /// What it was read from, for another binary to go back to; kept and forgotten with it.
    pub text: Option<Arc<Pieces>>,
    /// What was read beside the text; another binary reads it anew.
    #[serde(skip)]
    pub files: Arc<Named>,
}

impl Record {
    pub(super) fn of(
        plan: &Plan,
        generation: Option<u64>,
        verdict: Verdict,
        errors: Vec<String>,
        now: Instant,
    ) -> Record {
        Record {
            generation,
            hash: plan.hash.clone(),
            source: plan.source.clone(),
            at: plan.at,
            took: now.saturating_duration_since(plan.seen),
            verdict,
            errors,
            changes: plan.changes.clone(),
            packed: generation.map(|_| Arc::clone(&plan.packed)),
            text: generation.map(|_| Arc::clone(&plan.text)),
            files: Arc::clone(&plan.files),
        }
    }
}

/// The latest first. It goes on in a new binary.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct History {
    committed: VecDeque<Record>,
    refused: VecDeque<Record>,
    latest: Option<Record>,
}

impl History {
    pub(super) fn add(&mut self, record: Record) {
        // A start with the last good one does not mend the file, whose refusal stays what was last.
        if record.verdict != Verdict::Superseded && record.source != Source::LastGood {
            self.latest = Some(Record {
                packed: None,
                text: None,
                ..record.clone()
            });
        }
        let list = match record.generation {
            Some(_) => &mut self.committed,
            None => &mut self.refused,
        };
        list.push_front(record);
        list.truncate(KEPT);
        self.forget_the_heavy();
    }

    /// Writes everything anew, side by side. As it came it lies among what has been freed since, where each
    /// little block holds a page: to be done when that has gone back.
    pub fn settle(&mut self) {
        let edits = &mut FxHashMap::default();
        let mut anew = |record: &Record| {
            let mut pieces =
                |kept: &Option<Arc<Pieces>>| kept.as_ref().map(|kept| Arc::new(kept.anew(edits)));
            Record {
                packed: pieces(&record.packed),
                text: pieces(&record.text),
                ..record.clone()
            }
        };
        // All of it before any of the old is freed, whose places it would take.
        *self = History {
            committed: self.committed.iter().map(&mut anew).collect(),
            refused: self.refused.iter().map(&mut anew).collect(),
            latest: self.latest.as_ref().map(&mut anew),
        };
    }

    fn forget_the_heavy(&mut self) {
        let (mut bytes, mut counted) = (0, FxHashSet::default());
        // The first serves, the second is what one goes back to.
        for (place, record) in self.committed.iter_mut().enumerate() {
            let all = record.packed.iter().chain(&record.text);
            bytes += all.map(|it| it.count(&mut counted)).sum::<usize>();
            if place > 1 && bytes > MAX_BYTES {
                (record.packed, record.text) = (None, None);
            }
        }
    }

    /// What comes from another process shares nothing yet.
    pub(super) fn share(&mut self) {
        let mut before: Option<Arc<Pieces>> = None;
        for record in self.committed.iter_mut().rev() {
            let Some(text) = record.text.take() else {
                continue;
            };
            let text = Arc::new(Pieces::cut(&text.join(), before.as_deref()));
            record.text = Some(Arc::clone(&text));
            before = Some(text);
        }
    }

    /// The last one whose fate is known, unless a newer one took its place.
    pub fn latest(&self) -> Option<&Record> {
        self.latest.as_ref()
    }

    pub fn committed(&self) -> impl Iterator<Item = &Record> {
        self.committed.iter()
    }

    /// All together, the latest first: refusals push no generation out.
    pub fn all(&self) -> Vec<&Record> {
        let mut all: Vec<&Record> = self.committed.iter().chain(&self.refused).collect();
        all.sort_by_key(|record| std::cmp::Reverse((record.at, record.generation)));
        all
    }

    /// The newest generation.
    pub fn serving(&self) -> Option<&Record> {
        self.committed.front()
    }

    pub fn find(&self, generation: u64) -> Option<&Record> {
        self.committed()
            .find(|record| record.generation == Some(generation))
    }

    /// What one goes back to without saying where: the last one that is different from what serves.
    pub fn before_the_last(&self) -> Option<&Record> {
        let serving = self.serving()?;
        self.committed().find(|record| record.hash != serving.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_anew_is_what_it_was() {
        let mut history = History::default();
        let mut before: Option<Arc<Pieces>> = None;
        for generation in 1..30 {
            let text = format!("{generation}{}", "rules ".repeat(500));
            let text = Arc::new(Pieces::cut(text.as_bytes(), before.as_deref()));
            before = Some(Arc::clone(&text));
            history.add(Record {
                generation: Some(generation),
                hash: generation.to_string(),
                source: Source::File,
                at: generation,
                took: Duration::ZERO,
                verdict: Verdict::Committed,
                errors: Vec::new(),
                changes: Vec::new(),
                packed: Some(Arc::clone(&text)),
                text: Some(text),
                files: Arc::default(),
            });
        }
        let seen = |history: &History| -> Vec<_> {
            let text = |record: &Record| record.text.as_ref().unwrap().join();
            let all = history.committed();
            all.map(|record| (record.hash.clone(), text(record)))
                .collect()
        };
        let was = seen(&history);
        history.settle();
        assert_eq!(seen(&history), was);
        assert_eq!(was.len(), KEPT);
        assert_eq!(history.latest().unwrap().hash, "29");
    }

    /// See `ipc::message::ESTATE_FORMAT`, of which this is a part.
    #[test]
    fn what_is_handed_over_has_the_bytes_of_its_format() {
        let record = Record {
            generation: Some(2),
            hash: "h".to_owned(),
            source: Source::Guard {
                of: 1,
                from: 2,
                why: "w".to_owned(),
            },
            at: 3,
            took: Duration::from_millis(4),
            verdict: Verdict::RolledBack,
            errors: vec!["e".to_owned()],
            changes: vec!["c".to_owned()],
            packed: None,
            text: Some(Arc::new(Pieces::cut(b"t", None))),
            files: Arc::default(),
        };
        let mut history = History::default();
        history.add(record);
        let bytes = crate::ipc::message::Packed::pack(&history).unwrap();
        let shown: String = bytes.bytes().iter().map(|b| format!("{b:02x}")).collect();
        let known = "\
            0101020168030102017703008092f40101010165010163010174\
            00\
            0101020168030102017703008092f4010101016501016300";
        assert_eq!(shown, known);
    }
}
