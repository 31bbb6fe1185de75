//! Field lines into a `HeaderMap`: headers of requests and responses, and trailers.
//!
//! Every byte is checked by exactly one reader: line ends by the scanner and here, names and values
//! by the types of `http`. The few fields that the codec itself obeys are kept beside the map, so
//! that nobody has to look them up again.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::error::InvalidFields;
use super::names::{self, Role};
use super::recent;
use super::scan::Lines;

/// Room in the map for what is added on the way, so that it does not grow again.
const ROOM: usize = 6;

/// The fields of one head, and those among them that the codec obeys.
#[derive(Debug, Default)]
pub(super) struct Fields<'h> {
    pub(super) map: HeaderMap,
    persistence: Worth,
    pub(super) connection: Connection,
    pub(super) host: Seen<'h>,
    pub(super) length: Seen<'h>,
    pub(super) encoding: Seen<'h>,
    pub(super) expect: Seen<'h>,
    pub(super) upgrade: Seen<'h>,
}

/// Whether a Connection that names no other field, and whose options are noted, is also to be in the map.
#[derive(Debug, Default, PartialEq, Eq)]
enum Worth {
    #[default]
    Kept,
    Noted,
}

/// A field that may come once.
#[derive(Debug, Default)]
pub(super) enum Seen<'h> {
    #[default]
    Never,
    Once(&'h [u8]),
    Again,
}

/// The options of all Connection fields that say something about the connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl<'h> Fields<'h> {
    /// To be filled; `map` brings the memory that it has, and nothing else.
    pub(super) fn with_memory_of(mut map: HeaderMap) -> Self {
        map.clear();
        Self {
            map,
            ..Self::default()
        }
    }

    /// As most of them come, Connection is then taken away without having been put in.
    pub(super) fn with_persistence_noted(self) -> Self {
        Self {
            persistence: Worth::Noted,
            ..self
        }
    }

    /// Reads the field lines of `head`: those behind the start line, which ends at `start`, up to
    /// the empty line. Trailers have no start line: there `number` and `start` are zero.
    pub(super) fn read(
        &mut self,
        head: &'h Bytes,
        lines: &Lines,
        number: usize,
        mut start: usize,
        max: usize,
    ) -> Result<(), InvalidFields> {
        let empty_line = lines.count().saturating_sub(1);
        let count = empty_line.saturating_sub(number);
        if count > max {
            return Err(InvalidFields::TooMany);
        }
        self.map
            .try_reserve(count.saturating_add(ROOM))
            .map_err(|_| InvalidFields::TooMany)?;
        for number in number..empty_line {
            let end = lines.end_of(number, start, head);
            self.push(head, start, end.saturating_sub(2))?;
            start = end;
        }
        Ok(())
    }

    /// Adds the line from `start` to `end`, where its CRLF begins.
    fn push(&mut self, head: &'h Bytes, start: usize, end: usize) -> Result<(), InvalidFields> {
        let line = head.get(start..end).unwrap_or_default();
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            return Err(fault_of_line(line));
        };
        let (name, value) = line.split_at(colon);
        let value = trim(value.get(1..).unwrap_or_default());
        let name = match names::find(name) {
            Some(known) => {
                if known.role != Role::Plain {
                    self.note(known.role, value);
                }
                if known.role == Role::Connection
                    && self.persistence == Worth::Noted
                    && is_persistence(value)
                {
                    return Ok(());
                }
                known.name.clone()
            }
            None => recent::read(name).map_err(|_| fault_of_line(line))?,
        };
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        let value = value.map_err(|_| fault_of_line(line))?;
        self.map
            .try_append(name, value)
            .map_err(|_| InvalidFields::TooMany)?;
        Ok(())
    }

    fn note(&mut self, role: Role, value: &'h [u8]) {
        match role {
            Role::Plain => {}
            Role::Connection => self.connection.note(value),
            Role::Encoding => self.encoding.note(value),
            Role::Expect => self.expect.note(value),
            Role::Host => self.host.note(value),
            Role::Length => self.length.note(value),
            Role::Upgrade => self.upgrade.note(value),
        }
    }
}

impl<'h> Seen<'h> {
    fn note(&mut self, value: &'h [u8]) {
        *self = match self {
            Self::Never => Self::Once(value),
            Self::Once(_) | Self::Again => Self::Again,
        };
    }
}

impl Connection {
    fn note(&mut self, list: &[u8]) {
        for option in tokens(list) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

fn is_persistence(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// The members of a comma-separated list.
pub(super) fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b',').map(trim)
}

/// Without spaces and tabs at both ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Names the fault of a line that is known to have one.
#[cold]
fn fault_of_line(line: &[u8]) -> InvalidFields {
    if let [b' ' | b'\t', ..] = line {
        return InvalidFields::ObsFold;
    }
    if line.contains(&b'\r') {
        return InvalidFields::BareCr;
    }
    if line.contains(&0) {
        return InvalidFields::Nul;
    }
    let Some(colon) = memchr(b':', line) else {
        return InvalidFields::MissingColon;
    };
    match line.split_at(colon).0 {
        [] => InvalidFields::EmptyName,
        [.., b' ' | b'\t'] => InvalidFields::SpaceBeforeColon,
        name if HeaderName::from_bytes(name).is_err() => InvalidFields::BadName,
        _ => InvalidFields::BadValue,
    }
}
