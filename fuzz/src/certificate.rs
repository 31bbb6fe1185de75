//! What must hold for certificates, keys and stapled responses, from files and from clients: nothing
//! that a client has had signed can end a header's line, or pose as another name.

use sluice::model::config::tls::Der;
use sluice::model::tls::{certificates, facts, identity, is_ocsp_response, private_key};

pub fn check(bytes: &[u8]) {
    let shown = identity(bytes);
    for text in [&shown.subject, &shown.san] {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    for name in separated(&shown.san) {
        let known = ["DNS:", "URI:", "email:", "IP:"];
        assert!(known.iter().any(|kind| name.starts_with(kind)), "{name:?}");
    }
    let hexadecimal = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
    assert!(shown.fingerprint.len() == 64 && shown.fingerprint.chars().all(hexadecimal));
    if let Ok((facts, chain)) = facts(vec![Der(bytes.to_vec())]) {
        assert_eq!(chain.len(), 1);
        assert_eq!(facts.fingerprint, shown.fingerprint);
        let lower = |name: &String| *name == name.to_ascii_lowercase();
        assert!(facts.names.iter().all(lower), "{:?}", facts.names);
    }
    if let Ok(found) = certificates(bytes) {
        assert!(!found.is_empty());
        let _either = facts(found);
    }
    // No panic is all that can be said of these.
    let _either = private_key(bytes);
    let _either = is_ocsp_response(bytes);
}

/// At the commas that are no part of a name.
fn separated(list: &str) -> Vec<String> {
    let (mut names, mut escaped) = (Vec::new(), false);
    let mut name = String::new();
    for c in list.chars() {
        if c == ',' && !escaped {
            names.push(std::mem::take(&mut name));
        } else {
            name.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}
