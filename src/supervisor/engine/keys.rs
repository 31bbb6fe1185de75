//! The keys of TLS session tickets on their way to the workers.
//!
//! Not here: making them and their ages (`supervisor/tickets`).

use std::time::Instant;

use super::Engine;
use crate::ipc::message::{TicketKeys, ToWorker};
use crate::model::config::Config;
use crate::model::config::tls::{SessionTickets, TicketMode};

impl Engine {
    pub(super) fn rotate_tickets(&mut self) {
        let Some(config) = self.config() else { return };
        if self
            .tickets
            .rotate(config.session_tickets.rotation, Instant::now())
        {
            self.send_ticket_keys(&config);
        }
    }

    /// To all workers; those that come later get them when they are ready.
    pub(super) fn send_ticket_keys(&mut self, config: &Config) {
        let keys = self.ticket_keys(Some(config));
        for (worker, error) in self.children.send_to_all(&ToWorker::TicketKeys(keys)) {
            self.check(worker, Err(error));
        }
    }

    pub(super) fn ticket_keys(&self, config: Option<&Config>) -> TicketKeys {
        match config.map(|config| config.session_tickets) {
            Some(SessionTickets {
                mode: TicketMode::On,
                rotation,
            }) => self.tickets.keys(rotation),
            _ => TicketKeys::default(),
        }
    }
}
