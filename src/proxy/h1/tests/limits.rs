//! Every bound of the codec is met exactly: what is as large as allowed passes, one more does not.

use bytes::BytesMut;
use http::Method;

use super::super::*;

const LIMITS: HeadLimits = HeadLimits {
    header_bytes: 200,
    header_count: 5,
    request_line_bytes: 40,
};

fn request(text: &str) -> Result<Option<RequestHead>, InvalidRequest> {
    parse_request(
        &mut BytesMut::from(text),
        &LIMITS,
        &mut HeadScanner::default(),
    )
}

fn response(text: &str) -> Result<Option<ResponseHead>, InvalidResponse> {
    let scanner = &mut HeadScanner::default();
    parse_response(&mut BytesMut::from(text), &LIMITS, scanner, &Method::GET)
}

fn request_of(bytes: usize) -> String {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
}

#[test]
fn a_head_may_fill_its_bytes_and_no_more() {
    let large: InvalidRequest = InvalidFields::TooLarge.into();
    assert!(request(&request_of(200)).unwrap().is_some());
    assert_eq!(request(&request_of(201)).unwrap_err(), large);
    let unfinished = "GET / HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(500);
    assert!(request(&unfinished[..199]).unwrap().is_none());
    assert_eq!(request(&unfinished[..200]).unwrap_err(), large);
    let answer = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(500);
    assert_eq!(
        response(&answer).unwrap_err(),
        InvalidFields::TooLarge.into()
    );
}

#[test]
fn a_body_behind_the_head_does_not_count() {
    assert!(
        request(&(request_of(200) + &"x".repeat(1000)))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_request_line_may_fill_its_bytes_and_no_more() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1", "x".repeat(bytes - 14));
    let whole = |bytes| request(&(line(bytes) + "\r\nHost: a\r\n\r\n"));
    assert!(whole(40).unwrap().is_some());
    assert_eq!(whole(41).unwrap_err(), InvalidRequest::RequestLineTooLong);
    assert!(request(&(line(40) + "\r")).unwrap().is_none());
    assert_eq!(
        request(&(line(41) + "\r")).unwrap_err(),
        InvalidRequest::RequestLineTooLong
    );
    assert_eq!(
        request(&line(60)).unwrap_err(),
        InvalidRequest::RequestLineTooLong
    );
}

#[test]
fn a_head_may_have_its_count_of_fields_and_no_more() {
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let ask = |count: usize| {
        request(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            fields(count - 1)
        ))
    };
    assert_eq!(ask(5).unwrap().unwrap().headers.len(), 5);
    assert_eq!(ask(6).unwrap_err(), InvalidFields::TooMany.into());
    let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(6));
    assert_eq!(
        response(&answer).unwrap_err(),
        InvalidFields::TooMany.into()
    );
}

/// A count that the map of `http` cannot hold is a fault, not a panic.
#[test]
fn more_fields_than_a_map_can_hold_are_refused() {
    let limits = HeadLimits {
        header_bytes: 1 << 20,
        header_count: 1 << 20,
        ..LIMITS
    };
    let text = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "a:b\r\n".repeat(40_000)
    );
    let result = parse_request(
        &mut BytesMut::from(&*text),
        &limits,
        &mut HeadScanner::default(),
    );
    assert_eq!(result.unwrap_err(), InvalidFields::TooMany.into());
}

#[test]
fn sizes_of_chunks_are_bounded_by_their_digits() {
    let decode = |text: &str| BodyDecoder::new(Framing::Chunked).decode(&mut BytesMut::from(text));
    assert_eq!(
        decode("ffffffffffffffff\r\nx").unwrap(),
        BodyEvent::Data("x".into())
    );
    assert_eq!(
        decode("00000000000000000"),
        Err(InvalidBody::ChunkSizeTooLong)
    );
}
