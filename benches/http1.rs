//! What the HTTP/1 codec costs per message: `cargo bench --bench http1` prints nanoseconds,
//! `cargo bench --bench http1 -- parse_browser_request 1000` runs one of them so many times and says
//! nothing, for `valgrind --tool=callgrind`: the difference of two counts is exact.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark whose messages are broken is to end"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use http::{Method, StatusCode};
use sluice::model::fields::Fields;
use sluice::proxy::h1::{
    BodyDecoder, BodyEvent, ConnectionField, Framing, HeadLimits, HeadScanner, RequestHead,
    RequestParts, ResponseHead, ResponseParts, encode_chunk_end, encode_chunk_header,
    encode_last_chunk, encode_request_head, encode_response_head, parse_request,
    parse_request_into, parse_response, parse_response_into,
};

const BROWSER: &[u8] = include_bytes!("../tests/fixtures/http1/requests/accept/none.browser.http");
const CURL: &[u8] = include_bytes!("../tests/fixtures/http1/requests/accept/none.curl.http");
const NGINX: &[u8] = include_bytes!("../tests/fixtures/http1/responses/accept/length-5.nginx.http");

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let only = args.first().map(String::as_str);
    let rounds = args.get(1).and_then(|rounds| rounds.parse().ok());
    for (name, mut run) in benches() {
        match (only, rounds) {
            (Some(only), _) if !name.starts_with(only) => {}
            (_, Some(rounds)) => (0..rounds).for_each(|_: u64| run()),
            _ => println!("{name:<28} {:>8.1} ns", measure(&mut run)),
        }
    }
}

/// The median of rounds of a few milliseconds each.
fn measure(run: &mut dyn FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..41).map(|_| round(run)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn round(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < Duration::from_millis(5) {
        (0..1000).for_each(|_| run());
        count += 1000;
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

type Bench = (&'static str, Box<dyn FnMut()>);

fn benches() -> Vec<Bench> {
    vec![
        (
            "copy_browser_request",
            refill(BROWSER, |buf| drop(black_box(buf.split().freeze()))),
        ),
        (
            "parse_browser_request",
            refill(BROWSER, |buf| drop(black_box(request(buf)))),
        ),
        (
            "parse_curl_request",
            refill(CURL, |buf| drop(black_box(request(buf)))),
        ),
        (
            "parse_nginx_response",
            refill(NGINX, |buf| drop(black_box(response(buf)))),
        ),
        ("again_browser_request", refill(BROWSER, request_again())),
        ("again_nginx_response", refill(NGINX, response_again())),
        ("encode_browser_request", encode_request()),
        ("encode_nginx_response", encode_response()),
        ("decode_10_chunks_of_1000", refill(&chunks(), decode)),
        (
            "httparse_browser_request",
            Box::new(|| httparse_only(black_box(BROWSER))),
        ),
    ]
}

/// As a connection does it: the message is read into a buffer, which is used again and again.
fn refill(message: &[u8], mut read: impl FnMut(&mut BytesMut) + 'static) -> Box<dyn FnMut()> {
    let message = message.to_vec();
    let mut buf = BytesMut::with_capacity(16 * 1024);
    Box::new(move || {
        buf.clear();
        buf.reserve(16 * 1024);
        buf.put_slice(&message);
        read(&mut buf);
    })
}

fn request(buf: &mut BytesMut) -> RequestHead {
    let head = parse_request(buf, &HeadLimits::default(), &mut HeadScanner::default());
    head.expect("valid").expect("whole")
}

fn response(buf: &mut BytesMut) -> ResponseHead {
    let scanner = &mut HeadScanner::default();
    let head = parse_response(buf, &HeadLimits::default(), scanner, &Method::GET);
    head.expect("valid").expect("whole")
}

/// With the map of the request before.
fn request_again() -> impl FnMut(&mut BytesMut) {
    let mut spare = Fields::default();
    move |buf| {
        let scanner = &mut HeadScanner::default();
        let head = parse_request_into(&mut spare, buf, &HeadLimits::default(), scanner);
        spare = black_box(head.expect("valid").expect("whole")).headers;
        spare.clear();
    }
}

fn response_again() -> impl FnMut(&mut BytesMut) {
    let mut spare = Fields::default();
    move |buf| {
        let (limits, scanner) = (HeadLimits::default(), &mut HeadScanner::default());
        let head = parse_response_into(&mut spare, buf, &limits, scanner, &Method::GET);
        spare = black_box(head.expect("valid").expect("whole")).headers;
        spare.clear();
    }
}

fn encode_request() -> Box<dyn FnMut()> {
    let head = request(&mut BytesMut::from(BROWSER));
    let mut out = BytesMut::with_capacity(16 * 1024);
    Box::new(move || {
        out.clear();
        let parts = RequestParts {
            method: &head.method,
            target: head
                .uri
                .path_and_query()
                .map_or("/", |target| target.as_str()),
            host: b"upstream.example.com",
            headers: &head.headers,
            told: None,
            framing: head.framing,
            connection: ConnectionField::Omit,
        };
        encode_request_head(&parts, &mut out);
        black_box(&out);
    })
}

fn encode_response() -> Box<dyn FnMut()> {
    let head = response(&mut BytesMut::from(NGINX));
    let mut out = BytesMut::with_capacity(16 * 1024);
    Box::new(move || {
        out.clear();
        let parts = ResponseParts {
            status: StatusCode::OK,
            headers: &head.headers,
            framing: head.framing,
            connection: ConnectionField::Omit,
            date: None,
        };
        encode_response_head(&parts, &mut out);
        black_box(&out);
    })
}

fn chunks() -> Vec<u8> {
    let mut out = BytesMut::new();
    for _ in 0..10 {
        encode_chunk_header(1000, &mut out);
        out.put_bytes(b'x', 1000);
        encode_chunk_end(&mut out);
    }
    encode_last_chunk(None, &mut out);
    out.to_vec()
}

fn decode(buf: &mut BytesMut) {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    while let BodyEvent::Data(data) = decoder.decode(buf).expect("valid") {
        black_box(data);
    }
}

/// The tokenizer alone, with no checks of ours and nothing built: what to compare with.
fn httparse_only(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut fields);
    black_box(parsed.parse(bytes).expect("valid"));
    black_box(&parsed);
}
