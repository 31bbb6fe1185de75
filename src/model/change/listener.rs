//! What differs between the listeners of two configurations. One that stays at its address is the same
//! one, whatever else is said of it.

use super::Change;
use crate::model::config::Config;

pub(super) fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let at = |config: &'_ Config, address| {
        let mut all = config.listeners.iter();
        all.find(|listener| listener.address == address).cloned()
    };
    let gone = old
        .listeners
        .iter()
        .filter(|l| at(new, l.address).is_none());
    let gone = gone.map(|listener| Change::ListenerRemoved {
        address: listener.address.to_string(),
    });
    let others = new.listeners.iter().filter_map(|listener| {
        let address = listener.address.to_string();
        match at(old, listener.address) {
            None => Some(Change::ListenerAdded { address }),
            Some(before) if before != *listener => Some(Change::ListenerChanged { address }),
            Some(_) => None,
        }
    });
    gone.chain(others).collect()
}
