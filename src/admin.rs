//! The admin port: probes, metrics, status, dashboard, and the few calls that change something.
//!
//! It sees the supervisor through two seams only: `Status`, plain data that the supervisor publishes,
//! and `Command`, which it sends and waits for. It never imports the supervisor, holds no state of
//! its own that matters, and no client of it can make the supervisor wait.

mod command;
mod status;
mod time;

pub use command::{Command, CommandError, CommandReply, Reply, Verb};
pub use status::{Listener, Reload, ReloadResult, ServerState, Status, Worker, WorkerState};
pub use time::Timestamp;
