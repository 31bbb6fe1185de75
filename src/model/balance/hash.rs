//! Placing by a key: each candidate has a score for each key, and the best one takes it (weighted
//! rendezvous hashing). When a candidate goes, only its keys move; one that comes takes its share and
//! no more. The same in every process, on every machine.

use super::{Among, Candidate};
use crate::model::random::mixed;

/// The hash of a key, or of what a candidate is called.
pub fn of(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The candidate for a key. With a bound, in percent of its fair share of what is in flight, one that
/// has as much already is passed over for the next best.
pub(super) fn place<'a, C: Candidate>(
    among: &Among<'a, '_, C>,
    key: u64,
    bound: Option<u32>,
) -> Option<&'a C> {
    let Some(bound) = bound else {
        return best(among, key, |_| true);
    };
    let mut loads = (0_u64, 0_u64);
    for candidate in among.iter() {
        loads.0 += candidate.in_flight();
        loads.1 += among.weight(candidate);
    }
    best(among, key, |candidate| {
        candidate.in_flight() < most(among.weight(candidate), loads, bound)
    })
    // The bounds add up to more than there is; but others may have been quicker.
    .or_else(|| best(among, key, |_| true))
}

/// Requests in flight that a candidate of this weight may have, this one included; `loads` are the
/// sums of what is in flight and of the weights.
fn most(weight: u64, (in_flight, weights): (u64, u64), bound: u32) -> u64 {
    let share = u128::from(in_flight + 1) * u128::from(weight) * u128::from(bound);
    let most = share.div_ceil(100 * u128::from(weights.max(1)));
    u64::try_from(most).unwrap_or(u64::MAX)
}

fn best<'a, C: Candidate>(
    among: &Among<'a, '_, C>,
    key: u64,
    may: impl Fn(&C) -> bool,
) -> Option<&'a C> {
    let mut best: Option<(f64, &C)> = None;
    for candidate in among.iter().filter(|one| may(one)) {
        let score = score(key, candidate.identity(), among.weight(candidate));
        if best.is_none_or(|(lowest, _)| score < lowest) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Of exponential distribution, with the weight as its rate: the lowest of several is each one's with a
/// chance in proportion to its weight.
fn score(key: u64, identity: u64, weight: u64) -> f64 {
    let bits = mixed(key ^ identity.rotate_left(32)) >> 11;
    let unit = (bits as f64 + 1.0) / (1_u64 << 53) as f64;
    -unit.ln() / weight.max(1) as f64
}
