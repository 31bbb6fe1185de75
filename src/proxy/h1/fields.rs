//! Field lines into a `HeaderMap`: headers of requests and responses, and trailers.
//!
//! Every byte is checked by exactly one reader: line ends by the scanner and here, names and values
//! by the types of `http`. The few fields that the codec itself obeys are kept beside the map, so
//! that nobody has to look them up again.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};
use memchr::{memchr, memchr_iter};

use super::error::InvalidFields;

/// The fields of one head, and those among them that the codec obeys.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) map: HeaderMap,
    pub(super) connection: Connection,
    pub(super) host: Seen,
    pub(super) length: Seen,
    pub(super) encoding: Seen,
    pub(super) expect: Seen,
    pub(super) upgrade: Seen,
}

/// A field that may come once.
#[derive(Debug, Default)]
pub(super) enum Seen {
    #[default]
    Never,
    Once(HeaderValue),
    Again,
}

/// The options of all Connection fields that say something about the connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl Fields {
    /// Reads field lines from `lines` (each ended, the closing empty line included).
    pub(super) fn parse(lines: &Bytes, max: usize) -> Result<Self, InvalidFields> {
        let count = memchr_iter(b'\n', lines).count().saturating_sub(1);
        if count > max {
            return Err(InvalidFields::TooMany);
        }
        let mut fields = Self::default();
        fields
            .map
            .try_reserve(count)
            .map_err(|_| InvalidFields::TooMany)?;
        let mut at = 0;
        while let Some(length) = memchr(b'\n', lines.get(at..).unwrap_or_default()) {
            if length <= 1 {
                break;
            }
            fields.push(lines, at, at + length - 1)?;
            at += length + 1;
        }
        Ok(fields)
    }

    /// Adds the line from `start` to `end`, where its CRLF begins.
    fn push(&mut self, lines: &Bytes, start: usize, end: usize) -> Result<(), InvalidFields> {
        let line = lines.get(start..end).unwrap_or_default();
        let Some(colon) = memchr(b':', line) else {
            return Err(fault_of_line(line));
        };
        let (name, value) = line.split_at(colon);
        let Ok(name) = HeaderName::from_bytes(name) else {
            return Err(fault_of_line(line));
        };
        let value = lines.slice_ref(trim(value.get(1..).unwrap_or_default()));
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| fault_of_line(line))?;
        self.note(&name, &value);
        self.map
            .try_append(name, value)
            .map_err(|_| InvalidFields::TooMany)?;
        Ok(())
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        match name.as_str().len() {
            4 if *name == HOST => self.host.note(value),
            6 if *name == EXPECT => self.expect.note(value),
            7 if *name == UPGRADE => self.upgrade.note(value),
            10 if *name == CONNECTION => self.connection.note(value.as_bytes()),
            14 if *name == CONTENT_LENGTH => self.length.note(value),
            17 if *name == TRANSFER_ENCODING => self.encoding.note(value),
            _ => {}
        }
    }
}

impl Seen {
    fn note(&mut self, value: &HeaderValue) {
        *self = match self {
            Self::Never => Self::Once(value.clone()),
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
