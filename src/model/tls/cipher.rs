//! The cipher suites by their names: those of the registry, and OpenSSL's.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::ALL_CIPHER_SUITES;

use crate::model::config::tls::{Cipher, Version};

/// In the order in which they are preferred: number on the wire, name in the registry, OpenSSL's.
///
/// AES-128 first, as browsers have it: nobody breaks either, and its hash is SHA-256, which processors
/// have instructions for. A handshake hashes a lot: SHA-384, which they have none for, takes a seventh of its time.
pub const ALL: [(u16, &str, &str); 9] = [
    (0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    (
        0x1303,
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    (
        0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    (
        0xc02c,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    (
        0xcca9,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    (
        0xc02f,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    (
        0xc030,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        0xcca8,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

/// By either name, whatever its case.
pub fn find(name: &str) -> Option<Cipher> {
    let is = |(_, registry, openssl): &&(u16, &str, &str)| {
        name.eq_ignore_ascii_case(registry) || name.eq_ignore_ascii_case(openssl)
    };
    ALL.iter().find(is).map(|(number, ..)| Cipher(*number))
}

/// The name in the registry.
pub fn name(number: u16) -> &'static str {
    let known = ALL.iter().find(|(known, ..)| *known == number);
    known.map_or("unknown", |(_, name, _)| *name)
}

impl Cipher {
    pub fn version(self) -> Version {
        match self.0 >> 8 {
            0x13 => Version::V1_3,
            _ => Version::V1_2,
        }
    }
}

/// Those to use: where a version has some in the list, these in its order, else all of it.
pub fn chosen(ciphers: &[Cipher]) -> Vec<SupportedCipherSuite> {
    let suite = |number: u16| {
        let mut all = ALL_CIPHER_SUITES.iter().copied();
        all.find(|suite| u16::from(suite.suite()) == number)
    };
    let all = |version: Version| {
        let usual = ALL.iter().map(|(number, ..)| Cipher(*number));
        usual.filter(move |cipher| cipher.version() == version)
    };
    let of = |version: Version| -> Vec<Cipher> {
        let listed = ciphers.iter().copied();
        let listed: Vec<_> = listed
            .filter(|cipher| cipher.version() == version)
            .collect();
        match listed.is_empty() {
            true => all(version).collect(),
            false => listed,
        }
    };
    let both = of(Version::V1_3).into_iter().chain(of(Version::V1_2));
    both.filter_map(|cipher| suite(cipher.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_library() {
        let mut library: Vec<u16> = ALL_CIPHER_SUITES
            .iter()
            .map(|suite| suite.suite().into())
            .collect();
        let mut ours: Vec<u16> = ALL.iter().map(|(number, ..)| *number).collect();
        assert_eq!(chosen(&[]).len(), ALL.len());
        ours.sort_unstable();
        library.sort_unstable();
        assert_eq!(ours, library);
    }

    #[test]
    fn of_two_the_one_with_the_shorter_hash_comes_first() {
        for start in [
            "TLS_AES_",
            "TLS_ECDHE_ECDSA_WITH_AES_",
            "TLS_ECDHE_RSA_WITH_AES_",
        ] {
            let mut names = ALL.iter().map(|(_, name, _)| *name);
            let first = names.find(|name| name.starts_with(start)).unwrap();
            assert!(first.ends_with("SHA256"), "{first}");
        }
    }

    #[test]
    fn a_list_speaks_for_its_version_alone() {
        let one = find("ecdhe-rsa-aes128-gcm-sha256").unwrap();
        let numbers = |ciphers: &[Cipher]| -> Vec<u16> {
            let chosen = chosen(ciphers);
            chosen.iter().map(|suite| suite.suite().into()).collect()
        };
        assert_eq!(numbers(&[one]), [0x1301, 0x1302, 0x1303, 0xc02f]);
        let two = [find("TLS_CHACHA20_POLY1305_SHA256").unwrap(), one];
        assert_eq!(numbers(&two), [0x1303, 0xc02f]);
        assert_eq!(name(0xc02f), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(find("RC4-SHA"), None);
    }
}
