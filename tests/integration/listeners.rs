//! Where it can be told to listen.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::harness::{Gate, Launch, Sluice, Upstream, eventually, get};

#[track_caller]
fn listening_on(listen: &str) -> (Sluice, Upstream) {
    let upstream = Upstream::saying("ok");
    let yaml = crate::harness::sluice::config(&upstream.url(), "");
    let sluice = Sluice::start(&yaml.replace("listen: 127.0.0.1:0", &format!("listen: {listen}")));
    (sluice, upstream)
}

#[test]
fn several_addresses_serve_the_same() {
    let (sluice, _upstream) = listening_on("[{address: '127.0.0.1:0'}, {address: '127.0.0.2:0'}]");
    for configured in ["127.0.0.1:0", "127.0.0.2:0"] {
        let address = sluice.address_of(configured);
        assert_eq!(format!("{}:0", address.ip()), configured);
        assert_eq!(get(address, "/").with_status(200).text(), "ok");
    }
}

#[test]
fn ipv6_is_an_address_like_any_other() {
    let (sluice, upstream) = listening_on("'[::1]:0'");
    assert!(sluice.address().is_ipv6());
    get(sluice.address(), "/").with_status(200);
    assert_eq!(
        upstream.the_request().head.header("x-forwarded-for"),
        Some("::1")
    );
}

#[test]
fn a_port_alone_is_every_address() {
    let port = crate::harness::port::free();
    let (sluice, _upstream) = listening_on(&port.to_string());
    assert_eq!(sluice.address().port(), port);
    assert!(sluice.address().ip().is_unspecified());
    get(SocketAddr::from(([127, 0, 0, 3], port)), "/").with_status(200);
}

#[test]
fn an_upstream_on_ipv6_is_reached() {
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let upstream = Upstream::on(listener, |exchange| {
        while exchange.request()?.is_some() {
            exchange.write(crate::harness::upstream::ok("six"))?;
        }
        Ok(())
    });
    let sluice = Sluice::start(&crate::harness::sluice::config(
        &format!("'{}'", upstream.url()),
        "",
    ));
    assert_eq!(sluice.get("/").with_status(200).text(), "six");
    let host = upstream
        .the_request()
        .head
        .header("host")
        .map(str::to_owned);
    assert_eq!(host, Some(upstream.address().to_string()));
}

#[test]
fn the_config_can_be_named_by_the_environment() {
    let upstream = Upstream::saying("ok");
    let yaml = crate::harness::sluice::config(&upstream.url(), "");
    let sluice = Launch::new(&yaml).by_environment().start();
    assert_eq!(sluice.get("/").with_status(200).text(), "ok");
}

#[test]
fn the_admin_port_is_ready_when_all_workers_serve_and_not_while_draining() {
    let gate = Gate::closed();
    let inside = gate.clone();
    let upstream = Upstream::start(move |exchange| {
        exchange.request()?;
        inside.pass();
        exchange.write(crate::harness::upstream::ok("late"))
    });
    let mut sluice = Sluice::to(&upstream);
    get(sluice.admin(), "/livez").with_status(200);
    get(sluice.admin(), "/readyz").with_status(200);
    let mut busy = sluice.connect();
    busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    upstream.wait_for_requests(1);
    sluice.signal(Signal::SIGTERM);
    eventually("it is not ready any more", || {
        (get(sluice.admin(), "/readyz").status == 503).then_some(())
    });
    get(sluice.admin(), "/livez").with_status(200);
    gate.open();
    busy.response("GET").with_status(200);
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}
