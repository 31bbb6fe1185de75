//! `tls`: what is spoken at a listener and with an upstream, and everything refused that no handshake
//! could be done with.
//!
//! Not here: the files that it names (`certificates`).

use std::time::Duration;

use certificates::{authorities, certificates, pair, system_authorities};

use super::{Fault, Files, protocol};
use crate::model::config::tls::{
    Alpn, Authorities, Cipher, ClientAuth, ListenerTls, SessionTickets, UpstreamTls, Verify,
    Version, Versions,
};
use crate::model::config::{Hsts, RedirectHttps, Scheme, Target};
use crate::model::decode::{At, Reader, nearest, shortened};
use crate::model::raw::{
    self, RawClientAuth, RawHsts, RawListener, RawListenerTls, RawSessionTickets, RawUpstream,
    RawUpstreamTls,
};
use crate::model::tls::cipher;
use crate::model::yaml::NodeId;

mod certificates;

/// What the lists of browsers ask for.
const PRELOAD_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What a listener offers that is not told.
const USUAL_ALPN: [Alpn; 2] = [Alpn::H2, Alpn::Http11];

pub(super) fn listener(
    raw: &At<RawListenerTls<'_>>,
    protocol: raw::Protocol,
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
        None => match protocol {
            raw::Protocol::Http => USUAL_ALPN.to_vec(),
            // What is spoken inside is the upstream's to say.
            raw::Protocol::Tcp => Vec::new(),
        },
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
    let alpn = protocol::alpn(&raw.value, reader);
    upstream_tls(&settings, alpn, at, reader, files).map(Some)
}

fn upstream_tls(
    raw: &RawUpstreamTls<'_>,
    alpn: Vec<Alpn>,
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
