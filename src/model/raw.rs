//! The configuration as it is written: every key, its type, default and meaning, and nothing that
//! ties one key to another.
//!
//! Not here: whether the values fit together (`build`). A key that stands here is used somewhere.

mod balance;
mod health;
mod observe;
mod resolver;
mod server;
mod tls;
mod traffic;
mod words;

use std::time::Duration;

use super::config::{Lifecycle, LogFormat, LogLevel, OrphanedStreams};
use super::decode::{Delay, Number, section};
pub(super) use balance::{
    BalanceForm, HashForm, PolicyName, RawAttributes, RawBalance, RawHashOn, RawOutliers,
    RawSticky, WordOr,
};
pub(super) use health::{RawCheckHeader, RawHealthCheck};
pub(super) use observe::{LogMode, RawAccessLog, RawTracing};
pub(super) use resolver::RawResolver;
pub(super) use server::{
    RawHeader, RawHttp2, RawHttp2Keepalive, RawLimits, RawListener, RawMatch, RawMirror,
    RawNameRoute, RawRule, RawServer, RawServerEntry, RawUpstream, RawUpstreamHttp2, Weight,
};
pub(super) use tls::{
    RawCertificate, RawClientAuth, RawHsts, RawListenerTls, RawSessionTickets, RawUpstreamTls,
};
pub(super) use traffic::{
    RawBackoff, RawCircuitBreaker, RawEndpointBounds, RawHedge, RawRetry, RawRetryBudget,
    RawRuleBackoff, RawRuleRetry, RawRuleTimeouts, RawTimeouts,
};
pub(super) use words::{PathType, Protocol};

section! {
    /// The whole file.
    RawConfig {
        /// What is accepted and where it goes.
        "server" server: RawServer<'t>; require,
        /// What the program ends with: `edge`, by itself, so that clients are led elsewhere; `sidecar`,
        /// with the application in its pod, which is served until its last connection has ended.
        "lifecycle" lifecycle: Lifecycle = Lifecycle::Edge,
        /// How work in flight ends when the program is told to stop.
        "drain" drain: RawDrain<'t>,
        /// How a change of the file is taken up.
        "reload" reload: RawReload<'t>,
        /// The port for probes, metrics and the status.
        "admin" admin: RawAdmin<'t>,
        /// The program's own log, on stderr.
        "log" log: RawLog<'t>,
        /// The worker processes.
        "worker" worker: RawWorker<'t>,
        /// How host names of upstreams are resolved.
        "resolver" resolver: RawResolver<'t>,
        /// What is counted.
        "metrics" metrics: RawMetrics<'t>,
        /// One line for each request.
        "accessLog" access_log: RawAccessLog<'t>,
        /// Spans of requests for a collector.
        "tracing" tracing: RawTracing<'t>,
    }
}

section! {
    /// `drain:`
    RawDrain {
        /// How long new connections are still taken after SIGTERM, since load balancers learn of it
        /// late. Without it, `5s`, and nothing with `lifecycle: sidecar`.
        "minDelay" min_delay: Delay,
        /// How long requests in flight may go on after that; what is left then is cut off.
        "timeout" timeout: Duration = Duration::from_secs(30),
    }
}

section! {
    /// `reload:`
    RawReload {
        /// How long the file must be left alone before a change of it is read.
        "debounce" debounce: Duration = Duration::from_millis(100),
        /// How often the file is looked at where the system tells of no change.
        "poll" poll: Duration = Duration::from_secs(10),
        /// How long the workers may take to prepare a new configuration before it is given up.
        "prepareTimeout" prepare_timeout: Duration = Duration::from_secs(10),
        /// What happens to a long-lived stream whose rule or upstream a reload removes:
        /// `keep` lets it go on, `drain` ends it within `drain.timeout`, so that not all end at once.
        "orphanedStreams" orphaned_streams: OrphanedStreams = OrphanedStreams::Keep,
        /// Goes back to the generation before, and stays there until the file changes, when a new one
        /// turns out worse than that. Off without the section.
        "guard" guard: RawComparison<'t>,
        /// Tries a new generation on one worker first, and rejects it when that worker does worse
        /// than the others. Off without the section.
        "canary" canary: RawComparison<'t>,
    }
}

section! {
    /// `reload.guard:` and `reload.canary:`
    RawComparison {
        /// How long the new generation is looked at.
        "window" window: Duration = Duration::from_secs(30),
        /// By how many percentage points the share of answers with 5xx, or of failed connects to
        /// upstreams, may be higher.
        "bound" bound: Number<0, 100> = Number(5),
        /// Fewer requests than that in the window say nothing.
        "minRequests" min_requests: Number<1, 1_000_000> = Number(20),
    }
}

section! {
    /// `admin:`
    RawAdmin {
        /// The address of the admin port.
        "listen" listen: &'t str = "127.0.0.1:9901",
        /// A bearer token that lets callers beyond loopback change state; a secret.
        "token" token: &'t str,
    }
}

section! {
    /// `log:`
    RawLog {
        /// The least severe lines that are written.
        "level" level: LogLevel = LogLevel::Info,
        /// `auto` is text on a terminal and JSON elsewhere.
        "format" format: LogFormat = LogFormat::Auto,
    }
}

section! {
    /// `worker:`
    RawWorker {
        /// A worker that gives no sign of life for so long is killed and replaced.
        "hangTimeout" hang_timeout: Duration = Duration::from_secs(10),
    }
}

section! {
    /// `metrics:`
    RawMetrics {
        /// Time series beyond this many are counted together as `_other`.
        "maxSeries" max_series: Number<100, 1_000_000> = Number(10_000),
    }
}
