//! Names that people give: ids of upstreams, names of rules, which end up in metrics and logs; and
//! names of parameters.

use super::Fault;
use crate::model::decode::shortened;

const LONGEST: usize = 253;

/// Takes a name that can stand in a label, a log line and a header.
pub(super) fn check(what: &str, text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new(format!("{what} is empty"), "write a short name"));
    }
    if text.len() > LONGEST {
        let message = format!("{what} is longer than {LONGEST} bytes");
        return Err(Fault::new(message, "write a shorter name"));
    }
    if text.chars().any(|c| c.is_control()) || text.trim() != text {
        let message = format!(
            "{what} `{}` has characters that would not show",
            shortened(text)
        );
        return Err(Fault::new(
            message,
            "write it without control characters and spaces at its ends",
        ));
    }
    Ok(text.to_owned())
}

/// The name of a query parameter.
pub(super) fn parameter(text: &str) -> Result<String, Fault> {
    match text {
        "" => Err(Fault::new(
            "the parameter's name is empty",
            "write its name, without the `?`",
        )),
        name => Ok(name.to_owned()),
    }
}
