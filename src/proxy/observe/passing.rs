//! What passes over connections that are carried as they are: upgraded ones, and those of TCP
//! listeners. Counted while it passes, since they may stay for days.
//!
//! Not here: what a request or a connection comes to in the end.

use std::cell::Cell;
use std::time::Instant;

use super::{Observation, Observer, Watched};
use crate::shm::recorder::{Counter, Histogram};
use crate::shm::series::{Direction, Family, Key};

/// One such connection, counted as open until it is dropped.
pub(in crate::proxy) struct Passing {
    open: Counter,
    began: Instant,
    duration: Option<Histogram>,
    up: Way,
    down: Way,
}

/// One direction.
struct Way {
    counter: Counter,
    bytes: Cell<u64>,
}

impl Observer {
    /// Once for every connection that began, whatever became of it.
    pub(in crate::proxy) fn connection_ended(&self, seen: &Observation) {
        self.connection_idle(seen.listener);
        if let Some(reason) = seen.reason {
            self.count_reason(reason);
        }
        let cells = seen.watched.series.upstream(seen.upstream);
        if let (Some(cells), Some(_)) = (cells, &seen.endpoint) {
            self.count_upstream(cells, seen);
        }
        if let Some(lines) = &seen.watched.lines {
            lines.request(seen);
        }
    }

    /// A connection to the upstream has been upgraded.
    pub(in crate::proxy) fn tunnel_opened(&self, watched: &Watched, upstream: u32) -> Passing {
        let upstream = watched.series.upstream_id(upstream);
        let key = |family, detail| Key::new(family, upstream, 0, detail);
        self.passing(
            key(Family::Tunnels, 0),
            key(Family::TunnelsOpened, 0),
            None,
            |direction| key(Family::TunnelBytes, direction as u16),
        )
    }

    /// A connection of a TCP listener has reached the upstream.
    pub(in crate::proxy) fn tcp_opened(
        &self,
        watched: &Watched,
        listener: u32,
        upstream: u32,
    ) -> Passing {
        let upstream = watched.series.upstream_id(upstream);
        let key = |family, detail| Key::new(family, listener, upstream, detail);
        let duration = self.recorder().histogram(key(Family::TcpDuration, 0));
        self.passing(
            key(Family::TcpConnections, 0),
            key(Family::TcpOpened, 0),
            Some(duration),
            |direction| key(Family::TcpBytes, direction as u16),
        )
    }

    fn passing(
        &self,
        open: Key,
        opened: Key,
        duration: Option<Histogram>,
        bytes: impl Fn(Direction) -> Key,
    ) -> Passing {
        let counter = |key| self.recorder().counter(key);
        let way = |direction| Way {
            counter: counter(bytes(direction)),
            bytes: Cell::new(0),
        };
        counter(opened).add(1);
        let open = counter(open);
        open.add(1);
        Passing {
            open,
            began: Instant::now(),
            duration,
            up: way(Direction::ToUpstream),
            down: way(Direction::ToClient),
        }
    }
}

impl Passing {
    pub(in crate::proxy) fn count(&self, direction: Direction, bytes: usize) {
        let way = match direction {
            Direction::ToUpstream => &self.up,
            Direction::ToClient => &self.down,
        };
        way.bytes.set(way.bytes.get() + bytes as u64);
        way.counter.add(bytes as u64);
    }

    pub(in crate::proxy) fn to_upstream(&self) -> u64 {
        self.up.bytes.get()
    }

    pub(in crate::proxy) fn to_client(&self) -> u64 {
        self.down.bytes.get()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.open.sub(1);
        if let Some(duration) = &self.duration {
            duration.record(self.began.elapsed());
        }
    }
}
