//! An upstream's `url`.

use std::net::IpAddr;

use super::{Fault, host};
use crate::model::config::{Scheme, ServerHost};
use crate::model::decode::shortened;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Url {
    Echo,
    Http(Address),
}

/// Where a server is, and what comes before the path of every request to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: ServerHost,
    pub(super) port: u16,
    pub(super) authority: String,
    pub(super) scheme: Scheme,
    pub(super) base_path: String,
}

/// `host`, `host:port`, `http://host:port/base`, the same with `https`, `dns+srv://name/base`,
/// `unix:/path`, or `builtin://echo`.
pub(super) fn parse(text: &str) -> Result<Url, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path.strip_prefix("//").unwrap_or(path));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    match scheme.to_ascii_lowercase().as_str() {
        "http" => http(text, rest, Scheme::Http),
        "https" => http(text, rest, Scheme::Https),
        "dns+srv" => service(text, rest),
        "builtin" => builtin(rest),
        _ => Err(Fault::new(
            format!("`{}` is not a scheme of an upstream", shortened(scheme)),
            "write `http://host:port`, `dns+srv://name`, `unix:/path`, or `builtin://echo`",
        )),
    }
}

fn builtin(name: &str) -> Result<Url, Fault> {
    match name {
        "echo" => Ok(Url::Echo),
        _ => {
            let message = format!("there is no builtin `{}`", shortened(name));
            Err(Fault::new(message, "write `builtin://echo`"))
        }
    }
}

/// The kernel takes no longer path of a socket.
const LONGEST_SOCKET_PATH: usize = 107;

fn unix(path: &str) -> Result<Url, Fault> {
    if !path.starts_with('/') || path.ends_with('/') {
        let message = format!("`{}` is not the path of a socket", shortened(path));
        return Err(Fault::new(
            message,
            "write the whole path: `unix:/run/app.sock`",
        ));
    }
    if path.len() > LONGEST_SOCKET_PATH || path.chars().any(char::is_control) {
        let message = format!("`{}` cannot be the path of a socket", shortened(path));
        let help =
            format!("use one of at most {LONGEST_SOCKET_PATH} bytes, without control characters");
        return Err(Fault::new(message, help));
    }
    Ok(Url::Http(Address {
        host: ServerHost::Unix(path.to_owned()),
        port: 0,
        authority: "localhost".to_owned(),
        scheme: Scheme::Http,
        base_path: String::new(),
    }))
}

/// `_http._tcp.shop.example`, or whatever else a name server has SRV records for.
fn service(whole: &str, rest: &str) -> Result<Url, Fault> {
    let (name, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let base_path = base_path(whole, path)?;
    if name.contains([':', '@']) {
        let message = format!("`{}` has more than a name", shortened(whole));
        return Err(Fault::new(
            message,
            "write `dns+srv://_http._tcp.name`: the ports are those of the SRV records",
        ));
    }
    let ServerHost::Name(name) = server_host(whole, name)? else {
        let message = format!("`{}` has an address instead of a name", shortened(whole));
        return Err(Fault::new(message, "write `http://` before an address"));
    };
    Ok(Url::Http(Address {
        authority: without_service(&name).to_owned(),
        host: ServerHost::Service(name),
        port: 0,
        scheme: Scheme::Http,
        base_path,
    }))
}

/// `shop.example` of `_http._tcp.shop.example`: what a server there is likely to know itself by.
fn without_service(name: &str) -> &str {
    let is_host = |rest: &&str| !rest.starts_with('_');
    let ends = name
        .match_indices('.')
        .filter_map(|(dot, _)| name.get(dot + 1..));
    let host = std::iter::once(name).chain(ends).find(is_host);
    host.unwrap_or(name).trim_end_matches('.')
}

fn http(whole: &str, rest: &str, scheme: Scheme) -> Result<Url, Fault> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let base_path = base_path(whole, path)?;
    if authority.contains('@') {
        let help = "set an `Authorization` header under `server.headers` instead";
        return Err(Fault::new("the url has a user name in it", help));
    }
    let (host_text, port) = split_port(authority)?;
    let port = port.unwrap_or_else(|| usual_port(scheme));
    let host = server_host(whole, host_text)?;
    let authority = authority_of(&host, port, scheme);
    Ok(Url::Http(Address {
        host,
        port,
        authority,
        scheme,
        base_path,
    }))
}

fn usual_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => HTTP_PORT,
        Scheme::Https => HTTPS_PORT,
    }
}

fn base_path(whole: &str, path: &str) -> Result<String, Fault> {
    if path.contains(['?', '#']) {
        let message = format!("`{}` has a query or a fragment", shortened(whole));
        return Err(Fault::new(
            message,
            "keep scheme, host, port and path; requests bring their own query",
        ));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "the path of `{}` has characters a path cannot have",
            shortened(whole)
        );
        return Err(Fault::new(message, "percent-encode them: a space is `%20`"));
    }
    Ok(path.trim_end_matches('/').to_owned())
}

/// Splits `host:port`; an IPv6 address stands in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Fault> {
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let tail = authority.get(after_brackets..).unwrap_or_default();
    let Some(colon) = tail.rfind(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(after_brackets + colon);
    let port = port.trim_start_matches(':');
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => {
            Ok((host, Some(number)))
        }
        _ => {
            let message = format!("`{}` is not a port", shortened(port));
            Err(Fault::new(message, "write a port from 1 to 65535"))
        }
    }
}

fn server_host(whole: &str, text: &str) -> Result<ServerHost, Fault> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bracketed.unwrap_or(text).parse::<IpAddr>();
    if let Some(address) = address
        .ok()
        .filter(|ip| ip.is_ipv6() == bracketed.is_some())
    {
        return Ok(ServerHost::Ip(address));
    }
    if text.contains(':') {
        let message = format!("`{}` is not a url", shortened(whole));
        return Err(Fault::new(
            message,
            "an IPv6 address stands in brackets: `http://[::1]:9000`",
        ));
    }
    if text.is_empty() {
        let message = format!("`{}` has no host", shortened(whole));
        return Err(Fault::new(message, "write `http://host:port`"));
    }
    let name = host::name(text)?;
    // The dot at its end says that it is whole, which the resolver has to know.
    let dot = if text.ends_with('.') { "." } else { "" };
    Ok(ServerHost::Name(format!("{name}{dot}")))
}

fn authority_of(host: &ServerHost, port: u16, scheme: Scheme) -> String {
    let host = match host {
        ServerHost::Ip(IpAddr::V6(address)) => format!("[{address}]"),
        ServerHost::Ip(IpAddr::V4(address)) => address.to_string(),
        ServerHost::Name(name) | ServerHost::Service(name) | ServerHost::Unix(name) => {
            name.trim_end_matches('.').to_owned()
        }
    };
    if port == usual_port(scheme) {
        host
    } else {
        format!("{host}:{port}")
    }
}
