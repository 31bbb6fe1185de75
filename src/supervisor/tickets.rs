//! The keys of session tickets: made here, changed in time, and the same for all workers, those that
//! come later too.
//!
//! A new key only opens tickets until the next change, so that every worker has it before any of them
//! seals with it. Not here: tickets themselves (`proxy::tls`).

use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use crate::ipc::message::{TicketKey, TicketKeys};
use crate::model::secret::SecretBytes;

/// The one to come, the one in use, and the one before it.
const KEPT: usize = 3;

#[derive(Debug)]
pub(super) struct Tickets {
    /// The newest first; empty where the system gives no random bytes, and then there are no tickets.
    keys: Vec<TicketKey>,
    changed: Instant,
}

impl Tickets {
    /// `left` are those of a predecessor.
    pub(super) fn new(left: Vec<TicketKey>, now: Instant) -> Tickets {
        let mut tickets = Tickets {
            keys: left,
            changed: now,
        };
        while tickets.keys.len() < 2 && tickets.add() {}
        tickets
    }

    /// Changes the keys if it is time to.
    pub(super) fn rotate(&mut self, every: Duration, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.changed) >= every;
        if due {
            self.changed = now;
            self.add();
        }
        due
    }

    /// For workers: the key in use first.
    pub(super) fn keys(&self, every: Duration) -> TicketKeys {
        let mut keys = self.keys.clone();
        if keys.len() > 1 {
            keys.swap(0, 1);
        }
        TicketKeys {
            keys,
            lifetime: every,
        }
    }

    /// For a successor.
    pub(super) fn all(&self) -> Vec<TicketKey> {
        self.keys.clone()
    }

    fn add(&mut self) -> bool {
        let (mut name, mut secret) = ([0; 16], [0; 32]);
        let random = SystemRandom::new();
        let filled = random
            .fill(&mut name)
            .and_then(|()| random.fill(&mut secret));
        if filled.is_err() {
            tracing::error!("the system gives no random bytes: no new key for session tickets");
            return false;
        }
        let secret = SecretBytes::new(secret);
        self.keys.insert(0, TicketKey { name, secret });
        self.keys.truncate(KEPT);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_key_opens_before_it_seals_and_after() {
        let start = Instant::now();
        let mut tickets = Tickets::new(Vec::new(), start);
        let sealing = |tickets: &Tickets| tickets.keys(HOUR).keys[0].clone();
        let known = |tickets: &Tickets, key: &TicketKey| tickets.keys(HOUR).keys.contains(key);
        let (first, second) = (sealing(&tickets), tickets.keys(HOUR).keys[1].clone());
        assert_ne!(first, second);
        assert!(!tickets.rotate(HOUR, start + HOUR / 2));

        assert!(tickets.rotate(HOUR, start + HOUR));
        assert_eq!(sealing(&tickets), second, "all workers have it by now");
        assert!(known(&tickets, &first), "tickets of the last hour are good");
        assert!(tickets.rotate(HOUR, start + HOUR * 2));
        assert!(!known(&tickets, &first) && known(&tickets, &second));
        assert_eq!(tickets.keys(HOUR).keys.len(), KEPT);
    }

    #[test]
    fn a_successor_goes_on_with_the_same_keys() {
        let first = Tickets::new(Vec::new(), Instant::now());
        let second = Tickets::new(first.all(), Instant::now());
        assert_eq!(first.keys(HOUR), second.keys(HOUR));
    }
}
