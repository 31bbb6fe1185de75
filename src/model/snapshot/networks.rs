//! A set of networks as sorted ranges: whether an address is in it costs one binary search, however
//! many networks there are.

use std::net::IpAddr;

use ipnet::IpNet;

/// IPv4 addresses and their IPv6-mapped forms are the same address here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Inclusive, sorted, apart from each other.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    pub fn new(networks: &[IpNet]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match network {
                IpNet::V4(net) => v4.push((net.network().into(), net.broadcast().into())),
                IpNet::V6(net) => match mapped(net) {
                    Some(range) => v4.push(range),
                    None => v6.push((net.network().into(), net.broadcast().into())),
                },
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.into()),
            IpAddr::V6(address) => within(&self.v6, address.into()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// The IPv4 range of a network that lies within `::ffff:0:0/96`.
fn mapped(network: &ipnet::Ipv6Net) -> Option<(u32, u32)> {
    let first = network.network().to_ipv4_mapped()?;
    let last = network.broadcast().to_ipv4_mapped()?;
    Some((first.into(), last.into()))
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut apart: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart.into()
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|range| range.0 <= address);
    ranges
        .get(..behind)
        .and_then(<[_]>::last)
        .is_some_and(|range| address <= range.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_a_scan_over_the_networks_finds() {
        let networks: Vec<IpNet> = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.168.1.7/32",
            "0.0.0.0/32",
            "255.255.255.255/32",
            "fd00::/8",
            "::1/128",
        ]
        .map(|network| network.parse().unwrap())
        .into();
        let set = Networks::new(&networks);
        for address in [
            "10.0.0.0",
            "10.255.255.255",
            "9.255.255.255",
            "11.0.0.0",
            "192.168.1.7",
            "192.168.1.6",
            "192.168.1.8",
            "0.0.0.0",
            "0.0.0.1",
            "255.255.255.255",
            "::1",
            "::2",
            "fd12::1",
            "fe00::",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let scan = networks.iter().any(|network| network.contains(&address));
            assert_eq!(set.contains(address), scan, "{address}");
        }
    }

    #[test]
    fn mapped_addresses_are_their_ipv4_selves() {
        let set = Networks::new(&["10.0.0.0/8".parse().unwrap()]);
        assert!(set.contains("::ffff:10.1.2.3".parse().unwrap()));
        let mapped = Networks::new(&["::ffff:10.0.0.0/104".parse().unwrap()]);
        assert_eq!(mapped, set);
    }

    #[test]
    fn everything_and_nothing() {
        let all = Networks::new(&["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
        assert!(all.contains("1.2.3.4".parse().unwrap()));
        assert!(all.contains("2001:db8::1".parse().unwrap()));
        assert!(!Networks::default().contains("1.2.3.4".parse().unwrap()));
        assert!(Networks::default().is_empty());
    }
}
