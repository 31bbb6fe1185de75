//! Which reason a fault of HTTP/1 is, as the codec finds it.

use super::Reason;
use crate::proxy::h1;

impl From<h1::InvalidRequest> for Reason {
    fn from(fault: h1::InvalidRequest) -> Self {
        use h1::InvalidRequest as Fault;
        match fault {
            Fault::Fields(fields) => fields.into(),
            Fault::Framing(h1::InvalidFraming::UnsupportedEncoding) => Self::UnsupportedEncoding,
            Fault::Framing(_) => Self::AmbiguousFraming,
            Fault::RequestLineTooLong => Self::UriTooLong,
            Fault::UnsupportedVersion => Self::UnsupportedVersion,
            Fault::UnknownExpectation => Self::UnknownExpectation,
            Fault::BadTarget
            | Fault::TargetFragment
            | Fault::TargetUserinfo
            | Fault::TargetForm
            | Fault::TargetScheme => Self::BadTarget,
            Fault::MissingHost | Fault::SeveralHosts | Fault::BadHost | Fault::HostMismatch => {
                Self::BadHost
            }
            Fault::BadRequestLine | Fault::BadMethod | Fault::BadVersion => Self::MalformedRequest,
        }
    }
}

impl From<h1::InvalidFields> for Reason {
    fn from(fault: h1::InvalidFields) -> Self {
        match fault {
            h1::InvalidFields::TooLarge => Self::HeadersTooLarge,
            h1::InvalidFields::TooMany => Self::TooManyHeaders,
            _ => Self::MalformedRequest,
        }
    }
}

impl From<h1::InvalidBody> for Reason {
    /// The body of a request; that of a response is `UpstreamBodyBroken` whatever is wrong with it.
    fn from(_: h1::InvalidBody) -> Self {
        Self::MalformedBody
    }
}

impl From<h1::InvalidResponse> for Reason {
    fn from(fault: h1::InvalidResponse) -> Self {
        use h1::InvalidFields as Fields;
        match fault {
            h1::InvalidResponse::Fields(Fields::TooLarge | Fields::TooMany) => {
                Self::UpstreamHeadersTooLarge
            }
            _ => Self::UpstreamMalformed,
        }
    }
}
