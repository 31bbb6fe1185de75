//! `sticky`: the cookie that keeps a client with its endpoint.

use super::process::{section, token};
use super::{Fault, cookie};
use crate::model::config::balance::{SameSite, Sticky};
use crate::model::decode::{At, Reader, shortened};
use crate::model::raw::{RawAttributes, RawSticky};
use crate::model::secret::Resolve;

/// Shorter ones can be guessed.
const SHORTEST_SECRET: usize = 16;

pub(super) fn sticky(
    raw: &RawSticky<'_>,
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<Sticky> {
    let name = raw.cookie?;
    let cookie = reader.accept(name, cookie::name(name.value));
    let secret = raw.secret.map(|text| {
        let secret = reader.accept(text, token(text.value, resolve))?;
        let long_enough = match secret.expose().len() >= SHORTEST_SECRET {
            true => Ok(secret),
            false => Err(Fault::new(
                format!("the secret has fewer than {SHORTEST_SECRET} characters"),
                "write a longer one, such as 32 random characters",
            )),
        };
        reader.accept(text, long_enough)
    });
    let attributes = section(&raw.attributes);
    check(&attributes, reader);
    check_prefix(name, &attributes, reader);
    Some(Sticky {
        cookie: cookie?,
        ttl: raw.ttl.map(|at| at.value),
        path: attributes.path().to_owned(),
        domain: attributes.domain.map(|at| at.value.to_owned()),
        secure: attributes.secure(),
        http_only: attributes.http_only(),
        same_site: attributes.same_site(),
        secret: match secret {
            Some(given) => Some(given?),
            None => None,
        },
    })
}

fn check(raw: &RawAttributes<'_>, reader: &mut Reader<'_>) {
    let texts = [(raw.path, "path"), (raw.domain, "domain")];
    for (text, what) in texts
        .into_iter()
        .filter_map(|(text, what)| Some((text?, what)))
    {
        reader.accept(text, attribute(text, what));
    }
    if let Some(same_site) = raw.same_site
        && same_site.value == SameSite::None
        && !raw.secure()
    {
        let help = "write `secure: true` beside it, or `sameSite: lax`";
        reader.error(
            same_site.at,
            "browsers refuse `none` without `secure`",
            help,
        );
    }
}

/// Browsers take cookies of these names only with what the names promise.
fn check_prefix(name: At<&str>, raw: &RawAttributes<'_>, reader: &mut Reader<'_>) {
    let begins = |prefix: &str| {
        let start = name.value.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_whole = raw.path() == "/" && raw.domain.is_none();
    if begins("__Host-") && !(raw.secure() && is_whole) {
        let help = "write `secure: true`, and neither `path` nor `domain`; or another name";
        reader.error(
            name.at,
            "browsers refuse `__Host-` without `secure`, or with a `path` or `domain`",
            help,
        );
    } else if begins("__Secure-") && !raw.secure() {
        let help = "write `secure: true` among its `attributes`, or another name";
        let message = "browsers refuse `__Secure-` without `secure`";
        reader.error(name.at, message, help);
    }
}

fn attribute(text: At<&str>, what: &str) -> Result<(), Fault> {
    let fits = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b';';
    let begins = what != "path" || text.value.starts_with('/');
    match !text.value.is_empty() && text.value.bytes().all(fits) && begins {
        true => Ok(()),
        false => Err(Fault::new(
            format!("`{}` is not the {what} of a cookie", shortened(text.value)),
            match what {
                "path" => "write a path from `/` on",
                _ => "write a domain like `example.com`",
            },
        )),
    }
}
