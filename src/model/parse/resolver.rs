//! `resolver:`: how host names of upstreams are resolved.

use std::net::{IpAddr, SocketAddr};

use super::Fault;
use super::process::section;
use crate::model::config::Resolver;
use crate::model::decode::{Reader, shortened};
use crate::model::raw::{RawConfig, RawResolver};

const DNS_PORT: u16 = 53;
/// Each is waited for before the next is asked.
const MOST_NAMESERVERS: usize = 8;

pub(super) fn resolver(raw: &RawConfig<'_>, reader: &mut Reader<'_>) -> Resolver {
    let raw = section(&raw.resolver);
    check_ttls(&raw, reader);
    Resolver {
        min_ttl: raw.min_ttl(),
        max_ttl: raw.max_ttl(),
        hold_negative: raw.hold_negative(),
        timeout: raw.timeout.map(|at| at.value),
        attempts: raw.attempts.map(|at| at.value.0),
        nameservers: nameservers(&raw, reader),
        resolv_conf: raw.resolv_conf().to_owned(),
    }
}

fn check_ttls(raw: &RawResolver<'_>, reader: &mut Reader<'_>) {
    if raw.min_ttl() <= raw.max_ttl() {
        return;
    }
    if let Some(at) = raw.min_ttl.or(raw.max_ttl) {
        let help = "write a `minTtl` that is not above `maxTtl`";
        reader.error(at.at, "`minTtl` is above `maxTtl`", help);
    }
}

fn nameservers(raw: &RawResolver<'_>, reader: &mut Reader<'_>) -> Vec<SocketAddr> {
    let Some(list) = &raw.nameservers else {
        return Vec::new();
    };
    if reader.is_empty_list(list.at) {
        let help = "add one, or leave the key out: those of `resolvConf` are asked then";
        reader.error(list.at, "there is no name server in the list", help);
    }
    if list.value.len() > MOST_NAMESERVERS {
        let message = format!("more than {MOST_NAMESERVERS} name servers");
        reader.error(list.at, message, "keep those that are closest");
    }
    let written = list.value.iter();
    written
        .filter_map(|text| reader.accept(*text, nameserver(text.value)))
        .collect()
}

fn nameserver(text: &str) -> Result<SocketAddr, Fault> {
    let with_port = text.parse::<SocketAddr>().ok();
    let alone = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, DNS_PORT));
    with_port
        .filter(|address| address.port() > 0)
        .or_else(alone)
        .ok_or_else(|| {
            let message = format!("`{}` is not the address of a name server", shortened(text));
            let help =
                "write an IP address like `10.96.0.10`, or one with a port: `127.0.0.1:5353`";
            Fault::new(message, help)
        })
}
