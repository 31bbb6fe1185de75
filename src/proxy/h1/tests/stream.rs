//! Reads everything that a connection carries, in pieces of any size, into something to compare.

use bytes::{Bytes, BytesMut};
use http::Method;

use super::super::*;
use crate::model::fields::Fields;

/// What came out of a stream of messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) messages: Vec<Message>,
    pub(super) end: End,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The whole head as debug output.
    pub(super) head: String,
    pub(super) framing: Framing,
    pub(super) kind: Option<ResponseKind>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<Fields>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After a whole message.
    Whole,
    /// In the middle of one.
    Partial,
    Refused(&'static str),
}

enum Step {
    Message(Message),
    NeedMore,
    Refused(&'static str),
}

type ReadHead = Box<dyn FnMut(&mut BytesMut) -> Result<Option<Message>, &'static str>>;

struct Reader {
    read_head: ReadHead,
    current: Option<(Message, BodyDecoder)>,
}

pub(super) fn read_requests(bytes: &[u8], piece: usize) -> Stream {
    let mut scanner = HeadScanner::default();
    let read_head = move |buf: &mut BytesMut| {
        let head = parse_request(buf, &HeadLimits::default(), &mut scanner);
        let head = head.map_err(InvalidRequest::reason)?;
        Ok(head.map(|head| message(format!("{head:?}"), head.framing, None)))
    };
    Reader {
        read_head: Box::new(read_head),
        current: None,
    }
    .read(bytes, piece)
}

pub(super) fn read_responses(bytes: &[u8], piece: usize, method: Method) -> Stream {
    let mut scanner = HeadScanner::default();
    let read_head = move |buf: &mut BytesMut| {
        let head = parse_response(buf, &HeadLimits::default(), &mut scanner, &method);
        let head = head.map_err(InvalidResponse::reason)?;
        Ok(head.map(|head| message(format!("{head:?}"), head.framing, Some(head.kind))))
    };
    Reader {
        read_head: Box::new(read_head),
        current: None,
    }
    .read(bytes, piece)
}

/// One chunked body, and what is left behind it.
pub(super) fn read_chunked(bytes: &[u8], piece: usize) -> (Stream, Bytes) {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let mut found = message(String::new(), Framing::Chunked, None);
    let mut buf = BytesMut::new();
    let mut pieces = bytes.chunks(piece.max(1));
    let end = loop {
        match decode(&mut found, &mut decoder, &mut buf) {
            Ok(true) => break End::Whole,
            Err(reason) => break End::Refused(reason),
            Ok(false) => match pieces.next() {
                Some(more) => buf.extend_from_slice(more),
                None => break End::Partial,
            },
        }
    };
    buf.extend_from_slice(&pieces.collect::<Vec<_>>().concat());
    (
        Stream {
            messages: vec![found],
            end,
        },
        buf.freeze(),
    )
}

fn message(head: String, framing: Framing, kind: Option<ResponseKind>) -> Message {
    Message {
        head,
        framing,
        kind,
        body: Vec::new(),
        trailers: None,
    }
}

/// Whether the body is whole.
fn decode(
    message: &mut Message,
    decoder: &mut BodyDecoder,
    buf: &mut BytesMut,
) -> Result<bool, &'static str> {
    loop {
        match decoder.decode(buf).map_err(InvalidBody::reason)? {
            BodyEvent::Data(data) => {
                assert!(!data.is_empty());
                message.body.extend_from_slice(&data);
            }
            BodyEvent::NeedMore => return Ok(false),
            BodyEvent::End(trailers) => {
                message.trailers = trailers;
                return Ok(true);
            }
        }
    }
}

impl Reader {
    fn read(mut self, bytes: &[u8], piece: usize) -> Stream {
        let mut messages = Vec::new();
        let mut buf = BytesMut::new();
        for piece in bytes.chunks(piece.max(1)) {
            buf.extend_from_slice(piece);
            loop {
                match self.step(&mut buf) {
                    Step::Message(message) => messages.push(message),
                    Step::NeedMore => break,
                    Step::Refused(reason) => {
                        return Stream {
                            messages,
                            end: End::Refused(reason),
                        };
                    }
                }
            }
        }
        let end = match self.current {
            Some((message, decoder)) if decoder.ends_at_close() => {
                messages.push(message);
                End::Whole
            }
            None if buf.is_empty() => End::Whole,
            _ => End::Partial,
        };
        Stream { messages, end }
    }

    fn step(&mut self, buf: &mut BytesMut) -> Step {
        let (mut message, mut decoder) = match self.current.take() {
            Some(current) => current,
            None if buf.is_empty() => return Step::NeedMore,
            None => match (self.read_head)(buf) {
                Ok(Some(message)) => {
                    let decoder = BodyDecoder::new(message.framing);
                    (message, decoder)
                }
                Ok(None) => return Step::NeedMore,
                Err(reason) => return Step::Refused(reason),
            },
        };
        match decode(&mut message, &mut decoder, buf) {
            Ok(true) => Step::Message(message),
            Ok(false) => {
                self.current = Some((message, decoder));
                Step::NeedMore
            }
            Err(reason) => Step::Refused(reason),
        }
    }
}
