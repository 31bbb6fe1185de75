//! Which protocol a client speaks. Not here: how HTTP/2 is told from HTTP/1 by its first bytes (`http2`).

use crate::proxy::stream::Stream;

/// Whether it is clear yet which protocol the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Its first bytes tell.
    Nothing,
    Http1,
    /// Agreed on by ALPN; whatever comes is held to it.
    Http2,
}

impl Spoken {
    /// Over TLS it is agreed on, and HTTP/2 without that is none (RFC 9113, 3.2): a listener whose
    /// `alpn` leaves it out does not speak it.
    pub(super) fn over(stream: &Stream) -> Self {
        match stream {
            Stream::Tls(_) if stream.speaks_http2() => Self::Http2,
            Stream::Tls(_) => Self::Http1,
            Stream::Tcp(_) | Stream::Unix(_) => Self::Nothing,
        }
    }
}
