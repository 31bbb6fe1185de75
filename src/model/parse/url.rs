//! An upstream's `url`.

use std::net::IpAddr;

use super::{Fault, host};
use crate::model::config::ServerHost;
use crate::model::decode::shortened;

const HTTP_PORT: u16 = 80;

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
    pub(super) base_path: String,
}

/// `host`, `host:port`, `http://host:port/base`, or `builtin://echo`.
pub(super) fn parse(text: &str) -> Result<Url, Fault> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    match scheme.to_ascii_lowercase().as_str() {
        "http" => http(text, rest),
        "builtin" => builtin(rest),
        "https" => Err(Fault::new(
            "https upstreams are not supported yet",
            "write `http://`, and let the upstream or a sidecar of it end TLS",
        )),
        _ => Err(Fault::new(
            format!("`{}` is not a scheme of an upstream", shortened(scheme)),
            "write `http://host:port`, or `builtin://echo`",
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

fn http(whole: &str, rest: &str) -> Result<Url, Fault> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let base_path = base_path(whole, path)?;
    if authority.contains('@') {
        let help = "set an `Authorization` header under `server.headers` instead";
        return Err(Fault::new("the url has a user name in it", help));
    }
    let (host_text, port) = split_port(authority)?;
    let host = server_host(whole, host_text)?;
    let authority = authority_of(&host, port);
    Ok(Url::Http(Address {
        host,
        port,
        authority,
        base_path,
    }))
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
fn split_port(authority: &str) -> Result<(&str, u16), Fault> {
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let tail = authority.get(after_brackets..).unwrap_or_default();
    let Some(colon) = tail.rfind(':') else {
        return Ok((authority, HTTP_PORT));
    };
    let (host, port) = authority.split_at(after_brackets + colon);
    let port = port.trim_start_matches(':');
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((host, number)),
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
    host::name(text).map(ServerHost::Name)
}

fn authority_of(host: &ServerHost, port: u16) -> String {
    let host = match host {
        ServerHost::Ip(IpAddr::V6(address)) => format!("[{address}]"),
        ServerHost::Ip(IpAddr::V4(address)) => address.to_string(),
        ServerHost::Name(name) => name.clone(),
    };
    if port == HTTP_PORT {
        host
    } else {
        format!("{host}:{port}")
    }
}
