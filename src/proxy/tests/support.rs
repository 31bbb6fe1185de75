//! What the tests of the data plane are played with: a proxy on a port of its own, an upstream that
//! is the test itself, and both ends of every byte.

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::model::config::balance::Balancing;
use crate::model::config::tls::{SessionTickets, TicketMode};
use crate::model::config::{
    Admin, Config, Drain, HostHeader, HostPattern, Http2, Keepalive, Lifecycle, Limits, Listener,
    Log, LogFormat, LogLevel, Metrics, OrphanedStreams, PathPattern, Protocol, Reload, Resolver,
    Rule, Scheme, Server, ServerHost, ServerRole, Target, Upstream, UpstreamProtocol,
    WeightedUpstream, Worker, Workers,
};
use crate::model::fixtures::{traffic, upstream_http2};
use crate::proxy::observe::{Observation, Observer};
use crate::proxy::{ListenerHandle, Proxy};
use crate::shm::Segment;
use crate::shm::layout::Layout;
use crate::shm::names::Names;
use crate::shm::recorder::Recorder;

/// What a test waits for comes at once, or the test has failed; but the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Stage {
    pub(super) proxy: Rc<Proxy>,
    pub(super) address: SocketAddr,
    pub(super) observer: Rc<Observer>,
    pub(super) config: Config,
    upstream: TcpListener,
    pub(super) listening: ListenerHandle,
}

/// Plays a test on the kind of runtime that a worker has.
pub(super) fn play<F: Future<Output = ()>>(
    change: impl FnOnce(&mut Config),
    test: impl FnOnce(Stage) -> F,
) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let stage = Stage::set(change).await;
        within(test(stage)).await;
    });
}

pub(super) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what)
        .await
        .expect("what was waited for did not come")
}

impl Stage {
    async fn set(change: impl FnOnce(&mut Config)) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(upstream.local_addr().unwrap());
        change(&mut config);
        let observer = Rc::new(observer());
        let proxy = Proxy::new(Rc::clone(&observer));
        let listener = commit(&proxy, &config, 1);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listening = proxy.serve(socket, listener).unwrap();
        Self {
            proxy,
            address,
            observer,
            config,
            upstream,
            listening,
        }
    }

    /// The next generation.
    pub(super) fn reload(&self, config: &Config) {
        commit(&self.proxy, config, 2);
    }

    pub(super) async fn client(&self) -> Wire {
        Wire::over(TcpStream::connect(self.address).await.unwrap())
    }

    /// The next connection that the proxy makes.
    pub(super) async fn upstream(&self) -> Wire {
        Wire::over(within(self.upstream.accept()).await.unwrap().0)
    }

    /// Whether the proxy has made no connection so far.
    pub(super) async fn no_upstream_connection(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(30), self.upstream.accept())
            .await
            .is_err()
    }

    /// A client that has sent `request`, and the upstream's side of it with the head that came.
    pub(super) async fn forwarded(&self, request: &str) -> (Wire, Wire, String) {
        let mut client = self.client().await;
        client.send(request).await;
        let mut upstream = self.upstream().await;
        let head = upstream.head().await;
        (client, upstream, head)
    }

    /// What was observed of the next request to end.
    pub(super) async fn observed(&self) -> Observation {
        loop {
            if let Some(seen) = self.observer.take_seen().pop() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The id of the listener.
fn commit(proxy: &Proxy, config: &Config, generation: u64) -> u32 {
    let index = Names::default().assign(config, Instant::now(), &HashSet::new());
    proxy.commit(proxy.prepare(config, &index, generation).unwrap());
    index.listeners[0]
}

/// One that counts in a segment of its own.
fn observer() -> Observer {
    let segment = Segment::create_sized(Layout { chunks: 16 }).unwrap();
    let row = segment.lease(0).unwrap();
    Observer::new(Recorder::open(segment, row).unwrap())
}

/// One end of a connection.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(super) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Up to and including the next empty line.
    pub(super) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// The same, with nothing read ahead: what follows is left to whoever reads the stream.
    pub(super) async fn head_only(&mut self) {
        let mut byte = [0];
        while !self.read.ends_with(b"\r\n\r\n") {
            within(self.stream.read_exact(&mut byte)).await.unwrap();
            self.read.extend_from_slice(&byte);
        }
        self.read.clear();
    }

    pub(super) async fn until(&mut self, mark: &str) -> String {
        loop {
            let mark = mark.as_bytes();
            let found = self.read.windows(mark.len()).position(|part| part == mark);
            if let Some(at) = found {
                let taken: Vec<u8> = self.read.drain(..at + mark.len()).collect();
                return String::from_utf8(taken).unwrap();
            }
            let more = self.fill().await.expect("no reset");
            assert!(
                more > 0,
                "ended after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    pub(super) async fn exactly(&mut self, count: usize) -> String {
        while self.read.len() < count {
            let more = self.fill().await.expect("no reset");
            assert!(
                more > 0,
                "ended after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
        String::from_utf8(self.read.drain(..count).collect()).unwrap()
    }

    /// What has come when it has all of these in it.
    pub(super) async fn bytes_with(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        let has = |read: &[u8], part: &[u8]| read.windows(part.len()).any(|some| some == part);
        while !parts.iter().all(|part| has(&self.read, part)) {
            let more = self.fill().await.expect("no reset");
            assert!(
                more > 0,
                "ended after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
        std::mem::take(&mut self.read)
    }

    /// All that comes until the other side closes in an orderly way.
    pub(super) async fn rest(&mut self) -> String {
        while self.fill().await.expect("no reset") > 0 {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// All that comes until the other side closes in whatever way, and whether that was a reset.
    pub(super) async fn rest_or_reset(&mut self) -> (String, bool) {
        let reset = loop {
            match self.fill().await {
                Ok(0) => break false,
                Ok(_) => {}
                Err(_) => break true,
            }
        };
        (
            String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned(),
            reset,
        )
    }

    /// Whether something is there to be read right now.
    pub(super) async fn is_silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.fill()).await.is_err()
    }

    async fn fill(&mut self) -> std::io::Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let count = within(self.stream.read(&mut piece)).await?;
        self.read.extend_from_slice(&piece[..count]);
        Ok(count)
    }
}

/// Everything goes to one upstream.
pub(super) fn config(upstream: SocketAddr) -> Config {
    Config {
        listeners: vec![Listener {
            address: ([127, 0, 0, 1], 0).into(),
            proxy_protocol: None,
            tls: None,
            redirect_https: None,
            hsts: None,
            protocol: Protocol::Http,
        }],
        workers: Workers::Count(NonZeroU16::MIN),
        upstreams: vec![Upstream {
            id: "app".into(),
            tls: None,
            target: Target::Servers(vec![Server {
                host: ServerHost::Ip(upstream.ip()),
                port: upstream.port(),
                weight: 1,
                role: ServerRole::Primary,
                authority: "app.example".into(),
                base_path: String::new(),
                scheme: Scheme::Http,
            }]),
            host_header: HostHeader::Upstream,
            protocol: UpstreamProtocol::Auto,
            http2: upstream_http2(),
            grpc_web: false,
            keepalive: Keepalive {
                idle_connections: 8,
                idle_timeout: Duration::from_secs(60),
            },
            proxy_protocol: None,
            traffic: traffic(),
            circuit_breaker: None,
            balancing: Balancing::default(),
            health_check: None,
        }],
        headers: Vec::new(),
        rules: vec![rule("/", 0)],
        trusted_proxies: Vec::new(),
        via: false,
        error_header: true,
        system_authorities: Vec::new(),
        session_tickets: SessionTickets {
            mode: TicketMode::On,
            rotation: Duration::from_secs(3600),
        },
        limits: Limits {
            header_bytes: 32 * 1024,
            header_count: 100,
            request_line_bytes: 8 * 1024,
            body_bytes: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            min_body_rate: 0,
            min_response_rate: 0,
            rate_grace: Duration::from_secs(10),
            connections: 1000,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 64,
        },
        http2: Http2 {
            max_concurrent_streams: 128,
            initial_stream_window_size: 256 * 1024,
            initial_connection_window_size: 1024 * 1024,
            max_frame_size: 16 * 1024,
            max_header_list_size: 32 * 1024,
            header_table_size: 4 * 1024,
            keepalive: None,
        },
        lifecycle: Lifecycle::Edge,
        drain: Drain {
            min_delay: None,
            timeout: Duration::from_secs(30),
        },
        reload: Reload {
            debounce: Duration::from_millis(100),
            poll: Duration::from_secs(10),
            prepare_timeout: Duration::from_secs(5),
            orphaned_streams: OrphanedStreams::Keep,
            guard: None,
            canary: None,
        },
        admin: Admin {
            listen: ([127, 0, 0, 1], 0).into(),
            token: None,
        },
        log: Log {
            level: LogLevel::Info,
            format: LogFormat::Auto,
        },
        worker: Worker {
            hang_timeout: Duration::from_secs(10),
        },
        resolver: Resolver {
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(60),
            hold_negative: Duration::from_secs(300),
            timeout: None,
            attempts: None,
            nameservers: Vec::new(),
            resolv_conf: String::new(),
        },
        metrics: Metrics { max_series: 10_000 },
        access_log: None,
        tracing: None,
    }
}

pub(super) fn rule(prefix: &str, upstream: u32) -> Rule {
    Rule {
        name: format!("to {upstream} by {prefix}"),
        host: HostPattern::Any,
        path: PathPattern::Prefix(prefix.into()),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        cookies: Vec::new(),
        mirror: None,
        upstreams: vec![WeightedUpstream {
            upstream,
            weight: 1,
        }],
        traffic: None,
        grpc_web: false,
    }
}
