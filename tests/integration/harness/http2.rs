//! One end of an HTTP/2 connection, frame by frame and without a library, so that a test can send what
//! no library would. Headers are written without compression, and read as far as the status.
//!
//! Well-behaved HTTP/2 is spoken by foreign programs in the tests, not by this.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::wait::DEADLINE;
use super::wire::Wire;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags of frames.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Codes of RST_STREAM and GOAWAY.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) struct Http2 {
    wire: Wire,
    /// Last stream and code of each GOAWAY that was passed over.
    goaways: VecDeque<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// All that came on one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// Of each header section, trailers too; 0 where there is none.
    pub(crate) statuses: Vec<u16>,
    pub(crate) body: Vec<u8>,
    /// The code of the RST_STREAM that ended it.
    pub(crate) reset: Option<u32>,
}

impl Http2 {
    /// With preface and empty settings sent.
    pub(crate) fn connect(address: SocketAddr) -> Http2 {
        Http2::with_settings(address, &[])
    }

    pub(crate) fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Http2 {
        let mut client = Http2::silent(address);
        client.send(PREFACE);
        client.send(frame(SETTINGS, 0, 0, &payload(settings)));
        client
    }

    /// A connection on which nothing has been sent.
    pub(crate) fn silent(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        Http2 {
            wire: Wire::new(stream),
            goaways: VecDeque::new(),
        }
    }

    /// The server's end of the next connection, behind its client's preface.
    pub(crate) fn accept(listener: &TcpListener, settings: &[(u16, u32)]) -> io::Result<Http2> {
        let (stream, _) = listener.accept()?;
        let mut server = Http2 {
            wire: Wire::new(stream),
            goaways: VecDeque::new(),
        };
        let preface = server.wire.read_exact(PREFACE.len())?;
        assert_eq!(preface, PREFACE);
        server.offer(frame(SETTINGS, 0, 0, &payload(settings)))?;
        Ok(server)
    }

    /// The next frame that begins a request; what comes before it is answered or passed over.
    pub(crate) fn request(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == HEADERS {
                return Ok(frame);
            }
            self.try_acknowledge(&frame)?;
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes.as_ref()).unwrap();
    }

    /// As `send`, to a peer that may already have closed.
    pub(crate) fn offer(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write(bytes.as_ref())
    }

    /// A request without a body.
    #[track_caller]
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> Answer {
        self.send(headers(stream, &request("GET", path), END_STREAM));
        self.answer(stream)
    }

    /// The next frame; an error also at the end.
    pub(crate) fn frame(&mut self) -> io::Result<Frame> {
        let head = self.wire.read_exact(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]) & 0x7fff_ffff,
            payload: self.wire.read_exact(length)?,
        })
    }

    /// The next frame that this is true of; settings and pings before it are acknowledged.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, is: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self
                .frame()
                .unwrap_or_else(|error| panic!("waiting for {what}: {error}"));
            if is(&frame) {
                return frame;
            }
            self.acknowledge(&frame);
            if frame.kind == GOAWAY {
                self.goaways.push_back(goaway(&frame));
            }
        }
    }

    /// The last stream and the code of the next GOAWAY.
    #[track_caller]
    pub(crate) fn goaway(&mut self) -> (u32, u32) {
        if let Some(passed) = self.goaways.pop_front() {
            return passed;
        }
        let frame = self.wait_for("a GOAWAY", |frame| frame.kind == GOAWAY);
        goaway(&frame)
    }

    /// Reads until the stream has ended, one way or the other.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        loop {
            let frame = self.wait_for("the end of a stream", |frame| frame.stream == stream);
            match frame.kind {
                HEADERS => answer.statuses.push(status(&frame.payload)),
                DATA => {
                    self.give_back(stream, frame.payload.len());
                    answer.body.extend_from_slice(&frame.payload);
                }
                RST_STREAM => answer.reset = Some(number(&frame.payload)),
                _ => continue,
            }
            let ends = frame.kind != RST_STREAM && frame.flags & END_STREAM != 0;
            if ends || answer.reset.is_some() {
                return answer;
            }
        }
    }

    /// Waits until the other side has closed, in order or not.
    pub(crate) fn wait_for_end(&mut self) {
        while let Ok(frame) = self.frame() {
            let _gone = self.try_acknowledge(&frame);
        }
    }

    fn give_back(&mut self, stream: u32, length: usize) {
        if let Ok(length @ 1..) = u32::try_from(length) {
            // The other side may have closed behind its last frame.
            let _gone = self.offer(window_update(0, length));
            let _gone = self.offer(window_update(stream, length));
        }
    }

    #[track_caller]
    fn acknowledge(&mut self, frame: &Frame) {
        self.try_acknowledge(frame).unwrap();
    }

    fn try_acknowledge(&mut self, received: &Frame) -> io::Result<()> {
        match (received.kind, received.flags & ACK) {
            (SETTINGS, 0) => self.offer(frame(SETTINGS, ACK, 0, &[])),
            (PING, 0) => self.offer(frame(PING, ACK, 0, &received.payload)),
            _ => Ok(()),
        }
    }
}

impl Frame {
    /// Of a HEADERS frame.
    pub(crate) fn status(&self) -> u16 {
        status(&self.payload)
    }
}

impl Answer {
    /// Of the final response.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let mut found = self.statuses.iter().filter(|status| **status >= 200);
        *found
            .next()
            .unwrap_or_else(|| panic!("no status in {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn payload(settings: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    settings.iter().flat_map(one).collect()
}

/// 200 with this body.
pub(crate) fn response(stream: u32, body: &[u8]) -> Vec<u8> {
    let head = headers(stream, &[(":status", "200")], 0);
    [head, frame(DATA, END_STREAM, stream, body)].concat()
}

/// The pseudo headers of a plain request.
pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "shop.example"),
    ]
}

/// A whole header section in one frame.
pub(crate) fn headers(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// Literals without indexing, names too.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(text.len(), &mut bytes);
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits.
fn length(mut number: usize, bytes: &mut Vec<u8>) {
    if number < 127 {
        return bytes.push(u8::try_from(number).unwrap());
    }
    bytes.push(127);
    number -= 127;
    while number > 127 {
        bytes.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
}

fn goaway(frame: &Frame) -> (u32, u32) {
    (number(&frame.payload), number(&frame.payload[4..]))
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The status that a header section begins with; 0 for trailers, 1 where it refers to an earlier
/// answer.
fn status(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20);
    let Some(block) = start.map(|start| &block[start..]) else {
        return 0;
    };
    match block {
        [first @ 0x88..=0x8e, ..] => STATIC[usize::from(first - 0x88)],
        [0x48 | 0x08 | 0x18, 0x03, digits @ ..] => {
            let text = std::str::from_utf8(&digits[..3]).unwrap();
            text.parse().unwrap()
        }
        [0x48 | 0x08 | 0x18, coded, bytes @ ..] if coded & 0x80 != 0 => {
            huffman_digits(&bytes[..usize::from(coded & 0x7f)])
        }
        [0xbe..=0xff, ..] => 1,
        _ => 0,
    }
}

/// `0` to `2` have five bits, the other digits six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let take = |count: usize| {
            let bits = bits[at..at + count].iter();
            bits.fold(0_u16, |sum, bit| sum * 2 + u16::from(*bit))
        };
        let (digit, long) = match take(5) {
            short @ 0..=2 => (short, 5),
            _ => (take(6) - 0b01_1001 + 3, 6),
        };
        value = value * 10 + digit;
        at += long;
    }
    value
}
