//! What must hold for the first bytes of any connection: a longer look never takes back what was seen
//! in a shorter one, no header reaches beyond the bytes that are there, and what is said of addresses
//! is the same when it is written and read again.

use sluice::model::proxy_protocol::{LONGEST, Parsed, Told, Version, encode, parse};

pub fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    let mut decided = None;
    for cut in 0..=bytes.len().min(LONGEST) {
        let seen = parse(bytes.get(..cut).unwrap_or_default());
        if let Ok(Parsed::Header { length, .. }) = seen {
            assert!(length <= cut);
        }
        match decided {
            None if seen != Ok(Parsed::Incomplete) => decided = Some(seen),
            None => {}
            Some(before) => assert_eq!(before, seen),
        }
    }
    match decided {
        Some(decided) => assert_eq!(decided, whole),
        None => assert!(bytes.len() < LONGEST, "decided within the bound"),
    }
    if let Ok(Parsed::Header {
        told: Told::Proxied(addresses),
        ..
    }) = whole
    {
        let again = parse(&encode(Version::V2, Some(&addresses)));
        let Ok(Parsed::Header {
            told: Told::Proxied(again),
            ..
        }) = again
        else {
            panic!("{addresses:?} became {again:?}");
        };
        assert_eq!(again.source.port(), addresses.source.port());
        assert_eq!(
            again.source.ip().to_canonical(),
            addresses.source.ip().to_canonical()
        );
    }
}
