//! What TLS is spoken with to the servers of an upstream.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use super::{InvalidTls, versions};
use crate::model::config::tls::{self as config, Authorities, Verify};
use crate::model::config::{Scheme, Server, ServerHost};
use crate::model::tls;

/// What the servers of one upstream have in common.
#[derive(Debug)]
pub struct UpstreamTls {
    client: Arc<ClientConfig>,
    identity: [u8; 32],
}

/// What TLS is spoken with to one server.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub client: Arc<ClientConfig>,
    /// Of the settings: with the same ones, connections and sessions may be shared.
    pub identity: [u8; 32],
    /// Whom it has to be.
    pub name: ServerName<'static>,
}

impl UpstreamTls {
    pub fn build(
        settings: &config::UpstreamTls,
        system: &Arc<RootCertStore>,
    ) -> Result<Self, InvalidTls> {
        let provider = Arc::new(tls::provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(settings.versions))?;
        let builder = match (settings.verify, &settings.ca) {
            (Verify::No, _) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            (Verify::Yes, Authorities::System) => {
                builder.with_root_certificates(Arc::clone(system))
            }
            (Verify::Yes, Authorities::Own { file, certificates }) => {
                builder.with_root_certificates(own(file, certificates)?)
            }
        };
        let mut client = match &settings.client {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let chain = shown.chain.iter().map(config::Der::certificate).collect();
                builder.with_client_auth_cert(chain, shown.key.der())?
            }
        };
        let protocols = settings.alpn.iter();
        client.alpn_protocols = protocols.map(|alpn| alpn.as_bytes().to_vec()).collect();
        Ok(Self {
            client: Arc::new(client),
            identity: identity(settings, system),
        })
    }

    /// The same for checks: each is a handshake of its own, so that a certificate that has expired
    /// since is not overlooked. A protocol that has to be spoken is the only one offered.
    pub fn for_checks(&self, needed: Option<config::Alpn>) -> Self {
        let mut client = ClientConfig::clone(&self.client);
        client.resumption = Resumption::disabled();
        if let Some(alpn) = needed {
            client.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        }
        Self {
            client: Arc::new(client),
            identity: self.identity,
        }
    }

    /// `None` where a server is spoken to by http.
    pub fn of(
        &self,
        server: &Server,
        settings: &config::UpstreamTls,
    ) -> Result<Option<ServerTls>, InvalidTls> {
        if server.scheme == Scheme::Http {
            return Ok(None);
        }
        let name = match (&settings.server_name, &server.host) {
            (Some(name), _) | (None, ServerHost::Name(name) | ServerHost::Service(name)) => {
                ServerName::try_from(name.clone()).map_err(|_| InvalidTls::Name(name.clone()))?
            }
            (None, ServerHost::Ip(ip)) => ServerName::from(*ip),
            (None, ServerHost::Unix(path)) => return Err(InvalidTls::Name(path.clone())),
        };
        Ok(Some(ServerTls {
            client: Arc::clone(&self.client),
            identity: self.identity,
            name,
        }))
    }
}

/// By what it was made of: the rest follows from that.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.name == other.name
    }
}

impl Eq for ServerTls {}

fn own(file: &str, certificates: &[config::Der]) -> Result<Arc<RootCertStore>, InvalidTls> {
    tls::roots(certificates).map_err(|fault| InvalidTls::Certificate {
        file: file.to_owned(),
        fault,
    })
}

fn identity(settings: &config::UpstreamTls, system: &RootCertStore) -> [u8; 32] {
    let mut hash = Sha256::new();
    // It has come through this format, so it goes into it.
    hash.update(postcard::to_stdvec(settings).unwrap_or_default());
    if settings.ca == Authorities::System && settings.verify == Verify::Yes {
        for root in &system.roots {
            hash.update(&root.subject_public_key_info);
        }
    }
    hash.finalize().into()
}

/// Takes every certificate whose key the server has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
