//! W3C trace context: what a request says about the trace it belongs to, what the upstream is told, and
//! whether a span of ours is wanted.
//!
//! Pure but for the random numbers that ids are. Not here: sending spans (`export`).

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU64, NonZeroU128};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};

use crate::model::fields::Fields;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// One request's place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub(super) trace: NonZeroU128,
    /// Ours.
    pub(super) span: NonZeroU64,
    /// The client's.
    pub(super) parent: Option<NonZeroU64>,
    pub(super) state: Option<Bytes>,
    pub(super) sampling: Sampling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sampling {
    Sampled,
    Ignored,
}

/// Decides for requests that carry no decision, and makes ids.
#[derive(Debug)]
pub(super) struct Sampler {
    state: Cell<u64>,
    /// Of so many requests one is sampled.
    pub(super) one_of: u32,
}

impl Sampler {
    pub(super) fn new(one_of: u32) -> Sampler {
        Sampler {
            state: Cell::new(RandomState::new().hash_one(one_of)),
            one_of,
        }
    }

    /// Joins the client's trace, or starts one.
    pub(super) fn join(&self, headers: &Fields) -> Trace {
        match parse(headers.get(&TRACEPARENT)) {
            Some((trace, parent, sampling)) => Trace {
                trace,
                span: self.span_id(),
                parent: Some(parent),
                state: headers.get_shared(&TRACESTATE),
                sampling,
            },
            None => Trace {
                trace: self.trace_id(),
                span: self.span_id(),
                parent: None,
                state: None,
                sampling: self.decide(),
            },
        }
    }

    fn decide(&self) -> Sampling {
        if self.random().is_multiple_of(u64::from(self.one_of)) {
            Sampling::Sampled
        } else {
            Sampling::Ignored
        }
    }

    fn trace_id(&self) -> NonZeroU128 {
        let id = u128::from(self.random()) << 64 | u128::from(self.random());
        NonZeroU128::new(id).unwrap_or(NonZeroU128::MIN)
    }

    fn span_id(&self) -> NonZeroU64 {
        NonZeroU64::new(self.random()).unwrap_or(NonZeroU64::MIN)
    }

    /// SplitMix64: ids need to differ, not to be secret.
    fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl Trace {
    pub(super) fn is_sampled(&self) -> bool {
        self.sampling == Sampling::Sampled
    }

    /// Tells the upstream. A parent that nobody exports is left as the client had it.
    pub(in crate::proxy) fn tell(&self, headers: &mut Fields) {
        if self.parent.is_some() && !self.is_sampled() {
            return;
        }
        let flags = u8::from(self.is_sampled());
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(&TRACEPARENT, &value);
        }
        if self.parent.is_none() {
            headers.remove(&TRACESTATE);
        }
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, in lower case; a later version may have more behind it.
fn parse(header: Option<&[u8]>) -> Option<(NonZeroU128, NonZeroU64, Sampling)> {
    let text = str::from_utf8(header?).ok()?;
    let mut parts = text.splitn(5, '-');
    let [version, trace, span, flags] =
        [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let version = hex(version, 2)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let trace = NonZeroU128::new(hex(trace, 32)?)?;
    let span = NonZeroU64::new(u64::try_from(hex(span, 16)?).ok()?)?;
    let sampled = hex(flags, 2)? & 1 == 1;
    Some((
        trace,
        span,
        if sampled {
            Sampling::Sampled
        } else {
            Sampling::Ignored
        },
    ))
}

fn hex(text: &str, length: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let valid = text.len() == length && text.bytes().all(is_hex);
    valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(parent: &str) -> Fields {
        Fields::of(&[("TraceParent", parent), ("tracestate", "vendor=1")])
    }

    fn told(trace: &Trace, headers: &Fields) -> (String, bool) {
        let mut headers = headers.clone();
        trace.tell(&mut headers);
        let parent = headers.text("traceparent").to_owned();
        (parent, headers.has("tracestate"))
    }

    #[test]
    fn a_sampled_trace_goes_on_below_our_span() {
        let trace = Sampler::new(1_000_000).join(&headers(GIVEN));
        assert!(trace.is_sampled());
        assert_eq!(
            trace.parent.map(NonZeroU64::get),
            Some(0x00f0_67aa_0ba9_02b7)
        );
        let (parent, state) = told(&trace, &headers(GIVEN));
        assert!(
            parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{parent}"
        );
        assert!(parent.ends_with("-01") && state && parent != GIVEN);
    }

    #[test]
    fn a_trace_that_is_not_sampled_passes_as_it_came() {
        let given = GIVEN.replace("-01", "-00");
        let trace = Sampler::new(1).join(&headers(&given));
        assert!(!trace.is_sampled());
        assert_eq!(told(&trace, &headers(&given)), (given, true));
    }

    #[test]
    fn what_is_no_traceparent_starts_a_trace() {
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            let trace = Sampler::new(1).join(&headers(bad));
            assert_eq!(trace.parent, None, "{bad}");
            let (parent, state) = told(&trace, &headers(bad));
            assert!(parse(Some(parent.as_bytes())).is_some(), "{parent}");
            assert!(!state, "another trace's state does not go on");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(Sampler::new(1).join(&headers(later)).parent.is_some());
    }

    #[test]
    fn the_ratio_holds() {
        let sampler = Sampler::new(10);
        let sampled = (0..100_000).filter(|_| sampler.join(&Fields::default()).is_sampled());
        let sampled = sampled.count();
        assert!((9_000..11_000).contains(&sampled), "{sampled}");
    }
}
