//! What a proxy has to know of gRPC: which requests are such, how long they may take, and what a status
//! of HTTP is in its words.
//!
//! Not here: gRPC-Web (`web`), and messages, which nobody but the two ends has to understand.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::fields::Fields;

pub mod web;

/// More digits than this are no timeout.
const MOST_DIGITS: usize = 8;

/// Codes that a proxy has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unknown = 2,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// As the gRPC specification maps what is answered without a `grpc-status`; beside it, what is too
    /// large, and what is not supported.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 | 501 => Self::Unimplemented,
            413 | 431 => Self::ResourceExhausted,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    pub fn value(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }
}

/// How a request, by its content type, wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Http,
    Grpc,
    GrpcWeb,
    /// In base64.
    GrpcWebText,
}

const GRPC: &str = "application/grpc";

impl Dialect {
    pub fn of(headers: &Fields) -> Self {
        Self::of_content_type(headers.get(&http::header::CONTENT_TYPE))
    }

    pub fn of_content_type(value: Option<&[u8]>) -> Self {
        let Some(text) = value.and_then(|value| str::from_utf8(value).ok()) else {
            return Self::Http;
        };
        let (Some(start), Some(rest)) = (text.get(..GRPC.len()), text.get(GRPC.len()..)) else {
            return Self::Http;
        };
        if !start.eq_ignore_ascii_case(GRPC) {
            return Self::Http;
        }
        let end = rest.find(['+', ';', ' ']).unwrap_or(rest.len());
        match rest.get(..end) {
            Some("") => Self::Grpc,
            Some("-web") => Self::GrpcWeb,
            Some("-web-text") => Self::GrpcWebText,
            _ => Self::Http,
        }
    }
}

/// The value of `grpc-timeout`: up to eight digits and a unit.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum * 10 + digit)
    })?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let of = |text: &str| parse_timeout(text.as_bytes());
        assert_eq!(of("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(of("2M"), Some(Duration::from_secs(120)));
        assert_eq!(of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(of("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(of("5u"), Some(Duration::from_micros(5)));
        assert_eq!(of("0n"), Some(Duration::ZERO));
        for wrong in [
            "",
            "S",
            "5",
            "5s",
            "-5S",
            "1.5S",
            "999999999S",
            " 5S",
            "5S ",
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_dialect_is_in_the_content_type() {
        let of = |text: &'static str| Dialect::of(&Fields::of(&[("Content-Type", text)]));
        assert_eq!(of("application/grpc"), Dialect::Grpc);
        assert_eq!(of("application/grpc+proto"), Dialect::Grpc);
        assert_eq!(of("Application/GRPC;charset=utf-8"), Dialect::Grpc);
        assert_eq!(of("application/grpc-web+proto"), Dialect::GrpcWeb);
        assert_eq!(of("application/grpc-web-text"), Dialect::GrpcWebText);
        for other in [
            "application/grpcx",
            "application/json",
            "",
            "application/grpc-other",
        ] {
            assert_eq!(of(other), Dialect::Http, "{other}");
        }
        assert_eq!(Dialect::of(&Fields::default()), Dialect::Http);
    }

    #[test]
    fn codes_are_those_of_the_specification() {
        let of = |status: u16| Code::of_status(StatusCode::from_u16(status).unwrap()) as u16;
        for (status, code) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
        ] {
            assert_eq!(of(status), code, "{status}");
        }
        for status in [502, 503, 504] {
            assert_eq!(of(status), 14, "{status}");
        }
    }
}
