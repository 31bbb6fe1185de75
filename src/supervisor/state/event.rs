//! What goes into the state machine, and what comes out.

use std::time::Duration;

use super::guard::Measured;
use super::history::Record;
use super::{Plan, Ticket, WorkerId};

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A valid configuration that is to be served.
    Wanted(Box<Plan>),
    /// One that is not valid; only remembered.
    Refused(Box<Record>, Vec<Ticket>),
    /// The answers to `Action::Bind`.
    Bound {
        generation: u64,
    },
    NotBound {
        generation: u64,
        reasons: Vec<String>,
    },
    /// From workers; the first says that it can be spoken to.
    Ready(WorkerId),
    Prepared(WorkerId, u64),
    Rejected(WorkerId, u64, String),
    Committed(WorkerId, u64),
    /// Its process is gone, or could not be started.
    Exited(WorkerId),
    /// It does not beat, or its channel is full or broken.
    Hung(WorkerId),
    /// The counters, cumulative; told every second while a guard or a canary is configured.
    Measured(Measured),
    /// Follow the file again; the plan of what it says follows as `Wanted`.
    Unpin,
    /// Begin with no other configuration than the one under way: what is served is handed over.
    Hold,
    Release,
    /// Another process serves what was handed over: what waits is its business now.
    Replaced,
    /// An orderly end, as the configuration's lifecycle has it.
    Leave,
    /// The application that this is beside has ended.
    Quit,
    /// So many client connections are open; told while `State::awaits_idle`.
    Connections(u64),
    /// Accept no more from now on.
    Drain,
    /// End at once, losing what is in flight.
    Stop,
    /// `State::deadline` has passed.
    Tick,
}

/// What is to be done about it, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    Spawn {
        worker: WorkerId,
        slot: u16,
    },
    Kill {
        worker: WorkerId,
        reason: KillReason,
    },
    /// Make the sockets that a generation needs and that are not there; answered with an event.
    Bind {
        generation: u64,
    },
    /// Close the sockets that only this generation would have needed.
    Unbind {
        generation: u64,
    },
    Prepare {
        worker: WorkerId,
        generation: u64,
    },
    Abort {
        worker: WorkerId,
        generation: u64,
    },
    /// The generation is decided: open its sockets, take over what concerns the supervisor itself.
    Open {
        generation: u64,
    },
    /// Serve by it alone, for others to see how that goes, on the sockets that there are.
    Try {
        worker: WorkerId,
        generation: u64,
    },
    Commit {
        worker: WorkerId,
        generation: u64,
    },
    /// All workers serve the generation: close what only earlier ones needed.
    Retire {
        generation: u64,
    },
    /// Serve on, and tell clients to make their next connection elsewhere.
    Leave {
        worker: WorkerId,
    },
    /// Let a worker end: at once where the time is zero, whenever it is done where there is none.
    DrainWorker {
        worker: WorkerId,
        timeout: Option<Duration>,
    },
    /// Close all listening sockets; the workers do so too when they have accepted what waits there.
    Close,
    /// The fate of a configuration is known.
    Conclude {
        record: Box<Record>,
        tickets: Vec<Ticket>,
    },
    /// Whoever waits for a configuration that another process has taken up.
    PassOn {
        tickets: Vec<Ticket>,
    },
    /// Bring this generation back: the one after it has made things worse.
    GoBack {
        to: u64,
        from: u64,
        why: String,
    },
    /// The guard has found nothing against it.
    Content {
        generation: u64,
    },
    /// Every worker serves, for the first time.
    AnnounceReady {
        generation: u64,
    },
    Exit(ExitReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// Said nothing after its start.
    NotReady,
    /// Did not answer `Prepare` or `Commit`.
    NoAnswer,
    Hung,
    /// Cannot prepare what the others serve.
    CannotServe,
    /// Its time to drain is over.
    DrainTimeout,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    Drained,
    /// By an operator who did not want to wait.
    Stopped,
    /// The first generation could not be served.
    FailedToStart,
}
