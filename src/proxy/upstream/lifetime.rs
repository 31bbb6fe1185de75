//! How long a server leaves an idle connection open, learnt from what it says (`Keep-Alive: timeout=5`)
//! and from connections that it closed while they were idle; so that ours are retired before.
//!
//! One close says little: the server may have restarted. Two at about the same age and at different
//! times are a rule, until a connection lives longer or the rule is old. Not here: a clock, and the
//! connections.

use std::time::Duration;

use crate::proxy::timers::Tick;

/// A rule is tried anew after this: the server may be another by now.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Even from a server that closes at once connections are kept this long, as a busy worker uses them
/// again within it.
const SHORTEST: Duration = Duration::from_millis(250);
/// Two closes within this are one event.
const ONE_EVENT: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Lifetime {
    announced: Option<Duration>,
    suspected: Option<Close>,
    /// The age at which a connection was last known to live, and until when that is believed.
    learnt: Option<(Duration, Tick)>,
}

/// A connection that the server has closed while it was idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Close {
    /// The age at which it was last seen open, and the one at which it was found closed.
    pub(super) open_at: Duration,
    pub(super) closed_at: Duration,
    pub(super) found: Tick,
}

impl Lifetime {
    /// How old an idle connection may become, if anything is known of that.
    pub(super) fn limit(&self, now: Tick) -> Option<Duration> {
        let learnt = self.learnt.filter(|(_, until)| now < *until);
        let learnt = learnt.map(|(age, _)| age);
        let known = match (self.announced, learnt) {
            (Some(announced), Some(learnt)) => Some(announced.min(learnt)),
            (announced, learnt) => announced.or(learnt),
        };
        known.map(|age| (age - margin(age)).max(SHORTEST))
    }

    /// The server has said how long it leaves connections open.
    pub(super) fn announce(&mut self, timeout: Duration) {
        self.announced = Some(timeout);
    }

    /// Connections that were found closed together. Those of one age met the server's timeout; a
    /// mixture met its end.
    pub(super) fn closed(&mut self, closes: &[Close]) {
        let mut closes = closes.iter().copied();
        let Some(first) = closes.next() else { return };
        let common = closes.try_fold(first, |common, close| common.and(close));
        let Some(close) = common else { return };
        let agreed = self
            .suspected
            .filter(|earlier| earlier.found.after(ONE_EVENT) < close.found)
            .and_then(|earlier| earlier.and(close));
        if let Some(agreed) = agreed {
            self.learnt = Some((agreed.open_at, close.found.after(REMEMBERED)));
        }
        self.suspected = Some(agreed.unwrap_or(close));
    }

    /// A connection was still open at this age.
    pub(super) fn open(&mut self, age: Duration) {
        if self.suspected.is_some_and(|close| close.closed_at < age) {
            self.suspected = None;
            self.learnt = None;
        }
    }
}

impl Close {
    /// Both, if one timeout explains them.
    fn and(self, other: Self) -> Option<Self> {
        let open_at = self.open_at.max(other.open_at);
        let closed_at = self.closed_at.min(other.closed_at);
        (open_at <= closed_at).then_some(Self {
            open_at,
            closed_at,
            found: self.found.max(other.found),
        })
    }
}

/// What a request needs to get there before the server closes: a tenth, at most a second, and of
/// short times a half.
fn margin(age: Duration) -> Duration {
    let least = Duration::from_secs(1).min(age / 2);
    (age / 10).max(least)
}

/// The `timeout` of a `Keep-Alive` header.
pub(super) fn announced_by(header: &[u8]) -> Option<Duration> {
    let parameters = header.split(|byte| *byte == b',' || *byte == b';');
    let timeout = parameters.filter_map(|one| {
        let one = std::str::from_utf8(one).ok()?;
        let (name, value) = one.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        let seconds = value.trim().trim_matches('"').parse::<u32>().ok();
        seconds.filter(|_| is_timeout)
    });
    let seconds = timeout.map(u64::from).next();
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::timers::Timers;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Found at this time, when it was this old; it was looked at every second.
    fn close(start: Tick, found: u64, age: u64) -> Close {
        Close {
            open_at: ms(age.saturating_sub(1_000)),
            closed_at: ms(age),
            found: start.after(ms(found)),
        }
    }

    fn start() -> Tick {
        Timers::new().now()
    }

    #[test]
    fn two_closes_at_one_age_are_a_rule() {
        let (mut lifetime, start) = (Lifetime::default(), start());
        lifetime.closed(&[close(start, 10_000, 5_200)]);
        assert_eq!(lifetime.limit(start), None, "one is none");
        lifetime.closed(&[close(start, 20_000, 5_900)]);
        let limit = lifetime.limit(start.after(ms(20_000))).expect("learnt");
        assert!(limit < ms(5_000) && limit > ms(3_000), "{limit:?}");
        assert_eq!(lifetime.limit(start.after(ms(620_001))), None, "forgotten");
    }

    #[test]
    fn a_restart_is_no_rule() {
        let (mut lifetime, start) = (Lifetime::default(), start());
        for at in [10_000, 20_000, 30_000] {
            lifetime.closed(&[close(start, at, 2_000), close(start, at, 30_000)]);
        }
        lifetime.closed(&[close(start, 40_000, 3_000)]);
        lifetime.closed(&[close(start, 50_000, 9_000)]);
        lifetime.closed(&[close(start, 60_000, 20_000)]);
        assert_eq!(lifetime.limit(start.after(ms(60_000))), None);
        lifetime.closed(&[close(start, 70_000, 4_000)]);
        lifetime.closed(&[close(start, 70_100, 4_000)]);
        assert_eq!(lifetime.limit(start.after(ms(70_100))), None, "one event");
    }

    #[test]
    fn a_longer_life_refutes_it() {
        let (mut lifetime, start) = (Lifetime::default(), start());
        lifetime.closed(&[close(start, 10_000, 5_000)]);
        lifetime.closed(&[close(start, 20_000, 5_000)]);
        lifetime.open(ms(5_000));
        assert!(lifetime.limit(start.after(ms(20_000))).is_some());
        lifetime.open(ms(5_001));
        assert_eq!(lifetime.limit(start.after(ms(20_000))), None);
    }

    #[test]
    fn what_the_server_says_counts_at_once() {
        let (mut lifetime, start) = (Lifetime::default(), start());
        for (says, limit) in [(5, 4_000), (60, 54_000), (1, 500), (0, 250)] {
            lifetime.announce(Duration::from_secs(says));
            assert_eq!(lifetime.limit(start), Some(ms(limit)), "{says}s");
        }
    }

    #[test]
    fn the_header_is_read_as_servers_write_it() {
        for (header, seconds) in [
            ("timeout=5", Some(5)),
            ("timeout=15, max=100", Some(15)),
            ("max=100, Timeout = \"7\"", Some(7)),
            ("max=100", None),
            ("timeout=-1", None),
            ("timeout=99999999999", None),
            ("", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(announced_by(header.as_bytes()), expected, "{header}");
        }
    }
}
