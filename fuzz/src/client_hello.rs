//! What must hold for the first bytes of any connection to a listener that routes by server name: a
//! longer look never takes back what was seen in a shorter one, and it is decided within the bound.

use sluice::model::client_hello::{Hello, LONGEST, parse};

pub fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    let cuts = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        9,
        10,
        bytes.len() / 2,
        bytes.len().saturating_sub(1),
    ];
    for cut in cuts {
        let part = parse(bytes.get(..cut).unwrap_or(bytes));
        assert!(
            part == Hello::Incomplete || part == whole,
            "{cut}: {part:?}, then {whole:?}"
        );
    }
    if bytes.len() >= LONGEST {
        assert_ne!(whole, Hello::Incomplete);
    }
    if let Hello::Tls(Some(name)) = whole {
        assert!(!name.is_empty() && name.len() <= 255);
        assert_eq!(name, name.to_ascii_lowercase());
    }
}
