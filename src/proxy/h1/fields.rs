//! Field lines into a `HeaderMap`: headers of requests and responses, and trailers.
//!
//! Every byte is checked by exactly one reader: line ends here, names and values by the types of
//! `http`. It notes which framing fields came by, so that nobody has to look them up in the map.

use bytes::Bytes;
use http::header::{
    self, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};
use memchr::memchr;

use super::error::InvalidFields;

/// The fields of one head, and what the codec itself has to know of them.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) map: HeaderMap,
    pub(super) hosts: u16,
    pub(super) lengths: u16,
    pub(super) encodings: u16,
    pub(super) connections: u16,
    pub(super) expects: u16,
    pub(super) upgrades: u16,
}

impl Fields {
    /// Reads field lines from `lines` (each ended, the closing empty line included).
    pub(super) fn parse(lines: &Bytes, max: usize) -> Result<Self, InvalidFields> {
        let count = memchr::memchr_iter(b'\n', lines).count().saturating_sub(1);
        if count > max {
            return Err(InvalidFields::TooMany);
        }
        let mut fields = Self::default();
        fields.map.reserve(count);
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
        let value = value.get(1..).unwrap_or_default();
        let lead = value.iter().take_while(|b| is_blank(**b)).count();
        let tail = match lead == value.len() {
            true => 0,
            false => value.iter().rev().take_while(|b| is_blank(**b)).count(),
        };
        let value = lines.slice(start + colon + 1 + lead..end - tail);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| fault_of_line(line))?;
        self.note(&name);
        self.map
            .try_append(name, value)
            .map_err(|_| InvalidFields::TooMany)?;
        Ok(())
    }

    fn note(&mut self, name: &HeaderName) {
        let counter = match name.as_str().len() {
            4 if *name == HOST => &mut self.hosts,
            6 if *name == EXPECT => &mut self.expects,
            7 if *name == UPGRADE => &mut self.upgrades,
            10 if *name == CONNECTION => &mut self.connections,
            14 if *name == CONTENT_LENGTH => &mut self.lengths,
            17 if *name == TRANSFER_ENCODING => &mut self.encodings,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// Whether a field that is a list of tokens has this one, in any case.
    pub(super) fn has_token(&self, name: header::HeaderName, token: &str) -> bool {
        let mut values = self.map.get_all(name).iter();
        values
            .any(|value| tokens(value.as_bytes()).any(|t| t.eq_ignore_ascii_case(token.as_bytes())))
    }
}

/// The members of a comma-separated list.
pub(super) fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b',').map(trim)
}

/// Without spaces and tabs at both ends.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_blank(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_blank(*last)
    {
        value = rest;
    }
    value
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Names the fault of a line that is known to have one.
#[cold]
fn fault_of_line(line: &[u8]) -> InvalidFields {
    if line.first().is_some_and(|b| is_blank(*b)) {
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
    let (name, _) = line.split_at(colon);
    match name {
        [] => InvalidFields::EmptyName,
        [.., last] if is_blank(*last) => InvalidFields::SpaceBeforeColon,
        name if HeaderName::from_bytes(name).is_err() => InvalidFields::BadName,
        _ => InvalidFields::BadValue,
    }
}
