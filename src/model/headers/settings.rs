//! The headers of the configuration (`server.headers`), set on every proxied request in place of
//! what the client sent by those names.
//!
//! Not here: the syntax of the values (`model::template`).

use http::HeaderValue;

use super::Values;
use crate::model::fields::Fields;
use crate::model::snapshot::{HeaderSetting, Snapshot};
use crate::model::template::{Facts, Template, TlsFacts};

/// The value of a template that says the same for every request.
pub fn constant(template: &Template) -> Option<HeaderValue> {
    let nothing = Fields::default();
    let facts = Facts {
        ip: "",
        host: "",
        scheme: "",
        method: "",
        path: "",
        request_id: "",
        upstream: "",
        tls: TlsFacts::default(),
        headers: &nothing,
    };
    let value = || Values::default().value(|out| template.render(&facts, out));
    template.is_constant().then(value)
}

/// The values for this request, in order; to be made before anything of it is changed.
pub fn render(snapshot: &Snapshot, facts: &Facts<'_>, values: &Values) -> Vec<HeaderValue> {
    let value = |setting: &HeaderSetting| match &setting.constant {
        Some(value) => value.clone(),
        None => values.value(|out| setting.value.render(facts, out)),
    };
    snapshot.headers.iter().map(value).collect()
}

/// A value that came out empty leaves no header of that name, not even the client's.
pub fn set(headers: &mut Fields, snapshot: &Snapshot, values: Vec<HeaderValue>) {
    for (setting, value) in snapshot.headers.iter().zip(values) {
        if value.is_empty() {
            headers.remove(&setting.name);
        } else {
            headers.insert(&setting.name, &value);
        }
    }
}
