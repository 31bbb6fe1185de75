//! The PROXY protocol, versions 1 and 2: what a load balancer says in front of a connection of whom it
//! speaks for. Read as strictly as its specification has it, and written.
//!
//! Not here: who may say so, and how long one waits for it (`proxy`). Type-length-values of version 2
//! are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// A longer header is refused; those with a client's certificate in them stay below.
pub const LONGEST: usize = 4096;
/// `PROXY TCP6`, two addresses and two ports, all as long as they can be.
pub const LONGEST_V1: usize = 107;

const BEGIN_V1: &[u8] = b"PROXY ";
const BEGIN_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Beginning, version and command, family and protocol, length.
const FIXED_V2: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    V1,
    V2,
}

/// Both ends of the connection that is spoken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Proxied(Addresses),
    /// The connection's own addresses count: the sender speaks for itself (a health check), or for
    /// something that has no IP address.
    Local,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// `length` bytes belong to the header.
    Header { told: Told, length: usize },
    /// They may become one.
    Incomplete,
    /// No header: it does not begin like one.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    #[error("the line of version 1 does not end within {LONGEST_V1} bytes")]
    LineTooLong,
    #[error("the line of version 1 is malformed")]
    Line,
    #[error("version 2 announces more than {LONGEST} bytes")]
    TooLong,
    #[error("version 2 with another version number, or an unknown command")]
    Command,
    #[error("version 2 with an unknown family or protocol")]
    Family,
    #[error("version 2 announces fewer bytes than its addresses take")]
    TooShort,
}

pub fn parse(bytes: &[u8]) -> Result<Parsed, InvalidHeader> {
    let begins = |mark: &[u8]| {
        let common = bytes.len().min(mark.len());
        bytes.get(..common) == mark.get(..common)
    };
    if begins(BEGIN_V1) {
        return parse_v1(bytes);
    }
    if begins(BEGIN_V2) {
        return parse_v2(bytes);
    }
    Ok(Parsed::Absent)
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, InvalidHeader> {
    let longest = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = longest.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < LONGEST_V1 {
            true => Ok(Parsed::Incomplete),
            false => Err(InvalidHeader::LineTooLong),
        };
    };
    let line = longest.get(BEGIN_V1.len()..end);
    let told = line.and_then(line_v1).ok_or(InvalidHeader::Line)?;
    Ok(Parsed::Header {
        told,
        length: end + 2,
    })
}

/// What stands between `PROXY ` and the end of the line.
fn line_v1(line: &[u8]) -> Option<Told> {
    let line = str::from_utf8(line).ok()?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Told::Local);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let addresses = [words.next()?, words.next()?];
    let [source, destination] = match family {
        "TCP4" => both(addresses, |word| word.parse().map(IpAddr::V4).ok())?,
        "TCP6" => both(addresses, |word| word.parse().map(IpAddr::V6).ok())?,
        _ => return None,
    };
    let [source_port, destination_port] = both([words.next()?, words.next()?], port)?;
    words.next().is_none().then_some(Told::Proxied(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }))
}

/// In decimal, without a sign or zeroes in front.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let padded = word.len() > 1 && word.starts_with('0');
    (plain && !padded).then(|| word.parse().ok())?
}

/// Both, or none.
fn both<T>(words: [&str; 2], read: impl Fn(&str) -> Option<T>) -> Option<[T; 2]> {
    let [first, second] = words;
    Some([read(first)?, read(second)?])
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, InvalidHeader> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_V2) else {
        return Ok(Parsed::Incomplete);
    };
    let [.., command, family, high, low] = fixed else {
        return Ok(Parsed::Incomplete);
    };
    if !matches!(command, 0x20 | 0x21) {
        return Err(InvalidHeader::Command);
    }
    let announced = usize::from(u16::from_be_bytes([*high, *low]));
    let length = FIXED_V2 + announced;
    if length > LONGEST {
        return Err(InvalidHeader::TooLong);
    }
    // What a sender that speaks for itself says of addresses is to be passed over, whatever it is.
    let needed = if *command == 0x20 {
        0
    } else {
        size_of_family(*family)?
    };
    if announced < needed {
        return Err(InvalidHeader::TooShort);
    }
    let Some(block) = rest.get(..announced) else {
        return Ok(Parsed::Incomplete);
    };
    let told = match (*command, *family) {
        (0x21, 0x11) => v4(block).map(Told::Proxied),
        (0x21, 0x21) => v6(block).map(Told::Proxied),
        _ => Some(Told::Local),
    };
    let told = told.ok_or(InvalidHeader::TooShort)?;
    Ok(Parsed::Header { told, length })
}

/// What its addresses take: none, IPv4, IPv6 or Unix, each over streams or datagrams.
fn size_of_family(family: u8) -> Result<usize, InvalidHeader> {
    match family {
        0x00 => Ok(0),
        0x11 | 0x12 => Ok(12),
        0x21 | 0x22 => Ok(36),
        0x31 | 0x32 => Ok(216),
        _ => Err(InvalidHeader::Family),
    }
}

fn v4(block: &[u8]) -> Option<Addresses> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (ports, _) = rest.split_first_chunk::<4>()?;
    Some(joined(
        Ipv4Addr::from(*source),
        Ipv4Addr::from(*destination),
        *ports,
    ))
}

fn v6(block: &[u8]) -> Option<Addresses> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (ports, _) = rest.split_first_chunk::<4>()?;
    Some(joined(
        Ipv6Addr::from(*source),
        Ipv6Addr::from(*destination),
        *ports,
    ))
}

fn joined(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, ports: [u8; 4]) -> Addresses {
    let [a, b, c, d] = ports;
    Addresses {
        source: SocketAddr::new(source.into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes([c, d])),
    }
}

/// The header to send before anything else. Without addresses the sender speaks for itself, as a
/// health check does.
pub fn encode(version: Version, addresses: Option<&Addresses>) -> Vec<u8> {
    match version {
        Version::V1 => encode_v1(addresses).into_bytes(),
        Version::V2 => encode_v2(addresses),
    }
}

fn encode_v1(addresses: Option<&Addresses>) -> String {
    let Some(Addresses {
        source,
        destination,
    }) = addresses
    else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (from_port, to_port) = (source.port(), destination.port());
    match alike(source.ip(), destination.ip()) {
        Alike::V4(from, to) => format!("PROXY TCP4 {from} {to} {from_port} {to_port}\r\n"),
        Alike::V6(from, to) => format!("PROXY TCP6 {from} {to} {from_port} {to_port}\r\n"),
    }
}

fn encode_v2(addresses: Option<&Addresses>) -> Vec<u8> {
    let mut header = BEGIN_V2.to_vec();
    let Some(Addresses {
        source,
        destination,
    }) = addresses
    else {
        header.extend_from_slice(&[0x20, 0x00, 0, 0]);
        return header;
    };
    match alike(source.ip(), destination.ip()) {
        Alike::V4(from, to) => {
            header.extend_from_slice(&[0x21, 0x11, 0, 12]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        Alike::V6(from, to) => {
            header.extend_from_slice(&[0x21, 0x21, 0, 36]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
    }
    header.extend_from_slice(&source.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());
    header
}

enum Alike {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// Both of one family; where they differ, the IPv4 one takes its IPv6-mapped form.
fn alike(source: IpAddr, destination: IpAddr) -> Alike {
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (source.to_canonical(), destination.to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Alike::V4(from, to),
        (from, to) => Alike::V6(wide(from), wide(to)),
    }
}
