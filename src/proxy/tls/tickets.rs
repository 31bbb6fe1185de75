//! Session tickets: a session sealed with a key that all workers have, so that a client resumes it
//! with any of them. The supervisor makes the keys and changes them.
//!
//! Not here: which sessions a listener accepts; its context is sealed in with each.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// Longer ones are none of ours; a session with a chain of client certificates is some kilobytes.
const LONGEST: usize = 32 * 1024;
const NAME: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Keys in use; empty issues no tickets and takes none.
#[derive(Default)]
pub(in crate::proxy) struct Tickets(Arc<ArcSwap<Ring>>);

#[derive(Default)]
struct Ring {
    /// The first one seals, all of them open.
    keys: Vec<TicketKey>,
    /// How long clients may keep what is sealed now, in seconds.
    lifetime: u32,
}

struct TicketKey {
    name: [u8; NAME],
    key: LessSafeKey,
}

/// The tickets of listeners with one context.
struct Ticketer {
    ring: Arc<ArcSwap<Ring>>,
    context: [u8; 32],
}

impl Tickets {
    pub(in crate::proxy) fn set<'k>(
        &self,
        keys: impl Iterator<Item = (&'k [u8], [u8; NAME])>,
        lifetime: u32,
    ) {
        let keys = keys.filter_map(|(secret, name)| {
            let key = UnboundKey::new(&AES_256_GCM, secret).ok()?;
            Some(TicketKey {
                name,
                key: LessSafeKey::new(key),
            })
        });
        let keys = keys.collect();
        self.0.store(Arc::new(Ring { keys, lifetime }));
    }

    pub(in crate::proxy) fn within(&self, context: [u8; 32]) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer {
            ring: Arc::clone(&self.0),
            context,
        })
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        !self.ring.load().keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        self.ring.load().lifetime
    }

    /// Name of the key, nonce, sealed session.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let ring = self.ring.load();
        let TicketKey { name, key } = ring.keys.first()?;
        let mut nonce = [0; NONCE];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(self.context);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let ring = self.ring.load();
        let TicketKey { key, .. } = ring.keys.iter().find(|key| key.name == *name)?;
        let mut plain = sealed.to_vec();
        let aad = Aad::from(self.context);
        key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain)
            .ok()?;
        plain.truncate(plain.len().saturating_sub(TAG));
        Some(plain)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (&[u8], [u8; NAME]) = (&[1; 32], [1; NAME]);
    const TWO: (&[u8], [u8; NAME]) = (&[2; 32], [2; NAME]);

    #[test]
    fn a_ticket_opens_while_its_key_is_known_and_in_its_context_alone() {
        let tickets = Tickets::default();
        let here = tickets.within([0; 32]);
        assert!(!here.enabled());
        assert_eq!(here.encrypt(b"session"), None);

        tickets.set([ONE].into_iter(), 60);
        let ticket = here.encrypt(b"session").unwrap();
        assert!(here.enabled() && here.lifetime() == 60);
        assert_eq!(here.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets.within([9; 32]).decrypt(&ticket), None);

        tickets.set([TWO, ONE].into_iter(), 60);
        assert_eq!(here.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        tickets.set([TWO].into_iter(), 60);
        assert_eq!(here.decrypt(&ticket), None);
    }

    #[test]
    fn what_was_tampered_with_does_not_open() {
        let tickets = Tickets::default();
        tickets.set([ONE].into_iter(), 60);
        let here = tickets.within([0; 32]);
        let ticket = here.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(here.decrypt(&other), None, "byte {at}");
            assert_eq!(here.decrypt(&ticket[..at]), None, "cut at {at}");
        }
    }
}
