//! Headers and trailers of HTTP/2 into fields as all else has them, and back.
//!
//! Not here: what of them has no place in the other protocol (`request`, `answer`, `upstream`).

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderValue};

use crate::model::fields::{Fields, Role, Unfit};
use crate::proxy::{h1, recent};

/// # Errors
/// Where there are too many, or a name is too long.
pub(in crate::proxy) fn map_of(fields: &Fields) -> Result<HeaderMap, Unfit> {
    fields.to_map(recent::name)
}

/// Has Content-Length say this, of which most have it already.
pub(in crate::proxy) fn declare_length(headers: &mut Fields, length: u64) {
    let told = headers.of_role(Role::Length).map(h1::content_length);
    if told != Some(Ok(length)) {
        headers.insert(&CONTENT_LENGTH, &HeaderValue::from(length));
    }
}

/// What may be passed on of trailers. As after chunks, what may only stand in a head is left out.
pub(in crate::proxy) fn trailers_of(map: &HeaderMap) -> Fields {
    let mut trailers = Fields::default();
    trailers.read_map(map);
    h1::strip_trailers(&mut trailers);
    trailers
}
