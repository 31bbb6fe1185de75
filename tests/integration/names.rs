//! Names of upstreams: asked for at a real name server, again at their TTL, and never a reason to be
//! without the addresses that were good a moment ago.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use hickory_resolver::proto::rr::RecordType;

use crate::harness::dns::{Dns, Mood, Transport};
use crate::harness::upstream::ok;
use crate::harness::{Response, Sluice, Upstream, eventually, get};

const NAME: &str = "todos.test.";

/// Listens on every address of the machine and answers with the one that it was asked on.
fn everywhere() -> Upstream {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    Upstream::on(listener, say_where)
}

fn say_where(exchange: &mut crate::harness::upstream::Exchange) -> io::Result<()> {
    while exchange.request()?.is_some() {
        let here = exchange.wire.stream().local_addr()?.ip();
        exchange.write(ok(&here.to_string()))?;
    }
    Ok(())
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

fn config(dns: &Dns, url: &str, more: &str) -> String {
    let server = crate::harness::sluice::config(url, "errorHeader: true");
    format!("{server}{}", dns.config(more))
}

fn url(name: &str, upstream: &Upstream) -> String {
    format!("http://{name}:{}", upstream.address().port())
}

#[track_caller]
fn assert_no_address(response: &Response) {
    assert_eq!(response.status, 503, "{}", response.head.raw);
    assert_eq!(response.header("x-sluice-error"), Some("no_address"));
}

#[track_caller]
fn wait_for(sluice: &Sluice, address: &str) {
    eventually(&format!("requests go to {address}"), || {
        (sluice.get("/").text() == address).then_some(())
    });
}

fn upstreams(sluice: &Sluice) -> String {
    get(sluice.admin(), "/upstreams").text()
}

#[test]
fn a_new_address_is_used_at_its_ttl_without_a_reload_and_the_old_connections_are_closed() {
    let (dns, upstream) = (Dns::start(), everywhere());
    dns.addresses(NAME, &[loopback(2)], 1);
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    assert_eq!(sluice.get("/").text(), "127.0.0.2");
    assert_eq!(
        upstream.ended_connections(),
        0,
        "it is kept for the next request"
    );

    dns.addresses(NAME, &[loopback(3)], 1);
    wait_for(&sluice, "127.0.0.3");
    eventually(
        "the connection to the address that is gone is closed",
        || (upstream.ended_connections() > 0).then_some(()),
    );
    let status = get(sluice.admin(), "/status").text();
    assert!(status.contains("\"generation\":1,"), "{status}");
    assert!(
        upstreams(&sluice).contains("\"127.0.0.3\""),
        "{}",
        upstreams(&sluice)
    );
}

#[test]
fn a_busy_connection_to_an_address_that_is_gone_finishes_and_is_not_kept() {
    let (dns, gate) = (Dns::start(), crate::harness::Gate::closed());
    let inside = gate.clone();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let upstream = Upstream::on(listener, move |exchange| {
        while exchange.request()?.is_some() {
            let here = exchange.wire.stream().local_addr()?.ip();
            if exchange.connection == 0 {
                inside.pass();
            }
            exchange.write(ok(&here.to_string()))?;
        }
        Ok(())
    });
    dns.addresses(NAME, &[loopback(2)], 1);
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    let mut busy = sluice.connect();
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    upstream.wait_for_requests(1);
    dns.addresses(NAME, &[loopback(3)], 1);
    wait_for(&sluice, "127.0.0.3");
    gate.open();
    assert_eq!(busy.response("GET").text(), "127.0.0.2");
    eventually("the connection is closed after that", || {
        (upstream.ended_connections() > 0).then_some(())
    });
}

#[test]
fn the_last_good_answer_is_kept_over_failures_of_every_kind() {
    let (dns, upstream) = (Dns::start(), everywhere());
    dns.addresses(NAME, &[loopback(2)], 1);
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    assert_eq!(sluice.get("/").text(), "127.0.0.2");
    for mood in [Mood::Fails, Mood::Silent] {
        dns.mood(NAME, mood);
        let before = dns.times_asked(NAME);
        eventually("it is asked for in vain", || {
            (dns.times_asked(NAME) > before + 2).then_some(())
        });
        assert_eq!(sluice.get("/").text(), "127.0.0.2", "{mood:?}");
    }
    dns.mood(NAME, Mood::Well);
    dns.forget(NAME);
    eventually("the name is gone", || {
        upstreams(&sluice).contains("no such name").then_some(())
    });
    assert_eq!(sluice.get("/").text(), "127.0.0.2");
    let metrics = get(sluice.admin(), "/metrics").text();
    for result in ["success", "negative", "timeout", "failure"] {
        let none = format!("sluice_dns_lookups_total{{result=\"{result}\"}} 0\n");
        assert!(!metrics.contains(&none), "{metrics}");
    }
    dns.addresses(NAME, &[loopback(4)], 1);
    wait_for(&sluice, "127.0.0.4");
}

#[test]
fn a_name_that_stays_gone_is_let_go_and_comes_back() {
    let (dns, upstream) = (Dns::start(), everywhere());
    dns.addresses(NAME, &[loopback(2)], 1);
    let config = config(&dns, &url("todos.test", &upstream), ", holdNegative: 1s");
    let sluice = Sluice::start(&config);
    assert_eq!(sluice.get("/").text(), "127.0.0.2");
    dns.forget(NAME);
    let gone = eventually("there is no address any more", || {
        Some(sluice.get("/")).filter(|response| response.status != 200)
    });
    assert_no_address(&gone);
    dns.addresses(NAME, &[loopback(2)], 1);
    wait_for(&sluice, "127.0.0.2");
}

#[test]
fn a_start_does_not_wait_for_a_name_server_that_is_silent() {
    let (dns, upstream) = (Dns::start(), everywhere());
    dns.mood(NAME, Mood::Silent);
    let slow = config(&dns, &url("todos.test", &upstream), "").replace("500ms", "1h");
    let sluice = Sluice::start(&slow);
    assert_no_address(&sluice.get("/"));
    dns.mood(NAME, Mood::Well);
    dns.addresses(NAME, &[loopback(2)], 1);
    // A reload with other settings asks anew, whoever is still waited for.
    sluice.rewrite(&config(&dns, &url("todos.test", &upstream), ""));
    wait_for(&sluice, "127.0.0.2");
}

#[test]
fn a_name_that_does_not_exist_is_503_until_it_does() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    assert_no_address(&sluice.get("/"));
    dns.addresses(NAME, &[loopback(2)], 1);
    wait_for(&sluice, "127.0.0.2");
}

#[test]
fn all_of_fifty_addresses_are_used_also_when_the_answer_needs_tcp() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let fifty: Vec<IpAddr> = (2..52).map(loopback).collect();
    dns.addresses(NAME, &fifty, 1);
    dns.mood(NAME, Mood::Truncates);
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    let mut missing = fifty;
    eventually("each of them has answered", || {
        let here: IpAddr = sluice.get("/").text().parse().ok()?;
        missing.retain(|address| *address != here);
        missing.is_empty().then_some(())
    });
    let over_tcp = dns.asked().iter().any(|(_, _, how)| *how == Transport::Tcp);
    assert!(over_tcp, "{:?}", dns.asked());
}

#[test]
fn a_name_may_have_ipv6_addresses_alone() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return println!("skipped: no IPv6 on this machine");
    };
    let (dns, upstream) = (Dns::start(), Upstream::on(listener, say_where));
    dns.addresses(NAME, &[IpAddr::V6(Ipv6Addr::LOCALHOST)], 1);
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    wait_for(&sluice, "::1");
}

#[test]
fn addresses_of_one_family_do_not_wait_for_a_name_server_that_is_silent_about_the_other() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let patient = |url: &str| config(&dns, url, "").replace("timeout: 500ms", "timeout: 1h");
    dns.addresses(NAME, &[loopback(2)], 1);
    dns.mood(NAME, Mood::SilentAbout(RecordType::AAAA));
    let sluice = Sluice::start(&patient(&url("todos.test", &upstream)));
    let found = || (sluice.get("/").status == 200).then_some(());
    eventually("it is used", found);
    dns.addresses(NAME, &[loopback(3)], 1);
    wait_for(&sluice, "127.0.0.3");
}

#[test]
fn name_servers_that_do_not_understand_edns_are_asked_without_it() {
    for mood in [Mood::OldFashioned, Mood::Careless] {
        let (dns, upstream) = (Dns::start(), everywhere());
        dns.addresses(NAME, &[loopback(2)], 1);
        dns.mood(NAME, mood);
        let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
        wait_for(&sluice, "127.0.0.2");
    }
}

#[test]
fn short_names_are_found_in_the_search_domains_of_resolv_conf() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    // As a pod has it.
    let text = "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                nameserver 10.96.0.10\noptions ndots:5\n";
    std::fs::write(&resolv_conf, text).unwrap();
    let more = format!(", resolvConf: {}", resolv_conf.display());
    dns.addresses("todos.billing.svc.cluster.local.", &[loopback(2)], 1);
    let config = config(&dns, &url("todos.billing", &upstream), &more);
    let sluice = Sluice::start(&config);
    wait_for(&sluice, "127.0.0.2");
    let asked = dns.asked();
    let first = asked.first().map(|(name, _, _)| name.as_str());
    assert_eq!(first, Some("todos.billing.shop.svc.cluster.local."));
    assert!(
        asked.iter().all(|(name, _, _)| name != "todos.billing."),
        "{asked:?}"
    );

    // With a dot at its end a name is whole.
    dns.addresses(NAME, &[loopback(3)], 1);
    sluice.rewrite(&config.replace("todos.billing:", "todos.test.:"));
    wait_for(&sluice, "127.0.0.3");
    assert_eq!(dns.times_asked("todos.test.shop.svc.cluster.local."), 0);
    let host = upstream
        .requests()
        .last()
        .unwrap()
        .head
        .header("host")
        .map(str::to_owned);
    assert_eq!(
        host,
        Some(format!("todos.test:{}", upstream.address().port()))
    );
}

#[test]
fn the_second_name_server_is_asked_when_the_first_is_dead() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let dead = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dead = dead.local_addr().unwrap();
    dns.addresses(NAME, &[loopback(2)], 1);
    let config = config(&dns, &url("todos.test", &upstream), "");
    let sluice =
        Sluice::start(&config.replace("nameservers: [", &format!("nameservers: ['{dead}', ")));
    wait_for(&sluice, "127.0.0.2");
}

#[test]
fn services_have_ports_weights_and_priorities_of_their_own() {
    const SERVICE: &str = "_http._tcp.todos.test.";
    let dns = Dns::start();
    let [first, second, third] = ["first", "second", "third"].map(Upstream::saying);
    let port = |upstream: &Upstream| upstream.address().port();
    dns.addresses("a.test.", &[loopback(1)], 1);
    dns.addresses("b.test.", &[loopback(1)], 1);
    let both = [
        ("a.test.", port(&first), 10, 1),
        ("b.test.", port(&second), 10, 3),
        ("b.test.", port(&third), 20, 1),
    ];
    dns.services(SERVICE, &both, 1);
    let sluice = Sluice::start(&config(&dns, "dns+srv://_http._tcp.todos.test/base", ""));
    let count = 40;
    let answers: Vec<String> = (0..count).map(|_| sluice.get("/x").text()).collect();
    let of = |name: &str| answers.iter().filter(|answer| *answer == name).count();
    assert_eq!(of("third"), 0, "its priority is lower: {answers:?}");
    assert!(of("first") > 0 && of("second") > of("first"), "{answers:?}");
    let request = first.requests().remove(0).head;
    assert_eq!(request.header("host"), Some("todos.test"));
    assert!(request.raw.starts_with("GET /base/x "), "{}", request.raw);

    dns.services(SERVICE, &[("b.test.", port(&third), 20, 1)], 1);
    wait_for(&sluice, "third");
    assert!(upstreams(&sluice).contains("dns+srv://_http._tcp.todos.test"));
}

#[test]
fn a_name_in_the_hosts_file_needs_no_name_server() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let sluice = Sluice::start(&config(&dns, &url("localhost", &upstream), ""));
    wait_for(&sluice, "127.0.0.1");
    assert_eq!(dns.times_asked("localhost."), 0);
}

#[test]
fn thousands_of_names_are_all_resolved() {
    let (dns, upstream) = (Dns::start(), everywhere());
    let count = 1_000;
    let mut yaml = String::from("server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n");
    let port = upstream.address().port();
    for n in 0..count {
        dns.addresses(&format!("n{n}.test."), &[loopback(2)], 60);
        yaml += &format!("    - {{id: u{n}, url: 'http://n{n}.test:{port}'}}\n");
    }
    yaml += "  rules:\n    - {path: /, upstreams: [u999]}\n";
    let sluice = Sluice::start(&format!("{yaml}{}", dns.config("")));
    wait_for(&sluice, "127.0.0.2");
    eventually("every name is resolved", || {
        let page = upstreams(&sluice);
        (page.matches("\"addresses\":[\"127.0.0.2\"]").count() == count).then_some(())
    });
}

/// The address of an upstream that is told apart by its port.
#[test]
fn a_port_of_the_url_goes_with_every_address() {
    let (dns, upstream) = (Dns::start(), everywhere());
    dns.addresses(NAME, &[loopback(7)], 1);
    let sluice = Sluice::start(&config(&dns, &url("todos.test", &upstream), ""));
    wait_for(&sluice, "127.0.0.7");
    let address = SocketAddr::new(loopback(7), upstream.address().port());
    let page = upstreams(&sluice);
    assert!(
        page.contains(&format!("\"address\":\"{address}\"")),
        "{page}"
    );
}

#[test]
fn a_name_of_a_rejected_configuration_is_not_asked_for_any_more() {
    let (dns, upstream) = (Dns::start(), everywhere());
    dns.addresses(NAME, &[loopback(2)], 1);
    dns.addresses("other.test.", &[loopback(3)], 1);
    let yaml = |name: &str| config(&dns, &url(name, &upstream), "");
    let sluice = Sluice::start(&yaml("todos.test"));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = format!("listen: ['127.0.0.1:0', '{address}']");
    sluice.rewrite(&yaml("other.test").replace(
        "listen: 127.0.0.1:0\n  workers",
        &format!("{listen}\n  workers"),
    ));
    sluice.log().wait_for("reload rejected");
    let (asked, before) = (dns.times_asked("other.test."), dns.times_asked(NAME));
    assert!(asked > 0, "while it was prepared");
    eventually("the served name is asked for again and again", || {
        (dns.times_asked(NAME) >= before + 6).then_some(())
    });
    assert_eq!(dns.times_asked("other.test."), asked);
}
