//! What the codec takes and gives, on plain messages; the hostile ones are in tests/fixtures/http1.

mod corpus;
mod limits;
mod properties;
mod stream;

use bytes::BytesMut;
use http::{Method, StatusCode, Version};

use super::*;
use crate::model::fields::Fields;

fn request(text: &str) -> Result<Option<RequestHead>, InvalidRequest> {
    let mut buf = BytesMut::from(text);
    parse_request(
        &mut buf,
        &HeadLimits::default(),
        &mut HeadScanner::default(),
    )
}

fn response(text: &str, method: Method) -> Result<Option<ResponseHead>, InvalidResponse> {
    let mut buf = BytesMut::from(text);
    parse_response(
        &mut buf,
        &HeadLimits::default(),
        &mut HeadScanner::default(),
        &method,
    )
}

#[test]
fn plain_request_is_read_and_leaves_the_rest_in_the_buffer() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: Example.com:80\r\nX-A:  1 \t\r\n\r\nGET";
    let mut buf = BytesMut::from(text);
    let head = parse_request(
        &mut buf,
        &HeadLimits::default(),
        &mut HeadScanner::default(),
    );
    let head = head.unwrap().unwrap();
    assert_eq!(buf.as_ref(), b"GET");
    assert_eq!(head.method, Method::GET);
    assert_eq!(head.uri.path_and_query().unwrap().as_str(), "/a?b=c");
    assert_eq!(head.version, Version::HTTP_11);
    assert_eq!(head.authority.unwrap().host(), "Example.com");
    assert_eq!(head.headers.text("x-a"), "1");
    assert_eq!(head.framing, Framing::None);
    assert_eq!(head.persistence, Persistence::KeepAlive);
    assert_eq!(head.expectation, Expectation::None);
    assert_eq!(head.upgrade, None);
}

#[test]
fn upgrade_is_offered_for_websocket_and_never_for_h2c() {
    let ask = |protocol| {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: ";
        request(&format!("{head}{protocol}\r\n\r\n"))
            .unwrap()
            .unwrap()
            .upgrade
    };
    assert_eq!(ask("websocket").unwrap(), "websocket");
    assert_eq!(ask("h2c"), None);
    assert_eq!(ask("websocket, H2C"), None);
}

#[test]
fn persistence_follows_version_and_connection() {
    let ask = |version, connection| {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
        request(&text).unwrap().unwrap().persistence
    };
    assert_eq!(ask("1.1", "x"), Persistence::KeepAlive);
    assert_eq!(ask("1.1", "x, Close"), Persistence::Close);
    assert_eq!(ask("1.0", "x"), Persistence::Close);
    assert_eq!(ask("1.0", "Keep-Alive"), Persistence::KeepAlive);
    assert_eq!(ask("1.0", "keep-alive, close"), Persistence::Close);
}

#[test]
fn response_framing_follows_method_and_status_first() {
    let ask = |status, method, fields| {
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        let head = response(&text, method).unwrap().unwrap();
        (head.kind, head.framing)
    };
    let length = "Content-Length: 5\r\n";
    let last = ResponseKind::Final;
    assert_eq!(
        ask(200, Method::GET, length),
        (last.clone(), Framing::Length(5))
    );
    assert_eq!(
        ask(200, Method::HEAD, length),
        (last.clone(), Framing::None)
    );
    assert_eq!(ask(304, Method::GET, length), (last.clone(), Framing::None));
    assert_eq!(ask(204, Method::GET, ""), (last.clone(), Framing::None));
    assert_eq!(
        ask(200, Method::GET, ""),
        (last.clone(), Framing::UntilClose)
    );
    let chunked = "Transfer-Encoding: Chunked\r\n";
    assert_eq!(ask(200, Method::GET, chunked), (last, Framing::Chunked));
    assert_eq!(
        ask(103, Method::GET, ""),
        (ResponseKind::Interim, Framing::None)
    );
    assert_eq!(
        ask(200, Method::CONNECT, ""),
        (ResponseKind::Tunnel, Framing::None)
    );
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let (kind, framing) = ask(101, Method::GET, upgrade);
    assert_eq!(kind, ResponseKind::Upgrade("websocket".parse().unwrap()));
    assert_eq!(framing, Framing::None);
}

#[test]
fn chunked_body_comes_out_as_data_and_trailers() {
    let mut buf =
        BytesMut::from("4\r\nWiki\r\n00A;x=\"y\"\r\npedia in c\r\n0\r\nX-T: 1\r\n\r\nnext");
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    assert_eq!(
        decoder.decode(&mut buf).unwrap(),
        BodyEvent::Data("Wiki".into())
    );
    assert_eq!(
        decoder.decode(&mut buf).unwrap(),
        BodyEvent::Data("pedia in c".into())
    );
    let trailers = Fields::of(&[("X-T", "1")]);
    assert_eq!(
        decoder.decode(&mut buf).unwrap(),
        BodyEvent::End(Some(trailers))
    );
    assert_eq!(buf.as_ref(), b"next");
    assert_eq!(decoder.decode(&mut buf).unwrap(), BodyEvent::End(None));
}

#[test]
fn encoded_request_is_framed_by_its_framing_alone() {
    let headers = Fields::of(&[
        ("Host", "old"),
        ("Content-Length", "7"),
        ("Connection", "close"),
        ("X-A", "1"),
    ]);
    let mut out = BytesMut::new();
    let parts = RequestParts {
        method: &Method::POST,
        target: "/x",
        host: b"new:8080",
        headers: &headers,
        told: None,
        framing: Framing::Chunked,
        connection: ConnectionField::Omit,
    };
    encode_request_head(&parts, &mut out);
    let expected =
        "POST /x HTTP/1.1\r\nhost: new:8080\r\nX-A: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(out, expected);
}

#[test]
fn encoded_response_keeps_the_length_of_a_head_request_but_not_of_204() {
    let headers = Fields::of(&[("content-length", "7")]);
    let encode = |status: u16, framing| {
        let mut out = BytesMut::new();
        let parts = ResponseParts {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            framing,
            connection: ConnectionField::Close,
            date: None,
        };
        encode_response_head(&parts, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    };
    let close = "connection: close\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\n";
    assert_eq!(
        encode(200, Framing::None),
        format!("{ok}content-length: 7\r\n{close}")
    );
    assert_eq!(
        encode(200, Framing::Length(10)),
        format!("{ok}content-length: 10\r\n{close}")
    );
    assert_eq!(
        encode(204, Framing::None),
        format!("HTTP/1.1 204 No Content\r\n{close}")
    );
}

#[test]
fn a_length_fits_into_a_signed_number() {
    assert_eq!(content_length(b"9223372036854775807"), Ok((1 << 63) - 1));
    let larger = content_length(b"9223372036854775808");
    assert_eq!(larger, Err(InvalidFraming::LengthOverflow));
}

#[test]
fn chunk_lines_are_hexadecimal() {
    for (size, line) in [
        (0, "0\r\n"),
        (10, "a\r\n"),
        (0x1fff, "1fff\r\n"),
        (u64::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = BytesMut::new();
        encode_chunk_header(size, &mut out);
        assert_eq!(out, line);
    }
}

#[test]
fn spare_headers_give_their_memory_and_nothing_else() {
    let mut spare = Fields::of(&[("X-Old", "1")]);
    spare.reserve(50);
    let memory = spare.capacity();
    let scanner = &mut HeadScanner::default();
    let limits = HeadLimits::default();
    let mut buf = BytesMut::from("GET / HTTP/1.1\r\n");
    assert!(
        parse_request_into(&mut spare, &mut buf, &limits, scanner)
            .unwrap()
            .is_none()
    );
    assert_eq!(spare.len(), 1, "left alone");
    buf.extend_from_slice(b"Host: a\r\n\r\n");
    let head = parse_request_into(&mut spare, &mut buf, &limits, scanner)
        .unwrap()
        .unwrap();
    assert_eq!((head.headers.len(), head.headers.capacity()), (1, memory));
    assert_eq!(spare.capacity(), (0, 0));
}

#[test]
fn an_absolute_form_without_a_path_is_forwarded_with_one() {
    for (target, forwarded) in [
        ("http://a", "/"),
        ("http://a?b=/c", "/?b=/c"),
        ("http://a/b", "/b"),
    ] {
        let head = request(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .unwrap()
            .unwrap();
        assert_eq!(head.uri.path_and_query().unwrap().as_str(), forwarded);
    }
}
