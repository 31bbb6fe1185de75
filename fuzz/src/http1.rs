//! What must hold for any bytes at all, said once for the fuzz targets and for the property tests.
//!
//! Our readers must not panic, must not depend on how the bytes arrive, and must not accept a head
//! that httparse refuses or reads differently: that would be a hole in ours.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use sluice::model::fields::{Fields, Roles};
use sluice::proxy::h1::{
    BodyDecoder, BodyEvent, Framing, HeadLimits, HeadScanner, InvalidBody, InvalidRequest,
    InvalidResponse, RequestHead, ResponseHead, parse_request, parse_response,
};

const MAX_FIELDS: usize = 128;

pub fn check_request(bytes: &[u8]) {
    let (head, rest) = read_request(bytes, usize::MAX);
    for piece in [1, 13] {
        let (again, rest_again) = read_request(bytes, piece);
        assert_eq!(
            format!("{again:?}"),
            format!("{head:?}"),
            "in pieces of {piece}"
        );
        if matches!(head, Ok(Some(_))) {
            assert_eq!(rest_again, rest, "in pieces of {piece}");
        }
    }
    let Ok(Some(head)) = head else {
        return;
    };
    let consumed = bytes
        .strip_suffix(rest.as_slice())
        .expect("only the front is taken");
    check_request_with_httparse(&head, consumed);
    check_body(head.framing, &rest);
}

pub fn check_response(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        let (head, rest) = read_response(bytes, usize::MAX, &method);
        let (again, _) = read_response(bytes, 1, &method);
        assert_eq!(format!("{again:?}"), format!("{head:?}"), "byte by byte");
        if let Ok(Some(head)) = head {
            let consumed = bytes
                .strip_suffix(rest.as_slice())
                .expect("only the front is taken");
            check_response_with_httparse(&head, consumed);
            check_body(head.framing, &rest);
        }
    }
}

pub fn check_chunked(bytes: &[u8]) {
    check_body(Framing::Chunked, bytes);
    let (body, rest) = read_body(Framing::Chunked, bytes, usize::MAX);
    if let Ok(Some((data, _))) = body {
        let consumed = bytes
            .strip_suffix(rest.as_slice())
            .expect("only the front is taken");
        check_chunks_with_httparse(consumed, &data);
    }
}

fn read_request(
    bytes: &[u8],
    piece: usize,
) -> (Result<Option<RequestHead>, InvalidRequest>, Vec<u8>) {
    let mut scanner = HeadScanner::default();
    feed(bytes, piece, |buf| {
        parse_request(buf, &HeadLimits::default(), &mut scanner).transpose()
    })
}

fn read_response(
    bytes: &[u8],
    piece: usize,
    method: &Method,
) -> (Result<Option<ResponseHead>, InvalidResponse>, Vec<u8>) {
    let mut scanner = HeadScanner::default();
    feed(bytes, piece, |buf| {
        parse_response(buf, &HeadLimits::default(), &mut scanner, method).transpose()
    })
}

type Body = (Vec<u8>, Option<Fields>);

fn read_body(
    framing: Framing,
    bytes: &[u8],
    piece: usize,
) -> (Result<Option<Body>, InvalidBody>, Vec<u8>) {
    let mut decoder = BodyDecoder::new(framing);
    let mut body = Vec::new();
    feed(bytes, piece, |buf| {
        loop {
            match decoder.decode(buf) {
                Ok(BodyEvent::Data(data)) => {
                    assert!(!data.is_empty(), "an event without data");
                    body.extend_from_slice(&data);
                }
                Ok(BodyEvent::NeedMore) => return None,
                Ok(BodyEvent::End(trailers)) => {
                    return Some(Ok((std::mem::take(&mut body), trailers)));
                }
                Err(fault) => return Some(Err(fault)),
            }
        }
    })
}

/// Gives `bytes` to `read` in pieces until it has a result, which comes with what it left.
fn feed<T, E>(
    bytes: &[u8],
    piece: usize,
    mut read: impl FnMut(&mut BytesMut) -> Option<Result<T, E>>,
) -> (Result<Option<T>, E>, Vec<u8>) {
    let mut buf = BytesMut::new();
    let mut pieces = bytes.chunks(piece.max(1));
    for more in pieces.by_ref() {
        buf.extend_from_slice(more);
        if let Some(result) = read(&mut buf) {
            let mut rest = buf.to_vec();
            rest.extend(pieces.flatten());
            return (result.map(Some), rest);
        }
    }
    (Ok(None), buf.to_vec())
}

/// The same outcome however the body arrives.
fn check_body(framing: Framing, bytes: &[u8]) {
    let (whole, rest) = read_body(framing, bytes, usize::MAX);
    for piece in [1, 5] {
        let (pieces, rest_of_pieces) = read_body(framing, bytes, piece);
        assert_eq!(pieces, whole, "in pieces of {piece}");
        if matches!(whole, Ok(Some(_))) {
            assert_eq!(rest_of_pieces, rest, "in pieces of {piece}");
        }
    }
}

fn check_request_with_httparse(head: &RequestHead, consumed: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut theirs = httparse::Request::new(&mut fields);
    let status = theirs.parse(consumed);
    let length = status.expect("httparse refuses it").unwrap();
    assert_eq!(length, consumed.len(), "the head ends elsewhere");
    assert_eq!(theirs.method, Some(head.method.as_str()));
    check_version(theirs.version, head.version);
    check_target(theirs.path.expect("a target"), head);
    check_fields(theirs.headers, &head.headers);
}

fn check_target(theirs: &str, head: &RequestHead) {
    let ours = head.uri.to_string();
    let Some(scheme) = head.uri.scheme_str() else {
        return assert_eq!(ours, theirs);
    };
    // What stands for a scheme in any case and for a missing path is written out by `http`.
    let (their_scheme, rest) = theirs.split_once("://").expect("a scheme");
    assert!(scheme.eq_ignore_ascii_case(their_scheme));
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let root = if path.starts_with('/') { "" } else { "/" };
    assert_eq!(ours, format!("{scheme}://{authority}{root}{path}"));
    let forwarded = head.uri.path_and_query().expect("a path").as_str();
    assert_eq!(forwarded, format!("{root}{path}"));
}

fn check_response_with_httparse(head: &ResponseHead, consumed: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut theirs = httparse::Response::new(&mut fields);
    let length = theirs
        .parse(consumed)
        .expect("httparse refuses it")
        .unwrap();
    assert_eq!(length, consumed.len(), "the head ends elsewhere");
    assert_eq!(theirs.code, Some(head.status.as_u16()));
    check_version(theirs.version, head.version);
    let passed: Vec<httparse::Header<'_>> = theirs
        .headers
        .iter()
        .filter(|field| !is_persistence(field))
        .copied()
        .collect();
    check_fields(&passed, &head.headers);
}

/// What a response says of nothing but its connection is not among its fields.
fn is_persistence(field: &httparse::Header<'_>) -> bool {
    let says = |value: &[u8]| field.value.eq_ignore_ascii_case(value);
    field.name.eq_ignore_ascii_case("connection") && (says(b"keep-alive") || says(b"close"))
}

fn check_version(theirs: Option<u8>, ours: Version) {
    let ours = match ours {
        Version::HTTP_10 => 0,
        _ => 1,
    };
    assert_eq!(theirs, Some(ours));
}

/// The same fields in the same order and spelling, each found by its name, and the same as a map; and all of them
/// are written as they were read.
fn check_fields(theirs: &[httparse::Header<'_>], ours: &Fields) {
    let lines = theirs
        .iter()
        .map(|field| (field.name.as_bytes(), field.value));
    assert!(ours.iter().eq(lines), "{ours:?} is not {theirs:?}");
    let mut map = HeaderMap::new();
    let mut lines = BytesMut::new();
    for field in theirs {
        let name = HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
        let of_name = theirs
            .iter()
            .filter(|other| other.name.eq_ignore_ascii_case(field.name));
        assert!(
            ours.get_all(&name).eq(of_name.map(|field| field.value)),
            "{name}"
        );
        map.append(name, HeaderValue::from_bytes(field.value).expect("a value"));
        for piece in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
            lines.extend_from_slice(piece);
        }
    }
    assert_eq!(ours.to_map(HeaderName::from_bytes).as_ref(), Ok(&map));
    let mut written = BytesMut::new();
    ours.write(Roles::default(), &mut written);
    assert_eq!(written, lines);
}

/// httparse reads the same sizes, and they lead to the same data.
fn check_chunks_with_httparse(mut bytes: &[u8], data: &[u8]) {
    let mut found = Vec::new();
    loop {
        let (length, size) = httparse::parse_chunk_size(bytes)
            .expect("httparse refuses a size")
            .unwrap();
        bytes = bytes.get(length..).expect("the line is there");
        if size == 0 {
            assert_eq!(found, data);
            return;
        }
        let (chunk, rest) = bytes.split_at(usize::try_from(size).expect("it was there"));
        found.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n").expect("a chunk ends in CRLF");
    }
}
