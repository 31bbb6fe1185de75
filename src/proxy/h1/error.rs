//! What can be wrong with a message, one variant per fact.
//!
//! It does not choose an HTTP status: the data plane does that, in one place, by matching these.

use thiserror::Error;

/// A fault in the lines of a head or of a trailer section, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidFields {
    #[error("a line ends in LF without CR")]
    BareLf,
    #[error("CR without LF")]
    BareCr,
    #[error("a line is folded")]
    ObsFold,
    #[error("whitespace between field name and colon")]
    SpaceBeforeColon,
    #[error("a field line has no colon")]
    MissingColon,
    #[error("a field has no name")]
    EmptyName,
    #[error("a field name has a character that is not of a token")]
    BadName,
    #[error("NUL in a field")]
    Nul,
    #[error("control character in a field value")]
    BadValue,
    #[error("the header section is too large")]
    TooLarge,
    #[error("too many fields")]
    TooMany,
}

/// Header fields that leave it open where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidFraming {
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    #[error("more than one Content-Length")]
    SeveralLengths,
    #[error("Content-Length is not a number")]
    BadLength,
    #[error("Content-Length is too large")]
    LengthOverflow,
    #[error("more than one Transfer-Encoding")]
    SeveralEncodings,
    #[error("Transfer-Encoding is not chunked")]
    BadEncoding,
    #[error("a transfer coding besides chunked")]
    UnsupportedEncoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    EncodingOnHttp10,
    #[error("Transfer-Encoding in a response that has no body")]
    EncodingWithoutBody,
}

/// A request that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    #[error(transparent)]
    Fields(#[from] InvalidFields),
    #[error(transparent)]
    Framing(#[from] InvalidFraming),
    #[error("the request line is not method, target and version")]
    BadRequestLine,
    #[error("the request line is too long")]
    RequestLineTooLong,
    #[error("the method is not a token")]
    BadMethod,
    #[error("the version is not HTTP/1.0 or HTTP/1.1")]
    BadVersion,
    #[error("a version of HTTP other than 1")]
    UnsupportedVersion,
    #[error("the target has a character that is not of a URI")]
    BadTarget,
    #[error("the target has a fragment")]
    TargetFragment,
    #[error("the target has user information")]
    TargetUserinfo,
    #[error("the form of the target does not fit the method")]
    TargetForm,
    #[error("the scheme of the target is neither http nor https")]
    TargetScheme,
    #[error("no Host")]
    MissingHost,
    #[error("more than one Host")]
    SeveralHosts,
    #[error("Host is not a host with an optional port")]
    BadHost,
    #[error("Host contradicts the target")]
    HostMismatch,
    #[error("an expectation other than 100-continue")]
    UnknownExpectation,
}

/// A response that is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidResponse {
    #[error(transparent)]
    Fields(#[from] InvalidFields),
    #[error(transparent)]
    Framing(#[from] InvalidFraming),
    #[error("the answer does not begin with a status line of HTTP/1")]
    BadStatusLine,
    #[error("the status is not three digits from 100 on")]
    BadStatus,
    #[error("control character in the reason phrase")]
    BadReason,
    #[error("101 without Upgrade")]
    BadUpgrade,
}

/// A body that breaks its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidBody {
    #[error("a chunk size is not hexadecimal digits")]
    BadChunkSize,
    #[error("a chunk size has too many digits")]
    ChunkSizeTooLong,
    #[error("a chunk line ends in LF without CR, or has CR inside")]
    BadChunkLine,
    #[error("control character in a chunk extension")]
    BadChunkExtension,
    #[error("the chunk extensions are too long")]
    ChunkExtensionTooLong,
    #[error("a chunk is not followed by CRLF")]
    MissingChunkEnd,
    #[error("in the trailers: {0}")]
    Trailers(#[from] InvalidFields),
    #[error("a trailer that may only be a header")]
    ForbiddenTrailer,
}

impl InvalidFields {
    /// The fact as one word, for logs and for the names of the corpora.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare-lf",
            Self::BareCr => "bare-cr",
            Self::ObsFold => "obs-fold",
            Self::SpaceBeforeColon => "space-before-colon",
            Self::MissingColon => "missing-colon",
            Self::EmptyName => "empty-name",
            Self::BadName => "bad-name",
            Self::Nul => "nul",
            Self::BadValue => "bad-value",
            Self::TooLarge => "fields-too-large",
            Self::TooMany => "too-many-fields",
        }
    }
}

impl InvalidFraming {
    /// The fact as one word, for logs and for the names of the corpora.
    pub fn reason(self) -> &'static str {
        match self {
            Self::LengthAndEncoding => "length-and-encoding",
            Self::SeveralLengths => "several-lengths",
            Self::BadLength => "bad-length",
            Self::LengthOverflow => "length-overflow",
            Self::SeveralEncodings => "several-encodings",
            Self::BadEncoding => "bad-encoding",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::EncodingOnHttp10 => "encoding-on-http10",
            Self::EncodingWithoutBody => "encoding-without-body",
        }
    }
}

impl InvalidRequest {
    /// The fact as one word, for logs and for the names of the corpora.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Fields(fault) => fault.reason(),
            Self::Framing(fault) => fault.reason(),
            Self::BadRequestLine => "bad-request-line",
            Self::RequestLineTooLong => "request-line-too-long",
            Self::BadMethod => "bad-method",
            Self::BadVersion => "bad-version",
            Self::UnsupportedVersion => "unsupported-version",
            Self::BadTarget => "bad-target",
            Self::TargetFragment => "target-fragment",
            Self::TargetUserinfo => "target-userinfo",
            Self::TargetForm => "target-form",
            Self::TargetScheme => "target-scheme",
            Self::MissingHost => "missing-host",
            Self::SeveralHosts => "several-hosts",
            Self::BadHost => "bad-host",
            Self::HostMismatch => "host-mismatch",
            Self::UnknownExpectation => "unknown-expectation",
        }
    }
}

impl InvalidResponse {
    /// The fact as one word, for logs and for the names of the corpora.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Fields(fault) => fault.reason(),
            Self::Framing(fault) => fault.reason(),
            Self::BadStatusLine => "bad-status-line",
            Self::BadStatus => "bad-status",
            Self::BadReason => "bad-reason",
            Self::BadUpgrade => "bad-upgrade",
        }
    }
}

impl InvalidBody {
    /// The fact as one word, for logs and for the names of the corpora.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadChunkSize => "bad-chunk-size",
            Self::ChunkSizeTooLong => "chunk-size-too-long",
            Self::BadChunkLine => "bad-chunk-line",
            Self::BadChunkExtension => "bad-chunk-extension",
            Self::ChunkExtensionTooLong => "chunk-extension-too-long",
            Self::MissingChunkEnd => "missing-chunk-end",
            Self::Trailers(fault) => fault.reason(),
            Self::ForbiddenTrailer => "forbidden-trailer",
        }
    }
}
