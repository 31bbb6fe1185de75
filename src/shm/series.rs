//! A series' key: which family it belongs to and the ids of its labels, packed into one word, so
//! that an entry of a row says what it counts without a name in the segment.
//!
//! Not here: what a family is called (`admin::metrics`), which name has which id (`names`).

use super::layout::Shape;

/// Label ids below this are the same in every segment; names start here.
pub const FIRST_NAME: u32 = 2;
/// The label does not apply: a request that no rule took has no route.
pub const NONE: u32 = 0;
/// What came after the bound on the number of series was reached.
pub const OTHER: u32 = 1;
/// Ids and codes of labels end below these.
pub const ID_END: u32 = 1 << ID_BITS;
pub const DETAIL_END: u16 = 1 << DETAIL_BITS;
/// The detail of an overflow series.
pub const OTHER_DETAIL: u16 = DETAIL_END - 1;

const ID_BITS: u32 = 22;
const DETAIL_BITS: u32 = 13;

/// A metric's family, as far as it is counted in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// By route, upstream, method and code.
    Requests = 1,
    /// By route and upstream.
    RequestDuration = 2,
    InFlight = 3,
    /// By listener and `ConnectionState`.
    Connections = 4,
    /// By listener.
    Accepted = 5,
    /// By upstream.
    UpstreamDuration = 6,
    /// By upstream.
    UpstreamConnect = 7,
    /// By upstream and `ConnectionState`.
    UpstreamConnections = 8,
    /// By upstream.
    Retries = 9,
    /// By reason, whose ids are the place in its closed list.
    Errors = 10,
    /// Bytes of bodies from clients, by route and upstream.
    RequestBytes = 11,
    /// Bytes of bodies to clients, by route and upstream.
    ResponseBytes = 12,
    /// Access log lines, by `Outcome`.
    LogLines = 13,
    /// Tracing spans, by `Outcome`.
    Spans = 14,
    /// Series that found no room and were counted in `_other`.
    DroppedSeries = 15,
    /// By the place of the result in its closed list. Counted by the supervisor.
    Reloads = 16,
    /// By the place of the reason in its closed list. Counted by the supervisor.
    Restarts = 17,
    /// From a file's event to the last worker's commit. Counted by the supervisor.
    ApplyDuration = 18,
    /// Id of the upstream.
    Ejections = 19,
    /// By the place of the result in its closed list. Counted by the supervisor.
    Lookups = 20,
    /// By upstream and `CheckResult`. Counted by the supervisor.
    HealthChecks = 21,
    /// By upstream and the verdict that it now is. Counted by the supervisor.
    HealthChanges = 22,
    /// By listener and `Handshake`.
    Handshakes = 23,
    /// Id of the upstream, and what became of the copy.
    Mirrored = 24,
    /// Upgraded connections that are open, by upstream.
    Tunnels = 25,
    /// By upstream.
    TunnelsOpened = 26,
    /// By upstream, and `Direction`.
    TunnelBytes = 27,
    /// Connections of TCP listeners that are open, by listener and upstream.
    TcpConnections = 28,
    /// By listener and upstream.
    TcpOpened = 29,
    /// By listener and upstream, and `Direction`.
    TcpBytes = 30,
    /// By listener and upstream.
    TcpDuration = 31,
}

/// Does a family's value die with its process?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectionState {
    Active = 0,
    Idle = 1,
}

/// What became of a request's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Copied {
    Answered = 0,
    Failed = 1,
    /// Not sent: too many were under way, its body was too long or broke off.
    Dropped = 2,
}

/// Which way bytes went; the detail of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    ToUpstream = 0,
    ToClient = 1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Written = 0,
    Dropped = 1,
}

/// How a TLS handshake with a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Handshake {
    Completed,
    /// By a session that had begun before.
    Resumed,
    /// The client went away, or never said a word.
    Closed,
    Timeout,
    /// It was the oldest of too many.
    Crowded,
    /// The client spoke plain HTTP.
    Plaintext,
    /// What it said is no TLS, or not as TLS has it.
    Malformed,
    /// No version, cipher suite or protocol is common to both.
    Unsupported,
    /// The client's certificate is missing or not good.
    ClientCertificate,
    /// The client has refused: our certificate, mostly.
    Refused,
}

impl Handshake {
    pub const ALL: [Handshake; 10] = [
        Handshake::Completed,
        Handshake::Resumed,
        Handshake::Closed,
        Handshake::Timeout,
        Handshake::Crowded,
        Handshake::Plaintext,
        Handshake::Malformed,
        Handshake::Unsupported,
        Handshake::ClientCertificate,
        Handshake::Refused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Handshake::Completed => "completed",
            Handshake::Resumed => "resumed",
            Handshake::Closed => "closed",
            Handshake::Timeout => "timeout",
            Handshake::Crowded => "crowded",
            Handshake::Plaintext => "plaintext",
            Handshake::Malformed => "malformed",
            Handshake::Unsupported => "unsupported",
            Handshake::ClientCertificate => "client-certificate",
            Handshake::Refused => "refused",
        }
    }
}

/// Method names that are labels; all others are `_other`.
pub const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
];

/// Never 0: that is a free entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// Ids that do not fit are counted as `OTHER`.
    pub fn new(family: Family, first: u32, second: u32, detail: u16) -> Key {
        let id = |id: u32| u64::from(if id < ID_END { id } else { OTHER });
        let detail = u64::from(if detail < DETAIL_END {
            detail
        } else {
            OTHER_DETAIL
        });
        let family = (family as u64) << (2 * ID_BITS + DETAIL_BITS);
        Key(family | id(first) << (ID_BITS + DETAIL_BITS) | id(second) << DETAIL_BITS | detail)
    }

    /// Where a family counts what found no room.
    pub fn overflow(family: Family) -> Key {
        Key::new(family, OTHER, OTHER, OTHER_DETAIL)
    }

    pub(super) fn from_word(word: u64) -> Option<Key> {
        let key = Key(word);
        key.known_family().map(|_| key)
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    pub fn family(self) -> Family {
        self.known_family().unwrap_or(Family::DroppedSeries)
    }

    pub fn first(self) -> u32 {
        self.bits(ID_BITS + DETAIL_BITS, ID_BITS)
    }

    pub fn second(self) -> u32 {
        self.bits(DETAIL_BITS, ID_BITS)
    }

    pub fn detail(self) -> u16 {
        (self.0 & (u64::from(DETAIL_END) - 1)) as u16
    }

    fn bits(self, shift: u32, count: u32) -> u32 {
        (self.0 >> shift & ((1 << count) - 1)) as u32
    }

    fn known_family(self) -> Option<Family> {
        // They are numbered from 1, in the order of the list.
        let place = (self.0 >> (2 * ID_BITS + DETAIL_BITS)).checked_sub(1)?;
        Family::ALL.get(usize::try_from(place).ok()?).copied()
    }
}

impl Family {
    pub const ALL: [Family; 31] = [
        Family::Requests,
        Family::RequestDuration,
        Family::InFlight,
        Family::Connections,
        Family::Accepted,
        Family::UpstreamDuration,
        Family::UpstreamConnect,
        Family::UpstreamConnections,
        Family::Retries,
        Family::Errors,
        Family::RequestBytes,
        Family::ResponseBytes,
        Family::LogLines,
        Family::Spans,
        Family::DroppedSeries,
        Family::Reloads,
        Family::Restarts,
        Family::ApplyDuration,
        Family::Ejections,
        Family::Lookups,
        Family::HealthChecks,
        Family::HealthChanges,
        Family::Handshakes,
        Family::Mirrored,
        Family::Tunnels,
        Family::TunnelsOpened,
        Family::TunnelBytes,
        Family::TcpConnections,
        Family::TcpOpened,
        Family::TcpBytes,
        Family::TcpDuration,
    ];

    pub fn nature(self) -> Nature {
        match self {
            Family::InFlight
            | Family::Connections
            | Family::UpstreamConnections
            | Family::Tunnels
            | Family::TcpConnections => Nature::Gauge,
            Family::RequestDuration
            | Family::UpstreamDuration
            | Family::UpstreamConnect
            | Family::ApplyDuration
            | Family::TcpDuration => Nature::Histogram,
            _ => Nature::Counter,
        }
    }

    pub(super) fn shape(self) -> Shape {
        match self.nature() {
            Nature::Histogram => Shape::Histogram,
            Nature::Counter | Nature::Gauge => Shape::Scalar,
        }
    }
}

/// A code that HTTP does not define.
const OTHER_CODE: u16 = 0x1ff;

/// Method and status code as a detail: 16 methods of 512 codes; 0 is a request that was not answered.
pub fn method_and_code(method: &http::Method, code: u16) -> u16 {
    let method = METHODS.iter().position(|known| *known == method.as_str());
    let method = method.unwrap_or(METHODS.len()) as u16;
    let code = match code {
        0 => 0,
        100..600 => code - 99,
        _ => OTHER_CODE,
    };
    method << 9 | code
}

/// Nothing was answered.
pub fn has_no_code(detail: u16) -> bool {
    detail & 0x1ff == 0
}

/// The labels of such a detail; `None` is `_other`.
pub fn split_method_and_code(detail: u16) -> (Option<&'static str>, Option<u16>) {
    let code = detail & 0x1ff;
    (
        METHODS.get(usize::from(detail >> 9)).copied(),
        (1..=500).contains(&code).then_some(code + 99),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_what_it_was_made_of() {
        for family in Family::ALL {
            let key = Key::new(family, ID_END - 1, 77, 4_711);
            assert_eq!(key.family(), family);
            assert_eq!(
                (key.first(), key.second(), key.detail()),
                (ID_END - 1, 77, 4_711)
            );
            assert_eq!(Key::from_word(key.word()), Some(key));
        }
        assert_eq!(Key::from_word(0), None);
        assert_eq!(Key::from_word(u64::MAX), None);
        assert_eq!(Key::new(Family::Errors, u32::MAX, 0, 0).first(), OTHER);
    }

    #[test]
    fn methods_and_codes_are_bounded() {
        for (method, code) in [("GET", 100), ("TRACE", 599), ("PATCH", 204)] {
            let detail = method_and_code(&method.parse().expect("a method"), code);
            assert_eq!(split_method_and_code(detail), (Some(method), Some(code)));
        }
        let odd = method_and_code(&"BREW".parse().expect("a method"), 999);
        assert_eq!(split_method_and_code(odd), (None, None));
        assert_eq!(split_method_and_code(OTHER_DETAIL), (None, None));
    }
}
