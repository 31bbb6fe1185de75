//! The one place where the facts of the data plane leave it: once per request, when its response has
//! been written or given up, and when connections come and go.
//!
//! This file says what is counted, logged and traced of them. Not here: cells (`series`), how a line
//! or a span looks (`lines`, `otlp`), and the threads and tasks that send them away (`writer`, `export`).

mod export;
mod lines;
mod observation;
mod otlp;
mod passing;
mod series;
mod trace;
mod writer;
mod writers;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::error::Reason;
use crate::model::config::Config;
use crate::model::config::observe::{self as settings, LogDestination};
use crate::shm::names::Index;
use crate::shm::recorder::{Counter, Recorder};
use crate::shm::series::{Family, Handshake, Key, Outcome};
use export::Exporter;
use lines::Lines;
pub(in crate::proxy) use observation::Kind;
pub use observation::Observation;
pub(in crate::proxy) use passing::Passing;
use series::{Counted, ListenerCells, Series, UpstreamCells};
use trace::{Sampler, Trace};
use writers::Writers;

/// How long the last spans may take when the worker ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a generation counts under, logs and traces: made when it is prepared, held by its snapshot.
#[derive(Debug)]
pub struct Watched {
    pub generation: u64,
    series: Series,
    lines: Option<Lines>,
    tracing: Option<Tracing>,
}

#[derive(Debug)]
struct Tracing {
    sampler: Sampler,
    exporter: Rc<Exporter>,
    routes: Box<[Box<str>]>,
    upstreams: Box<[Box<str>]>,
}

#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    #[error("accessLog.path: {0} cannot be opened: {1}")]
    AccessLog(LogDestination, std::io::Error),
}

/// One per worker.
#[derive(Debug)]
pub struct Observer {
    recorder: Recorder,
    slot: u16,
    requests: Cell<u64>,
    in_flight: Cell<u64>,
    connections: Cell<u64>,
    in_flight_cell: Counter,
    listeners: RefCell<Vec<(u32, ListenerCells)>>,
    reasons: Box<[OnceCell<Counter>]>,
    /// The one that is written to now; the next generation takes it over where it can.
    writers: Writers,
    exporter: RefCell<Option<Rc<Exporter>>>,
    #[cfg(test)]
    seen: RefCell<Vec<Observation>>,
}

impl Observer {
    /// `recorder` is the worker's own row.
    pub fn new(recorder: Recorder) -> Observer {
        Observer {
            slot: recorder.slot(),
            in_flight_cell: recorder.counter(Key::new(Family::InFlight, 0, 0, 0)),
            recorder,
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            connections: Cell::new(0),
            listeners: RefCell::default(),
            reasons: Reason::ALL.iter().map(|_| OnceCell::new()).collect(),
            writers: Writers::default(),
            exporter: RefCell::default(),
            #[cfg(test)]
            seen: RefCell::default(),
        }
    }

    /// Finds out where a generation counts, and opens what it writes to.
    pub(super) fn prepare(
        &self,
        config: &Config,
        index: &Index,
        generation: u64,
    ) -> Result<Rc<Watched>, ObserveError> {
        let lines = config.access_log.as_ref().map(|log| {
            let writer = self.writers.find(&log.destination, log.buffer as usize);
            let writer =
                writer.map_err(|error| ObserveError::AccessLog(log.destination.clone(), error))?;
            Ok(Lines::build(config, log, writer, self.slot))
        });
        let tracing = config.tracing.as_ref().map(|settings| Tracing {
            sampler: Sampler::new(settings.one_of),
            exporter: self.exporter_for(settings),
            routes: config
                .rules
                .iter()
                .map(|rule| rule.name.as_str().into())
                .collect(),
            upstreams: config
                .upstreams
                .iter()
                .map(|up| up.id.as_str().into())
                .collect(),
        });
        self.recorder.set_limit(config.metrics.max_series as usize);
        let (series, lines) = (Series::build(index), lines.transpose()?);
        Ok(Rc::new(Watched {
            generation,
            series,
            lines,
            tracing,
        }))
    }

    /// A generation serves from now on: series whose names are gone are given back.
    pub(super) fn commit(&self, watched: &Watched) {
        let lines = watched.lines.as_ref();
        self.writers
            .serve(lines.map(|lines| Rc::clone(&lines.writer)));
        *self.exporter.borrow_mut() = watched
            .tracing
            .as_ref()
            .map(|tracing| Rc::clone(&tracing.exporter));
        self.recorder.forget(|key| watched.series.known.has(key));
    }

    fn exporter_for(&self, settings: &settings::Tracing) -> Rc<Exporter> {
        match self.exporter.borrow().as_ref() {
            Some(exporter) if exporter.settings() == settings => Rc::clone(exporter),
            _ => Rc::new(Exporter::start(settings, self.slot)),
        }
    }

    pub fn connection_opened(&self, listener: u32) {
        self.connections.set(self.connections.get() + 1);
        self.with_listener(listener, |cells| {
            cells.accepted.add(1);
            cells.idle.add(1);
        });
    }

    pub fn connection_closed(&self, listener: u32) {
        self.connections.set(self.connections.get() - 1);
        self.with_listener(listener, |cells| cells.idle.sub(1));
    }

    pub(super) fn handshake(&self, listener: u32, result: Handshake) {
        let key = Key::new(Family::Handshakes, listener, 0, result as u16);
        self.recorder.counter(key).add(1);
    }

    pub fn request_began(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.in_flight_cell.add(1);
    }

    /// The first of a connection's requests has begun.
    pub fn connection_busy(&self, listener: u32) {
        self.with_listener(listener, |cells| {
            cells.idle.sub(1);
            cells.active.add(1);
        });
    }

    /// The last of a connection's requests has ended.
    pub fn connection_idle(&self, listener: u32) {
        self.with_listener(listener, |cells| {
            cells.active.sub(1);
            cells.idle.add(1);
        });
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Once for every request that began, whatever became of it.
    pub(super) fn request_ended(&self, observation: &Observation) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.in_flight_cell.sub(1);
        self.requests.set(self.requests.get() + 1);
        self.count(observation);
        let watched = &observation.watched;
        if let Some(lines) = &watched.lines {
            lines.request(observation);
        }
        if let Some((tracing, trace)) = watched.tracing.as_ref().zip(observation.trace.as_ref()) {
            tracing.export(observation, trace);
        }
        tracing::debug!(
            target: "sluice::request",
            method = %observation.method,
            status = observation.status.map(|status| status.as_u16()),
            reason = observation.reason.map(Reason::code),
            "request"
        );
    }

    fn count(&self, seen: &Observation) {
        let series = &seen.watched.series;
        let counted = Counted {
            route: seen.route,
            upstream: seen.upstream,
            method: &seen.method,
            code: seen.status.map_or(0, |status| status.as_u16()),
            duration: seen.duration,
            request_bytes: seen.request_bytes,
            response_bytes: seen.response_bytes,
        };
        series.request(&self.recorder, &counted);
        if let Some(reason) = seen.reason {
            self.count_reason(reason);
        }
        if let (Some(cells), Some(_)) = (series.upstream(seen.upstream), &seen.endpoint) {
            self.count_upstream(cells, seen);
        }
    }

    /// By itself where no request is to be blamed for it.
    pub(super) fn count_reason(&self, reason: Reason) {
        if let Some(cell) = self.reasons.get(reason.index()) {
            let key = || Key::new(Family::Errors, reason.index() as u32, 0, 0);
            cell.get_or_init(|| self.recorder.counter(key())).add(1);
        }
    }

    fn count_upstream(&self, cells: &UpstreamCells, seen: &Observation) {
        if let Some(head) = seen.upstream_head {
            cells.head(&self.recorder, head);
        }
        if let Some(connect) = seen.connect {
            cells.connect(&self.recorder, connect);
        }
        if seen.attempts > 1 {
            cells.retries(&self.recorder, u64::from(seen.attempts - 1));
        }
    }

    fn with_listener(&self, id: u32, then: impl FnOnce(&ListenerCells)) {
        let mut listeners = self.listeners.borrow_mut();
        let at = match listeners.iter().position(|(known, _)| *known == id) {
            Some(at) => at,
            None => {
                listeners.push((id, ListenerCells::find(&self.recorder, id)));
                listeners.len() - 1
            }
        };
        if let Some((_, cells)) = listeners.get(at) {
            then(cells);
        }
    }

    /// Every second or so: what has gathered is written, and what is cheaper to look at than to count
    /// is looked at. `idle` tells how many connections wait for each upstream.
    pub(super) fn tick(&self, watched: &Watched, idle: impl Fn(u32) -> usize) {
        for (upstream, cells) in (0..).zip(watched.series.upstreams()) {
            cells.set_idle(&self.recorder, idle(upstream) as u64);
        }
        self.count_outcomes(Family::LogLines, self.writers.flush());
        if let Some(exporter) = self.exporter.borrow().as_ref() {
            self.count_outcomes(Family::Spans, exporter.take_counts());
        }
    }

    fn count_outcomes(&self, family: Family, (written, dropped): (u64, u64)) {
        for (outcome, count) in [(Outcome::Written, written), (Outcome::Dropped, dropped)] {
            if count > 0 {
                self.recorder
                    .counter(Key::new(family, outcome as u32, 0, 0))
                    .add(count);
            }
        }
    }

    /// The access log's file has been moved away.
    pub fn reopen_logs(&self) {
        self.writers.reopen();
    }

    /// Writes and sends what is left, before the worker ends.
    pub(super) async fn finish(&self) {
        self.count_outcomes(Family::LogLines, self.writers.finish());
        let exporter = self.exporter.borrow().clone();
        if let Some(exporter) = exporter {
            // A worker that drains is not held up by a collector that is away.
            let _late = tokio::time::timeout(FAREWELL, exporter.finish()).await;
            self.count_outcomes(Family::Spans, exporter.take_counts());
        }
    }

    /// Says that the worker's loop turns.
    pub fn beat(&self) {
        self.recorder.beat();
    }

    /// Requests that have ended.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Client connections that are open.
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    #[cfg(test)]
    pub(super) fn totals(&self) -> crate::shm::totals::Totals {
        crate::shm::totals::Totals::read(self.recorder.segment())
    }

    #[cfg(test)]
    pub(super) fn keep_seen(&self, seen: Observation) {
        self.seen.borrow_mut().push(seen);
    }

    #[cfg(test)]
    pub(super) fn take_seen(&self) -> Vec<Observation> {
        self.seen.take()
    }
}

impl Tracing {
    fn export(&self, seen: &Observation, trace: &Trace) {
        if trace.is_sampled() {
            let name = |names: &[Box<str>], index: Option<u32>| {
                names.get(index? as usize).map(|name| name.to_string())
            };
            let (route, upstream) = (
                name(&self.routes, seen.route),
                name(&self.upstreams, seen.upstream),
            );
            let names = otlp::Names {
                route: route.as_deref(),
                upstream: upstream.as_deref(),
            };
            self.exporter.add(otlp::span(seen, trace, &names));
        }
    }
}

impl Watched {
    /// Nothing is counted under names, logged or traced: for what comes before the first generation.
    #[cfg(test)]
    pub(super) fn nothing(generation: u64) -> Rc<Watched> {
        let series = Series::build(&Index::default());
        Rc::new(Watched {
            generation,
            series,
            lines: None,
            tracing: None,
        })
    }
}
