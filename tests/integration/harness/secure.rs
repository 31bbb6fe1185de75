//! A client that speaks TLS, and says what it was shown.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::certificates::Issued;
use super::wait::DEADLINE;

/// Whom it believes, and what it remembers of sessions.
#[derive(Clone)]
pub(crate) struct Secure(Arc<ClientConfig>);

/// One connection.
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Secure {
    pub(crate) fn trusting(ca: &str) -> Secure {
        Secure::showing(ca, None)
    }

    /// With a certificate of its own.
    pub(crate) fn showing(ca: &str, own: Option<&Issued>) -> Secure {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from(own.der.clone())];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Secure(Arc::new(config))
    }

    /// The same, with protocols to choose from by ALPN.
    pub(crate) fn offering(&self, protocols: &[&str]) -> Secure {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = protocols
            .iter()
            .map(|one| one.as_bytes().to_vec())
            .collect();
        Secure(Arc::new(config))
    }

    /// Connects as to this name, and shakes hands.
    pub(crate) fn try_connect(&self, address: SocketAddr, name: &str) -> io::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&address, DEADLINE)?;
        tcp.set_read_timeout(Some(DEADLINE))?;
        tcp.set_write_timeout(Some(DEADLINE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Connection { stream })
    }

    /// What a client says first.
    pub(crate) fn hello(&self, name: &str) -> Vec<u8> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[track_caller]
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> Connection {
        self.try_connect(address, name)
            .unwrap_or_else(|error| panic!("no connection to {name}: {error}"))
    }
}

impl Connection {
    /// The certificate that it was shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Announces the end of what it sends, and goes on reading.
    #[track_caller]
    pub(crate) fn finish_sending(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
    }

    /// Sends bytes that are no record of this connection.
    #[track_caller]
    pub(crate) fn send_unsealed(&mut self, bytes: &[u8]) {
        self.stream.sock.write_all(bytes).unwrap();
    }

    /// To the announced end; an error where it was not.
    pub(crate) fn rest(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        self.stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sends a request that asks to close, and reads to the announced end.
    pub(crate) fn try_last_get(&mut self, host: &str) -> io::Result<String> {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        let mut text = Vec::new();
        // An end that was not announced is an error.
        self.stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    pub(crate) fn last_get(&mut self, host: &str) -> String {
        self.try_last_get(host)
            .unwrap_or_else(|error| panic!("no whole answer: {error}"))
    }
}
