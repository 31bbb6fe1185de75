//! A rule's `path` where it is no pattern.

use super::Fault;
use crate::model::decode::shortened;

/// A path in which every character stands for itself.
pub(super) fn literal(text: &str) -> Result<&str, Fault> {
    let valid = text.starts_with('/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if valid { Ok(text) } else { Err(refuse(text)) }
}

fn refuse(text: &str) -> Fault {
    let shown = shortened(text);
    if !text.starts_with('/') {
        let help = format!("write `/{shown}`");
        return Fault::new(format!("the path `{shown}` does not begin with `/`"), help);
    }
    if text.contains(['?', '#']) {
        let message = format!("the path `{shown}` has a query, which this `pathType` does not see");
        return Fault::new(message, "put it under the rule's `query`");
    }
    let message = format!("the path `{shown}` has characters that no request's path can have");
    Fault::new(message, "percent-encode them: a space is `%20`")
}
