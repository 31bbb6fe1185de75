//! Active health checks: who fails them gets no requests, and gets them again once it is well.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::dns::Dns;
use crate::harness::port::free_address;
use crate::harness::upstream::ok;
use crate::harness::{Gate, Sluice, Upstream, eventually, get};

mod secure;

const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// A server that says its name, and on `/healthz` what it was told to.
struct Server {
    upstream: Upstream,
    mood: Arc<AtomicUsize>,
}

const WELL: usize = 0;
const ILL: usize = 1;

impl Server {
    fn start(name: &str) -> Server {
        let (name, mood) = (name.to_owned(), Arc::<AtomicUsize>::default());
        let inside = Arc::clone(&mood);
        let upstream = Upstream::per_request(move |request| {
            match request.head.raw.starts_with("GET /healthz ") {
                true if inside.load(Ordering::SeqCst) == ILL => UNWELL.to_owned(),
                _ => ok(&name),
            }
        });
        Server { upstream, mood }
    }

    fn is(&self, mood: usize) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn checks(&self) -> usize {
        let requests = self.upstream.requests();
        requests
            .iter()
            .filter(|one| one.head.raw.contains("/healthz "))
            .count()
    }
}

/// Everything to these servers, checked like this.
fn config(servers: &[String], check: &str) -> String {
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 2\n  upstreams:\n    - id: app\n      servers: {servers:?}\n      \
         healthCheck: {{interval: 50ms, timeout: 5s, healthyThreshold: 2, unhealthyThreshold: 2{check}}}\n  \
         rules:\n    - {{path: /, upstreams: [app]}}\n"
    )
}

#[track_caller]
fn wait_for(sluice: &Sluice, address: impl ToString, health: &str) -> String {
    let address = address.to_string();
    eventually(&format!("{address} is {health}"), || {
        let page: serde_json::Value = serde_json::from_str(&upstreams(sluice)).unwrap();
        let endpoints = page["upstreams"][0]["endpoints"]
            .as_array()
            .unwrap()
            .clone();
        let mut endpoints = endpoints.into_iter();
        let one = endpoints.find(|one| one["address"] == address)?;
        (one["health"] == health).then(|| one["checkError"].as_str().unwrap_or_default().to_owned())
    })
}

fn upstreams(sluice: &Sluice) -> String {
    get(sluice.admin(), "/upstreams").text()
}

fn answers(sluice: &Sluice, count: usize) -> Vec<String> {
    (0..count).map(|_| sluice.get("/").text()).collect()
}

#[test]
fn an_unhealthy_server_gets_no_requests_and_a_returned_one_does_again() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let urls = [a.upstream.url(), b.upstream.url()];
    let sluice = Sluice::start(&config(&urls, ", path: /healthz"));
    wait_for(&sluice, a.upstream.address(), "healthy");
    for _ in 0..3 {
        b.is(ILL);
        let error = wait_for(&sluice, b.upstream.address(), "unhealthy");
        assert_eq!(error, "status 503");
        assert!(answers(&sluice, 10).iter().all(|name| name == "a"));
        b.is(WELL);
        wait_for(&sluice, b.upstream.address(), "healthy");
        eventually("b gets requests again", || {
            (sluice.get("/").text() == "b").then_some(())
        });
    }
    sluice.log().wait_for("endpoint unhealthy");
    sluice.log().wait_for("endpoint healthy");
    let metrics = get(sluice.admin(), "/metrics").text();
    let changes = "sluice_health_check_changes_total{upstream=\"app\",to=\"unhealthy\"} 3\n";
    assert!(metrics.contains(changes), "{metrics}");
    assert!(metrics.contains("sluice_health_checks_total{upstream=\"app\",result=\"failure\"}"));
}

#[test]
fn checks_run_once_and_not_once_per_worker() {
    let server = Server::start("a");
    let check = ", path: /healthz".to_owned();
    let yaml = config(&[server.upstream.url()], &check).replace("interval: 50ms", "interval: 1h");
    let sluice = Sluice::start(&yaml);
    wait_for(&sluice, server.upstream.address(), "healthy");
    assert_eq!(server.checks(), 1, "by two workers");
    assert_eq!(sluice.workers().len(), 2);
}

#[test]
fn who_refuses_hangs_or_answers_garbage_is_unhealthy() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let hanging = Upstream::start(move |exchange| {
        exchange.request()?;
        inside.pass();
        Ok(())
    });
    let garbage = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.write("I am well, thank you\r\n\r\n")
    });
    let closing = Upstream::start(|exchange| exchange.request().map(drop));
    let well = Upstream::saying("well");
    let dead = free_address();
    let urls = [
        hanging.url(),
        garbage.url(),
        closing.url(),
        format!("http://{dead}"),
        well.url(),
    ];
    let sluice = Sluice::start(&config(&urls, "").replace("timeout: 5s", "timeout: 300ms"));
    let error = wait_for(&sluice, hanging.address(), "unhealthy");
    assert_eq!(error, "no answer within 300ms");
    for address in [garbage.address(), closing.address(), dead] {
        assert!(!wait_for(&sluice, address, "unhealthy").is_empty());
    }
    assert!(answers(&sluice, 10).iter().all(|answer| answer == "well"));
    gate.open();
}

#[test]
fn a_check_asks_as_configured() {
    let server = Server::start("all systems go");
    let check = ", path: '/healthz?full=1', method: POST, host: check.test, headers: [{key: x-probe, value: yes}], \
                 expectedStatus: [204, 2xx], expectedBody: systems";
    let sluice = Sluice::start(&config(&[server.upstream.url()], check));
    wait_for(&sluice, server.upstream.address(), "healthy");
    let head = server.upstream.requests().remove(0).head;
    assert!(
        head.raw.starts_with("POST /healthz?full=1 HTTP/1.1\r\n"),
        "{}",
        head.raw
    );
    assert_eq!(head.header("host"), Some("check.test"));
    assert_eq!(head.header("x-probe"), Some("yes"));

    sluice.rewrite(&config(&[server.upstream.url()], ", expectedBody: ready"));
    let error = wait_for(&sluice, server.upstream.address(), "unhealthy");
    assert_eq!(error, "the body has not the expected text");
    sluice.rewrite(&config(
        &[server.upstream.url()],
        ", expectedStatus: 500-599",
    ));
    eventually("the new check is what counts", || {
        let error = wait_for(&sluice, server.upstream.address(), "unhealthy");
        (error == "status 200").then_some(())
    });
}

#[test]
fn a_connection_is_enough_for_tcp_and_another_port_may_be_asked() {
    let (server, side) = (
        Upstream::saying("a"),
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
    );
    let port = side.local_addr().unwrap().port();
    let check = format!(", type: tcp, port: {port}");
    let sluice = Sluice::start(&config(&[server.url()], &check));
    wait_for(&sluice, server.address(), "healthy");
    assert_eq!(server.connections(), 0, "the other port was asked");
    drop(side);
    let error = wait_for(&sluice, server.address(), "unhealthy");
    assert!(error.contains("cannot connect"), "{error}");
}

#[test]
fn verdicts_outlive_a_reload_that_does_not_touch_them() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    b.is(ILL);
    let urls = [a.upstream.url(), b.upstream.url()];
    let yaml = config(&urls, ", path: /healthz");
    let sluice = Sluice::start(&yaml);
    wait_for(&sluice, b.upstream.address(), "unhealthy");
    sluice.rewrite(&format!("{yaml}log: {{level: debug}}\n"));
    eventually("the second generation serves", || {
        let status = get(sluice.admin(), "/status").text();
        status.contains("\"generation\":2,").then_some(())
    });
    wait_for(&sluice, b.upstream.address(), "unhealthy");
    assert!(answers(&sluice, 10).iter().all(|name| name == "a"));
    assert_eq!(
        sluice.log().all("endpoint unhealthy").len(),
        1,
        "it was never another"
    );

    // Without checks it takes traffic as before the first.
    let unchecked: String = yaml
        .lines()
        .filter(|line| !line.contains("healthCheck"))
        .map(|line| format!("{line}\n"))
        .collect();
    sluice.rewrite(&unchecked);
    wait_for(&sluice, b.upstream.address(), "unknown");
}

/// The gRPC health service over HTTP/2, with this status; every answer ends with `grpc-status: 0`.
fn grpc_server(status: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), status) = (stream, Arc::clone(&status)) else {
                continue;
            };
            // It ends with the connection.
            thread::spawn(move || crate::harness::grpc::serve(stream, &status));
        }
    });
    address
}

#[test]
fn a_grpc_service_says_itself_whether_it_serves() {
    let status = Arc::new(AtomicUsize::new(1));
    let address = grpc_server(Arc::clone(&status));
    let check = ", type: grpc, service: shop.Cart";
    let sluice = Sluice::start(&config(&[format!("http://{address}")], check));
    wait_for(&sluice, address, "healthy");
    status.store(2, Ordering::SeqCst);
    assert_eq!(wait_for(&sluice, address, "unhealthy"), "NOT_SERVING");
    status.store(1, Ordering::SeqCst);
    wait_for(&sluice, address, "healthy");
}

#[test]
fn a_server_that_speaks_no_http2_fails_a_grpc_check() {
    let server = Upstream::start(|exchange| {
        exchange
            .wire
            .stream()
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    });
    let sluice = Sluice::start(&config(&[server.url()], ", type: grpc"));
    assert!(!wait_for(&sluice, server.address(), "unhealthy").is_empty());
}

#[test]
fn unix_sockets_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let address = format!("unix:{}", path.display());
    let sluice = Sluice::start(&config(
        std::slice::from_ref(&address),
        ", path: /healthz, host: app.test, expectedBody: app.test",
    ));
    let error = wait_for(&sluice, &address, "unhealthy");
    assert!(error.contains("cannot connect"), "{error}");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            let size = stream.read(&mut head).unwrap();
            let asked = String::from_utf8_lossy(&head[..size]).into_owned();
            assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
            let host = asked.lines().find_map(|line| line.strip_prefix("host: "));
            stream.write_all(ok(host.unwrap()).as_bytes()).unwrap();
        }
    });
    wait_for(&sluice, &address, "healthy");
}

/// Each address of a name is an endpoint, checked by itself; new ones are from when they are known.
#[test]
fn every_address_of_a_name_is_checked() {
    let dns = Dns::start();
    let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let upstream = Upstream::on(everywhere, |exchange| {
        while exchange.request()?.is_some() {
            let here = exchange.wire.stream().local_addr()?.ip();
            match here.to_string() == "127.0.0.3" {
                true => exchange.write(UNWELL)?,
                false => exchange.write(ok(&here.to_string()))?,
            }
        }
        Ok(())
    });
    let port = upstream.address().port();
    let loopback = |last: u8| std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    dns.addresses("shop.test.", &[loopback(2), loopback(3)], 1);
    let server = format!("http://shop.test:{port}");
    let yaml = config(std::slice::from_ref(&server), "");
    let sluice = Sluice::start(&format!("{yaml}{}", dns.config("")));
    let at = |last: u8| format!("127.0.0.{last}:{port}");
    wait_for(&sluice, at(2), "healthy");
    assert_eq!(wait_for(&sluice, at(3), "unhealthy"), "status 503");
    assert!(answers(&sluice, 10).iter().all(|one| one == "127.0.0.2"));
    dns.addresses("shop.test.", &[loopback(3), loopback(4)], 1);
    wait_for(&sluice, at(4), "healthy");
    wait_for(&sluice, at(3), "unhealthy");
    assert!(answers(&sluice, 10).iter().all(|one| one == "127.0.0.4"));
}

#[test]
fn good_checks_end_what_live_traffic_has_begun() {
    let a = Upstream::saying("a");
    let (mood, inside) = two::<Arc<AtomicUsize>>();
    let b = Upstream::per_request(move |_| match inside.load(Ordering::SeqCst) {
        ILL => UNWELL.to_owned(),
        _ => ok("b"),
    });
    mood.store(ILL, Ordering::SeqCst);
    // What is checked says nothing of what fails at first.
    let side = Upstream::saying("fine");
    let check = format!(", port: {}, type: tcp", side.address().port());
    let outliers = "outlierDetection: {baseEjectionTime: 1h, maxEjectionTime: 1h}";
    let yaml = config(&[a.url(), b.url()], &check)
        .replace("interval: 50ms", "interval: 1s")
        .replace(
            "      healthCheck",
            &format!("      balance: round-robin\n      {outliers}\n      healthCheck"),
        );
    let sluice = Sluice::start(&yaml);
    eventually("b is ejected", || {
        sluice.get("/");
        let told = sluice.log().all("endpoint ejected");
        (!told.is_empty()).then_some(())
    });
    mood.store(WELL, Ordering::SeqCst);
    eventually("b gets its share again, long before its time", || {
        let told = answers(&sluice, 10);
        (told.iter().filter(|one| *one == "b").count() >= 4).then_some(())
    });
    let told = sluice.log().wait_for("ejection ended by checks");
    assert_eq!(told.text("endpoint").unwrap(), b.address().to_string());
}

fn two<T: Default + Clone>() -> (T, T) {
    let one = T::default();
    (one.clone(), one)
}
