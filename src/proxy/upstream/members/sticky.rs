//! Keeping clients with their endpoints: what an upstream's cookie is called, and what it says.

use std::rc::Rc;

use http::HeaderValue;

use super::{Ask, Member, Members, Plan};
use crate::model::balance::sticky;
use crate::model::resolved::Address;

pub(in crate::proxy) struct Stickiness {
    cookie: Box<str>,
    secret: Box<str>,
    attributes: Box<str>,
}

impl Stickiness {
    pub(super) fn of(plan: &Plan<'_>) -> Option<Self> {
        let settings = plan.upstream.balancing.sticky.as_ref()?;
        let secret = settings.secret.as_ref().or(plan.secret);
        Some(Self {
            cookie: settings.cookie.as_str().into(),
            secret: secret.map_or("", |secret| secret.expose()).into(),
            attributes: sticky::attributes(settings).into(),
        })
    }

    pub(super) fn token(&self, upstream: &str, address: &Address) -> Rc<str> {
        sticky::token(&self.secret, upstream, &address.to_string()).into()
    }

    pub(in crate::proxy) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The value of `Set-Cookie` for an endpoint.
    pub(in crate::proxy) fn setting(&self, token: &str) -> Option<HeaderValue> {
        let text = format!("{}={token}{}", self.cookie, self.attributes);
        HeaderValue::try_from(text).ok()
    }
}

impl Members {
    /// What the upstream is counted under.
    pub(in crate::proxy) fn label(&self) -> u32 {
        self.label
    }

    pub(in crate::proxy) fn sticky(&self) -> Option<&Stickiness> {
        self.sticky.as_ref()
    }
}

/// The one that the client's cookie stands for, as long as that is well.
pub(super) fn kept<'a>(members: &'a [Member], ask: &Ask<'_>) -> Option<&'a Member> {
    let token = ask.token?;
    let mut members = members.iter();
    let found = members.find(|one| one.token.as_deref().map(str::as_bytes) == Some(token))?;
    let is_well = found.endpoint.takes_traffic(ask.now) && !ask.tried.has(&found.endpoint);
    is_well.then_some(found)
}
