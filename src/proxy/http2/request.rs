//! From a request of HTTP/2 to one as every filter and rule expects it: whom it is for in `Host` too,
//! one `Cookie`, a target that is a path. What HTTP/1 would refuse is refused here as well.
//!
//! The `h2` crate has already refused what is malformed in HTTP/2: pseudo headers that are missing or
//! in the wrong place, headers of the connection, `te` other than `trailers`, a false length.

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, request};

use super::tunnel;
use crate::model::config::Limits;
use crate::proxy::body::Size;
use crate::proxy::error::Reason;
use crate::proxy::h1;
use crate::proxy::scratch::Scratch;

/// What is known of a request once its head is taken.
pub(super) struct Taken {
    pub(super) authority: Option<Authority>,
    /// Declared; it says nothing about a body that has ended with the head.
    pub(super) size: Size,
    pub(super) awaits_continue: bool,
    /// The protocol that the stream is to carry from here on.
    pub(super) upgrade: Option<HeaderValue>,
}

/// Checks the head, and rewrites it in place.
pub(super) fn take(
    head: &mut request::Parts,
    limits: &Limits,
    scratch: &Scratch,
) -> Result<Taken, Reason> {
    if head.headers.len() > limits.header_count as usize {
        return Err(Reason::TooManyHeaders);
    }
    trim(&mut head.headers);
    join_cookies(&mut head.headers)?;
    let authority = authority(head)?;
    let upgrade = tunnel::take(head, scratch)?;
    if head.method != Method::CONNECT {
        head.uri = target(head, limits)?;
    }
    Ok(Taken {
        authority,
        upgrade,
        size: declared(&head.headers)?,
        awaits_continue: expectation(&head.headers)?,
    })
}

/// Space around a value is malformed (RFC 9113, 8.2.1), and common. It goes, as over HTTP/1.1: rules
/// see the value that the upstream will, and no client has to refuse an answer for it.
pub(in crate::proxy) fn trim(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = value.as_bytes().trim_ascii();
        if trimmed.len() == value.len() {
            continue;
        }
        if let Ok(mut trimmed) = HeaderValue::from_bytes(trimmed) {
            trimmed.set_sensitive(value.is_sensitive());
            *value = trimmed;
        }
    }
}

/// Crumbs become one field, as HTTP/1.1 has it (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Reason> {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let mut whole = BytesMut::from(first.as_bytes());
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    let whole = HeaderValue::from_maybe_shared(whole.freeze());
    headers.insert(COOKIE, whole.map_err(|_| Reason::MalformedRequest)?);
    Ok(())
}

/// Of `:authority` and `Host` one has to be there, and they must not contradict each other.
fn authority(head: &mut request::Parts) -> Result<Option<Authority>, Reason> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(h1::parse_host(host.as_bytes())?),
        (Some(_), Some(_)) => return Err(Reason::BadHost),
    };
    let Some(named) = head.uri.authority() else {
        return host.map(Some).ok_or(Reason::BadHost);
    };
    if !h1::is_host(named.as_str().as_bytes()) {
        return Err(Reason::BadHost);
    }
    let default_port = match head.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        _ => 80,
    };
    if host.is_some_and(|host| !h1::is_same_host(&host, named, Some(default_port))) {
        return Err(Reason::BadHost);
    }
    let value = HeaderValue::from_str(named.as_str()).map_err(|_| Reason::BadHost)?;
    head.headers.insert(HOST, value);
    Ok(Some(named.clone()))
}

/// Path and query alone, as in a request line.
fn target(head: &request::Parts, limits: &Limits) -> Result<Uri, Reason> {
    match head.uri.scheme() {
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => {
            return Err(Reason::BadTarget);
        }
        _ => {}
    }
    let path = head.uri.path_and_query().ok_or(Reason::BadTarget)?;
    let text = path.as_str();
    if text.len() > limits.request_line_bytes as usize {
        return Err(Reason::UriTooLong);
    }
    let star = text == "*" && head.method == Method::OPTIONS;
    if !star && !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Reason::BadTarget);
    }
    Ok(Uri::from(PathAndQuery::clone(path)))
}

fn declared(headers: &HeaderMap) -> Result<Size, Reason> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(Size::Unknown),
        (Some(one), None) => match h1::content_length(one.as_bytes()) {
            Ok(length) => Ok(Size::Known(length)),
            Err(_) => Err(Reason::AmbiguousFraming),
        },
        (Some(_), Some(_)) => Err(Reason::AmbiguousFraming),
    }
}

fn expectation(headers: &HeaderMap) -> Result<bool, Reason> {
    let mut expected = headers.get_all(EXPECT).iter();
    match (expected.next(), expected.next()) {
        (None, _) => Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Reason::UnknownExpectation),
    }
}
