//! A codec for HTTP/1.0 and HTTP/1.1, both roles: bytes to heads and bodies, and back.
//!
//! It does no IO and sees no clock; the caller owns buffers, deadlines and the choice of statuses.
//! It is stricter than the RFCs let it be: what two readers could read in two ways is refused.

mod body;
mod chunked;
mod encode;
mod error;
mod framing;
mod request;
mod response;
mod scan;
mod section;
mod target;

pub use body::BodyDecoder;
pub(super) use chunked::strip_trailers;
pub use chunked::{BodyEvent, ChunkedDecoder};
pub use encode::{
    ConnectionField, RequestParts, ResponseParts, encode_chunk_end, encode_chunk_header,
    encode_last_chunk, encode_request_head, encode_response_head,
};
pub use error::{InvalidBody, InvalidFields, InvalidFraming, InvalidRequest, InvalidResponse};
pub(crate) use framing::content_length;
pub use framing::{Framing, Persistence};
pub use request::{Expectation, RequestHead, parse_request, parse_request_into};
pub use response::{ResponseHead, ResponseKind, parse_response, parse_response_into};
pub use scan::HeadScanner;
pub(super) use target::{is_host, is_same_host, parse_host};

/// Bounds on a head; the defaults are those of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Of the whole head: start line, fields and the empty line.
    pub header_bytes: usize,
    pub header_count: usize,
    /// Of the start line, without its CRLF.
    pub request_line_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_count: 100,
            request_line_bytes: 8 * 1024,
        }
    }
}

#[cfg(test)]
mod tests;
