//! `listen`: where connections are accepted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::upstream::Upstreams;
use super::{Fault, Files, networks, tcp, tls};
use crate::model::config::{Listener, Protocol, ProxyProtocol};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{RawListener, RawServer};
use crate::model::yaml::NodeId;

/// Where `listen` is left out.
pub(super) const DEFAULT_PORT: u16 = 8080;

/// Each with where its address stands.
pub(super) fn listeners(
    server: &At<RawServer<'_>>,
    upstreams: &Upstreams<'_>,
    reader: &mut Reader<'_>,
    files: &mut Files<'_, '_>,
) -> Vec<(NodeId, Listener)> {
    let Some(listen) = &server.value.listen else {
        let listener = Listener {
            address: on_all(DEFAULT_PORT),
            proxy_protocol: None,
            tls: None,
            redirect_https: None,
            hsts: None,
            protocol: Protocol::Http,
        };
        return vec![(server.at, listener)];
    };
    if reader.is_empty_list(listen.at) {
        reader.error(
            listen.at,
            "there is nothing to listen on",
            "write a port, like `8080`",
        );
    }
    let mut lines: HashMap<SocketAddr, u32> = HashMap::new();
    let mut listeners = Vec::new();
    for raw in listen.value.0.iter().map(|listener| &listener.value.0) {
        let proxy_protocol = proxy_protocol(raw, reader);
        let tls = raw
            .tls
            .as_ref()
            .and_then(|tls| tls::listener(tls, raw.protocol(), reader, files));
        let redirect = tls::redirect_https(raw, reader);
        let hsts = raw.hsts.as_ref().map(|hsts| tls::hsts(hsts, reader));
        let protocol = tcp::protocol(raw, upstreams, reader);
        let Some(text) = raw.address else { continue };
        let Some(address) = reader.accept(text, address(text.value)) else {
            continue;
        };
        let line = reader.tree.place(text.at).line;
        if let Some(first) = lines.insert(address, line) {
            let message = format!("`{address}` is listened on twice");
            reader.error(
                text.at,
                message,
                format!("remove one; the first is on line {first}"),
            );
            continue;
        }
        let listener = Listener {
            address,
            proxy_protocol,
            tls,
            redirect_https: redirect,
            hsts,
            protocol,
        };
        listeners.push((text.at, listener));
    }
    listeners
}

fn proxy_protocol(raw: &RawListener<'_>, reader: &mut Reader<'_>) -> Option<ProxyProtocol> {
    let raw = &raw.proxy_protocol.as_ref()?.value;
    if let Some(sources) = &raw.trusted_sources
        && reader.is_empty_list(sources.at)
    {
        let help =
            "write the networks of the load balancers, like `10.0.0.0/8`, or remove the section";
        reader.error(sources.at, "nobody may send a PROXY protocol header", help);
    }
    Some(ProxyProtocol {
        trusted_sources: networks(&raw.trusted_sources, reader),
        mode: raw.mode(),
        timeout: raw.timeout(),
    })
}

/// A port, `address:port`, `[v6]:port`, or `:port`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Fault> {
    let port_alone = text
        .strip_prefix(':')
        .or_else(|| text.strip_prefix("*:"))
        .unwrap_or(text);
    if !port_alone.is_empty() && port_alone.bytes().all(|byte| byte.is_ascii_digit()) {
        return port(port_alone).map(on_all);
    }
    text.parse().map_err(|_| refuse(text))
}

fn refuse(text: &str) -> Fault {
    let shown = shortened(text);
    if let Some((host, port)) = text.rsplit_once(':')
        && host.parse::<Ipv6Addr>().is_ok()
        && !port.is_empty()
    {
        let message = format!("`{shown}` has an IPv6 address without brackets");
        return Fault::new(message, format!("write `[{host}]:{port}`"));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let cure = SocketAddr::new(address, DEFAULT_PORT);
        return Fault::new(
            format!("`{shown}` has no port"),
            format!("write it like `{cure}`"),
        );
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) => Fault::new(
            "`localhost` is a name; connections are accepted on addresses",
            format!("write `127.0.0.1:{port}`, or `[::1]:{port}` for IPv6"),
        ),
        Some((host, port_text)) if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => {
            port(port_text).err().unwrap_or_else(|| {
                let help = "an IPv6 address stands in brackets, an IPv4 address does not";
                Fault::new(format!("`{shown}` is not an address"), help)
            })
        }
        _ => Fault::new(
            format!("`{shown}` is not an address to listen on"),
            "write a port (`8080`), `address:port` (`127.0.0.1:8080`) or `[::]:8080` for IPv6",
        ),
    }
}

fn port(text: &str) -> Result<u16, Fault> {
    text.parse().map_err(|_| {
        let message = format!("`{}` is not a port", shortened(text));
        Fault::new(
            message,
            "write a port from 1 to 65535, or 0 for any free one",
        )
    })
}

fn on_all(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}
