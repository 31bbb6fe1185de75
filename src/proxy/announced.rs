//! The PROXY protocol header in front of a connection from a trusted source: waited for within a
//! bound, and taken off the socket to its last byte and no further.
//!
//! Not here: what a header may look like (`model::proxy_protocol`).

use tokio::net::TcpStream;

use super::Proxy;
use super::error::Reason;
use super::peek::{Peeked, peek, take};
use crate::model::config::ProxyHeader;
use crate::model::proxy_protocol::{self, InvalidHeader, LONGEST, Parsed, Told};
use crate::model::snapshot::ProxyProtocol;

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    Header(Told),
    None,
    /// It has ended without a byte, as connections of a load balancer's health check do.
    Ended,
}

/// May be dropped at any time.
pub(super) async fn receive(
    proxy: &Proxy,
    tcp: &TcpStream,
    settings: &ProxyProtocol,
) -> Result<Greeting, Reason> {
    let mode = settings.mode;
    match peek(proxy, tcp, settings.timeout, LONGEST, decide).await {
        Peeked::Decided(Ok(Parsed::Header { told, length })) => {
            let taken = take(tcp, length);
            Ok(taken.map_or(Greeting::Ended, |()| Greeting::Header(told)))
        }
        Peeked::Decided(Ok(_)) => absent(mode),
        Peeked::Decided(Err(_)) => Err(Reason::ProxyHeaderMalformed),
        Peeked::Ended(0) => Ok(Greeting::Ended),
        Peeked::Ended(_) => cut_short(mode),
        Peeked::Late => late(mode),
    }
}

fn decide(bytes: &[u8]) -> Option<Result<Parsed, InvalidHeader>> {
    match proxy_protocol::parse(bytes) {
        Ok(Parsed::Incomplete) => None,
        decided => Some(decided),
    }
}

fn absent(mode: ProxyHeader) -> Result<Greeting, Reason> {
    match mode {
        ProxyHeader::Require => Err(Reason::ProxyHeaderMissing),
        ProxyHeader::Optional => Ok(Greeting::None),
    }
}

/// Where a header may be left out, it was perhaps the start of something else.
fn cut_short(mode: ProxyHeader) -> Result<Greeting, Reason> {
    match mode {
        ProxyHeader::Require => Err(Reason::ProxyHeaderMalformed),
        ProxyHeader::Optional => Ok(Greeting::None),
    }
}

/// A sender has its header ready: where one may be left out, a client that is late has none.
fn late(mode: ProxyHeader) -> Result<Greeting, Reason> {
    match mode {
        ProxyHeader::Require => Err(Reason::ProxyHeaderTimeout),
        ProxyHeader::Optional => Ok(Greeting::None),
    }
}
