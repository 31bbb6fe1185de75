//! Where one generation counts: for each route and upstream the cells in shared memory, found once and
//! then added to without a search by name.
//!
//! Cells are looked up when a route is first used, a method and code when they first occur: most
//! routes of a large configuration are never used by a given worker. Not here: what is counted when.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use http::Method;

use crate::shm::names::{Index, Known};
use crate::shm::recorder::{Counter, Histogram, Recorder};
use crate::shm::series::{ConnectionState, Family, Key, NONE, method_and_code};

/// One generation's cells.
#[derive(Debug)]
pub(super) struct Series {
    routes: Box<[RouteCells]>,
    upstreams: Box<[UpstreamCells]>,
    /// Requests that no rule took.
    unrouted: RouteCells,
    pub(super) known: Known,
}

#[derive(Debug)]
struct RouteCells {
    id: u32,
    /// One for each upstream that the route was seen to use: one, or a few.
    pairs: RefCell<Vec<PairCells>>,
}

#[derive(Debug)]
struct PairCells {
    upstream: u32,
    /// By method and code, sorted.
    requests: Vec<(u16, Counter)>,
    duration: Histogram,
    request_bytes: OnceCell<Counter>,
    response_bytes: OnceCell<Counter>,
}

#[derive(Debug)]
pub(super) struct UpstreamCells {
    id: u32,
    head: OnceCell<Histogram>,
    connect: OnceCell<Histogram>,
    retries: OnceCell<Counter>,
    idle: OnceCell<Counter>,
}

#[derive(Debug)]
pub(super) struct ListenerCells {
    pub(super) accepted: Counter,
    pub(super) active: Counter,
    pub(super) idle: Counter,
}

/// What is counted of a request under its route and upstream.
pub(super) struct Counted<'a> {
    pub(super) route: Option<u32>,
    pub(super) upstream: Option<u32>,
    pub(super) method: &'a Method,
    /// 0 where nothing was answered.
    pub(super) code: u16,
    pub(super) duration: Duration,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

impl Series {
    pub(super) fn build(index: &Index) -> Series {
        Series {
            routes: index.routes.iter().copied().map(RouteCells::new).collect(),
            upstreams: index
                .upstreams
                .iter()
                .copied()
                .map(UpstreamCells::new)
                .collect(),
            unrouted: RouteCells::new(NONE),
            known: index.known(),
        }
    }

    pub(super) fn request(&self, recorder: &Recorder, seen: &Counted<'_>) {
        let route = seen
            .route
            .and_then(|route| self.routes.get(route as usize))
            .unwrap_or(&self.unrouted);
        let upstream = self
            .upstream(seen.upstream)
            .map_or(NONE, |upstream| upstream.id);
        route.request(recorder, upstream, seen);
    }

    pub(super) fn upstream(&self, index: Option<u32>) -> Option<&UpstreamCells> {
        self.upstreams.get(index? as usize)
    }

    /// What it is counted under.
    pub(super) fn upstream_id(&self, index: u32) -> u32 {
        self.upstream(Some(index))
            .map_or(NONE, |upstream| upstream.id)
    }

    pub(super) fn upstreams(&self) -> &[UpstreamCells] {
        &self.upstreams
    }
}

impl RouteCells {
    fn new(id: u32) -> RouteCells {
        RouteCells {
            id,
            pairs: RefCell::default(),
        }
    }

    fn request(&self, recorder: &Recorder, upstream: u32, seen: &Counted<'_>) {
        let mut pairs = self.pairs.borrow_mut();
        let at = match pairs.iter().position(|pair| pair.upstream == upstream) {
            Some(at) => at,
            None => {
                pairs.push(PairCells::find(recorder, self.id, upstream));
                pairs.len() - 1
            }
        };
        if let Some(pair) = pairs.get_mut(at) {
            pair.request(recorder, self.id, seen);
        }
    }
}

impl PairCells {
    fn find(recorder: &Recorder, route: u32, upstream: u32) -> PairCells {
        let key = Key::new(Family::RequestDuration, route, upstream, 0);
        PairCells {
            upstream,
            requests: Vec::new(),
            duration: recorder.histogram(key),
            request_bytes: OnceCell::new(),
            response_bytes: OnceCell::new(),
        }
    }

    fn request(&mut self, recorder: &Recorder, route: u32, seen: &Counted<'_>) {
        let detail = method_and_code(seen.method, seen.code);
        match self
            .requests
            .binary_search_by_key(&detail, |(known, _)| *known)
        {
            Ok(at) => self
                .requests
                .get(at)
                .into_iter()
                .for_each(|(_, cell)| cell.add(1)),
            Err(at) => {
                let key = Key::new(Family::Requests, route, self.upstream, detail);
                let cell = recorder.counter(key);
                cell.add(1);
                self.requests.insert(at, (detail, cell));
            }
        }
        self.duration.record(seen.duration);
        let bytes = |family| recorder.counter(Key::new(family, route, self.upstream, 0));
        if seen.request_bytes > 0 {
            let cell = self
                .request_bytes
                .get_or_init(|| bytes(Family::RequestBytes));
            cell.add(seen.request_bytes);
        }
        if seen.response_bytes > 0 {
            let cell = self
                .response_bytes
                .get_or_init(|| bytes(Family::ResponseBytes));
            cell.add(seen.response_bytes);
        }
    }
}

impl UpstreamCells {
    fn new(id: u32) -> UpstreamCells {
        UpstreamCells {
            id,
            head: OnceCell::new(),
            connect: OnceCell::new(),
            retries: OnceCell::new(),
            idle: OnceCell::new(),
        }
    }

    pub(super) fn head(&self, recorder: &Recorder, took: Duration) {
        let key = Key::new(Family::UpstreamDuration, self.id, 0, 0);
        self.head
            .get_or_init(|| recorder.histogram(key))
            .record(took);
    }

    pub(super) fn connect(&self, recorder: &Recorder, took: Duration) {
        let key = Key::new(Family::UpstreamConnect, self.id, 0, 0);
        self.connect
            .get_or_init(|| recorder.histogram(key))
            .record(took);
    }

    pub(super) fn retries(&self, recorder: &Recorder, more: u64) {
        let key = Key::new(Family::Retries, self.id, 0, 0);
        self.retries.get_or_init(|| recorder.counter(key)).add(more);
    }

    /// How many wait for a request now. An upstream that never had one gets no cell.
    pub(super) fn set_idle(&self, recorder: &Recorder, now: u64) {
        if now == 0 && self.idle.get().is_none() {
            return;
        }
        let state = ConnectionState::Idle as u32;
        let key = Key::new(Family::UpstreamConnections, self.id, state, 0);
        self.idle.get_or_init(|| recorder.counter(key)).set(now);
    }
}

impl ListenerCells {
    pub(super) fn find(recorder: &Recorder, id: u32) -> ListenerCells {
        let state = |state: ConnectionState| Key::new(Family::Connections, id, state as u32, 0);
        ListenerCells {
            accepted: recorder.counter(Key::new(Family::Accepted, id, 0, 0)),
            active: recorder.counter(state(ConnectionState::Active)),
            idle: recorder.counter(state(ConnectionState::Idle)),
        }
    }
}
