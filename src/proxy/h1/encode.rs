//! Heads and chunk lines into bytes, without any formatting machinery.
//!
//! The encoder alone writes the fields that belong to the connection: those among the others are skipped,
//! so that no filter can make a message whose framing lies.

use bytes::BytesMut;
use http::{Method, StatusCode};

use super::framing::Framing;
use crate::model::fields::{Fields, Role, Roles};
use crate::model::headers::Told;

/// What is written of none of the fields that are passed on.
const OF_CONNECTION: Roles = Roles::of(&[
    Role::Connection,
    Role::Encoding,
    Role::Length,
    Role::Upgrade,
]);
/// The same, and what a request line stands before.
const OF_CONNECTION_OR_HOST: Roles = Roles::of(&[
    Role::Connection,
    Role::Encoding,
    Role::Host,
    Role::Length,
    Role::Upgrade,
]);
/// The same, of a response that tells the length of another.
const OF_CONNECTION_BUT_LENGTH: Roles =
    Roles::of(&[Role::Connection, Role::Encoding, Role::Upgrade]);

/// Room for the start line, framing and what an upstream is told, as they mostly are.
const MORE: usize = 256;

/// A request head to be written, in HTTP/1.1.
#[derive(Debug)]
pub struct RequestParts<'a> {
    pub method: &'a Method,
    /// Path and query as they go on, or any other form of target.
    pub target: &'a str,
    pub host: &'a [u8],
    pub headers: &'a Fields,
    /// What is said beside that.
    pub told: Option<&'a Told>,
    pub framing: Framing,
    pub connection: ConnectionField<'a>,
}

/// A response head to be written, in HTTP/1.1.
#[derive(Debug)]
pub struct ResponseParts<'a> {
    pub status: StatusCode,
    pub headers: &'a Fields,
    /// `None` leaves Content-Length as it is in the headers: right for HEAD and 304, where it tells
    /// of another response. It is dropped from 1xx and 204.
    pub framing: Framing,
    pub connection: ConnectionField<'a>,
    /// An IMF-fixdate, written as it is.
    pub date: Option<&'a [u8]>,
}

/// What is written of Connection (and Upgrade).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionField<'a> {
    /// Nothing: HTTP/1.1 persists.
    Omit,
    Close,
    /// For a client of HTTP/1.0.
    KeepAlive,
    /// Offers, or agrees to, this protocol.
    Upgrade(&'a [u8]),
}

pub fn encode_request_head(parts: &RequestParts<'_>, out: &mut BytesMut) {
    let method = parts.method.as_str();
    out.reserve(parts.target.len() + parts.host.len() + room_for(parts.headers));
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(parts.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(parts.host);
    out.extend_from_slice(b"\r\n");
    parts.headers.write(OF_CONNECTION_OR_HOST, out);
    if let Some(told) = parts.told {
        told.write(parts.headers.of_role(Role::Host), out);
    }
    encode_framing(parts.framing, out);
    encode_connection(parts.connection, out);
    out.extend_from_slice(b"\r\n");
}

pub fn encode_response_head(parts: &ResponseParts<'_>, out: &mut BytesMut) {
    out.reserve(room_for(parts.headers));
    encode_status_line(parts.status, out);
    let bodyless = parts.status.is_informational() || parts.status == StatusCode::NO_CONTENT;
    if parts.framing == Framing::None && !bodyless {
        parts.headers.write(OF_CONNECTION_BUT_LENGTH, out);
    } else {
        parts.headers.write(OF_CONNECTION, out);
        encode_framing(parts.framing, out);
    }
    if let Some(date) = parts.date {
        encode_field(b"date", date, out);
    }
    encode_connection(parts.connection, out);
    out.extend_from_slice(b"\r\n");
}

/// The line before a chunk's data; `encode_chunk_end` comes after it.
pub fn encode_chunk_header(size: u64, out: &mut BytesMut) {
    let mut digits = [0; 16];
    let mut left = size;
    let mut start = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = match (left & 15) as u8 {
            value @ 0..10 => b'0' + value,
            value => b'a' + value - 10,
        };
        start = at;
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

pub fn encode_chunk_end(out: &mut BytesMut) {
    out.extend_from_slice(b"\r\n");
}

/// The last chunk and the trailers, if there are any; fields of the connection are left out.
pub fn encode_last_chunk(trailers: Option<&Fields>, out: &mut BytesMut) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write(OF_CONNECTION_OR_HOST, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Room for a head with these fields, and for what is written beside them.
fn room_for(headers: &Fields) -> usize {
    MORE + headers.size()
}

fn encode_field(name: &[u8], value: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn encode_framing(framing: Framing, out: &mut BytesMut) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            encode_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn encode_connection(connection: ConnectionField<'_>, out: &mut BytesMut) {
    match connection {
        ConnectionField::Omit => {}
        ConnectionField::Close => out.extend_from_slice(b"connection: close\r\n"),
        ConnectionField::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        ConnectionField::Upgrade(protocol) => {
            out.extend_from_slice(b"connection: upgrade\r\n");
            encode_field(b"upgrade", protocol, out);
        }
    }
}

fn encode_status_line(status: StatusCode, out: &mut BytesMut) {
    match status.as_u16() {
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        204 => out.extend_from_slice(b"HTTP/1.1 204 No Content\r\n"),
        206 => out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n"),
        302 => out.extend_from_slice(b"HTTP/1.1 302 Found\r\n"),
        304 => out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n"),
        404 => out.extend_from_slice(b"HTTP/1.1 404 Not Found\r\n"),
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.extend_from_slice(b" ");
            out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn encode_decimal(mut number: u64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        start = at;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}
