//! TLS to servers: what connections and sessions are shared within, and the handshake.
//!
//! Not here: who is believed (`model::snapshot::tls`), and how long it may take (`connect`).

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::endpoint::Endpoint;
use crate::model::config::tls::Alpn;
use crate::model::snapshot::tls::ServerTls;
use crate::proxy::stream::Stream;
use crate::proxy::timers::{Alarm, Tick};
use crate::proxy::tls::{Session, TlsStream};

/// A server that cannot be spoken to is logged so often.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// The settings of one name: as long as they stay the same, so does this, with the sessions that it
/// remembers; and connections that were made with others are no use.
pub(in crate::proxy) struct ClientTls {
    config: Arc<ClientConfig>,
    /// What is spoken over connections that are made with it.
    pub(in crate::proxy) speech: Speech,
    /// The same without HTTP/2, where `config` offers both.
    plain: Option<Arc<ClientConfig>>,
    /// The same without a word of protocols, once it is asked for.
    bare: OnceCell<Arc<ClientConfig>>,
    name: ServerName<'static>,
    identity: [u8; 32],
    complained: Cell<Option<Tick>>,
}

/// What may be spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Speech {
    Http1,
    Http2,
    /// What it agrees to.
    Either,
}

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Purpose {
    /// Whatever the server agrees to.
    Any,
    /// A change to a protocol that takes a connection of HTTP/1.1.
    Upgrade,
    /// To pass bytes on: it is not known what they mean.
    Bytes,
}

/// Those that a generation uses.
#[derive(Default)]
pub(in crate::proxy) struct Registry(RefCell<HashMap<Identity, Weak<ClientTls>>>);

type Identity = ([u8; 32], ServerName<'static>);

impl Registry {
    pub(in crate::proxy) fn find(&self, tls: &ServerTls) -> Rc<ClientTls> {
        let mut known = self.0.borrow_mut();
        let identity = (tls.identity, tls.name.clone());
        if let Some(found) = known.get(&identity).and_then(Weak::upgrade) {
            return found;
        }
        known.retain(|_, one| one.strong_count() > 0);
        let made = Rc::new(ClientTls {
            config: Arc::clone(&tls.client),
            speech: Speech::of(&tls.client),
            plain: plain(&tls.client),
            bare: OnceCell::new(),
            name: tls.name.clone(),
            identity: tls.identity,
            complained: Cell::new(None),
        });
        known.insert(identity, Rc::downgrade(&made));
        made
    }
}

impl ClientTls {
    /// May be dropped at any time.
    pub(super) async fn shake(&self, tcp: TcpStream, purpose: Purpose) -> io::Result<Stream> {
        let config = match purpose {
            Purpose::Any => &self.config,
            Purpose::Upgrade => self.plain.as_ref().unwrap_or(&self.config),
            Purpose::Bytes => self.bare.get_or_init(|| bare(&self.config)),
        };
        let session = Session::client(Arc::clone(config), self.name.clone());
        // Fails on a dead socket only, which the first write reports.
        let _ = tcp.set_nodelay(true);
        let mut stream = Box::new(TlsStream::new(tcp, session.map_err(io::Error::other)?));
        stream.begin().map_err(io::Error::other)?;
        poll_fn(|cx| stream.poll_handshake(cx, &mut || {})).await?;
        let stream = Stream::Tls(stream);
        let is_http2 = self.speech == Speech::Http2 && purpose != Purpose::Bytes;
        if is_http2 && !stream.speaks_http2() {
            return Err(io::Error::other("the server does not agree to HTTP/2"));
        }
        Ok(stream)
    }

    /// Says in the log why there is no connection.
    pub(super) fn complain(&self, endpoint: &Endpoint, why: &io::Error, alarm: &Alarm) {
        let now = alarm.about_now();
        let recent = self
            .complained
            .get()
            .is_some_and(|last| last.after(COMPLAINTS) > now);
        if recent {
            return;
        }
        self.complained.set(Some(now));
        let (address, name) = (&endpoint.address, self.name.to_str());
        tracing::warn!(%address, %name, error = %why, "no TLS with a server");
    }
}

impl Speech {
    fn of(config: &ClientConfig) -> Self {
        let has = |alpn: Alpn| {
            let mut offered = config.alpn_protocols.iter();
            offered.any(|one| one == alpn.as_bytes())
        };
        match (has(Alpn::H2), has(Alpn::Http11)) {
            (true, true) => Self::Either,
            (true, false) => Self::Http2,
            (false, _) => Self::Http1,
        }
    }
}

fn plain(config: &ClientConfig) -> Option<Arc<ClientConfig>> {
    if Speech::of(config) != Speech::Either {
        return None;
    }
    let mut plain = config.clone();
    plain.alpn_protocols = vec![Alpn::Http11.as_bytes().to_vec()];
    Some(Arc::new(plain))
}

fn bare(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut bare = config.clone();
    bare.alpn_protocols = Vec::new();
    Arc::new(bare)
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.name == other.name
    }
}

impl Eq for ClientTls {}

impl Hash for ClientTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
        self.name.hash(state);
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientTls({})", self.name.to_str())
    }
}
