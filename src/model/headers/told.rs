//! What an upstream is told of a request beside what its client sent: four fields that every request
//! has, written as the request is encoded. To have them hashed into the map first, and looked up there
//! again, would cost more than all the rest of the rewriting.
//!
//! Not here: what is said in them (`forwarded`).

use std::net::IpAddr;

use bytes::BytesMut;
use http::header::{self, HeaderName, HeaderValue};

use super::forwarded::{FOR, HOST, PROTO, REQUEST_ID};
use super::{Values, values};
use crate::model::fields::Fields;

/// The id that a request goes by.
#[derive(Debug, Clone)]
pub enum RequestId {
    /// By us, in hexadecimal.
    Made([u8; 32]),
    /// By a trusted proxy.
    Given(HeaderValue),
}

/// No field of these names is in the map of the request that it belongs to.
#[derive(Debug, Clone)]
pub struct Told {
    pub request_id: RequestId,
    pub peer: IpAddr,
    pub scheme: &'static str,
}

impl RequestId {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Made(digits) => digits,
            Self::Given(value) => value.as_bytes(),
        }
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(super) fn value(&self, values: &Values) -> HeaderValue {
        match self {
            Self::Made(digits) => values.value(|out| out.extend_from_slice(digits)),
            Self::Given(value) => value.clone(),
        }
    }
}

impl Told {
    /// As lines of a head; `host` is what the client asked for.
    pub fn write(&self, host: Option<&[u8]>, out: &mut BytesMut) {
        out.extend_from_slice(b"x-forwarded-for: ");
        values::write_address(self.peer, out);
        out.extend_from_slice(b"\r\nx-forwarded-proto: ");
        out.extend_from_slice(self.scheme.as_bytes());
        if let Some(host) = host {
            out.extend_from_slice(b"\r\nx-forwarded-host: ");
            out.extend_from_slice(host);
        }
        out.extend_from_slice(b"\r\nx-request-id: ");
        out.extend_from_slice(self.request_id.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// As fields of the map, for who does not write lines, or has to see all of them.
    pub fn put_into(&self, headers: &mut Fields, values: &Values) {
        headers.insert(&FOR, &values.address(self.peer));
        headers.insert(&PROTO, &HeaderValue::from_static(self.scheme));
        if let Some(host) = host_value(headers) {
            headers.insert(&HOST, &host);
        }
        headers.insert(&REQUEST_ID, &self.request_id.value(values));
    }
}

/// Whether a field is among them, or is what one of them says.
/// Whom the client asked for, in a value for another field.
pub(super) fn host_value(headers: &Fields) -> Option<HeaderValue> {
    let host = headers.get_shared(&header::HOST)?;
    HeaderValue::from_maybe_shared(host).ok()
}

pub(in crate::model) fn depends_on(name: &HeaderName) -> bool {
    [FOR, PROTO, HOST, REQUEST_ID, header::HOST].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fields::{Role, Roles};

    #[test]
    fn lines_say_what_the_map_says() {
        for (peer, host) in [("192.0.2.7", Some("shop.example")), ("2001:db8::1", None)] {
            let told = Told {
                request_id: RequestId::Made(*b"0123456789abcdef0123456789abcdef"),
                peer: peer.parse().unwrap(),
                scheme: "https",
            };
            let mut headers = Fields::default();
            if let Some(host) = host {
                headers.insert(&header::HOST, &HeaderValue::from_static(host));
            }
            let (mut lines, mut expected) = (BytesMut::new(), BytesMut::new());
            told.write(headers.get(&header::HOST), &mut lines);
            told.put_into(&mut headers, &Values::default());
            headers.write(Roles::of(&[Role::Host]), &mut expected);
            assert_eq!(lines, expected);
        }
    }
}
