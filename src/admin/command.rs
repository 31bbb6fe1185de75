//! What an operator may ask of the running program. The supervisor answers each exactly once; an
//! answer that never comes is the supervisor's end, and is told as such.

use tokio::sync::oneshot;

/// One request with the place for its answer.
#[derive(Debug)]
pub struct Command {
    pub verb: Verb,
    pub reply: Reply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Answer at once: shows that the supervisor's loop turns.
    Ping,
    /// Look at the configuration now; answered when the reload is over.
    Reload,
    /// Stop taking connections, finish what runs, then exit.
    Drain,
    /// Bring an earlier generation back and stay there until the file changes.
    Rollback { generation: Option<u64> },
    /// Follow the file again.
    Unpin,
    /// Exit once the last connection has ended, as a sidecar whose app is done.
    Quit,
    /// Change what is logged, as the `log.level` key would.
    LogLevel { filter: String },
    /// Say what a reload to this configuration would change.
    Diff { text: Text },
}

/// A configuration as written. Its secrets are nobody's business, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

pub type Reply = oneshot::Sender<Result<CommandReply, CommandError>>;

/// What happened, in one line, with the generation that serves now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CommandReply {
    pub generation: u64,
    pub message: String,
    /// In words: what a reload has changed, or would change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The configuration, or what was asked, was refused; everything stays as it was.
    #[error("refused: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// Not in this state: a reload while draining, a rollback without a history.
    #[error("{0}")]
    Conflict(String),
}
