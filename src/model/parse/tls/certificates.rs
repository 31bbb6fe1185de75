//! The files that `tls` names: certificates with their keys, stapled responses, authorities. Read once
//! each, and refused with the file and the cause where they cannot be used.
//!
//! Not here: what is done with them (`tls`), and whether a certificate is valid today (`load::dates`).

use std::collections::HashMap;

use crate::model::config::tls::{Authorities, Certificate, Der};
use crate::model::decode::{At, Reader, shortened};
use crate::model::parse::{Fault, Files};
use crate::model::raw::{RawCertificate, RawListenerTls};
use crate::model::tls::{self, InvalidCertificate, InvalidPem, Timed};
use crate::model::yaml::NodeId;

/// Read once, however many upstreams rely on them.
pub(super) fn system_authorities(
    at: NodeId,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<Authorities> {
    if files.system.is_none() {
        let read = (files.read)(tls::SYSTEM_AUTHORITIES);
        let found = read.and_then(|bytes| tls::certificates(&bytes).map_err(|e| e.to_string()));
        match found {
            Ok(found) => files.system = Some(found),
            Err(why) => {
                let message =
                    format!("the authorities that the system trusts cannot be read: {why}");
                let help = "install the package `ca-certificates`, name a file in SSL_CERT_FILE, or give the upstream a `ca`";
                reader.error(at, message, help);
                return None;
            }
        }
    }
    Some(Authorities::System)
}

pub(super) fn certificates(
    raw: &RawListenerTls<'_>,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<Vec<Certificate>> {
    let list = raw.certificates.as_ref()?;
    if reader.is_empty_list(list.at) {
        let help = "add one: `- {cert: tls.crt, key: tls.key}`";
        reader.error(list.at, "there is no certificate", help);
    }
    let all: Vec<Option<Certificate>> = list
        .value
        .iter()
        .map(|raw| {
            let RawCertificate {
                cert, key, ocsp, ..
            } = &raw.value;
            pair(*cert, *key, *ocsp, reader, files)
        })
        .collect();
    warn_of_twins(list, &all, reader);
    all.into_iter().collect()
}

/// A certificate and its key.
pub(super) fn pair(
    cert: Option<At<&str>>,
    key: Option<At<&str>>,
    ocsp_file: Option<At<&str>>,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<Certificate> {
    let (cert_file, key_file) = (cert, key);
    let chain = cert_file.and_then(|file| {
        let bytes = files.read(file, reader)?;
        let chain = tls::certificates(&bytes).and_then(tls::facts);
        reader.accept(file, chain.map_err(|e| in_file(file.value, &e)))
    });
    let key = key_file.and_then(|file| {
        let bytes = files.read(file, reader)?;
        reader.accept(
            file,
            tls::private_key(&bytes).map_err(|e| in_file(file.value, &e)),
        )
    });
    let ocsp = match ocsp_file {
        Some(file) => Some(ocsp(file, reader, files)?),
        None => None,
    };
    let (cert_file, key_file) = (cert_file?, key_file?);
    let ((facts, chain), key) = (chain?, key?);
    let certificate = Certificate {
        file: cert_file.value.to_owned(),
        key_file: key_file.value.to_owned(),
        facts,
        chain,
        key,
        ocsp,
    };
    let usable = tls::certified(&certificate);
    let at = match usable {
        Err(InvalidCertificate::Certificate(_)) => cert_file,
        _ => key_file,
    };
    reader.accept(at, usable.map_err(|e| unusable(&certificate, &e)))?;
    for (message, help) in tls::doubts(&certificate.chain) {
        reader.warn(
            cert_file.at,
            format!("{}: {message}", cert_file.value),
            help,
        );
    }
    let timed = Timed::Certificate(certificate.facts.clone());
    files.timed.push((cert_file.at, timed));
    if let Some(file) = ocsp_file {
        look_at_staple(file, &certificate, reader, files);
    }
    Some(certificate)
}

fn ocsp(file: At<&str>, reader: &mut Reader<'_>, files: &mut Files<'_, '_>) -> Option<Der> {
    let bytes = files.read(file, reader)?;
    let response = match tls::is_ocsp_response(&bytes) {
        true => Ok(Der(bytes)),
        false => Err(Fault::new(
            format!(
                "{}: it is no successful OCSP response",
                shortened(file.value)
            ),
            "write it with `openssl ocsp -respout FILE`, or leave the key out",
        )),
    };
    reader.accept(file, response)
}

/// It is sent as it is: clients that look at it refuse one that is of no use, others do not mind.
fn look_at_staple(
    file: At<&str>,
    certificate: &Certificate,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) {
    let response = certificate.ocsp.as_ref();
    match response.map(|response| tls::staple(response, &certificate.facts)) {
        Some(Ok(staple)) => files.timed.push((file.at, Timed::Staple(staple))),
        Some(Err((message, help))) => {
            reader.warn(
                file.at,
                format!("{}: {message}", shortened(file.value)),
                help,
            );
        }
        None => {}
    }
}

/// Two certificates for one host with keys of one kind: the second is never used for it.
fn warn_of_twins(
    list: &At<Vec<At<RawCertificate<'_>>>>,
    all: &[Option<Certificate>],
    reader: &mut Reader<'_>,
) {
    let mut first: HashMap<(&str, u8), u32> = HashMap::new();
    for (raw, certificate) in list.value.iter().zip(all) {
        let Some(certificate) = certificate else {
            continue;
        };
        let Ok(certified) = tls::certified(certificate) else {
            continue;
        };
        let kind = u8::from(certified.key.algorithm());
        let line = reader.tree.place(raw.at).line;
        for name in &certificate.facts.names {
            if let Some(first) = first.get(&(name.as_str(), kind)) {
                let message = format!("there is another certificate for `{name}` before this one");
                let help = format!("remove one; the first, on line {first}, is used");
                reader.warn(raw.at, message, help);
                break;
            }
            first.insert((name.as_str(), kind), line);
        }
    }
}

/// The certificates of a file, each of which can be a root of trust.
pub(super) fn authorities(
    file: At<&str>,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<Vec<Der>> {
    let bytes = files.read(file, reader)?;
    let read = tls::certificates(&bytes).map_err(|e| in_file(file.value, &e));
    let ca = reader.accept(file, read)?;
    let usable = tls::roots(&ca).map_err(|error| {
        let message = format!("{}: {error}", shortened(file.value));
        Fault::new(
            message,
            "keep certificates of authorities in it, and nothing else",
        )
    });
    reader.accept(file, usable)?;
    Some(ca)
}

impl Files<'_, '_> {
    fn read(&mut self, file: At<&str>, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
        let path = file.value.strip_prefix("file:").unwrap_or(file.value);
        let read = (self.read)(path).map_err(|why| {
            let message = format!("{} cannot be read: {why}", shortened(path));
            Fault::new(message, "name a file that sluice can read")
        });
        reader.accept(file, read)
    }
}

fn in_file(file: &str, invalid: &InvalidPem) -> Fault {
    let help = match invalid {
        InvalidPem::EncryptedKey => {
            "decrypt it: `openssl pkey -in FILE -out FILE`; nobody could type the password"
        }
        InvalidPem::KeyForCertificate | InvalidPem::CertificateForKey => {
            "`cert` takes the certificates, `key` the private key"
        }
        InvalidPem::LongChain(_) => "keep the certificate and those of its issuers",
        _ => "write it in PEM, from `-----BEGIN` to `-----END`",
    };
    Fault::new(format!("{}: {invalid}", shortened(file)), help)
}

fn unusable(certificate: &Certificate, invalid: &InvalidCertificate) -> Fault {
    let Certificate { file, key_file, .. } = certificate;
    match invalid {
        InvalidCertificate::KeyMismatch => Fault::new(
            format!("the key in {key_file} is not that of the certificate in {file}"),
            "put both from the same issue into place; the certificate itself comes first in its file",
        ),
        InvalidCertificate::Key(_) => Fault::new(
            format!("{key_file}: {invalid}"),
            "use a key of RSA with 2048 bits or more, of ECDSA on P-256 or P-384, or of Ed25519",
        ),
        InvalidCertificate::Certificate(_) => Fault::new(
            format!("{file}: {invalid}"),
            "have it issued as X.509 version 3",
        ),
    }
}
