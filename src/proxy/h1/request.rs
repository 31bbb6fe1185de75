//! Request heads, read as strictly as the grammar allows.
//!
//! It decides nothing about routes or statuses: a head comes out valid, or a fault that has a name.

use bytes::{Bytes, BytesMut};
use http::header::HeaderValue;
use http::uri::Authority;
use http::{Method, Uri, Version};

use super::HeadLimits;
use super::error::{InvalidFields, InvalidRequest};
use super::framing::{self, Framing, Persistence};
use super::scan::{HeadScanner, Lines, ScanFault};
use super::section::{Section, Seen, tokens};
use super::target;
use crate::model::fields::Fields;

/// A valid request head; the body that follows it is described by `framing`.
#[derive(Debug)]
pub struct RequestHead {
    pub method: Method,
    /// As sent: origin-form, absolute-form, authority-form (CONNECT) or `*` (OPTIONS).
    /// Only the missing path of an absolute-form is made `/`.
    pub uri: Uri,
    pub version: Version,
    /// As sent, hop-by-hop fields and Host included; in the bytes that were read.
    pub headers: Fields,
    pub framing: Framing,
    pub persistence: Persistence,
    pub expectation: Expectation,
    /// The protocol the client offers to change to; never h2c, which a proxy must not pass on.
    pub upgrade: Option<HeaderValue>,
    /// Whom the request is for: of the target if it names it, else of Host. None in HTTP/1.0 alone.
    pub authority: Option<Authority>,
}

/// What the client waits for before it sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    None,
    Continue,
}

/// Takes a request head off the front of `buf`; `None` until it is whole.
///
/// `scanner` remembers between calls how far `buf` was scanned: bytes may only be added to `buf`.
/// After a fault neither is of use any more, and the connection is to be closed.
pub fn parse_request(
    buf: &mut BytesMut,
    limits: &HeadLimits,
    scanner: &mut HeadScanner,
) -> Result<Option<RequestHead>, InvalidRequest> {
    parse_request_into(&mut Fields::default(), buf, limits, scanner)
}

/// As `parse_request`; the headers take the memory of `spare`, which are no longer needed. They are
/// left alone while there is no head.
pub fn parse_request_into(
    spare: &mut Fields,
    buf: &mut BytesMut,
    limits: &HeadLimits,
    scanner: &mut HeadScanner,
) -> Result<Option<RequestHead>, InvalidRequest> {
    scanner.skip_empty_lines(buf);
    if let Some(first) = buf.first()
        && !may_begin(*first)
    {
        return Err(InvalidRequest::BadMethod);
    }
    let Some(lines) = scanner.find_lines(buf, limits)? else {
        return Ok(None);
    };
    let head = buf.split_to(lines.end()).freeze();
    let section = Section::with_memory_of(std::mem::take(spare));
    parse_head(&head, &lines, section, limits).map(Some)
}

/// Whether a request can begin so: a TLS hello and the like are refused at their first byte.
fn may_begin(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b'\r' || byte == b'\n'
}

fn parse_head<'h>(
    head: &'h Bytes,
    lines: &Lines,
    mut section: Section<'h>,
    limits: &HeadLimits,
) -> Result<RequestHead, InvalidRequest> {
    let line_end = lines.end_of(0, 0, head);
    let line = head.get(..line_end.saturating_sub(2)).unwrap_or_default();
    let (method, uri, version) =
        request_line(head, line).map_err(|fault| fault_of_line(line, fault))?;
    section.read(head, lines, 1, line_end, limits.header_count)?;
    let framing = framing::declared(&section, version)?.unwrap_or(Framing::None);
    Ok(RequestHead {
        framing,
        persistence: framing::persistence(&section, version),
        expectation: expectation(&section, version)?,
        upgrade: upgrade(head, &section, version),
        authority: target::authority(&uri, version, &section)?,
        method,
        uri,
        version,
        headers: section.fields,
    })
}

/// Method, target and version, with exactly one space between them.
fn request_line(head: &Bytes, line: &[u8]) -> Result<(Method, Uri, Version), InvalidRequest> {
    let space = line.iter().position(|b| *b == b' ');
    let method_end = space.ok_or(InvalidRequest::BadRequestLine)?;
    let (method, rest) = line.split_at(method_end);
    let method = Method::from_bytes(method).map_err(|_| InvalidRequest::BadMethod)?;
    let (target, version) = match rest {
        [
            b' ',
            target @ ..,
            b' ',
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'1',
        ] => (target, Version::HTTP_11),
        [
            b' ',
            target @ ..,
            b' ',
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0',
        ] => (target, Version::HTTP_10),
        _ => return Err(fault_of_version(rest)),
    };
    let uri = target::parse(&method, head, target)?;
    Ok((method, uri, version))
}

/// A CR inside the line is what is wrong with it, whatever it broke.
#[cold]
fn fault_of_line(line: &[u8], fault: InvalidRequest) -> InvalidRequest {
    match line.contains(&b'\r') {
        true => InvalidFields::BareCr.into(),
        false => fault,
    }
}

/// Names the fault of a request line that does not end in a version of ours.
#[cold]
fn fault_of_version(rest: &[u8]) -> InvalidRequest {
    let mut words = rest.rsplit(|b| *b == b' ');
    let last = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    match last {
        _ if target.is_empty() => InvalidRequest::BadRequestLine,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            InvalidRequest::UnsupportedVersion
        }
        _ => InvalidRequest::BadVersion,
    }
}

/// HTTP/1.0 knows no expectations: there they are to be ignored (RFC 9110, 10.1.1).
fn expectation(section: &Section<'_>, version: Version) -> Result<Expectation, InvalidRequest> {
    match &section.expect {
        Seen::Never => Ok(Expectation::None),
        _ if version == Version::HTTP_10 => Ok(Expectation::None),
        Seen::Once(value) if value.eq_ignore_ascii_case(b"100-continue") => {
            Ok(Expectation::Continue)
        }
        Seen::Once(_) | Seen::Again => Err(InvalidRequest::UnknownExpectation),
    }
}

fn upgrade(head: &Bytes, section: &Section<'_>, version: Version) -> Option<HeaderValue> {
    let Seen::Once(value) = &section.upgrade else {
        return None;
    };
    let asked = version == Version::HTTP_11 && section.connection.upgrade;
    let h2c = tokens(value).any(|t| t.eq_ignore_ascii_case(b"h2c"));
    match asked && !h2c {
        true => HeaderValue::from_maybe_shared(head.slice_ref(value)).ok(),
        false => None,
    }
}

impl From<ScanFault> for InvalidRequest {
    fn from(fault: ScanFault) -> Self {
        match fault {
            ScanFault::Fields(fault) => Self::Fields(fault),
            ScanFault::StartLineTooLong => Self::RequestLineTooLong,
        }
    }
}
