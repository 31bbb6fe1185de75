//! The connections of the admin port, and which of them has to go when too many have come. A newcomer
//! takes the place of one that only waits: whoever fills the port with silence fills it in vain.
//!
//! Not here: how long a connection may wait where there is room.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::AbortHandle;

/// Connections at once, over all peers and from one.
pub(super) const CONNECTIONS: usize = 128;
pub(super) const CONNECTIONS_PER_PEER: usize = 32;

#[derive(Default)]
pub(super) struct Crowd(RefCell<Visitors>);

#[derive(Default)]
struct Visitors {
    /// By when they did something last: the first has waited longest.
    all: BTreeMap<u64, Visitor>,
    last: u64,
}

struct Visitor {
    peer: IpAddr,
    stage: Stage,
    /// Once it is known.
    task: Option<AbortHandle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has asked nothing, or has got its answer.
    Waiting,
    Asking,
}

/// A connection's place, given back on drop.
pub(super) struct PlaceGuard {
    crowd: Rc<Crowd>,
    number: RefCell<u64>,
}

impl Crowd {
    /// `None` where everybody who could make room is being answered.
    pub(super) fn admit(self: &Rc<Self>, peer: IpAddr) -> Option<Rc<PlaceGuard>> {
        let mut visitors = self.0.borrow_mut();
        if let Some(peer) = visitors.crowding(peer) {
            visitors.send_away(peer)?;
        }
        let visitor = Visitor {
            peer,
            stage: Stage::Waiting,
            task: None,
        };
        let number = visitors.add(visitor);
        Some(Rc::new(PlaceGuard {
            crowd: Rc::clone(self),
            number: RefCell::new(number),
        }))
    }
}

impl Visitors {
    fn add(&mut self, visitor: Visitor) -> u64 {
        self.last += 1;
        self.all.insert(self.last, visitor);
        self.last
    }

    /// Whose connections are too many with one more of this peer.
    fn crowding(&self, peer: IpAddr) -> Option<IpAddr> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for visitor in self.all.values() {
            *counts.entry(visitor.peer).or_default() += 1;
        }
        if counts
            .get(&peer)
            .is_some_and(|mine| *mine >= CONNECTIONS_PER_PEER)
        {
            return Some(peer);
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.filter(|_| self.all.len() >= CONNECTIONS)
            .map(|(peer, _)| peer)
    }

    /// Of this peer the one that has waited longest.
    fn send_away(&mut self, peer: IpAddr) -> Option<()> {
        let mut waiting = self.all.iter();
        let (number, _) =
            waiting.find(|(_, one)| one.peer == peer && one.stage == Stage::Waiting)?;
        let number = *number;
        let visitor = self.all.remove(&number)?;
        if let Some(task) = visitor.task {
            task.abort();
        }
        Some(())
    }
}

impl PlaceGuard {
    /// What has to end where another one takes the place.
    pub(super) fn is_held_by(&self, task: AbortHandle) {
        let mut visitors = self.crowd.0.borrow_mut();
        match visitors.all.get_mut(&self.number.borrow()) {
            Some(visitor) => visitor.task = Some(task),
            None => task.abort(),
        }
    }

    pub(super) fn is_now(&self, stage: Stage) {
        let mut visitors = self.crowd.0.borrow_mut();
        let mut number = self.number.borrow_mut();
        if let Some(visitor) = visitors.all.remove(&number) {
            *number = visitors.add(Visitor { stage, ..visitor });
        }
    }
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        let mut visitors = self.crowd.0.borrow_mut();
        visitors.all.remove(&self.number.borrow());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()])
    }

    fn of(crowd: &Crowd, peer: IpAddr) -> usize {
        let visitors = crowd.0.borrow();
        visitors.all.values().filter(|one| one.peer == peer).count()
    }

    #[test]
    fn who_waits_longest_makes_room_and_who_asks_does_not() {
        let crowd = Rc::<Crowd>::default();
        let mut places: Vec<_> = (0..CONNECTIONS_PER_PEER)
            .map(|_| crowd.admit(peer(1)).unwrap())
            .collect();
        let first = *places[0].number.borrow();
        places.push(crowd.admit(peer(1)).unwrap());
        assert_eq!(of(&crowd, peer(1)), CONNECTIONS_PER_PEER);
        assert!(
            !crowd.0.borrow().all.contains_key(&first),
            "the oldest went"
        );
        places[0].is_now(Stage::Asking);
        assert_eq!(of(&crowd, peer(1)), CONNECTIONS_PER_PEER, "for good");

        places.iter().for_each(|place| place.is_now(Stage::Asking));
        assert!(crowd.admit(peer(1)).is_none(), "all are being answered");
        places[5].is_now(Stage::Waiting);
        assert!(crowd.admit(peer(1)).is_some());
        assert!(crowd.admit(peer(2)).is_some(), "others are not concerned");
        drop(places);
        assert!(crowd.0.borrow().all.is_empty());
    }

    #[test]
    fn where_all_together_are_too_many_those_of_the_greatest_crowd_go() {
        let crowd = Rc::<Crowd>::default();
        let scrape = crowd.admit(peer(9)).unwrap();
        let mut places = Vec::new();
        for n in 0..CONNECTIONS * 2 {
            places.push(crowd.admit(peer(10 + n % 100)).unwrap());
        }
        assert_eq!(crowd.0.borrow().all.len(), CONNECTIONS);
        assert_eq!(of(&crowd, peer(9)), 1, "one alone is no crowd");
        drop(scrape);
    }
}
