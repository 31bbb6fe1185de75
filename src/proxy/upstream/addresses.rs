//! Where the servers of the configuration are: an address as it stands, or what the supervisor last
//! resolved a name to. A name's addresses change while requests run, without a new generation.
//!
//! Not here: resolving; a worker asks no name server.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use super::endpoint::{Endpoint, Endpoints};
use crate::model::config::ServerHost;

#[derive(Default)]
pub(in crate::proxy) struct Addresses {
    names: RefCell<HashMap<String, Name>>,
}

#[derive(Default)]
struct Name {
    addresses: Vec<IpAddr>,
    /// Who uses the name, one per port; gone when no generation uses it any more.
    places: HashMap<u16, Weak<Place>>,
}

/// One server of the configuration: the endpoints that it stands for right now.
pub(in crate::proxy) struct Place {
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    turn: Cell<usize>,
}

impl Addresses {
    pub(in crate::proxy) fn place(
        &self,
        host: &ServerHost,
        port: u16,
        endpoints: &Endpoints,
    ) -> Rc<Place> {
        match host {
            ServerHost::Ip(ip) => Rc::new(Place::of(&[*ip], port, endpoints)),
            ServerHost::Name(name) => self.named(name, port, endpoints),
        }
    }

    /// Takes effect for the next request; connections in use go on.
    pub(in crate::proxy) fn set(&self, name: &str, addresses: Vec<IpAddr>, endpoints: &Endpoints) {
        let mut names = self.names.borrow_mut();
        let known = names.entry(name.to_owned()).or_default();
        known.places.retain(|port, place| {
            let place = place.upgrade();
            if let Some(place) = &place {
                place
                    .endpoints
                    .replace(resolved(&addresses, *port, endpoints));
            }
            place.is_some()
        });
        known.addresses = addresses;
    }

    fn named(&self, name: &str, port: u16, endpoints: &Endpoints) -> Rc<Place> {
        let mut names = self.names.borrow_mut();
        let known = names.entry(name.to_owned()).or_default();
        if let Some(place) = known.places.get(&port).and_then(Weak::upgrade) {
            return place;
        }
        let place = Rc::new(Place::of(&known.addresses, port, endpoints));
        known.places.insert(port, Rc::downgrade(&place));
        place
    }
}

impl Place {
    fn of(addresses: &[IpAddr], port: u16, endpoints: &Endpoints) -> Self {
        Self {
            endpoints: RefCell::new(resolved(addresses, port, endpoints)),
            turn: Cell::new(0),
        }
    }

    pub(in crate::proxy) fn has_address(&self) -> bool {
        !self.endpoints.borrow().is_empty()
    }

    pub(in crate::proxy) fn idle_connections(&self) -> usize {
        self.endpoints
            .borrow()
            .iter()
            .map(|endpoint| endpoint.idle_count())
            .sum()
    }

    /// The next of its endpoints in turn; `None` while the name has no address.
    pub(in crate::proxy) fn next(&self) -> Option<Rc<Endpoint>> {
        let endpoints = self.endpoints.borrow();
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        let index = turn.checked_rem(endpoints.len())?;
        endpoints.get(index).cloned()
    }
}

fn resolved(addresses: &[IpAddr], port: u16, endpoints: &Endpoints) -> Vec<Rc<Endpoint>> {
    addresses
        .iter()
        .map(|ip| endpoints.at(SocketAddr::new(*ip, port)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_address_until_it_is_told() {
        let (addresses, endpoints) = (Addresses::default(), Endpoints::default());
        let name = ServerHost::Name("todos".into());
        let place = addresses.place(&name, 80, &endpoints);
        assert!(place.next().is_none());

        addresses.set(
            "todos",
            vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()],
            &endpoints,
        );
        let mut seen = [place.next(), place.next()].map(|e| e.unwrap().address.to_string());
        seen.sort();
        assert_eq!(seen, ["10.0.0.1:80", "10.0.0.2:80"]);

        let again = addresses.place(&name, 80, &endpoints);
        assert!(
            Rc::ptr_eq(&place, &again),
            "the next generation has the same"
        );
        let other = addresses.place(&name, 81, &endpoints);
        assert_eq!(other.next().unwrap().address.port(), 81);

        addresses.set("todos", Vec::new(), &endpoints);
        assert!(place.next().is_none());
    }
}
