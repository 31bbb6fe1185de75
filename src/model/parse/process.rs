//! The sections beside `server`: what the program itself is told.

use std::net::SocketAddr;

use super::{Fault, listener};
use crate::model::config::{
    Admin, Comparison, Drain, Listener, Log, Metrics, Reload, Worker, covers,
};
use crate::model::decode::{At, Reader};
use crate::model::raw::{RawComparison, RawConfig};
use crate::model::secret::{Resolve, Secret};
use crate::model::template;
use crate::model::yaml::{NodeId, Tree};

pub(super) fn drain(raw: &RawConfig<'_>) -> Drain {
    let raw = section(&raw.drain);
    Drain {
        min_delay: raw.min_delay.map(|at| at.value.0),
        timeout: raw.timeout(),
    }
}

pub(super) fn reload(raw: &RawConfig<'_>) -> Reload {
    let raw = section(&raw.reload);
    Reload {
        debounce: raw.debounce(),
        poll: raw.poll(),
        prepare_timeout: raw.prepare_timeout(),
        orphaned_streams: raw.orphaned_streams(),
        guard: comparison(&raw.guard),
        canary: comparison(&raw.canary),
    }
}

fn comparison(raw: &Option<At<RawComparison<'_>>>) -> Option<Comparison> {
    let raw = &raw.as_ref()?.value;
    Some(Comparison {
        window: raw.window(),
        bound: raw.bound().0,
        min_requests: raw.min_requests().0,
    })
}

pub(super) fn log(raw: &RawConfig<'_>) -> Log {
    let raw = section(&raw.log);
    Log {
        level: raw.level(),
        format: raw.format(),
    }
}

pub(super) fn worker(raw: &RawConfig<'_>) -> Worker {
    Worker {
        hang_timeout: section(&raw.worker).hang_timeout(),
    }
}

pub(super) fn metrics(raw: &RawConfig<'_>) -> Metrics {
    Metrics {
        max_series: section(&raw.metrics).max_series().0,
    }
}

/// Where the admin port's address stands.
pub(super) fn admin_listen(raw: &RawConfig<'_>) -> NodeId {
    let listen = raw.admin.as_ref().and_then(|admin| admin.value.listen);
    listen.map_or(Tree::ROOT, |text| text.at)
}

pub(super) fn admin(
    raw: &RawConfig<'_>,
    listeners: &[Listener],
    reader: &mut Reader<'_>,
    resolve: &mut Resolve<'_>,
) -> Option<Admin> {
    let raw = section(&raw.admin);
    let token = raw
        .token
        .and_then(|text| reader.accept(text, token(text.value, resolve)));
    let address = listener::address(raw.listen());
    let listen = match raw.listen {
        Some(text) => reader.accept(text, address)?,
        None => address.ok()?,
    };
    // Where it stands by default the environment may have put it elsewhere, which is looked at there.
    let mut all = listeners.iter();
    let taken = all.find(|listener| overlap(listen, listener.address));
    if let (Some(text), Some(listener)) = (raw.listen, taken) {
        let Fault { message, help } = is_taken(listen, listener.address);
        reader.error(text.at, message, help);
    }
    Some(Admin { listen, token })
}

/// Whether who connects may have meant either. Port 0 is whichever is free: never the same one twice.
pub(super) fn overlap(admin: SocketAddr, listener: SocketAddr) -> bool {
    admin.port() != 0 && (covers(admin, listener) || covers(listener, admin))
}

pub(super) fn is_taken(admin: SocketAddr, listener: SocketAddr) -> Fault {
    let message = match admin == listener {
        true => format!("`{admin}` is an address of `server.listen` too"),
        false => format!("`{admin}` overlaps with `{listener}` of `server.listen`"),
    };
    Fault::new(message, "give the admin port an address of its own")
}

pub(super) fn token(text: &str, resolve: &mut Resolve<'_>) -> Result<Secret, Fault> {
    let token = template::parse_secret(text, resolve).map_err(super::header::fault)?;
    match token.expose() {
        "" => Err(Fault::new(
            "the token is empty",
            "give it a value, or leave the key out",
        )),
        _ => Ok(token),
    }
}

/// A section that may be left out as a whole.
pub(super) fn section<S: Clone + Default>(written: &Option<At<S>>) -> S {
    written
        .as_ref()
        .map(|at| at.value.clone())
        .unwrap_or_default()
}
