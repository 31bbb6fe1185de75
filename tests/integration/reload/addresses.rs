//! Addresses change hands while running: whoever connects to one that is served before and after is never
//! refused, nor left waiting for nobody.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use super::{echoed, generation, post, reload, start, status, wait_until_all_serve, with};
use crate::harness::load::{Connections, Load};
use crate::harness::port::{free, free_address};
use crate::harness::{Client, Response, Sluice, Upstream, eventually, get};

/// Listens at these addresses, with the admin port at another.
fn at(mark: u64, workers: u16, listen: &[SocketAddr], admin: SocketAddr) -> String {
    let listen: Vec<String> = listen.iter().map(|it| format!("'{it}'")).collect();
    let admin = format!("admin:\n  listen: '{admin}'\n");
    with(mark, workers, &listen.join(", "), &admin)
}

/// Whether the admin port answered.
fn is_admin(response: &Response) -> bool {
    response.header("content-type") == Some("text/html; charset=utf-8")
}

/// By new connections only: one that is kept belongs to whoever accepted it.
fn ask_again_and_again(address: SocketAddr) -> Load {
    let load = Load::start(address, Connections::New, 2, |r| r.status == 200);
    load.wait_for_more(5);
    load
}

fn assert_none_failed(loads: Vec<Load>) {
    for load in loads {
        load.wait_for_more(5);
        let failures = load.stop();
        assert!(failures.is_empty(), "{failures:#?}");
    }
}

#[test]
fn the_admin_port_and_a_listener_change_places_in_one_reload() {
    let (kept, a, b) = (free_address(), free_address(), free_address());
    let mut sluice = start(&at(1, 2, &[kept, b], a));
    let both = [a, b].map(ask_again_and_again);
    let kept_open = Load::start(kept, Connections::Kept, 2, |r| r.status == 200);
    let (mut admin, mut traffic) = (a, b);
    for mark in 2..12 {
        (admin, traffic) = (traffic, admin);
        let workers = 1 + (mark % 3) as u16;
        let answer = reload(&sluice, &at(mark, workers, &[kept, traffic], admin));
        assert_eq!(answer.status, 200, "{}", answer.text());
        // Whoever hears that it is over finds everybody at his new place.
        for _ in 0..4 {
            let seen = get(traffic, "/").with_status(200);
            assert_eq!(echoed(&seen, "x-mark"), Some(mark.to_string()));
            assert!(is_admin(&get(admin, "/")), "{admin}");
        }
        sluice.learn_addresses();
        assert_eq!((sluice.admin(), generation(&sluice)), (admin, mark));
        let listeners = status(&sluice)["listeners"].clone();
        assert_eq!(listeners.as_array().unwrap().len(), 2, "{listeners}");
    }
    assert_none_failed(both.into_iter().chain([kept_open]).collect());
}

#[test]
fn a_refused_reload_leaves_every_address_to_whoever_had_it() {
    let (a, b) = (free_address(), free_address());
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = foreign.local_addr().unwrap();
    let sluice = start(&at(1, 2, &[b], a));
    let both = [a, b].map(ask_again_and_again);
    let wide = SocketAddr::from((Ipv4Addr::UNSPECIFIED, b.port()));
    for mark in 2..6 {
        for listen in [[a, taken], [wide, taken]] {
            let admin = if listen[0] == a { b } else { a };
            let answer = reload(&sluice, &at(mark, 3, &listen, admin));
            assert_eq!(answer.status, 422, "{}", answer.text());
            assert_eq!(echoed(&get(b, "/"), "x-mark").as_deref(), Some("1"));
            assert!(is_admin(&get(a, "/")));
        }
    }
    assert_eq!(generation(&sluice), 1);
    assert_none_failed(both.into());
}

#[test]
fn an_address_goes_to_one_that_covers_it_and_back() {
    let (port, admin) = (free(), free_address());
    let narrow = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let [wide, all] = ["0.0.0.0", "[::]"].map(|ip| format!("{ip}:{port}").parse().unwrap());
    let sluice = start(&at(1, 2, &[narrow], admin));
    let new = ask_again_and_again(narrow);
    let six: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    let in_turn = [wide, narrow, all, wide, all, narrow, wide, all];
    for (mark, listen) in (2..).zip(in_turn.into_iter().cycle().take(24)) {
        let answer = reload(&sluice, &at(mark, 1 + (mark % 3) as u16, &[listen], admin));
        assert_eq!(answer.status, 200, "{}", answer.text());
        for _ in 0..4 {
            assert_eq!(echoed(&get(narrow, "/"), "x-mark"), Some(mark.to_string()));
        }
        let by_six = TcpStream::connect(six);
        assert_eq!(by_six.is_ok(), listen == all, "{listen}: {by_six:?}");
    }
    assert_none_failed(vec![new]);
}

#[test]
fn every_address_has_ipv4_clients_by_their_own_addresses() {
    let (port, admin) = (free(), free_address());
    let every = at(1, 1, &[format!("[::]:{port}").parse().unwrap()], admin);
    let sluice = start(&every.replace("value: '1'", "value: $ip"));
    let seen = get((Ipv4Addr::LOCALHOST, port).into(), "/");
    assert_eq!(echoed(&seen, "x-mark").as_deref(), Some("127.0.0.1"));
    drop(sluice);
}

#[test]
fn a_listener_changes_its_protocol_where_it_is() {
    let upstream = Upstream::saying("by tcp");
    let (a, b, admin) = (free_address(), free_address(), free_address());
    let yaml = |mark: u64, tcp: SocketAddr, http: SocketAddr| {
        let listen = format!("{{address: '{tcp}', protocol: tcp, upstream: app}}, '{http}'");
        let app = format!(
            "  upstreams:\n    - id: app\n      url: {}\n",
            upstream.url()
        );
        let yaml = with(mark, 2, &listen, &format!("admin:\n  listen: '{admin}'\n"));
        yaml.replace("  upstreams:\n", &app)
    };
    let sluice = start(&yaml(1, a, b));
    let both = [a, b].map(ask_again_and_again);
    let (mut tcp, mut http) = (a, b);
    for mark in 2..8 {
        (tcp, http) = (http, tcp);
        let answer = reload(&sluice, &yaml(mark, tcp, http));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(get(tcp, "/").text(), "by tcp");
        assert_eq!(echoed(&get(http, "/"), "x-mark"), Some(mark.to_string()));
    }
    assert_none_failed(both.into());
}

#[test]
fn a_canary_leaves_the_addresses_alone_until_it_has_passed() {
    let (a, b) = (free_address(), free_address());
    let (good, bad) = (
        Upstream::saying("good"),
        Upstream::answering("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n"),
    );
    let kept = free_address();
    let yaml = |upstream: &Upstream, listen: SocketAddr, admin: SocketAddr| {
        format!(
            "server:\n  listen: ['{kept}', '{listen}']\n  workers: 2\n  upstreams:\n    - id: app\n      \
             url: {}\n  rules:\n    - path: /\n      upstreams: [app]\nadmin:\n  listen: '{admin}'\n\
             reload:\n  canary: {{window: 2s, minRequests: 5}}\n",
            upstream.url()
        )
    };
    let mut sluice = Sluice::start(&yaml(&good, b, a));
    let load = Load::start(kept, Connections::New, 4, |_| true);
    assert_eq!(reload(&sluice, &yaml(&bad, a, b)).status, 422);
    assert_eq!(get(a, "/livez").status, 200, "the admin port");
    assert_eq!(get(b, "/").text(), "good");

    sluice.rewrite(&yaml(&good, a, b));
    eventually("one worker tries it", || {
        let workers = status(&sluice)["workers"].clone();
        let all = workers.as_array()?.iter();
        all.map(|worker| worker["generation"].as_u64().unwrap())
            .find(|it| *it == 3)
    });
    assert_eq!(get(a, "/livez").status, 200, "the admin port");
    eventually("it is committed", || {
        (sluice.log().all("reload done").len() == 2).then_some(())
    });
    sluice.learn_addresses();
    assert_eq!(sluice.admin(), b);
    wait_until_all_serve(&sluice, 2);
    assert_eq!(get(a, "/").text(), "good");
    load.stop();
}

#[test]
fn who_came_to_an_admin_address_before_it_was_given_up_is_answered() {
    let (a, b, c) = (free_address(), free_address(), free_address());
    let mut sluice = start(&at(1, 1, &[c], a));
    let mut early = Client::connect(a);
    assert_eq!(reload(&sluice, &at(2, 1, &[c], b)).status, 200);
    assert_eq!(early.get("/livez").status, 200);
    eventually("the old admin address is closed", || {
        TcpStream::connect(a).err()
    });
    sluice.learn_addresses();
    assert_eq!(post(&sluice, "/reload").status, 200);
}
