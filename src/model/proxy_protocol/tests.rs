use proptest::prelude::*;

use super::*;

#[expect(unreachable_pub, reason = "it is a module of another crate")]
#[path = "../../../fuzz/src/proxy_protocol.rs"]
mod checks;

fn proxied(source: &str, destination: &str) -> Told {
    Told::Proxied(Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

fn header(told: Told, length: usize) -> Result<Parsed, InvalidHeader> {
    Ok(Parsed::Header { told, length })
}

#[test]
fn lines_of_version_1() {
    let longest = "PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"
        .replace("ffff:f...f:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    for (line, told) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            proxied("192.0.2.1:56324", "198.51.100.2:443"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
            proxied("[2001:db8::1]:0", "[::1]:65535"),
        ),
        ("PROXY UNKNOWN\r\n", Told::Local),
        ("PROXY UNKNOWN whatever stands here\r\n", Told::Local),
    ] {
        assert_eq!(parse(line.as_bytes()), header(told, line.len()), "{line:?}");
        let more = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(more.as_bytes()), header(told, line.len()), "{more:?}");
        for cut in 0..line.len() {
            let part = line.as_bytes().get(..cut).unwrap();
            assert_eq!(parse(part), Ok(Parsed::Incomplete), "{part:?}");
        }
    }
    assert_eq!(longest.len(), 104, "the longest of ours fits");
    assert!(matches!(
        parse(longest.as_bytes()),
        Ok(Parsed::Header { .. })
    ));
}

#[test]
fn malformed_lines_of_version_1() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        "PROXY UNIX /a /b 1 1\r\n",
        "PROXY \u{e4}\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(InvalidHeader::Line), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_V1));
    assert_eq!(parse(endless.as_bytes()), Err(InvalidHeader::LineTooLong));
    let line_feed_alone = format!("PROXY UNKNOWN\n{}", "x".repeat(LONGEST_V1));
    assert_eq!(
        parse(line_feed_alone.as_bytes()),
        Err(InvalidHeader::LineTooLong)
    );
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = BEGIN_V2.to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(block);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn headers_of_version_2() {
    let v6: Vec<u8> = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
    let with_tlvs = [V4.as_slice(), &[0x04, 0, 3, 1, 2, 3], &[0xee, 0xff]].concat();
    let ipv4 = proxied("192.0.2.1:56324", "198.51.100.2:443");
    for (bytes, told) in [
        (binary(0x21, 0x11, &V4), ipv4),
        (binary(0x21, 0x11, &with_tlvs), ipv4),
        (binary(0x21, 0x21, &v6), proxied("[::1]:1", "[::2]:2")),
        (binary(0x21, 0x12, &V4), Told::Local),
        (binary(0x21, 0x22, &v6), Told::Local),
        (binary(0x21, 0x31, &[0; 216]), Told::Local),
        (binary(0x21, 0x00, &[]), Told::Local),
        (binary(0x21, 0x00, &[1, 2, 3]), Told::Local),
        (binary(0x20, 0x00, &[]), Told::Local),
        (binary(0x20, 0x11, &V4), Told::Local),
        (binary(0x20, 0xff, &[1]), Told::Local),
    ] {
        assert_eq!(parse(&bytes), header(told, bytes.len()), "{bytes:?}");
        for cut in 0..bytes.len() {
            let part = bytes.get(..cut).unwrap();
            assert_eq!(parse(part), Ok(Parsed::Incomplete), "{part:?}");
        }
    }
}

#[test]
fn malformed_headers_of_version_2() {
    for (bytes, fault) in [
        (binary(0x11, 0x11, &V4), InvalidHeader::Command),
        (binary(0x22, 0x11, &V4), InvalidHeader::Command),
        (binary(0x21, 0x10, &V4), InvalidHeader::Family),
        (binary(0x21, 0x13, &V4), InvalidHeader::Family),
        (binary(0x21, 0x41, &V4), InvalidHeader::Family),
        (binary(0x21, 0x11, &[0; 11]), InvalidHeader::TooShort),
        (binary(0x21, 0x21, &[0; 35]), InvalidHeader::TooShort),
        (binary(0x21, 0x31, &[0; 215]), InvalidHeader::TooShort),
        (binary(0x20, 0, &[0; LONGEST]), InvalidHeader::TooLong),
    ] {
        assert_eq!(parse(&bytes), Err(fault), "{bytes:?}");
        let fixed = bytes.get(..FIXED_V2).unwrap();
        assert_eq!(parse(fixed), Err(fault), "known as soon as it is said");
    }
    let longest = binary(0x20, 0, &[0; LONGEST - FIXED_V2]);
    assert_eq!(parse(&longest), header(Told::Local, LONGEST));
}

#[test]
fn what_is_no_header() {
    for bytes in [
        "GET / HTTP/1.1\r\n",
        "P0",
        "PROXYING",
        "PRI * HTTP/2.0",
        "\r\n\r\nG",
        "\x16\x03",
    ] {
        assert_eq!(parse(bytes.as_bytes()), Ok(Parsed::Absent), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Parsed::Incomplete));
}

#[test]
fn what_is_written() {
    let told = |source: &str, destination: &str| Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    let line = |addresses| String::from_utf8(encode(Version::V1, Some(&addresses))).unwrap();
    assert_eq!(
        line(told("192.0.2.1:56324", "198.51.100.2:443")),
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
    );
    assert_eq!(
        line(told("[::ffff:192.0.2.1]:5", "198.51.100.2:443")),
        "PROXY TCP4 192.0.2.1 198.51.100.2 5 443\r\n"
    );
    assert_eq!(
        line(told("192.0.2.1:5", "[2001:db8::1]:443")),
        "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 5 443\r\n"
    );
    assert_eq!(encode(Version::V1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(encode(Version::V2, None), binary(0x20, 0, &[]));
    assert_eq!(
        encode(
            Version::V2,
            Some(&told("192.0.2.1:56324", "198.51.100.2:443"))
        ),
        binary(0x21, 0x11, &V4)
    );
}

prop_compose! {
    fn address()(v6: bool, ip: u128, port: u16) -> SocketAddr {
        let ip = match v6 {
            true => IpAddr::V6(ip.into()),
            false => IpAddr::V4(Ipv4Addr::from_bits((ip & 0xffff_ffff) as u32)),
        };
        SocketAddr::new(ip, port)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(source in address(), destination in address(), v1: bool) {
        let version = if v1 { Version::V1 } else { Version::V2 };
        let bytes = encode(version, Some(&Addresses { source, destination }));
        let Ok(Parsed::Header { told: Told::Proxied(told), length }) = parse(&bytes) else {
            panic!("{bytes:?}");
        };
        let same = |one: SocketAddr, other: SocketAddr| {
            one.ip().to_canonical() == other.ip().to_canonical() && one.port() == other.port()
        };
        prop_assert_eq!(length, bytes.len());
        prop_assert!(same(told.source, source) && same(told.destination, destination));
    }

    #[test]
    fn a_longer_look_never_takes_back_what_was_seen(
        start in prop::sample::select(vec![&b"PROXY "[..], b"PROXY TCP4 ", BEGIN_V2, b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &rest].concat();
        checks::check(&bytes);
    }
}
