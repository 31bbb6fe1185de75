//! What is known of a connection from its handshake: protocol, name, certificates of both sides.

use std::sync::Arc;

use rustls::{HandshakeKind, ProtocolVersion};

use super::TlsStream;
use crate::model::snapshot::tls::{Choice, Hosts};
use crate::model::template::TlsFacts;
use crate::model::tls::{self, cipher};
use crate::shm::series::Handshake;

#[derive(Debug)]
pub(in crate::proxy) struct Secured {
    version: &'static str,
    /// Its name in the registry.
    cipher: &'static str,
    pub(in crate::proxy) kind: Handshake,
    client: Option<tls::Identity>,
    choice: Option<Choice>,
    hosts: Arc<Hosts>,
}

impl Secured {
    pub(in crate::proxy) fn of(
        stream: &TlsStream,
        hosts: Arc<Hosts>,
        choice: Option<Choice>,
    ) -> Self {
        let common = stream.session().common();
        let suite = common.negotiated_cipher_suite();
        let shown = common.peer_certificates().and_then(<[_]>::first);
        Self {
            version: version(common.protocol_version()),
            cipher: suite.map_or("", |suite| cipher::name(suite.suite().into())),
            kind: match common.handshake_kind() {
                Some(HandshakeKind::Resumed) => Handshake::Resumed,
                _ => Handshake::Completed,
            },
            client: shown.map(|der| tls::identity(der)),
            choice,
            hosts,
        }
    }

    /// As logs and headers tell it.
    pub(in crate::proxy) fn facts(&self) -> TlsFacts<'_> {
        let name = self
            .choice
            .as_ref()
            .and_then(|choice| choice.name.as_deref());
        let client = self.client.as_ref();
        let of_client = |fact: fn(&tls::Identity) -> &str| client.map_or("", fact);
        TlsFacts {
            version: self.version,
            cipher: self.cipher,
            sni: name.unwrap_or_default(),
            client_subject: of_client(|client| &client.subject),
            client_san: of_client(|client| &client.san),
            client_fingerprint: of_client(|client| &client.fingerprint),
        }
    }

    /// Whether a request for this host belongs on another connection.
    pub(in crate::proxy) fn is_misdirected(&self, host: &str) -> bool {
        let choice = self.choice.as_ref();
        choice.is_some_and(|choice| self.hosts.is_misdirected(choice, host))
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}
