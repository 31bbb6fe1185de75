//! Field lines as they are read: headers of requests and responses, and trailers, checked and with
//! those noted that the codec itself obeys, so that nobody has to look them up again.
//!
//! Every byte is checked by exactly one reader: line ends by the scanner, names and values here.

use bytes::Bytes;
use memchr::memchr;

use super::error::InvalidFields;
use super::scan::Lines;
use crate::model::fields::{self, Fields, Kind, Place, Role};

/// Room in the list for what is added on the way, so that it does not grow again.
const ROOM: usize = 6;
/// Fields of one message, whatever the configuration lets through: few enough to go on over HTTP/2, as a map of
/// `http`, with what is added on the way.
const MOST: usize = 20_000;
/// In bytes, as in `http`.
const LONGEST_NAME: usize = 65_535;

/// The field section of one message, and what of it the codec obeys.
#[derive(Debug, Default)]
pub(super) struct Section<'h> {
    pub(super) fields: Fields,
    persistence: Worth,
    pub(super) connection: Connection,
    pub(super) host: Seen<'h>,
    pub(super) length: Seen<'h>,
    pub(super) encoding: Seen<'h>,
    pub(super) expect: Seen<'h>,
    pub(super) upgrade: Seen<'h>,
}

/// Whether a Connection that names no other field, and whose options are noted, is also to be in the list.
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

impl<'h> Section<'h> {
    /// To be filled; `fields` brings the memory that it has, and nothing else.
    pub(super) fn with_memory_of(fields: Fields) -> Self {
        Self {
            fields,
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
        if count > max.min(MOST) {
            return Err(InvalidFields::TooMany);
        }
        self.fields.begin(head.clone());
        self.fields.reserve(count.saturating_add(ROOM));
        let section = head.get(start..).unwrap_or_default();
        let values = Values::of(section, count.saturating_add(1));
        for number in number..empty_line {
            let end = lines.end_of(number, start, head);
            self.push(head, start, end, values)?;
            start = end;
        }
        Ok(())
    }

    /// Adds the line from `start` to `end`, behind its CRLF.
    fn push(
        &mut self,
        head: &'h Bytes,
        start: usize,
        end: usize,
        values: Values,
    ) -> Result<(), InvalidFields> {
        let line = head.get(start..end.saturating_sub(2)).unwrap_or_default();
        let name_length = token_length(line);
        let (name, rest) = line.split_at(name_length);
        let (1..=LONGEST_NAME, [b':', rest @ ..]) = (name_length, rest) else {
            return Err(fault_of_line(line));
        };
        let value = trim_start(rest);
        let before = rest.len().saturating_sub(value.len());
        let value = trim_end(value);
        if values == Values::InDoubt && !fields::is_value(value) {
            return Err(fault_of_line(line));
        }
        let kind = Kind::of(name);
        if kind.role != Role::Plain {
            self.note(kind.role, value);
            if kind.role == Role::Connection
                && self.persistence == Worth::Noted
                && is_persistence(value)
            {
                return Ok(());
            }
        }
        let place = Place {
            start,
            name_length,
            value: start + name_length + 1 + before,
            value_length: value.len(),
            end,
        };
        self.fields.push_read(place, kind);
        Ok(())
    }

    fn note(&mut self, role: Role, value: &'h [u8]) {
        match role {
            Role::Connection => self.connection.note(value),
            Role::Encoding => self.encoding.note(value),
            Role::Expect => self.expect.note(value),
            Role::Host => self.host.note(value),
            Role::Length => self.length.note(value),
            Role::Upgrade => self.upgrade.note(value),
            Role::Plain | Role::Te | Role::OfConnection | Role::Claim => {}
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
fn trim(value: &[u8]) -> &[u8] {
    trim_end(trim_start(value))
}

fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// What one look at a whole section says of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// They have no control character.
    Clean,
    /// There is one somewhere, if only a tab.
    InDoubt,
}

impl Values {
    /// Of so many lines, of which the scanner knows that they end in CRLF: other control characters there are only where
    /// there are more than those.
    fn of(section: &[u8], lines: usize) -> Self {
        let (pieces, rest) = section.as_chunks();
        let mut last = [b' '; PIECE];
        if let Some(begin) = last.get_mut(..rest.len()) {
            begin.copy_from_slice(rest);
        }
        let found: usize = pieces.iter().map(controls).sum();
        if found + controls(&last) == 2 * lines {
            Self::Clean
        } else {
            Self::InDoubt
        }
    }
}

/// No early return, so that it becomes a few vector instructions.
fn controls(piece: &[u8; PIECE]) -> usize {
    let found = piece.iter().map(|b| u8::from(*b < b' ' || *b == 0x7f));
    found.sum::<u8>().into()
}

/// Bytes that are looked at together.
const PIECE: usize = 32;

/// How far a name goes (RFC 9110, 5.6.2).
fn token_length(line: &[u8]) -> usize {
    let is_of_token = |b: &u8| TOKEN_BYTES.get(usize::from(*b)) == Some(&true);
    let end = line.iter().position(|b| !is_of_token(b));
    end.unwrap_or(line.len())
}

static TOKEN_BYTES: [bool; 256] = build_token_bytes();

#[expect(clippy::indexing_slicing, reason = "runs while compiling")]
const fn build_token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
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
        name if token_length(name) < name.len() || name.len() > LONGEST_NAME => {
            InvalidFields::BadName
        }
        _ => InvalidFields::BadValue,
    }
}
