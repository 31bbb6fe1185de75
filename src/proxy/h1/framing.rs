//! Where a body ends, and whether the connection lives on after it (RFC 9112, 6 and 9.3).
//!
//! It refuses whatever two readers could read in two ways, also where the RFC would let it pass.

use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

use super::error::InvalidFraming;
use super::fields::{Fields, tokens};

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

/// The framing that the fields declare, if they declare one.
pub(super) fn declared(
    fields: &Fields,
    version: Version,
) -> Result<Option<Framing>, InvalidFraming> {
    match (fields.lengths, fields.encodings) {
        (0, 0) => Ok(None),
        (1.., 1..) => Err(InvalidFraming::LengthAndEncoding),
        (1, 0) => content_length(&fields.map).map(|n| Some(Framing::Length(n))),
        (2.., 0) => Err(InvalidFraming::SeveralLengths),
        (0, 2..) => Err(InvalidFraming::SeveralEncodings),
        (0, 1) if version == Version::HTTP_10 => Err(InvalidFraming::EncodingOnHttp10),
        (0, 1) => transfer_encoding(&fields.map).map(Some),
    }
}

fn content_length(map: &HeaderMap) -> Result<u64, InvalidFraming> {
    let value = map
        .get(CONTENT_LENGTH)
        .map(|v| v.as_bytes())
        .unwrap_or_default();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        let list = value.contains(&b',');
        return Err(if list {
            InvalidFraming::SeveralLengths
        } else {
            InvalidFraming::BadLength
        });
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    value
        .iter()
        .try_fold(0, add)
        .ok_or(InvalidFraming::LengthOverflow)
}

fn transfer_encoding(map: &HeaderMap) -> Result<Framing, InvalidFraming> {
    let value = map
        .get(TRANSFER_ENCODING)
        .map(|v| v.as_bytes())
        .unwrap_or_default();
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let known = |t: &[u8]| {
        [
            "gzip",
            "x-gzip",
            "deflate",
            "compress",
            "x-compress",
            "identity",
        ]
        .iter()
        .any(|k| t.eq_ignore_ascii_case(k.as_bytes()))
    };
    match tokens(value).all(|t| known(t) || t.eq_ignore_ascii_case(b"chunked"))
        && tokens(value).any(known)
    {
        true => Err(InvalidFraming::UnsupportedEncoding),
        false => Err(InvalidFraming::BadEncoding),
    }
}

/// What the sender asks for, by version and Connection.
pub(super) fn persistence(fields: &Fields, version: Version) -> Persistence {
    let keeps = match version {
        _ if fields.connections == 0 => version == Version::HTTP_11,
        Version::HTTP_11 => !fields.has_token(CONNECTION, "close"),
        _ => fields.has_token(CONNECTION, "keep-alive") && !fields.has_token(CONNECTION, "close"),
    };
    match keeps {
        true => Persistence::KeepAlive,
        false => Persistence::Close,
    }
}
