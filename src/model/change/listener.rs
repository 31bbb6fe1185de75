//! What differs between the listeners of two configurations. One that stays at its address is the same
//! one, whatever else is said of it.

use super::{Change, differing};
use crate::model::config::tls::ListenerTls;
use crate::model::config::{Config, Listener};

pub(super) fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let at = |config: &'_ Config, address| {
        let mut all = config.listeners.iter();
        all.find(|listener| listener.address == address).cloned()
    };
    let gone = old
        .listeners
        .iter()
        .filter(|l| at(new, l.address).is_none());
    let gone = gone.map(|listener| Change::ListenerRemoved {
        address: listener.address.to_string(),
    });
    let others = new.listeners.iter().filter_map(|listener| {
        let address = listener.address.to_string();
        match at(old, listener.address) {
            None => Some(Change::ListenerAdded { address }),
            Some(before) => {
                let parts = parts(&before, listener);
                (!parts.is_empty()).then_some(Change::ListenerChanged { address, parts })
            }
        }
    });
    gone.chain(others).collect()
}

fn parts(old: &Listener, new: &Listener) -> Vec<&'static str> {
    // Taken apart in full, so that a part that is added has to be named here too.
    let Listener {
        address: _,
        proxy_protocol,
        tls,
        redirect_https,
        hsts,
        protocol,
    } = old;
    let targets = protocol.tcp().zip(new.protocol.tcp());
    let both = tls.as_ref().zip(new.tls.as_ref());
    let rest = |tls: &ListenerTls| ListenerTls {
        certificates: Vec::new(),
        ..tls.clone()
    };
    let certificates = both.is_some_and(|(old, new)| old.certificates != new.certificates);
    let settings = match both {
        Some((old, new)) => rest(old) != rest(new),
        None => tls.is_some() != new.tls.is_some(),
    };
    differing([
        ("proxyProtocol", *proxy_protocol != new.proxy_protocol),
        ("tls.certificates", certificates),
        ("tls", settings),
        ("redirectHttps", *redirect_https != new.redirect_https),
        ("hsts", *hsts != new.hsts),
        (
            "protocol",
            protocol.tcp().is_some() != new.protocol.tcp().is_some(),
        ),
        (
            "upstream",
            targets.is_some_and(|(old, new)| old.upstream != new.upstream),
        ),
        (
            "routes",
            targets.is_some_and(|(old, new)| old.routes != new.routes),
        ),
    ])
}
