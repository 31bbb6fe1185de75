//! Where one field stands, and how its line is written again.

use std::ops::Range;

use bytes::BytesMut;

use super::role::Kind;

/// A field in a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub start: usize,
    pub name_length: usize,
    pub value: usize,
    pub value_length: usize,
    /// Behind the end of its line.
    pub end: usize,
}

/// Offsets are of 32 bits, as a head is bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    start: u32,
    name_length: u32,
    value: u32,
    value_length: u32,
    kind: Kind,
    form: Form,
    indexing: Indexing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Read, as we would write it.
    Plain,
    /// Read, with something else than one space before the value, or with space behind it.
    Spaced,
    Made,
}

/// Whether a compressor may remember it (RFC 7541, 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indexing {
    Allowed,
    Never,
}

/// Lines that are written at once.
pub(super) struct Run {
    first: Line,
    end: usize,
}

/// Between the name and the value.
const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

impl Place {
    /// Whether its line in `text` is as we would write it.
    pub(super) fn is_plain(&self, text: &[u8]) -> bool {
        text.get(self.start + self.name_length..self.value) == Some(COLON)
            && self.end == self.value + self.value_length + END.len()
    }
}

impl Line {
    pub(super) fn new(place: Place, kind: Kind, form: Form) -> Self {
        Self {
            start: short(place.start),
            name_length: short(place.name_length),
            value: short(place.value),
            value_length: short(place.value_length),
            kind,
            form,
            indexing: Indexing::Allowed,
        }
    }

    pub(super) fn with_indexing(self, indexing: Indexing) -> Self {
        Self { indexing, ..self }
    }

    pub(super) fn indexing(&self) -> Indexing {
        self.indexing
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn is_made(&self) -> bool {
        self.form == Form::Made
    }

    /// What it points into.
    pub(super) fn text<'t>(&self, read: &'t [u8], made: &'t [u8]) -> &'t [u8] {
        match self.form {
            Form::Plain | Form::Spaced => read,
            Form::Made => made,
        }
    }

    pub(super) fn name<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        piece(text, self.start as usize, self.name_length as usize)
    }

    pub(super) fn value<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        piece(text, self.value as usize, self.value_length as usize)
    }

    pub(super) fn has_name(&self, tag: u8, name: &[u8], text: &[u8]) -> bool {
        self.kind.tag == tag && self.name(text).eq_ignore_ascii_case(name)
    }

    fn written_size(&self) -> usize {
        self.name_length as usize + COLON.len() + self.value_length as usize + END.len()
    }

    pub(super) fn run(&self) -> Run {
        Run {
            first: *self,
            end: self.end(),
        }
    }

    /// Behind its line, where that is as we would write it.
    fn end(&self) -> usize {
        self.start as usize + self.written_size()
    }
}

impl Run {
    /// Whether it begins where this ends, and is then written with it.
    pub(super) fn take_up(&mut self, line: &Line) -> bool {
        let follows = line.form == self.first.form
            && line.form != Form::Spaced
            && line.start as usize == self.end;
        if follows {
            self.end = line.end();
        }
        follows
    }

    pub(super) fn write(&self, read: &[u8], made: &[u8], out: &mut BytesMut) {
        let text = self.first.text(read, made);
        if self.first.form == Form::Spaced {
            out.extend_from_slice(self.first.name(text));
            out.extend_from_slice(COLON);
            out.extend_from_slice(self.first.value(text));
            out.extend_from_slice(END);
        } else {
            let lines: Range<usize> = self.first.start as usize..self.end;
            out.extend_from_slice(text.get(lines).unwrap_or_default());
        }
    }
}

fn piece(text: &[u8], start: usize, length: usize) -> &[u8] {
    let rest = text.get(start..).unwrap_or_default();
    rest.get(..length).unwrap_or_default()
}

/// No head, and nothing that is made, is as long as that.
fn short(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
