//! Whether what stands behind a certificate leads from it to somebody whom clients know: as far as
//! the file tells. It cannot tell whom clients know, so what looks wrong is a doubt, not a fault.

use x509_parser::prelude::X509Certificate;

use super::facts::parse;
use super::name::distinguished;
use crate::model::config::tls::Der;

/// What is odd about a chain, in words, each with a cure.
pub fn doubts(chain: &[Der]) -> Vec<(String, &'static str)> {
    let read: Vec<_> = chain.iter().filter_map(|der| parse(der).ok()).collect();
    let mut doubts = Vec::new();
    for pair in read.windows(2) {
        if let [below, above] = pair
            && below.issuer() != above.subject()
        {
            let message = format!(
                "the chain is broken: `{}` was issued by `{}`, and `{}` follows it",
                distinguished(below.subject()),
                distinguished(below.issuer()),
                distinguished(above.subject())
            );
            doubts.push((
                message,
                "put each certificate behind the one that it has issued",
            ));
        }
    }
    if let [only] = read.as_slice()
        && only.subject() != only.issuer()
    {
        let message = format!(
            "the chain ends with its first certificate, and its issuer `{}` is not in the file",
            distinguished(only.issuer())
        );
        doubts.push((
            message,
            "append the intermediate certificates; only an issuer whom clients know as a root may be left out",
        ));
    }
    doubts.extend(read.iter().skip(1).filter_map(not_a_ca));
    doubts
}

fn not_a_ca(certificate: &X509Certificate<'_>) -> Option<(String, &'static str)> {
    let message = format!(
        "`{}` stands in the chain as an issuer and may not issue",
        distinguished(certificate.subject())
    );
    (!certificate.is_ca()).then_some((
        message,
        "keep one certificate and those of its issuers in the file",
    ))
}
