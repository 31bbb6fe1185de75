//! `tls`: certificates and keys read from their files, and everything refused that no handshake
//! could be done with.
//!
//! Not here: whether a certificate is valid today (`load::dates`).

use std::collections::HashMap;
use std::time::Duration;

use super::{Fault, Files};
use crate::model::config::tls::{
    Alpn, Authorities, Certificate, Cipher, ClientAuth, Der, ListenerTls, SessionTickets,
    UpstreamTls, Verify, Version, Versions,
};
use crate::model::config::{Hsts, RedirectHttps, Scheme, Target};
use crate::model::decode::{At, Reader, nearest, shortened};
use crate::model::raw::{
    RawCertificate, RawClientAuth, RawHsts, RawListener, RawListenerTls, RawSessionTickets,
    RawUpstream, RawUpstreamTls,
};
use crate::model::tls::{self, InvalidCertificate, InvalidPem, cipher};
use crate::model::yaml::NodeId;

/// What the lists of browsers ask for.
const PRELOAD_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What a listener offers that is not told.
const USUAL_ALPN: [Alpn; 2] = [Alpn::H2, Alpn::Http11];
/// What an upstream is offered.
const UPSTREAM_ALPN: [Alpn; 1] = [Alpn::Http11];

pub(super) fn listener(
    raw: &At<RawListenerTls<'_>>,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<ListenerTls> {
    let certificates = certificates(&raw.value, reader, files);
    let bounds = (raw.value.min_version, raw.value.max_version);
    let versions = versions(
        raw.value.min_version(),
        raw.value.max_version(),
        bounds,
        reader,
    );
    let ciphers = ciphers(&raw.value, reader);
    let client_auth = match &raw.value.client_auth {
        Some(section) => Some(client_auth(&section.value, reader, files)?),
        None => None,
    };
    let alpn = match &raw.value.alpn {
        Some(list) => list.value.iter().map(|at| at.value).collect(),
        None => USUAL_ALPN.to_vec(),
    };
    Some(ListenerTls {
        certificates: certificates?,
        versions: versions?,
        ciphers,
        client_auth,
        alpn,
    })
}

pub(super) fn redirect_https(
    raw: &RawListener<'_>,
    reader: &mut Reader<'_>,
) -> Option<RedirectHttps> {
    let at = raw.redirect_https.as_ref()?;
    let section = at.value.0.as_ref()?;
    if raw.tls.is_some() {
        let message = "a listener with `tls` is asked by https only";
        reader.error(
            at.at,
            message,
            "put `redirectHttps` at the listener for plain HTTP",
        );
    }
    let code = section.code().0;
    if !matches!(code, 301 | 302 | 307 | 308) {
        let at = section.code.map_or(at.at, |code| code.at);
        reader.error(
            at,
            format!("{code} is no redirect to follow"),
            "write 301, 302, 307 or 308",
        );
    }
    Some(RedirectHttps {
        port: u16::try_from(section.port().0).ok()?,
        code: u16::try_from(code).ok()?,
    })
}

pub(super) fn hsts(raw: &At<RawHsts<'_>>, reader: &mut Reader<'_>) -> Hsts {
    let hsts = Hsts {
        max_age: raw.value.max_age().0,
        include_subdomains: raw.value.include_sub_domains(),
        preload: raw.value.preload(),
    };
    let enough = hsts.include_subdomains && hsts.max_age >= PRELOAD_AGE;
    if hsts.preload && !enough {
        let message =
            "`preload` has no effect without `includeSubDomains: true` and a `maxAge` of a year";
        reader.warn(raw.at, message, "add both, or remove `preload`");
    }
    hsts
}

pub(super) fn session_tickets(raw: &RawSessionTickets<'_>) -> SessionTickets {
    SessionTickets {
        mode: raw.mode(),
        rotation: raw.rotation(),
    }
}

/// What TLS is spoken with to the servers of an upstream that want it: inner `None` where none does.
pub(super) fn upstream(
    raw: &At<RawUpstream<'_>>,
    target: &Target,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<Option<UpstreamTls>> {
    let servers = match target {
        Target::Echo => &[][..],
        Target::Servers(servers) => servers,
    };
    let wanted = servers.iter().any(|server| server.scheme == Scheme::Https);
    let section = raw.value.tls.as_ref();
    if let (Some(section), false) = (section, wanted) {
        let help = "write `https://` before the host, or remove `tls`";
        reader.error(
            section.at,
            "no server of the upstream is spoken to by https",
            help,
        );
    }
    if !wanted {
        return Some(None);
    }
    let at = section.map_or(raw.at, |section| section.at);
    let settings = section
        .map(|section| section.value.clone())
        .unwrap_or_default();
    upstream_tls(&settings, at, reader, files).map(Some)
}

fn upstream_tls(
    raw: &RawUpstreamTls<'_>,
    at: NodeId,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<UpstreamTls> {
    let server_name = match raw.server_name {
        Some(name) => Some(reader.accept(name, server_name(name.value))?),
        None => None,
    };
    let verify = verify(raw, reader);
    let ca = match raw.ca {
        Some(file) => Authorities::Own {
            file: file.value.to_owned(),
            certificates: authorities(file, reader, files)?,
        },
        None if verify == Verify::Yes => system_authorities(at, reader, files)?,
        None => Authorities::System,
    };
    let client = match (raw.client_cert, raw.client_key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(pair(Some(cert), Some(key), None, reader, files)?),
        (cert, key) => {
            let at = cert.or(key).map_or(at, |one| one.at);
            let help = "write both `clientCert` and `clientKey`, or none of them";
            reader.error(at, "one of a certificate and its key is missing", help);
            return None;
        }
    };
    let alpn = match &raw.alpn {
        Some(list) => list.value.iter().map(|at| at.value).collect(),
        None => UPSTREAM_ALPN.to_vec(),
    };
    let not_spoken = raw.alpn.iter().flat_map(|list| &list.value);
    for at in not_spoken.filter(|at| at.value == Alpn::H2) {
        reader.error(
            at.at,
            "HTTP/2 is not spoken to upstreams",
            "write `http/1.1`",
        );
    }
    let bounds = (raw.min_version, raw.max_version);
    Some(UpstreamTls {
        server_name,
        verify,
        ca,
        client,
        versions: versions(raw.min_version(), raw.max_version(), bounds, reader)?,
        alpn,
    })
}

fn server_name(text: &str) -> Result<String, Fault> {
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(_) => Err(Fault::new(
            format!("`{}` is not a name of a server", shortened(text)),
            "write a host name, or an IP address",
        )),
    }
}

fn verify(raw: &RawUpstreamTls<'_>, reader: &mut Reader<'_>) -> Verify {
    if raw.verify() {
        return Verify::Yes;
    }
    if let Some(At { at, .. }) = raw.verify {
        let message = "the server's certificate is not verified: anybody in between can read and \
                       change everything";
        let help = "name its authority under `ca`, and remove `verify: false`";
        reader.warn(at, message, help);
    }
    Verify::No
}

/// Read once, however many upstreams rely on them.
fn system_authorities(
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

fn certificates(
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
fn pair(
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
    files.dated.push((cert_file.at, certificate.facts.clone()));
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

fn versions(
    min: Version,
    max: Version,
    written: (Option<At<Version>>, Option<At<Version>>),
    reader: &mut Reader<'_>,
) -> Option<Versions> {
    if min > max {
        let at = written.1.or(written.0)?.at;
        let help = "swap them, or leave one out";
        reader.error(at, "`maxVersion` is older than `minVersion`", help);
        return None;
    }
    Some(Versions { min, max })
}

fn ciphers(raw: &RawListenerTls<'_>, reader: &mut Reader<'_>) -> Vec<Cipher> {
    let listed = raw.ciphers.iter().flat_map(|list| &list.value);
    let ciphers: Vec<Cipher> = listed
        .filter_map(|name| reader.accept(*name, known_cipher(name.value)))
        .collect();
    if let Some(list) = &raw.ciphers {
        let spoken =
            |version: Version| raw.min_version() <= version && version <= raw.max_version();
        if !ciphers.is_empty() && !ciphers.iter().any(|cipher| spoken(cipher.version())) {
            let message = "none of these is of a version of TLS that is spoken here";
            reader.warn(list.at, message, "list some of it, or remove the key");
        }
    }
    ciphers
}

fn known_cipher(name: &str) -> Result<Cipher, Fault> {
    cipher::find(name).ok_or_else(|| {
        let names = || cipher::ALL.iter().map(|(_, registry, _)| *registry);
        let openssl = || cipher::ALL.iter().map(|(_, _, openssl)| *openssl);
        let upper = name.to_ascii_uppercase();
        let help = match nearest(&upper, names().chain(openssl())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", names().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("`{}` is not a cipher suite that is spoken", shortened(name));
        Fault::new(message, help)
    })
}

fn client_auth(
    raw: &RawClientAuth<'_>,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Option<ClientAuth> {
    let file = raw.ca?;
    Some(ClientAuth {
        ca_file: file.value.to_owned(),
        ca: authorities(file, reader, files)?,
        mode: raw.mode(),
    })
}

/// The certificates of a file, each of which can be a root of trust.
fn authorities(
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
