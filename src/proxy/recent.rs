//! What a thread has read of late, to be had again without reading it anew: hosts, and the names of fields
//! that go on over HTTP/2, without an allocation. Clients send the same few over and over.
//!
//! Only a shortcut: what is not here is read by `http`, to the same result.

use std::cell::RefCell;

use http::header::{HeaderName, InvalidHeaderName};
use http::uri::Authority;

/// A name has one place, and whoever comes last has it.
const PLACES: usize = 256;
/// In bytes; longer ones are not kept, so that all of them take some 30 KiB at most of either kind.
const LONGEST: usize = 64;

thread_local! {
    /// Empty until the first name is read.
    static RECENT: RefCell<Vec<Option<HeaderName>>> = const { RefCell::new(Vec::new()) };
    /// The same.
    static HOSTS: RefCell<Vec<Option<Authority>>> = const { RefCell::new(Vec::new()) };
}

/// A host that is spelled in this way and no other, as `read` makes it of what has none of it yet.
pub(super) fn host<E>(
    text: &[u8],
    read: impl FnOnce() -> Result<Authority, E>,
) -> Result<Authority, E> {
    HOSTS.with_borrow_mut(|recent| {
        if recent.is_empty() {
            recent.resize(PLACES, None);
        }
        let Some(place) = recent.get_mut(place(text)) else {
            return read();
        };
        if let Some(host) = place
            && host.as_str().as_bytes() == text
        {
            return Ok(host.clone());
        }
        let host = read()?;
        if text.len() <= LONGEST {
            *place = Some(host.clone());
        }
        Ok(host)
    })
}

pub(super) fn name(text: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    RECENT.with_borrow_mut(|recent| {
        if recent.is_empty() {
            recent.resize(PLACES, None);
        }
        let Some(place) = recent.get_mut(place(text)) else {
            return HeaderName::from_bytes(text);
        };
        // Names are kept in lower case; what differs in nothing but that is the same name.
        if let Some(name) = place
            && name.as_str().as_bytes().eq_ignore_ascii_case(text)
        {
            return Ok(name.clone());
        }
        let name = HeaderName::from_bytes(text)?;
        if text.len() <= LONGEST {
            *place = Some(name.clone());
        }
        Ok(name)
    })
}

/// From the length and four letters in any case: names that applications number differ in the last.
fn place(text: &[u8]) -> usize {
    let length = text.len();
    let at = |place: usize| usize::from(text.get(place).copied().unwrap_or_default() | 0x20);
    let letters = [
        at(0),
        at(length / 2),
        at(length.wrapping_sub(2)),
        at(length.wrapping_sub(1)),
    ];
    let mixed = letters
        .iter()
        .fold(length, |sum, letter| sum.wrapping_mul(37) ^ letter);
    mixed % PLACES
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_name_comes_again_in_any_case_from_the_same_memory() {
        let first = name(b"X-Tenant").unwrap();
        assert_eq!(first, "x-tenant");
        for again in [&b"x-tenant"[..], b"X-TENANT"] {
            let again = name(again).unwrap();
            assert_eq!(again, first);
            assert_eq!(again.as_str().as_ptr(), first.as_str().as_ptr());
        }
    }

    #[test]
    fn names_in_one_place_are_not_taken_for_each_other() {
        let names: Vec<String> = (0..4 * PLACES).map(|n| format!("x-{n}-name")).collect();
        for _ in 0..2 {
            for text in &names {
                assert_eq!(name(text.as_bytes()).unwrap(), text.as_str());
            }
        }
    }

    #[test]
    fn hosts_come_again_as_they_are_spelled() {
        let made = Cell::new(0);
        let read = |text: &'static str| {
            host(text.as_bytes(), || {
                made.set(made.get() + 1);
                Authority::try_from(text)
            })
        };
        for _ in 0..3 {
            assert_eq!(
                read("shop.example:8080").unwrap().as_str(),
                "shop.example:8080"
            );
        }
        assert_eq!(made.get(), 1);
        assert_eq!(
            read("SHOP.example:8080").unwrap().as_str(),
            "SHOP.example:8080"
        );
        assert_eq!(
            read("shop.example:8080").unwrap().as_str(),
            "shop.example:8080"
        );
        for _ in 0..2 {
            assert!(read("shop example").is_err());
        }
    }

    #[test]
    fn what_is_no_name_is_refused_every_time() {
        for text in ["", "x name", "x-\u{212a}", "x:", "x-tenant\0"] {
            for _ in 0..2 {
                assert!(name(text.as_bytes()).is_err(), "{text:?}");
            }
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(name(long.as_bytes()).unwrap(), long.as_str());
    }
}
