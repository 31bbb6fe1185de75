//! Distinguished names as text: RFC 2253 in the way of OpenSSL's `-nameopt RFC2253`, which nginx
//! (`$ssl_client_s_dn`) and Envoy use too. The last part comes first, parts of one set are joined by
//! `+`, and all of it is ASCII, so that it is the same text for every reader of a header.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::prelude::X509Name;
use x509_parser::x509::AttributeTypeAndValue;

/// What OpenSSL calls the types of attributes that names are made of.
const TYPES: [(&str, &str); 34] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.2.840.113549.1.9.8", "unstructuredAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

/// `CN=ada+UID=7,O=Engines\, Inc`
pub(super) fn distinguished(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|set| {
            let mut set: Vec<String> = set.iter().map(part).collect();
            set.reverse();
            set.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn part(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    let known = TYPES.iter().find(|(known, _)| *known == id);
    match (known, text(value)) {
        (Some((_, short)), Some(text)) => format!("{short}={}", escaped(&text)),
        (Some((_, short)), None) => format!("{short}={}", dumped(value)),
        (None, _) => format!("{id}={}", dumped(value)),
    }
}

/// `None` where it is no string, or not one of its kind.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::NumericString
        | Tag::PrintableString
        | Tag::TeletexString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::UtcTime
        | Tag::GeneralizedTime => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (units, []) = bytes.as_chunks() else {
                return None;
            };
            let units = units.iter().map(|pair| u16::from_be_bytes(*pair));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let (points, []) = bytes.as_chunks() else {
                return None;
            };
            let points = points.iter().map(|four| u32::from_be_bytes(*four));
            points.map(char::from_u32).collect()
        }
        _ => None,
    }
}

/// Nobody puts a second part, or a line of its own, into one that an authority has signed for them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let at_an_end = place == 0 || place == last;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b' ' if at_an_end => out.push_str("\\ "),
            b'#' if place == 0 => out.push_str("\\#"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _infallible = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

/// Its encoding in hexadecimal.
fn dumped(value: &Any<'_>) -> String {
    let der = value.to_der_vec().unwrap_or_default();
    let mut out = String::from("#");
    for byte in der {
        let _infallible = write!(out, "{byte:02X}");
    }
    out
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;
    use crate::model::tls::tests::tlv;

    const CN: &[u8] = &[6, 3, 85, 4, 3];
    const O: &[u8] = &[6, 3, 85, 4, 10];

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        tlv(0x30, &[kind, &tlv(tag, &[value])])
    }

    fn named(sets: &[&[Vec<u8>]]) -> String {
        let sets: Vec<Vec<u8>> = sets.iter().map(|set| tlv(0x31, &[&set.concat()])).collect();
        let der = tlv(0x30, &[&sets.concat()]);
        let (rest, name) = X509Name::from_der(&der).unwrap();
        assert!(rest.is_empty());
        distinguished(&name)
    }

    fn one(tag: u8, value: &[u8]) -> String {
        named(&[&[attribute(CN, tag, value)]])
    }

    #[test]
    fn the_last_part_comes_first_and_parts_of_one_set_are_told_apart() {
        let (a, b) = (attribute(CN, 12, b"a"), attribute(CN, 12, b"b"));
        let company = [attribute(O, 19, b"Engines")];
        assert_eq!(named(&[&company, &[a, b]]), "CN=b+CN=a,O=Engines");
        assert_eq!(named(&[&company, &company]), "O=Engines,O=Engines");
        assert_eq!(named(&[]), "");
    }

    #[test]
    fn nothing_in_a_value_ends_it() {
        assert_eq!(
            one(12, b" #a,b+c\"d\\e<f>g;h=i "),
            r#"CN=\ #a\,b\+c\"d\\e\<f\>g\;h=i\ "#
        );
        assert_eq!(one(12, b"#a #"), r"CN=\#a #");
        assert_eq!(one(12, b" "), r"CN=\ ");
        assert_eq!(one(12, b"a\r\nx: y\0\x7f"), r"CN=a\0D\0Ax: y\00\7F");
        assert_eq!(one(12, b""), "CN=");
    }

    #[test]
    fn strings_of_every_kind_become_the_same_text() {
        for (tag, value) in [
            (12, "L\u{f6}".as_bytes()),
            (20, b"L\xf6"),
            (30, b"\0L\0\xf6"),
            (28, b"\0\0\0L\0\0\0\xf6"),
        ] {
            assert_eq!(one(tag, value), r"CN=L\C3\B6", "{tag}");
        }
        assert_eq!(one(30, b"\x26\x65"), r"CN=\E2\99\A5");
    }

    #[test]
    fn what_is_no_string_or_of_no_known_type_is_given_as_it_is_encoded() {
        assert_eq!(one(4, b"ab"), "CN=#04026162");
        assert_eq!(one(30, b"\0L\0"), "CN=#1E03004C00", "half a character");
        let odd = attribute(&[6, 2, 0x2a, 3], 12, b"a");
        assert_eq!(named(&[&[odd]]), "1.2.3=#0C0161");
    }
}
