//! TLS compiled: keys loaded, certificates by the names that they are for.
//!
//! Not here: session tickets, whose keys are no part of a configuration (`proxy::tls`).

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sha2::{Digest, Sha256};

use crate::model::config::tls::{self as config, ClientAuth, ClientAuthMode, Version, Versions};
use crate::model::tls::{self, InvalidCertificate, cipher};

mod hosts;
mod upstream;

pub use crate::model::tls::usable_roots;
pub use hosts::{Choice, Hosts, take_choice};
pub use upstream::{ServerTls, UpstreamTls};

#[derive(Debug, thiserror::Error)]
pub enum InvalidTls {
    #[error("{file}: {fault}")]
    Certificate {
        file: String,
        fault: InvalidCertificate,
    },
    #[error("{file} cannot be used for client certificates: {why}")]
    Clients { file: String, why: String },
    #[error("{0:?} is not a name to ask for")]
    Name(String),
    #[error(transparent)]
    Settings(#[from] rustls::Error),
}

/// What the handshakes of a listener are done with.
#[derive(Debug)]
pub struct ListenerTls {
    /// Without a ticketer.
    pub server: ServerConfig,
    pub hosts: Arc<Hosts>,
    /// The same for settings under which a client would be let in for the same reasons: sessions
    /// are resumed within these alone.
    pub context: [u8; 32],
}

impl ListenerTls {
    pub fn build(settings: &config::ListenerTls) -> Result<Self, InvalidTls> {
        let hosts = Arc::new(Hosts::build(&settings.certificates)?);
        let provider = Arc::new(rustls::crypto::CryptoProvider {
            cipher_suites: cipher::chosen(&settings.ciphers),
            ..tls::provider()
        });
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(settings.versions))?;
        let builder = match &settings.client_auth {
            Some(auth) => builder.with_client_cert_verifier(verifier(auth, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::clone(&hosts) as Arc<_>);
        let protocols = settings.alpn.iter();
        server.alpn_protocols = protocols.map(|alpn| alpn.as_bytes().to_vec()).collect();
        server.ignore_client_order = true;
        // Sessions are in tickets alone: a worker remembers none.
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self {
            server,
            hosts,
            context: context(settings.client_auth.as_ref()),
        })
    }
}

fn versions(Versions { min, max }: Versions) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match (min, max) {
        (Version::V1_2, Version::V1_3) => &BOTH,
        (_, Version::V1_2) => BOTH.get(1..).unwrap_or_default(),
        (Version::V1_3, _) => BOTH.get(..1).unwrap_or_default(),
    }
}

fn verifier(
    auth: &ClientAuth,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, InvalidTls> {
    let fault = |why: String| InvalidTls::Clients {
        file: auth.ca_file.clone(),
        why,
    };
    let roots = tls::roots(&auth.ca).map_err(|error| fault(error.to_string()))?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let builder = match auth.mode {
        ClientAuthMode::Require => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| fault(error.to_string()))
}

/// A session that began where no certificate was asked for, or another authority was believed, must
/// not be resumed here.
fn context(auth: Option<&ClientAuth>) -> [u8; 32] {
    let mut hash = Sha256::new();
    if let Some(auth) = auth {
        hash.update([1 + auth.mode as u8]);
        for der in &auth.ca {
            hash.update((der.0.len() as u64).to_be_bytes());
            hash.update(&der.0);
        }
    }
    hash.finalize().into()
}
