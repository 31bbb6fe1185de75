//! Response heads from an upstream, held to the same rules as requests.
//!
//! It does not pass the reason phrase on: nothing may depend on it.

use bytes::{Bytes, BytesMut};
use http::header::HeaderValue;
use http::{Method, StatusCode, Version};

use super::HeadLimits;
use super::error::{InvalidFields, InvalidFraming, InvalidResponse};
use super::framing::{self, Framing, Persistence};
use super::scan::{HeadScanner, Lines, ScanFault};
use super::section::{Section, Seen};
use crate::model::fields::Fields;

/// A valid response head; the body that follows it is described by `framing`.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub version: Version,
    /// As sent, hop-by-hop fields included, but for a Connection that says nothing more than
    /// `persistence`; in the bytes that were read.
    pub headers: Fields,
    pub kind: ResponseKind,
    /// `None` also where Content-Length tells what a GET would have got (HEAD, 304).
    pub framing: Framing,
    pub persistence: Persistence,
}

/// What follows a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseKind {
    /// 1xx: another head follows.
    Interim,
    /// The answer.
    Final,
    /// 101: from here on the connection speaks this protocol.
    Upgrade(HeaderValue),
    /// 2xx to CONNECT: from here on the connection is a tunnel.
    Tunnel,
}

/// Takes a response head off the front of `buf`; `None` until it is whole.
///
/// `scanner` remembers between calls how far `buf` was scanned: bytes may only be added to `buf`.
pub fn parse_response(
    buf: &mut BytesMut,
    limits: &HeadLimits,
    scanner: &mut HeadScanner,
    request_method: &Method,
) -> Result<Option<ResponseHead>, InvalidResponse> {
    parse_response_into(&mut Fields::default(), buf, limits, scanner, request_method)
}

/// As `parse_response`; the headers take the memory of `spare`, which are no longer needed. They
/// are left alone while there is no head.
pub fn parse_response_into(
    spare: &mut Fields,
    buf: &mut BytesMut,
    limits: &HeadLimits,
    scanner: &mut HeadScanner,
    request_method: &Method,
) -> Result<Option<ResponseHead>, InvalidResponse> {
    let begins = buf.len().min(5);
    if buf.get(..begins) != b"HTTP/".get(..begins) {
        return Err(InvalidResponse::BadStatusLine);
    }
    let Some(lines) = scanner.find_lines(buf, limits)? else {
        return Ok(None);
    };
    let head = buf.split_to(lines.end()).freeze();
    let section = Section::with_memory_of(std::mem::take(spare)).with_persistence_noted();
    parse_head(&head, &lines, section, limits, request_method).map(Some)
}

fn parse_head<'h>(
    head: &'h Bytes,
    lines: &Lines,
    mut section: Section<'h>,
    limits: &HeadLimits,
    request_method: &Method,
) -> Result<ResponseHead, InvalidResponse> {
    let line_end = lines.end_of(0, 0, head);
    let line = head.get(..line_end.saturating_sub(2)).unwrap_or_default();
    let (version, status) = status_line(line)?;
    section.read(head, lines, 1, line_end, limits.header_count)?;
    let kind = kind(head, status, request_method, &section)?;
    let framing = body_framing(status, request_method, &kind, &section, version)?;
    let persistence = match framing {
        Framing::UntilClose => Persistence::Close,
        _ => framing::persistence(&section, version),
    };
    Ok(ResponseHead {
        status,
        version,
        kind,
        framing,
        persistence,
        headers: section.fields,
    })
}

/// `HTTP/1.1 200 OK`; the phrase may be empty, and the space before it may then be missing.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), InvalidResponse> {
    let (version, rest) = match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'1',
            b' ',
            rest @ ..,
        ] => (Version::HTTP_11, rest),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0',
            b' ',
            rest @ ..,
        ] => (Version::HTTP_10, rest),
        _ if line.contains(&b'\r') => return Err(InvalidFields::BareCr.into()),
        _ => return Err(InvalidResponse::BadStatusLine),
    };
    let (digits, phrase) = rest.split_at_checked(3).ok_or(InvalidResponse::BadStatus)?;
    let status = StatusCode::from_bytes(digits).map_err(|_| InvalidResponse::BadStatus)?;
    match phrase {
        [] => Ok((version, status)),
        [b' ', phrase @ ..] if is_phrase(phrase) => Ok((version, status)),
        [b' ', phrase @ ..] if phrase.contains(&b'\r') => Err(InvalidFields::BareCr.into()),
        [b' ', ..] => Err(InvalidResponse::BadReason),
        _ => Err(InvalidResponse::BadStatus),
    }
}

fn is_phrase(phrase: &[u8]) -> bool {
    phrase
        .iter()
        .all(|b| (*b >= b' ' && *b != 0x7f) || *b == b'\t')
}

fn kind(
    head: &Bytes,
    status: StatusCode,
    request_method: &Method,
    section: &Section<'_>,
) -> Result<ResponseKind, InvalidResponse> {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => match &section.upgrade {
            Seen::Once(value) if section.connection.upgrade => {
                let protocol = HeaderValue::from_maybe_shared(head.slice_ref(value));
                protocol
                    .map(ResponseKind::Upgrade)
                    .map_err(|_| InvalidResponse::BadUpgrade)
            }
            _ => Err(InvalidResponse::BadUpgrade),
        },
        _ if status.is_informational() => Ok(ResponseKind::Interim),
        _ if status.is_success() && *request_method == Method::CONNECT => Ok(ResponseKind::Tunnel),
        _ => Ok(ResponseKind::Final),
    }
}

/// RFC 9112, 6.3: status and method first, then what the fields declare.
fn body_framing(
    status: StatusCode,
    request_method: &Method,
    kind: &ResponseKind,
    section: &Section<'_>,
    version: Version,
) -> Result<Framing, InvalidFraming> {
    let declared = framing::declared(section, version)?;
    let bodyless = status == StatusCode::NO_CONTENT || *kind != ResponseKind::Final;
    if bodyless && declared == Some(Framing::Chunked) {
        return Err(InvalidFraming::EncodingWithoutBody);
    }
    if bodyless || status == StatusCode::NOT_MODIFIED || *request_method == Method::HEAD {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

impl From<ScanFault> for InvalidResponse {
    fn from(fault: ScanFault) -> Self {
        match fault {
            ScanFault::Fields(fault) => Self::Fields(fault),
            ScanFault::StartLineTooLong => Self::BadStatusLine,
        }
    }
}
