//! The headers of the configuration (`server.headers`), set on every proxied request in place of
//! what the client sent by those names.
//!
//! Not here: the syntax of the values (`model::template`).

use http::{HeaderMap, HeaderValue};

use crate::model::snapshot::{HeaderSetting, Snapshot};
use crate::model::template::Facts;
use crate::proxy::scratch::Scratch;

/// Values that are the same for every request, made once per generation; by the setting's index.
pub(in crate::proxy) fn constants(snapshot: &Snapshot) -> Box<[Option<HeaderValue>]> {
    let scratch = Scratch::default();
    let nothing = HeaderMap::new();
    let facts = Facts {
        ip: "",
        host: "",
        scheme: "",
        method: "",
        path: "",
        request_id: "",
        upstream: "",
        headers: &nothing,
    };
    let constant = |setting: &HeaderSetting| {
        let value = || scratch.value(|out| setting.value.render(&facts, out));
        setting.value.is_constant().then(value)
    };
    snapshot.headers.iter().map(constant).collect()
}

/// The values for this request, in order; to be made before anything of it is changed.
pub(in crate::proxy) fn render(
    snapshot: &Snapshot,
    constants: &[Option<HeaderValue>],
    facts: &Facts<'_>,
    scratch: &Scratch,
) -> Vec<HeaderValue> {
    let value = |(setting, constant): (&HeaderSetting, &Option<HeaderValue>)| match constant {
        Some(value) => value.clone(),
        None => scratch.value(|out| setting.value.render(facts, out)),
    };
    snapshot.headers.iter().zip(constants).map(value).collect()
}

/// A value that came out empty leaves no header of that name, not even the client's.
pub(in crate::proxy) fn set(
    headers: &mut HeaderMap,
    snapshot: &Snapshot,
    values: Vec<HeaderValue>,
) {
    for (setting, value) in snapshot.headers.iter().zip(values) {
        if value.is_empty() {
            headers.remove(&setting.name);
        } else {
            headers.insert(&setting.name, value);
        }
    }
}
