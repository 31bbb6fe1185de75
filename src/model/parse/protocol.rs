//! What is spoken with an upstream, and what is offered in its handshakes for that.
//!
//! Not here: everything else about TLS (`tls`).

use crate::model::config::tls::Alpn;
use crate::model::config::{Scheme, Server, Target, UpstreamProtocol};
use crate::model::decode::{At, Reader};
use crate::model::raw::RawUpstream;
use crate::model::yaml::NodeId;

/// HTTP/2 with TLS and HTTP/2 without it are two words, so that nobody gets one who wanted the other.
pub(super) fn protocol(
    raw: &At<RawUpstream<'_>>,
    target: &Target,
    reader: &mut Reader<'_>,
) -> Option<UpstreamProtocol> {
    let Some(given) = raw.value.protocol else {
        return Some(raw.value.protocol());
    };
    let servers = match target {
        Target::Echo => &[][..],
        Target::Servers(servers) => servers,
    };
    let is_tls = |server: &Server| server.scheme == Scheme::Https;
    let all_are = !servers.is_empty() && servers.iter().all(is_tls);
    match given.value {
        UpstreamProtocol::H2 if !all_are => {
            let help =
                "write `https://` before every host, or `protocol: h2c` for HTTP/2 without TLS";
            let message = "`h2` needs TLS, and not all of the upstream's servers have it";
            reader.error(given.at, message, help);
            None
        }
        UpstreamProtocol::H2c if servers.iter().any(is_tls) => {
            let message = "`h2c` is HTTP/2 without TLS, and a server has an `https://` url";
            reader.error(given.at, message, "write `protocol: h2`");
            None
        }
        protocol => Some(protocol),
    }
}

/// What is offered by ALPN; a protocol that was chosen for good leaves no choice to the server.
pub(super) fn alpn(raw: &RawUpstream<'_>, reader: &mut Reader<'_>) -> Vec<Alpn> {
    let protocol = raw.protocol();
    let tls = raw.tls.as_ref();
    let Some(list) = tls.and_then(|section| section.value.alpn.as_ref()) else {
        return match protocol {
            UpstreamProtocol::H2 => vec![Alpn::H2],
            _ => vec![Alpn::Http11],
        };
    };
    let listed: Vec<Alpn> = list.value.iter().map(|at| at.value).collect();
    let has_http2 = listed.contains(&Alpn::H2);
    match protocol {
        UpstreamProtocol::H2 if listed != [Alpn::H2] => {
            let help = "remove `alpn`, or `protocol` to speak what the server agrees to";
            reader.error(list.at, "with `protocol: h2`, `h2` alone is offered", help);
        }
        UpstreamProtocol::Http1 if has_http2 => {
            let help = "remove `h2`, or `protocol` to speak what the server agrees to";
            let message = "with `protocol: http1`, `h2` is not spoken";
            reader.error(list.at, message, help);
        }
        _ => {}
    }
    if let (true, Some(version)) = (has_http2, raw.proxy_protocol) {
        sharing(version.at, "write `alpn: [http/1.1]`", reader);
    }
    listed
}

/// A header of the PROXY protocol stands before a connection of HTTP/2.
pub(super) fn sharing(at: NodeId, other: &'static str, reader: &mut Reader<'_>) {
    let message = "a connection of HTTP/2 is for many clients, and cannot name one";
    reader.error(at, message, format!("remove it, or {other}"));
}
