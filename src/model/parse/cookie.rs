//! Names of cookies.

use super::Fault;
use crate::model::decode::shortened;

/// A token, as RFC 6265 has it: anything else could not be told from what stands around it.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new(
            format!("`{}` is not the name of a cookie", shortened(text)),
            "write letters, digits, `-`, `_` and `.`",
        )),
    }
}
