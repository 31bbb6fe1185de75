use rcgen::{CertificateParams, KeyPair};

pub(crate) use super::staple::tests::until as response_until;
use super::*;
use crate::model::secret::SecretBytes;

/// Signed by itself, for these hosts.
pub(crate) fn certificate(names: &[&str]) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    let signed = params.self_signed(&key).unwrap();
    let (facts, chain) = facts(vec![Der(signed.der().to_vec())]).unwrap();
    Certificate {
        file: "tls.crt".to_owned(),
        key_file: "tls.key".to_owned(),
        facts,
        chain,
        key: Key {
            form: KeyForm::Pkcs8,
            der: SecretBytes::new(key.serialize_der()),
        },
        ocsp: None,
    }
}

/// An element of ASN.1, of at most 255 bytes.
pub(super) fn tlv(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = u8::try_from(contents.len()).unwrap();
    let head: &[u8] = match length {
        0..=127 => &[tag, length],
        _ => &[tag, 0x81, length],
    };
    [head, &contents].concat()
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (mut one, other) = (certificate(&["a.test"]), certificate(&["a.test"]));
    assert!(certified(&one).is_ok());
    one.key = other.key;
    assert_eq!(
        certified(&one).unwrap_err(),
        InvalidCertificate::KeyMismatch
    );
}

#[test]
fn what_a_certificate_says_is_read() {
    let one = certificate(&["A.test", "*.b.test"]);
    assert_eq!(one.facts.names, ["a.test", "*.b.test"]);
    assert!(one.facts.covers("x.b.test") && !one.facts.covers("b.test"));
    assert_eq!(one.facts.subject, "CN=rcgen self signed cert");
    assert_eq!(one.facts.issuer, one.facts.subject);
    assert_eq!(one.facts.fingerprint.len(), 64);
    assert!(one.facts.not_before < one.facts.not_after);
}

#[test]
fn a_file_that_is_something_else_says_what() {
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let locked = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert_eq!(
        certificates(key.as_bytes()),
        Err(InvalidPem::KeyForCertificate)
    );
    assert_eq!(
        private_key(cert.as_bytes()),
        Err(InvalidPem::CertificateForKey)
    );
    assert_eq!(
        private_key(locked.as_bytes()),
        Err(InvalidPem::EncryptedKey)
    );
    assert_eq!(certificates(b""), Err(InvalidPem::NoCertificate));
    assert_eq!(private_key(b"hello"), Err(InvalidPem::NoKey));
    let cut = certificates(b"-----BEGIN CERTIFICATE-----\nAAAA");
    assert!(matches!(cut, Err(InvalidPem::Syntax(_))), "{cut:?}");
    let garbage = facts(certificates(cert.as_bytes()).unwrap());
    assert!(matches!(
        garbage,
        Err(InvalidPem::Certificate { place: 1, .. })
    ));
}

#[test]
fn only_a_successful_response_is_stapled() {
    // OCSPResponse { successful, [0] { SEQUENCE {} } }
    assert!(is_ocsp_response(&[0x30, 7, 0x0a, 1, 0, 0xa0, 2, 0x30, 0]));
    assert!(!is_ocsp_response(&[0x30, 3, 0x0a, 1, 6]), "unauthorized");
    assert!(!is_ocsp_response(b"hello"));
    assert!(!is_ocsp_response(b""));
}

#[test]
fn arbitrary_bytes_are_an_error_not_a_panic() {
    let certificate = certificate(&["a.test"]);
    proptest::proptest!(|(bytes: Vec<u8>)| {
        let _either = certificates(&bytes);
        let _either = private_key(&bytes);
        let _either = facts(vec![Der(bytes.clone())]);
        let _either = is_ocsp_response(&bytes);
        let _either = staple(&Der(bytes.clone()), &certificate.facts);
        let _any = identity(&bytes);
    });
}
