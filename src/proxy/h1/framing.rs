//! Where a body ends, and whether the connection lives on after it (RFC 9112, 6 and 9.3).
//!
//! It refuses whatever two readers could read in two ways, also where the RFC would let it pass.

use http::Version;

use super::error::InvalidFraming;
use super::section::{Section, Seen, tokens};

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body, and no field that speaks of one.
    None,
    Length(u64),
    Chunked,
    /// The body ends with the connection: only in responses.
    UntilClose,
}

/// What the sender wants of the connection after this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    KeepAlive,
    Close,
}

/// Codings that mean something, but that we do not undo.
const KNOWN_CODINGS: [&str; 6] = [
    "gzip",
    "x-gzip",
    "deflate",
    "compress",
    "x-compress",
    "identity",
];

/// The framing that the fields declare, if they declare one.
pub(super) fn declared(
    section: &Section<'_>,
    version: Version,
) -> Result<Option<Framing>, InvalidFraming> {
    match (&section.length, &section.encoding) {
        (Seen::Never, Seen::Never) => Ok(None),
        (Seen::Once(length), Seen::Never) => {
            content_length(length).map(|length| Some(Framing::Length(length)))
        }
        (Seen::Again, Seen::Never) => Err(InvalidFraming::SeveralLengths),
        (Seen::Never, _) if version == Version::HTTP_10 => Err(InvalidFraming::EncodingOnHttp10),
        (Seen::Never, Seen::Once(encoding)) => transfer_encoding(encoding).map(Some),
        (Seen::Never, Seen::Again) => Err(InvalidFraming::SeveralEncodings),
        (Seen::Once(_) | Seen::Again, _) => Err(InvalidFraming::LengthAndEncoding),
    }
}

/// Beyond it, who counts in signed numbers reads another length than who does not, or none.
const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

/// Digits and nothing else: no sign, no list, though it be of equal numbers.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, InvalidFraming> {
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    match value {
        [] => Err(InvalidFraming::BadLength),
        _ if value.iter().all(u8::is_ascii_digit) => value
            .iter()
            .try_fold(0, add)
            .filter(|length| *length <= MAX_LENGTH)
            .ok_or(InvalidFraming::LengthOverflow),
        _ if value.contains(&b',') => Err(InvalidFraming::SeveralLengths),
        _ => Err(InvalidFraming::BadLength),
    }
}

fn transfer_encoding(value: &[u8]) -> Result<Framing, InvalidFraming> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_known = |coding: &[u8]| {
        KNOWN_CODINGS
            .iter()
            .any(|k| coding.eq_ignore_ascii_case(k.as_bytes()))
    };
    let sane = tokens(value).filter(|coding| is_chunked(coding)).count() <= 1
        && tokens(value).all(|coding| is_known(coding) || is_chunked(coding));
    match sane {
        true => Err(InvalidFraming::UnsupportedEncoding),
        false => Err(InvalidFraming::BadEncoding),
    }
}

/// What the sender asks for, by version and Connection.
pub(super) fn persistence(section: &Section<'_>, version: Version) -> Persistence {
    let keeps = version == Version::HTTP_11 || section.connection.keep_alive;
    match keeps && !section.connection.close {
        true => Persistence::KeepAlive,
        false => Persistence::Close,
    }
}
