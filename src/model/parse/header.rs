//! `headers`: what is set on every proxied request.

use std::collections::HashMap;

use http::HeaderName;

use super::Fault;
use crate::model::config::HeaderSetting;
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{RawHeader, RawServer};
use crate::model::secret::{Resolve, SecretRef};
use crate::model::template::{self, InvalidTemplate, Template, UnknownVariable, Variable};

/// Headers that belong to the connection or to the framing of the message, never to a setting.
const OWN: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

pub(super) fn headers(
    server: &RawServer<'_>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Vec<HeaderSetting> {
    let mut lines: HashMap<HeaderName, u32> = HashMap::new();
    let mut headers = Vec::new();
    for raw in server.headers.iter().flat_map(|list| &list.value) {
        let name = raw
            .value
            .key
            .and_then(|key| reader.accept(key, settable(key.value)));
        let value = value(&raw.value, reader, resolve);
        let Some(name) = name else { continue };
        if let Some(first) = lines.insert(name.clone(), reader.tree.place(raw.at).line) {
            let message = format!("the header `{name}` is set twice; the last one stays");
            reader.warn(
                raw.at,
                message,
                format!("remove one; the other is on line {first}"),
            );
        }
        let Some(value) = value else { continue };
        headers.push(HeaderSetting {
            name: name.as_str().to_owned(),
            value,
        });
    }
    headers
}

fn value(
    raw: &RawHeader<'_>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<Template> {
    let text = raw.value?;
    let parsed = reader.accept(text, template::parse(text.value, resolve).map_err(fault))?;
    for unknown in parsed.unknown {
        warn_unknown(text, unknown, reader);
    }
    Some(parsed.template)
}

pub(super) fn warn_unknown(text: At<&str>, unknown: UnknownVariable, reader: &mut Reader<'_>) {
    let UnknownVariable { written, meant } = unknown;
    let message = format!(
        "unknown variable `{}` is left as written",
        shortened(&written)
    );
    let help = match meant {
        Some(meant) => format!("did you mean `{meant}`? A dollar sign is written `$$`"),
        None => format!(
            "known: ${}, $header.NAME; a dollar sign is written `$$`",
            Variable::NAMES.join(", $")
        ),
    };
    reader.warn(text.at, message, help);
}

pub(super) fn settable(text: &str) -> Result<HeaderName, Fault> {
    let name = name(text)?;
    match name.as_str() {
        "host" => Err(Fault::new(
            "`host` is not set as a header",
            "use `hostHeader: preserve` or `hostHeader: upstream`",
        )),
        own if OWN.contains(&own) => Err(Fault::new(
            format!("`{own}` belongs to the connection; the proxy sets it itself"),
            "remove it",
        )),
        _ => Ok(name),
    }
}

/// The name of a header, as settings and conditions have it.
pub(super) fn name(text: &str) -> Result<HeaderName, Fault> {
    text.parse().map_err(|_| {
        let message = format!("`{}` is not a header name", shortened(text));
        Fault::new(
            message,
            "write letters, digits and `-`, like `x-forwarded-by`",
        )
    })
}

pub(super) fn fault(invalid: InvalidTemplate) -> Fault {
    let help = match &invalid {
        InvalidTemplate::Unclosed => "close it: `${ip}`; a dollar sign is written `$$`".to_owned(),
        InvalidTemplate::Reference(_) => "write `env:NAME` or `file:/path`".to_owned(),
        InvalidTemplate::Missing {
            reference: SecretRef::Env(name),
            ..
        } => {
            format!(
                "set the environment variable `{}` where sluice starts",
                shortened(name)
            )
        }
        InvalidTemplate::Missing {
            reference: SecretRef::File(path),
            ..
        } => {
            format!(
                "put the value into `{}`, readable for sluice",
                shortened(path)
            )
        }
        InvalidTemplate::Character(_) => "write the value on one line".to_owned(),
        InvalidTemplate::SecretCharacter { .. } => {
            "keep one line of plain text in it; a newline at its end is taken off".to_owned()
        }
    };
    Fault::new(invalid.to_string(), help)
}
