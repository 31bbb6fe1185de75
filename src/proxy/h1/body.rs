//! One decoder over all framings, and the question whether a body was complete at the end of input.
//!
//! It holds no bytes: what has not been handed out stays in the caller's buffer.

use bytes::BytesMut;

use super::chunked::{BodyEvent, ChunkedDecoder, take_up_to};
use super::error::InvalidBody;
use super::framing::Framing;

/// A body in the middle of being read.
#[derive(Debug)]
pub enum BodyDecoder {
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl BodyDecoder {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next piece off the front of `buf`.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<BodyEvent, InvalidBody> {
        match self {
            Self::Length(0) => Ok(BodyEvent::End(None)),
            _ if buf.is_empty() => Ok(BodyEvent::NeedMore),
            Self::Length(left) => {
                let data = take_up_to(*left, buf);
                *left = left.saturating_sub(data.len() as u64);
                Ok(BodyEvent::Data(data))
            }
            Self::Chunked(chunked) => chunked.decode(buf),
            Self::UntilClose => Ok(BodyEvent::Data(buf.split().freeze())),
        }
    }

    /// Whether a body is complete when its sender has closed and all its bytes are decoded.
    pub fn ends_at_close(&self) -> bool {
        matches!(self, Self::UntilClose | Self::Length(0))
    }
}
