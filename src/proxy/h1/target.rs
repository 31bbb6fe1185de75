//! The four forms of a request target, and the host that a request is for.
//!
//! It does not normalize: a path goes on as it came.

use std::net::Ipv6Addr;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};

use super::error::InvalidRequest;
use super::section::{Section, Seen};
use crate::proxy::recent;

/// The target, a part of `head`, as a URI, if its form fits the method.
pub(super) fn parse(method: &Method, head: &Bytes, target: &[u8]) -> Result<Uri, InvalidRequest> {
    match target {
        [b'/', ..] if *method != Method::CONNECT => origin_form(head, target),
        [b'*'] if *method == Method::OPTIONS => Ok(Uri::from_static("*")),
        [b'*'] => Err(InvalidRequest::TargetForm),
        [] => Err(InvalidRequest::BadRequestLine),
        _ => {
            check_bytes(target)?;
            match *method == Method::CONNECT {
                true => authority_form(head.slice_ref(target)),
                false => absolute_form(head.slice_ref(target)),
            }
        }
    }
}

/// `http` reads the path once. What it takes and we do not shows in what it made of it.
fn origin_form(head: &Bytes, target: &[u8]) -> Result<Uri, InvalidRequest> {
    if let Ok(uri) = Uri::from_maybe_shared(head.slice_ref(target))
        && let Some(path) = uri.path_and_query().map(PathAndQuery::as_str)
        && path.len() == target.len()
        && path.is_ascii()
    {
        return Ok(uri);
    }
    Err(check_bytes(target)
        .err()
        .unwrap_or(InvalidRequest::BadTarget))
}

/// Visible ASCII without `#`: a fragment is never sent, and readers differ on where it begins.
fn check_bytes(target: &[u8]) -> Result<(), InvalidRequest> {
    let odd = |b: u8| !(0x21..=0x7e).contains(&b);
    // No early return, so that the loop becomes vector code.
    if !target
        .iter()
        .fold(false, |bad, b| bad | odd(*b) | (*b == b'#'))
    {
        return Ok(());
    }
    match target.iter().any(|b| odd(*b)) {
        true => Err(InvalidRequest::BadTarget),
        false => Err(InvalidRequest::TargetFragment),
    }
}

fn absolute_form(target: Bytes) -> Result<Uri, InvalidRequest> {
    let uri = Uri::from_maybe_shared(target).map_err(|_| InvalidRequest::BadTarget)?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(InvalidRequest::TargetForm);
    };
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return Err(InvalidRequest::TargetScheme);
    }
    check_target_authority(authority)?;
    match uri
        .path_and_query()
        .is_some_and(|path| path.as_str().starts_with('?'))
    {
        true => with_root_path(uri),
        false => Ok(uri),
    }
}

/// `http://host?query` is right, but its path and query alone would be no target: `/?query` is.
fn with_root_path(uri: Uri) -> Result<Uri, InvalidRequest> {
    let mut parts = uri.into_parts();
    let query = parts
        .path_and_query
        .as_ref()
        .map_or("", PathAndQuery::as_str);
    let path = PathAndQuery::try_from(["/", query].concat());
    parts.path_and_query = Some(path.map_err(|_| InvalidRequest::BadTarget)?);
    Uri::from_parts(parts).map_err(|_| InvalidRequest::BadTarget)
}

fn authority_form(target: Bytes) -> Result<Uri, InvalidRequest> {
    let uri = Uri::from_maybe_shared(target).map_err(|_| InvalidRequest::TargetForm)?;
    let (None, None, Some(authority)) = (uri.scheme(), uri.path_and_query(), uri.authority())
    else {
        return Err(InvalidRequest::TargetForm);
    };
    check_target_authority(authority)?;
    match authority.port() {
        Some(_) => Ok(uri),
        None => Err(InvalidRequest::TargetForm),
    }
}

fn check_target_authority(authority: &Authority) -> Result<(), InvalidRequest> {
    let bytes = authority.as_str().as_bytes();
    if bytes.contains(&b'@') {
        return Err(InvalidRequest::TargetUserinfo);
    }
    match is_host(bytes) {
        true => Ok(()),
        false => Err(InvalidRequest::BadTarget),
    }
}

/// Whom the request is for. Host has to be there, once, and must not contradict the target.
pub(super) fn authority(
    uri: &Uri,
    version: Version,
    section: &Section<'_>,
) -> Result<Option<Authority>, InvalidRequest> {
    let host = match &section.host {
        Seen::Never if version == Version::HTTP_10 => None,
        Seen::Never => return Err(InvalidRequest::MissingHost),
        Seen::Once(value) => Some(recent::host(value, || parse_host(value))?),
        Seen::Again => return Err(InvalidRequest::SeveralHosts),
    };
    let Some(target) = uri.authority() else {
        return Ok(host);
    };
    let default_port = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
        Some(_) => Some(80),
        None => target.port_u16(),
    };
    match host {
        Some(host) if !is_same_host(&host, target, default_port) => {
            Err(InvalidRequest::HostMismatch)
        }
        _ => Ok(Some(target.clone())),
    }
}

/// The value of a `Host` field, in memory of its own: it is kept longer than what it was read with.
pub(in crate::proxy) fn parse_host(value: &[u8]) -> Result<Authority, InvalidRequest> {
    if !is_host(value) {
        return Err(InvalidRequest::BadHost);
    }
    Authority::try_from(value).map_err(|_| InvalidRequest::BadHost)
}

pub(in crate::proxy) fn is_same_host(
    host: &Authority,
    target: &Authority,
    default_port: Option<u16>,
) -> bool {
    let port = |a: &Authority| a.port_u16().or(default_port);
    host.host().eq_ignore_ascii_case(target.host()) && port(host) == port(target)
}

/// A name or an address, with an optional port. Narrower than RFC 3986: no escapes, no sub-delims.
pub(in crate::proxy) fn is_host(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        return is_ipv6_host(rest);
    }
    let is_of_name = |b: &u8| NAME_BYTES.get(usize::from(*b)) == Some(&true);
    let end = text
        .iter()
        .position(|b| !is_of_name(b))
        .unwrap_or(text.len());
    end > 0 && is_port(text.get(end..).unwrap_or_default())
}

/// Letters, digits, `-`, `.` and `_`, which is not of host names, but of those in clusters.
static NAME_BYTES: [bool; 256] = build_name_bytes();

#[expect(clippy::indexing_slicing, reason = "runs while compiling")]
const fn build_name_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        byte += 1;
    }
    table
}

/// The rest behind the bracket that opens an address.
fn is_ipv6_host(rest: &[u8]) -> bool {
    let Some(end) = rest.iter().position(|b| *b == b']') else {
        return false;
    };
    let (address, port) = rest.split_at(end);
    let text = std::str::from_utf8(address).unwrap_or_default();
    text.parse::<Ipv6Addr>().is_ok() && is_port(port.get(1..).unwrap_or_default())
}

/// Nothing, or a colon and a port.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => {
            let digit =
                |sum: u32, b: &u8| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0'));
            (1..=5).contains(&digits.len())
                && digits
                    .iter()
                    .try_fold(0, digit)
                    .is_some_and(|port| port <= 65535)
        }
        _ => false,
    }
}
