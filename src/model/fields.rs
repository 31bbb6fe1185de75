//! The header fields of one message, or its trailers, as they were read: in their order and spelling,
//! in the bytes that they came in, with what was put in on the way beside it.
//!
//! No map: a message has few fields, most of them are passed on as they are, and of those that the proxy
//! asks for most are not there, which one word of bits tells. Not here: how fields are read and checked
//! (`proxy::h1`), and what is changed in them (`headers`).

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};

mod line;
mod map;
mod role;
#[cfg(test)]
mod tests;

pub use line::Place;
use line::{Form, Line};
pub use role::{Kind, Role, Roles};

/// Names in any case are the same; several lines may have one name.
#[derive(Clone, Default)]
pub struct Fields {
    /// What was read.
    read: Bytes,
    /// What was made here: whole lines.
    made: Vec<u8>,
    lines: Vec<Line>,
    roles: Roles,
    /// A bit for the tag of each name that is there, and perhaps of some that were.
    present: u64,
}

/// What cannot be put in as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("not a value of a header field: it has a control character in it")]
    Value,
    #[error("too many header fields")]
    TooMany,
}

impl Fields {
    /// Without fields, to be filled from `read` by `push_read`; keeps the memory that it has.
    pub fn begin(&mut self, read: Bytes) {
        self.clear();
        self.read = read;
    }

    pub fn reserve(&mut self, lines: usize) {
        self.lines.reserve(lines);
    }

    /// Adds a field of what was read, whose name and value the caller has checked.
    pub fn push_read(&mut self, place: Place, kind: Kind) {
        let form = match place.is_plain(&self.read) {
            true => Form::Plain,
            false => Form::Spaced,
        };
        self.add(Line::new(place, kind, form));
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether there may be one of these; where it says no, there is none.
    pub fn may_have(&self, roles: Roles) -> bool {
        self.roles.meet(roles)
    }

    /// The first with this role.
    pub fn of_role(&self, role: Role) -> Option<&[u8]> {
        if !self.roles.has(role) {
            return None;
        }
        let line = self.lines.iter().find(|line| line.kind().role == role);
        line.map(|line| line.value(self.text_of(line)))
    }

    /// Name, as it was sent, and value of each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| {
            (
                line.name(self.text_of(line)),
                line.value(self.text_of(line)),
            )
        })
    }

    /// The first of that name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.find(name).map(|line| line.value(self.text_of(line)))
    }

    /// The same, of a name that may be no name at all.
    pub fn get_named(&self, name: &str) -> Option<&[u8]> {
        let line = self.find_named(name.as_bytes());
        line.map(|line| line.value(self.text_of(line)))
    }

    /// As `get`, to be kept beyond the message; what was read is shared, not copied.
    pub fn get_shared(&self, name: &HeaderName) -> Option<Bytes> {
        let line = self.find(name)?;
        let value = line.value(self.text_of(line));
        Some(match line.is_made() {
            true => Bytes::copy_from_slice(value),
            false => self.read.slice_ref(value),
        })
    }

    pub fn get_all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let text = name.as_str().as_bytes();
        let tag = role::tag(text);
        let lines = match self.is_absent(tag) {
            true => &[],
            false => &self.lines[..],
        };
        let same = move |line: &&Line| line.has_name(tag, text, self.text_of(line));
        let value = |line: &'_ Line| line.value(self.text_of(line));
        lines.iter().filter(same).map(value)
    }

    pub fn contains(&self, name: &HeaderName) -> bool {
        self.find(name).is_some()
    }

    /// Puts a field in place of all of its name.
    pub fn insert(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.replace(name, value.as_bytes());
    }

    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        let line = self.make(name, value.as_bytes());
        self.add(line);
    }

    pub fn remove(&mut self, name: &HeaderName) {
        let text = name.as_str().as_bytes();
        let tag = role::tag(text);
        if self.is_absent(tag) {
            return;
        }
        let Self {
            read, made, lines, ..
        } = self;
        lines.retain(|line| !line.has_name(tag, text, line.text(read, made)));
    }

    /// Keeps the fields for which `keep` says so of role and name, as it was sent.
    pub fn retain(&mut self, mut keep: impl FnMut(Role, &[u8]) -> bool) {
        let Self {
            read, made, lines, ..
        } = self;
        lines.retain(|line| keep(line.kind().role, line.name(line.text(read, made))));
        self.roles = self.lines.iter().map(|line| line.kind().role).collect();
    }

    pub fn clear(&mut self) {
        self.read = Bytes::new();
        self.made.clear();
        self.lines.clear();
        self.roles = Roles::default();
        self.present = 0;
    }

    /// Fields, and bytes made, for which there is memory.
    pub fn capacity(&self) -> (usize, usize) {
        (self.lines.capacity(), self.made.capacity())
    }

    /// Writes the lines of all fields but those in `without`. Lines that were read and stand behind each other
    /// are copied at once.
    pub fn write(&self, without: Roles, out: &mut BytesMut) {
        let mut lines = self
            .lines
            .iter()
            .filter(|line| !without.has(line.kind().role));
        let Some(first) = lines.next() else {
            return;
        };
        let mut run = first.run();
        for line in lines {
            if !run.take_up(line) {
                run.write(&self.read, &self.made, out);
                run = line.run();
            }
        }
        run.write(&self.read, &self.made, out);
    }

    /// About as many bytes as `write` writes.
    pub fn size(&self) -> usize {
        self.read.len() + self.made.len()
    }

    fn find(&self, name: &HeaderName) -> Option<&Line> {
        self.find_named(name.as_str().as_bytes())
    }

    fn find_named(&self, text: &[u8]) -> Option<&Line> {
        let tag = role::tag(text);
        if self.is_absent(tag) {
            return None;
        }
        let mut lines = self.lines.iter();
        lines.find(|line| line.has_name(tag, text, self.text_of(line)))
    }

    fn text_of(&self, line: &Line) -> &[u8] {
        line.text(&self.read, &self.made)
    }

    fn is_absent(&self, tag: u8) -> bool {
        self.present & bit(tag) == 0
    }

    /// Where the first of that name stood, or at the end.
    fn replace(&mut self, name: &HeaderName, value: &[u8]) {
        let text = name.as_str().as_bytes();
        let tag = role::tag(text);
        let made = self.make(name, value);
        if self.is_absent(tag) {
            return self.add(made);
        }
        let Self {
            read,
            made: texts,
            lines,
            ..
        } = self;
        let mut made = Some(made);
        lines.retain_mut(|line| {
            if !line.has_name(tag, text, line.text(read, texts)) {
                return true;
            }
            let first = made.take();
            first.map(|made| *line = made).is_some()
        });
        if let Some(made) = made {
            self.add(made);
        }
    }

    fn make(&mut self, name: &HeaderName, value: &[u8]) -> Line {
        let text = name.as_str().as_bytes();
        let start = self.made.len();
        self.made.extend_from_slice(text);
        self.made.extend_from_slice(b": ");
        let place = Place {
            start,
            name_length: text.len(),
            value: self.made.len(),
            value_length: value.len(),
            end: self.made.len() + value.len() + 2,
        };
        self.made.extend_from_slice(value);
        self.made.extend_from_slice(b"\r\n");
        Line::new(place, Kind::of(text), Form::Made)
    }

    fn add(&mut self, line: Line) {
        self.present |= bit(line.kind().tag);
        self.roles.add(line.kind().role);
        self.lines.push(line);
    }
}

fn bit(tag: u8) -> u64 {
    1 << (tag % 64)
}

/// What `http` takes for one (RFC 9110, 5.5, and bytes beyond ASCII).
pub fn is_value(text: &[u8]) -> bool {
    // No early return, so that the loop becomes vector code.
    let is_odd = |b: u8| (b < b' ' && b != b'\t') || b == 0x7f;
    !text.iter().fold(false, |odd, b| odd | is_odd(*b))
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let lines = self.iter().map(|(name, value)| (text(name), text(value)));
        f.debug_map().entries(lines).finish()
    }
}

/// The same lines in the same order, names in any case.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let mut lines = self.iter().zip(other.iter());
        self.len() == other.len()
            && lines.all(|((name, value), (other_name, other_value))| {
                name.eq_ignore_ascii_case(other_name) && value == other_value
            })
    }
}

impl Eq for Fields {}
