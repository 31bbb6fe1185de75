//! Replacing the binary: the new one is started beside this one, gets what must not be lost, and when
//! its workers serve, this one drains.

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Instant;

use rustix::rand::{GetRandomFlags, getrandom};

use super::Engine;
use super::ask::restored;
use crate::ipc::message::{Estate, Packed};
use crate::model::secret::Secret;
use crate::shm::names::Kind;
use crate::supervisor::handover::{self, HandoverError, Successor, Word};
use crate::supervisor::launch::Wanted;
use crate::supervisor::signals::Heard;
use crate::supervisor::state::{Event, Ticket};
use crate::supervisor::tickets::Tickets;

type NamedIds = Vec<(u32, Kind, String)>;
/// Id, upstream and address.
type EndpointIds = Vec<(u32, String, String)>;

impl Engine {
    /// USR2.
    pub(super) fn replace(&mut self) {
        if self.state.is_draining()
            || self.hands_over
            || self.successor.is_some()
            || self.state.generation().is_none()
        {
            tracing::warn!("not in a state to be replaced");
            return;
        }
        // What is handed over stays as it is from now on, or a number would be given twice.
        self.tell(Event::Hold);
        self.hands_over = true;
    }

    /// Once what is on its way to the workers is settled.
    pub(super) fn hand_over_if_settled(&mut self) {
        if !self.hands_over || self.state.is_busy() {
            return;
        }
        self.hands_over = false;
        match self.start_successor() {
            Ok(successor) => {
                tracing::info!(pid = successor.pid.as_raw(), "successor started");
                self.successor = Some(successor);
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "no successor, going on");
                self.tell(Event::Release);
            }
        }
    }

    fn start_successor(&self) -> Result<Successor, HandoverError> {
        let names = self.names.labels();
        let labels: NamedIds = names
            .map(|(id, kind, name)| (id, kind, name.to_owned()))
            .collect();
        let endpoints = self.names.endpoints();
        let endpoints: EndpointIds = endpoints
            .map(|(id, upstream, address)| (id, upstream.to_owned(), address.to_owned()))
            .collect();
        let now = Instant::now();
        let fds = vec![self.segment.fd().try_clone_to_owned()?];
        let estate = Estate {
            last_generation: self.state.last_number(),
            labels: Packed::pack(&labels).map_err(std::io::Error::other)?,
            endpoints: Packed::pack(&endpoints).map_err(std::io::Error::other)?,
            secret: self.names.secret().cloned(),
            history: Packed::pack(self.state.history()).map_err(std::io::Error::other)?,
            vigil: Packed::pack(&self.state.vigil(now)).map_err(std::io::Error::other)?,
            pinned: self
                .state
                .pinned()
                .and(self.intake.pinned())
                .map(str::to_owned),
        };
        let tickets = self.tickets.all();
        Successor::start(&self.launch, &estate, tickets, &self.sockets, fds)
    }

    pub(super) fn successor_says(&mut self, word: Word) {
        let Some(successor) = &mut self.successor else {
            return;
        };
        let pid = successor.pid.as_raw();
        match word {
            Word::Ready => {
                successor.serves = true;
                tracing::info!(pid, "the successor serves, draining");
                self.admin.close();
                self.tell(Event::Replaced);
            }
            Word::Failed => {
                tracing::error!(pid, "the successor did not become ready, going on");
                self.call_off_replacing();
                self.tell(Event::Release);
            }
        }
    }

    /// Whoever ends the program does not mean that another one goes on.
    pub(super) fn call_off_replacing(&mut self) {
        self.hands_over = false;
        if let Some(successor) = self.successor.take_if(|successor| !successor.serves) {
            successor.give_up();
        }
    }

    /// Takes what a predecessor has left, and makes up what nobody has left.
    pub(super) fn inherit(&mut self) {
        let Some(left) = &mut self.inheritance else {
            return self.names.set_secret(made_up());
        };
        let secret = left.estate.secret.take();
        self.names.set_secret(secret.unwrap_or_else(made_up));
        self.sockets.inherit(std::mem::take(&mut left.sockets));
        self.tickets = Tickets::new(std::mem::take(&mut left.tickets), Instant::now());
        match left.estate.history.unpack() {
            Ok(history) => self.state.inherit(history),
            Err(error) => tracing::warn!(%error, "the history begins anew"),
        }
        match left.vigil.take().map(|vigil| vigil.unpack()).transpose() {
            Ok(vigil) => {
                let vigil = vigil.unwrap_or_default();
                self.state.keep_vigil(vigil, Instant::now());
            }
            Err(error) => tracing::warn!(%error, "a guard begins anew"),
        }
        match left.estate.labels.unpack::<NamedIds>() {
            Ok(labels) => self.names.restore(labels),
            Err(error) => tracing::warn!(%error, "names get new ids in the counters"),
        }
        match left.estate.endpoints.unpack::<EndpointIds>() {
            Ok(endpoints) => self.names.restore_endpoints(endpoints),
            Err(error) => tracing::warn!(%error, "endpoints get new places on the health board"),
        }
    }

    /// What the predecessor had pinned, unless the file has other contents since.
    pub(super) fn still_pinned(&mut self, file: &Wanted) -> Option<Result<Wanted, String>> {
        let left = self.inheritance.as_ref()?;
        let against = left.estate.pinned.as_ref()?;
        if *against != file.hash {
            return None;
        }
        self.intake.pin();
        let record = self.state.history().serving()?.clone();
        Some(restored(record))
    }

    /// In a container this is process 1, and ends only with its successor; the code is that one's.
    pub(super) async fn stand_by(&mut self) -> Option<ExitCode> {
        let successor = self.served_by_successor()?;
        let (pid, ended) = (successor.pid, successor.ended);
        let code = handover::stand_by(pid, ended, &mut self.signals).await;
        Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    /// What is said to process 1 is meant for whoever serves, from the moment that it does.
    pub(super) fn pass_on(&self, heard: Heard) -> bool {
        let (Some(successor), Some(signal)) = (self.served_by_successor(), heard.number()) else {
            return false;
        };
        successor.signal(signal);
        true
    }

    /// From then on the file is none of our business.
    pub(super) fn is_replaced(&self) -> bool {
        self.successor.as_ref().is_some_and(|one| one.serves)
    }

    pub(super) fn pass_on_tickets(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            self.conflict(
                ticket,
                "a new binary serves, and has read the file: ask again",
            );
        }
    }

    fn served_by_successor(&self) -> Option<&Successor> {
        let successor = self.successor.as_ref();
        successor.filter(|successor| successor.serves && std::process::id() == 1)
    }
}

/// 256 random bits. Should the system have none to give, what the standard library's tables are keyed
/// with has to do.
fn made_up() -> Secret {
    let mut bits = [0_u8; 32];
    if getrandom(&mut bits, GetRandomFlags::empty()) != Ok(bits.len()) {
        for (salt, part) in bits.chunks_mut(8).enumerate() {
            part.copy_from_slice(&RandomState::new().hash_one(salt).to_be_bytes());
        }
    }
    Secret::new(bits.map(|byte| format!("{byte:02x}")).concat())
}
