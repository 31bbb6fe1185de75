//! What must hold for any bytes: the checks are those of the fuzz targets, over random messages that
//! are nearly good, and over what our own encoder writes.

use bytes::{Bytes, BytesMut};
use http::header::{COOKIE, HeaderName, TE};
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::super::*;
use super::stream::{End, read_chunked, read_requests, read_responses};
use crate::model::fields::Fields;

#[expect(unreachable_pub, reason = "it is a module of another crate")]
#[path = "../../../../fuzz/src/http1.rs"]
mod oracle;

/// Pieces from which both good and hostile messages come together.
const SCRAPS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"CONNECT",
    b"OPTIONS",
    b" ",
    b" ",
    b"/",
    b"/a?b",
    b"*",
    b"http://a",
    b"a:80",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"HTTP/1.1 ",
    b"200",
    b"101",
    b"204",
    b" OK",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b":",
    b": ",
    b",",
    b";",
    b"=",
    b"\"",
    b"Host: a",
    b"Host: b:80",
    b"Content-Length: 5",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: ",
    b"Connection: close",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X: y",
    b"0",
    b"5",
    b"a",
    b"hello",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"#",
    b"@",
    b"\x80",
    b"\xff",
];

fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let scrap = prop_oneof![
        20 => proptest::sample::select(SCRAPS).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.concat())
}

/// A good message with a few bytes exchanged, put in or left out.
fn mutated(good: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let scrap = proptest::sample::select(SCRAPS);
    let edit = (0..good.len(), 0..3_usize, scrap);
    proptest::collection::vec(edit, 0..4).prop_map(move |edits| {
        let mut message = good.to_vec();
        for (at, removed, scrap) in edits {
            let at = at.min(message.len());
            let end = (at + removed).min(message.len());
            message.splice(at..end, scrap.iter().copied());
        }
        message
    })
}

const REQUEST: &[u8] = b"POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nConnection: x\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";
const BODY: &[u8] = b"5;x=\"y\"\r\nhello\r\n0a\r\n0123456789\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n";

fn headers() -> impl Strategy<Value = Fields> {
    let name =
        proptest::sample::select(&["Accept", "x-a", "COOKIE", "te", "X-Long-Name-Of-A-Field"][..]);
    let value = "[!-~]([ -~\t]{0,20}[!-~])?|";
    proptest::collection::vec((name, value), 0..12).prop_map(|lines| Fields::of(&lines))
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::None),
        Just(Framing::Chunked),
        (0..=i64::MAX.unsigned_abs()).prop_map(Framing::Length)
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_as_httparse_reads_them_or_refused(bytes in scraps()) {
        oracle::check_request(&bytes);
        oracle::check_response(&bytes);
        oracle::check_chunked(&bytes);
    }

    #[test]
    fn nearly_good_requests_are_read_as_httparse_reads_them_or_refused(bytes in mutated(REQUEST)) {
        oracle::check_request(&bytes);
    }

    #[test]
    fn nearly_good_responses_are_read_as_httparse_reads_them_or_refused(bytes in mutated(RESPONSE)) {
        oracle::check_response(&bytes);
    }

    #[test]
    fn nearly_good_chunks_are_read_as_httparse_reads_them_or_refused(bytes in mutated(BODY)) {
        oracle::check_chunked(&bytes);
    }

    #[test]
    fn streams_do_not_depend_on_how_they_arrive(bytes in mutated(REQUEST), piece in 1..50_usize) {
        let twice = [&bytes[..], &bytes[..]].concat();
        prop_assert_eq!(read_requests(&twice, piece), read_requests(&twice, usize::MAX));
        let read = |piece| read_responses(&bytes, piece, Method::GET);
        prop_assert_eq!(read(piece), read(usize::MAX));
    }

    #[test]
    fn an_encoded_request_is_read_back(fields in headers(), framing in framing(), target in "/[a-z/?=&.]{0,30}") {
        let mut out = BytesMut::new();
        encode_request_head(&RequestParts {
            method: &Method::POST,
            target: &target,
            host: b"example.com",
            headers: &fields,
            told: None,
            framing,
            connection: ConnectionField::Omit,
        }, &mut out);
        let head = parse_request(&mut out, &HeadLimits::default(), &mut HeadScanner::default());
        let mut head = head.unwrap().unwrap();
        prop_assert!(out.is_empty());
        prop_assert_eq!(head.framing, framing);
        prop_assert_eq!(head.uri.to_string(), target);
        for name in ["host", "content-length", "transfer-encoding"] {
            head.headers.remove(&HeaderName::from_static(name));
        }
        prop_assert_eq!(head.headers, fields);
    }

    #[test]
    fn an_encoded_response_is_read_back(fields in headers(), framing in framing(), status in 200..600_u16) {
        let mut out = BytesMut::new();
        let status = StatusCode::from_u16(status).unwrap();
        let bodyless = [204, 304].contains(&status.as_u16());
        let framing = if bodyless { Framing::None } else { framing };
        encode_response_head(&ResponseParts {
            status,
            headers: &fields,
            framing,
            connection: ConnectionField::Close,
            date: Some(b"Mon, 01 Jul 2024 10:00:00 GMT"),
        }, &mut out);
        let scanner = &mut HeadScanner::default();
        let head = parse_response(&mut out, &HeadLimits::default(), scanner, &Method::GET);
        let mut head = head.unwrap().unwrap();
        prop_assert!(out.is_empty());
        prop_assert_eq!(head.status, status);
        prop_assert_eq!(head.persistence, Persistence::Close);
        let expected = match framing {
            Framing::None if !bodyless => Framing::UntilClose,
            framing => framing,
        };
        prop_assert_eq!(head.framing, expected);
        for name in ["content-length", "transfer-encoding", "connection", "date"] {
            head.headers.remove(&HeaderName::from_static(name));
        }
        prop_assert_eq!(head.headers, fields);
    }

    #[test]
    fn encoded_chunks_are_read_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..10),
        trailers in headers(),
        piece in 1..100_usize,
    ) {
        let mut out = BytesMut::new();
        for chunk in &chunks {
            encode_chunk_header(chunk.len() as u64, &mut out);
            out.extend_from_slice(chunk);
            encode_chunk_end(&mut out);
        }
        let mut trailers = trailers;
        trailers.remove(&TE);
        trailers.remove(&COOKIE);
        encode_last_chunk(Some(&trailers), &mut out);
        let (stream, rest) = read_chunked(&out, piece);
        prop_assert_eq!(stream.end, End::Whole);
        prop_assert_eq!(&stream.messages[0].body, &chunks.concat());
        prop_assert_eq!(stream.messages[0].trailers.clone().unwrap_or_default(), trailers);
        prop_assert_eq!(rest, Bytes::new());
    }
}
