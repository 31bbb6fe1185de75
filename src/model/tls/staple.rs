//! What a response of OCSP says (RFC 6960), as far as it shows that it cannot be stapled to any use.
//! Signatures are not looked at: clients do that.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use x509_parser::time::ASN1Time;

use crate::model::config::tls::{Der, Facts};

/// Of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staple {
    /// In hexadecimal.
    serial: String,
    status: Status,
    /// Seconds since 1970.
    pub from: i64,
    pub until: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

/// What it says of this certificate; where that is of no use, why, and what helps.
pub fn staple(response: &Der, of: &Facts) -> Result<Staple, (&'static str, &'static str)> {
    let again = "ask the authority again: `openssl ocsp -respout FILE`";
    let all = all(&response.0).ok_or(("the response cannot be read", again))?;
    let fitting = all.into_iter().find(|one| one.serial == of.serial);
    let ours = fitting.ok_or(("the response is for another certificate", again))?;
    let renew = "replace the certificate: clients that look at the response refuse it";
    match ours.status {
        Status::Good => Ok(ours),
        Status::Revoked => Err(("the response says that the certificate is revoked", renew)),
        Status::Unknown => Err((
            "the response says that its authority does not know the certificate",
            renew,
        )),
    }
}

/// Whether it looks like a response that says anything: its status is successful.
pub fn is_ocsp_response(bytes: &[u8]) -> bool {
    success(bytes).is_some()
}

fn all(bytes: &[u8]) -> Option<Vec<Staple>> {
    let sections = items(sole(success(bytes)?, Tag::Sequence)?)?;
    let basic = sections.get(1)?.of(Tag::OctetString)?;
    let signed = items(sole(basic, Tag::Sequence)?)?;
    let data = items(signed.first()?.of(Tag::Sequence)?)?;
    // Behind the version and the responder.
    let mut data = data.iter().skip_while(|item| item.is_context(None));
    data.next()?.of(Tag::GeneralizedTime)?;
    let responses = items(data.next()?.of(Tag::Sequence)?)?;
    responses.iter().map(single).collect()
}

/// What stands behind the status.
fn success(bytes: &[u8]) -> Option<&[u8]> {
    let outer = items(sole(bytes, Tag::Sequence)?)?;
    let [status, wrapped] = &outer[..] else {
        return None;
    };
    let is_success = status.of(Tag::Enumerated)? == [0] && wrapped.is_context(Some(0));
    is_success.then_some(wrapped.any.data)
}

fn single(item: &Item<'_>) -> Option<Staple> {
    let parts = items(item.of(Tag::Sequence)?)?;
    let [certificate, status, from, rest @ ..] = &parts[..] else {
        return None;
    };
    let until = rest.first().filter(|item| item.is_context(Some(0)));
    let serial = items(certificate.of(Tag::Sequence)?)?;
    let serial = serial.get(3)?.of(Tag::Integer)?;
    Some(Staple {
        serial: serial.iter().map(super::facts::hex).collect(),
        status: match status.any.tag() {
            _ if !status.is_context(None) => return None,
            Tag(0) => Status::Good,
            Tag(1) => Status::Revoked,
            _ => Status::Unknown,
        },
        from: time(from.whole)?,
        until: match until {
            Some(wrapped) => Some(time(wrapped.any.data)?),
            None => None,
        },
    })
}

fn time(der: &[u8]) -> Option<i64> {
    let (_, time) = ASN1Time::from_der(der).ok()?;
    Some(time.timestamp())
}

/// One element with its contents unread.
struct Item<'a> {
    any: Any<'a>,
    whole: &'a [u8],
}

impl<'a> Item<'a> {
    fn of(&self, tag: Tag) -> Option<&'a [u8]> {
        let is = self.any.class() == Class::Universal && self.any.tag() == tag;
        is.then_some(self.any.data)
    }

    fn is_context(&self, tag: Option<u32>) -> bool {
        let is = self.any.class() == Class::ContextSpecific;
        is && tag.is_none_or(|tag| self.any.tag() == Tag(tag))
    }
}

fn sole(bytes: &[u8], tag: Tag) -> Option<&[u8]> {
    match &items(bytes)?[..] {
        [one] => one.of(tag),
        _ => None,
    }
}

fn items(mut bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (rest, any) = Any::from_der(bytes).ok()?;
        let whole = bytes.get(..bytes.len() - rest.len())?;
        items.push(Item { any, whole });
        bytes = rest;
    }
    Some(items)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::tls::tests::{certificate, tlv};

    const GOOD: &[u8] = &[0x80, 0];
    const REVOKED: &[u8] = &[0xa1, 2, 0x18, 0];
    const UNKNOWN: &[u8] = &[0x82, 0];

    fn at(time: &str) -> Vec<u8> {
        tlv(0x18, &[time.as_bytes()])
    }

    fn single(serial: &[u8], status: &[u8], until: Option<&str>) -> Vec<u8> {
        let hash = tlv(4, &[b"hash"]);
        let id = tlv(0x30, &[&tlv(0x30, &[]), &hash, &hash, &tlv(2, &[serial])]);
        let until = until.map(|until| tlv(0xa0, &[&at(until)]));
        let from = at("20260101000000Z");
        tlv(0x30, &[&id, status, &from, &until.unwrap_or_default()])
    }

    fn signed(singles: &[Vec<u8>]) -> Der {
        let responder = tlv(0xa2, &[&tlv(4, &[b"who"])]);
        let list = tlv(0x30, &[&singles.concat()]);
        let data = tlv(0x30, &[&responder, &at("20260101000000Z"), &list]);
        let basic = tlv(0x30, &[&data, &tlv(0x30, &[]), &tlv(3, &[&[0]])]);
        let kind = [6, 9, 43, 6, 1, 5, 5, 7, 48, 1, 1];
        let bytes = tlv(0x30, &[&kind, &tlv(4, &[&basic])]);
        Der(tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&bytes])]))
    }

    fn serial_of(facts: &Facts) -> Vec<u8> {
        let pairs = facts.serial.as_bytes().chunks(2);
        let text = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
        text.map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    /// Of nobody's, from the beginning of 2026 on.
    pub(crate) fn until(end: Option<&str>) -> Staple {
        let all = all(&signed(&[single(&[7], GOOD, end)]).0);
        all.unwrap().remove(0)
    }

    #[test]
    fn the_times_of_the_response_for_the_certificate_are_read() {
        let facts = certificate(&["a.test"]).facts;
        let ours = single(&serial_of(&facts), GOOD, Some("20260102000000Z"));
        let response = signed(&[single(&[7], REVOKED, None), ours]);
        let staple = staple(&response, &facts).unwrap();
        assert_eq!(staple.from, 1_767_225_600);
        assert_eq!(staple.until, Some(staple.from + 24 * 60 * 60));
        assert_eq!(until(None).until, None);
    }

    #[test]
    fn a_response_of_no_use_says_why() {
        let facts = certificate(&["a.test"]).facts;
        let why = |response: &Der| staple(response, &facts).map_err(|(why, _)| why);
        let serial = serial_of(&facts);
        for (serial, status, words) in [
            (&[7][..], GOOD, "for another certificate"),
            (&serial, REVOKED, "is revoked"),
            (&serial, UNKNOWN, "does not know"),
        ] {
            let why = why(&signed(&[single(serial, status, None)])).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        assert!(why(&signed(&[])).unwrap_err().contains("another"));
        let empty = Der(vec![0x30, 7, 0x0a, 1, 0, 0xa0, 2, 0x30, 0]);
        assert!(is_ocsp_response(&empty.0));
        assert!(why(&empty).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_response_that_is_cut_is_not_read() {
        let whole = signed(&[single(&[7], GOOD, None)]).0;
        assert!(all(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(all(&whole[..length]), None, "{length}");
        }
    }
}
