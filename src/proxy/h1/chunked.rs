//! The chunked transfer coding, from bytes to data and trailers (RFC 9112, 7.1).
//!
//! Chunk extensions are checked and dropped: none goes on. Data is handed out without a copy, as it
//! comes: chunks are not put together.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderName};

use super::HeadLimits;
use super::error::InvalidBody;
use super::scan::{HeadScanner, ScanFault};
use super::section::{Section, Seen};
use crate::model::fields::{Fields, Role};

/// Digits of a size: as many as a u64 has.
const MAX_SIZE_DIGITS: usize = 16;
/// Bytes of the extensions of one chunk.
const MAX_EXTENSION_BYTES: usize = 256;
/// Bytes of all extensions of one body: they cost work and carry nothing.
const MAX_EXTENSION_BYTES_PER_BODY: usize = 16 * 1024;
const MAX_TRAILER_BYTES: usize = 8 * 1024;
const MAX_TRAILER_COUNT: usize = 64;

/// Fields that are believed in a header and dropped from trailers, beside those that say where a request
/// comes from.
const HEADERS_ONLY: [HeaderName; 23] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::VARY,
    header::WWW_AUTHENTICATE,
];

/// What a decoder made of the bytes it was given.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyEvent {
    /// A piece of the body, not empty.
    Data(Bytes),
    /// Read on, and call again.
    NeedMore,
    /// The body is complete; what is left in the buffer belongs to the next message.
    End(Option<Fields>),
}

/// A chunked body in the middle of being read.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    extension_bytes: usize,
    trailers: HeadScanner,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    End,
}

/// A line that opens a chunk.
#[derive(Debug, PartialEq, Eq)]
struct ChunkLine {
    size: u64,
    extension_bytes: usize,
    length: usize,
}

impl ChunkedDecoder {
    pub fn new() -> Self {
        Self {
            state: State::Size,
            extension_bytes: 0,
            trailers: HeadScanner::default(),
        }
    }

    /// Takes the next piece off the front of `buf`. After a fault the body is lost, and with it the
    /// connection.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<BodyEvent, InvalidBody> {
        loop {
            match self.state {
                State::Size => match parse_chunk_line(buf)? {
                    Some(line) => self.begin_chunk(&line, buf)?,
                    None => return Ok(BodyEvent::NeedMore),
                },
                State::Data(_) if buf.is_empty() => return Ok(BodyEvent::NeedMore),
                State::Data(left) => return Ok(self.take_data(left, buf)),
                State::DataEnd => match buf.as_ref() {
                    [b'\r', b'\n', ..] => {
                        buf.advance(2);
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(BodyEvent::NeedMore),
                    _ => return Err(InvalidBody::MissingChunkEnd),
                },
                State::Trailers => return self.take_trailers(buf),
                State::End => return Ok(BodyEvent::End(None)),
            }
        }
    }

    fn begin_chunk(&mut self, line: &ChunkLine, buf: &mut BytesMut) -> Result<(), InvalidBody> {
        self.extension_bytes = self.extension_bytes.saturating_add(line.extension_bytes);
        if self.extension_bytes > MAX_EXTENSION_BYTES_PER_BODY {
            return Err(InvalidBody::ChunkExtensionTooLong);
        }
        buf.advance(line.length);
        self.state = match line.size {
            0 => State::Trailers,
            size => State::Data(size),
        };
        Ok(())
    }

    fn take_data(&mut self, left: u64, buf: &mut BytesMut) -> BodyEvent {
        let data = take_up_to(left, buf);
        self.state = match left.saturating_sub(data.len() as u64) {
            0 => State::DataEnd,
            left => State::Data(left),
        };
        BodyEvent::Data(data)
    }

    fn take_trailers(&mut self, buf: &mut BytesMut) -> Result<BodyEvent, InvalidBody> {
        let limits = HeadLimits {
            header_bytes: MAX_TRAILER_BYTES,
            header_count: MAX_TRAILER_COUNT,
            request_line_bytes: MAX_TRAILER_BYTES,
        };
        let Some(lines) = self.trailers.find_lines(buf, &limits)? else {
            return Ok(BodyEvent::NeedMore);
        };
        self.state = State::End;
        let text = buf.split_to(lines.end()).freeze();
        if lines.count() == 1 {
            return Ok(BodyEvent::End(None));
        }
        let mut section = Section::default();
        section.read(&text, &lines, 0, 0, limits.header_count)?;
        trailer_fields(section).map(|fields| BodyEvent::End(Some(fields)))
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What may be passed on of a trailer section. Framing and routing in a trailer is an attack; other
/// fields that belong into a header (RFC 9110, 6.5.1), and which a reader that merges the two would
/// believe, are dropped.
fn trailer_fields(section: Section<'_>) -> Result<Fields, InvalidBody> {
    let (Seen::Never, Seen::Never, Seen::Never) =
        (&section.length, &section.encoding, &section.host)
    else {
        return Err(InvalidBody::ForbiddenTrailer);
    };
    let mut fields = section.fields;
    drop_headers(&mut fields);
    Ok(fields)
}

/// What may be passed on of trailers that came by another protocol, without what framing and routing
/// are made of.
pub(in crate::proxy) fn strip_trailers(trailers: &mut Fields) {
    trailers.retain(|role, _| !matches!(role, Role::Length | Role::Encoding | Role::Host));
    drop_headers(trailers);
}

fn drop_headers(fields: &mut Fields) {
    let is_header_only = |name: &[u8]| {
        let mut names = HEADERS_ONLY.iter();
        names.any(|one| one.as_str().as_bytes().eq_ignore_ascii_case(name))
    };
    fields.retain(|role, name| role != Role::Claim && !is_header_only(name));
}

/// What is there of the next `left` bytes.
pub(super) fn take_up_to(left: u64, buf: &mut BytesMut) -> Bytes {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    buf.split_to(length).freeze()
}

/// `size [; extensions] CRLF`: digits first, then nothing but CRLF or a semicolon.
fn parse_chunk_line(buf: &[u8]) -> Result<Option<ChunkLine>, InvalidBody> {
    let digits = buf.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits > MAX_SIZE_DIGITS {
        return Err(InvalidBody::ChunkSizeTooLong);
    }
    let (text, rest) = buf.split_at(digits);
    match rest {
        [] => return Ok(None),
        _ if digits == 0 => return Err(InvalidBody::BadChunkSize),
        [b'\r' | b'\n' | b';', ..] => {}
        _ => return Err(InvalidBody::BadChunkSize),
    }
    let size = text
        .iter()
        .fold(0, |size, digit| (size << 4) | hex_value(*digit));
    let line = |extension_bytes| {
        let length = digits + extension_bytes + 2;
        ChunkLine {
            size,
            extension_bytes,
            length,
        }
    };
    Ok(parse_extension(rest)?.map(line))
}

fn hex_value(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    })
}

/// The bytes before the CRLF that ends the line, once it is there.
fn parse_extension(rest: &[u8]) -> Result<Option<usize>, InvalidBody> {
    let is_text = |b: &u8| (*b >= b' ' && *b != 0x7f) || *b == b'\t';
    let length = rest
        .iter()
        .take(MAX_EXTENSION_BYTES + 1)
        .take_while(|b| is_text(b))
        .count();
    if length > MAX_EXTENSION_BYTES {
        return Err(InvalidBody::ChunkExtensionTooLong);
    }
    match rest.get(length..).unwrap_or_default() {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(length)),
        [b'\r' | b'\n', ..] => Err(InvalidBody::BadChunkLine),
        _ => Err(InvalidBody::BadChunkExtension),
    }
}

impl From<ScanFault> for InvalidBody {
    fn from(fault: ScanFault) -> Self {
        match fault {
            ScanFault::Fields(fault) => Self::Trailers(fault),
            ScanFault::StartLineTooLong => Self::Trailers(super::error::InvalidFields::TooLarge),
        }
    }
}
