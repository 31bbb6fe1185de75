//! Host names, as rules and upstreams name them.

use std::net::IpAddr;

use super::Fault;
use crate::model::config::HostPattern;
use crate::model::decode::shortened;

const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A rule's `host`: a name, an address, or `*.` and a name.
pub(super) fn pattern(text: &str) -> Result<HostPattern, Fault> {
    if text == "*" {
        return Err(Fault::new(
            "`*` is not a host",
            "leave `host` out: the rule takes any host then",
        ));
    }
    if let Some(parent) = text.strip_prefix("*.") {
        return name(parent).map(HostPattern::Wildcard);
    }
    if text.contains('*') {
        let message = format!("`{}` has its `*` in the wrong place", shortened(text));
        return Err(Fault::new(
            message,
            "a wildcard stands for whole names in front: `*.example.com`",
        ));
    }
    if let Some(address) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address = address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| not_a_host(text))?;
        return Ok(HostPattern::Exact(format!("[{address}]")));
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let with_port = |(host, port): &(&str, &str)| !host.contains(':') && digits(port);
    if let Some((host, _)) = text.rsplit_once(':').filter(with_port) {
        let message = format!("`{}` has a port, which is not compared", shortened(text));
        return Err(Fault::new(message, format!("write `{}`", shortened(host))));
    }
    name(text).map(HostPattern::Exact)
}

/// A DNS name or an IPv4 address, in lower case without a trailing dot.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if !name.is_ascii() {
        let message = format!("`{}` is not in ASCII", shortened(text));
        return Err(Fault::new(
            message,
            "write its ASCII form, which begins with `xn--`",
        ));
    }
    let valid = name.len() <= LONGEST_NAME && name.split('.').all(is_label);
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if !valid || (numeric && name.parse::<IpAddr>().is_err()) {
        return Err(not_a_host(text));
    }
    Ok(name.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn not_a_host(text: &str) -> Fault {
    let message = format!("`{}` is not a host name", shortened(text));
    Fault::new(
        message,
        "write a name like `shop.example.com`: no scheme, no port, no path",
    )
}
