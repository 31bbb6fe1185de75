//! What the supervisor has told of the servers whose names it looks up: their endpoints. They change
//! while requests run, without a new generation.
//!
//! Not here: looking up; a worker asks no name server.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use super::members::{Members, Premises};
use crate::model::resolved::{Resolved, ResolvedEndpoint, Standing};

#[derive(Default)]
pub(in crate::proxy) struct Addresses {
    /// By upstream.
    known: RefCell<HashMap<String, Known>>,
}

#[derive(Default)]
struct Known {
    /// By server.
    servers: HashMap<String, Vec<ResolvedEndpoint>>,
    /// Who is made of them: the same upstream in each generation that is prepared or at work.
    users: Vec<Weak<Members>>,
}

impl Addresses {
    /// Takes effect for the next request; connections in use go on. A server without an endpoint is
    /// one that no generation has any more: who still uses it keeps what it has.
    pub(in crate::proxy) fn set(&self, told: Resolved, premises: &Premises<'_>) {
        let mut known = self.known.borrow_mut();
        if told.standing == Standing::Removed {
            if let Some(upstream) = known.get_mut(&told.upstream) {
                upstream.servers.remove(&told.server);
            }
            known.retain(|_, upstream| upstream.is_used());
            return;
        }
        let upstream = known.entry(told.upstream).or_default();
        upstream.servers.insert(told.server, told.endpoints);
        let servers = &upstream.servers;
        upstream.users.retain(|members| {
            let members = members.upgrade();
            if let Some(members) = &members {
                members.rebuild(|server| servers.get(server).cloned(), premises);
            }
            members.is_some()
        });
    }

    /// Has the members follow what is told from now on, and what was told before.
    pub(in crate::proxy) fn attach(&self, members: &Rc<Members>, premises: &Premises<'_>) {
        let mut known = self.known.borrow_mut();
        let upstream = known.entry(members.upstream().to_owned()).or_default();
        upstream.users.retain(|members| members.strong_count() > 0);
        upstream.users.push(Rc::downgrade(members));
        members.rebuild(|server| upstream.servers.get(server).cloned(), premises);
    }
}

impl Known {
    fn is_used(&self) -> bool {
        let mut users = self.users.iter();
        !self.servers.is_empty() || users.any(|members| members.strong_count() > 0)
    }
}
