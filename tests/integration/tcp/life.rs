//! TCP listeners through reloads and at the end.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::echoing;
use crate::harness::client::End;
use crate::harness::sluice::config;
use crate::harness::{Client, Sluice, Upstream, eventually};
use crate::reload::post;

/// Says who it is, and then sends back what it gets.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |exchange| {
        exchange.write(format!("{name}\n"))?;
        loop {
            let line = exchange.wire.read_through(b"\n")?;
            exchange.write(line)?;
        }
    })
}

fn say(client: &mut Client, what: &str) {
    client.send(format!("{what}\n"));
    assert_eq!(client.read_through("\n"), format!("{what}\n"));
}

/// Listeners with the upstreams that their connections go to.
fn yaml(listeners: &[(&str, &str)], upstreams: &[(&str, &Upstream)]) -> String {
    let listeners = listeners.iter().map(|(address, upstream)| {
        format!("    - {{address: '{address}', protocol: tcp, upstream: {upstream}}}\n")
    });
    let upstreams = upstreams
        .iter()
        .map(|(id, server)| format!("    - {{id: {id}, url: '{}'}}\n", server.address()));
    format!(
        "server:\n  listen:\n{}  workers: 2\n  upstreams:\n{}  rules: []\ndrain: {{minDelay: 0s}}\n",
        listeners.collect::<String>(),
        upstreams.collect::<String>()
    )
}

fn reload(sluice: &mut Sluice, yaml: &str) {
    sluice.rewrite(yaml);
    post(sluice, "/reload").with_status(200);
    sluice.learn_addresses();
}

#[test]
fn connections_outlive_reloads_and_their_listener() {
    let (upstream, later) = (echoing(), echoing());
    let mut sluice = Sluice::start(&super::tcp(&upstream, ""));
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(sluice.address())).collect();
    let mut all_say = |what: &str| clients.iter_mut().for_each(|client| say(client, what));
    all_say("before");
    let other = "    - {id: other, url: 'builtin://echo'}\n";
    for round in 0..5 {
        reload(&mut sluice, &super::tcp(&later, other));
        all_say(&format!("round {round}"));
        reload(&mut sluice, &super::tcp(&upstream, ""));
    }
    reload(&mut sluice, &config("builtin://echo", ""));
    all_say("without a listener");
    assert_eq!(later.connections(), 0);
}

#[test]
fn listeners_come_and_go_and_new_connections_go_where_the_newest_says() {
    let (one, two) = (named("one"), named("two"));
    let upstreams = [("one", &one), ("two", &two)];
    let (a, b) = ("127.0.0.1:0", "127.0.0.2:0");
    let mut sluice = Sluice::start(&yaml(&[(a, "one")], &upstreams));
    let greeted = |sluice: &Sluice, at: &str| {
        let mut client = Client::connect(sluice.address_of(at));
        let name = client.read_through("\n").trim_end().to_owned();
        (client, name)
    };
    let (mut first, name) = greeted(&sluice, a);
    assert_eq!(name, "one");

    // Replaced, and another listener is added.
    reload(&mut sluice, &yaml(&[(a, "two"), (b, "one")], &upstreams));
    for _ in 0..4 {
        assert_eq!(greeted(&sluice, a).1, "two");
    }
    let (mut second, name) = greeted(&sluice, b);
    assert_eq!(name, "one");
    let removed = sluice.address_of(b);

    // Removed, and its upstream with it.
    reload(&mut sluice, &yaml(&[(a, "two")], &[("two", &two)]));
    eventually("nobody listens there any more", || {
        TcpStream::connect(removed).err()
    });
    say(&mut first, "still there");
    say(&mut second, "still there too");

    // The same port for requests, and back.
    let http = config("builtin://echo", "").replace("workers: 1", "workers: 2");
    reload(&mut sluice, &http);
    sluice.get("/").with_status(200);
    say(&mut first, "whatever is spoken there now");
    reload(&mut sluice, &yaml(&[(a, "one")], &upstreams));
    assert_eq!(greeted(&sluice, a).1, "one");
}

#[test]
fn streams_of_an_upstream_that_is_gone_are_broken_off_where_that_is_wanted() {
    let (one, two) = (named("one"), named("two"));
    let drained = "drain: {minDelay: 0s, timeout: 300ms}\nreload: {orphanedStreams: drain}\n";
    let yaml = |upstream: &str, server: &Upstream| {
        let all = yaml(&[("127.0.0.1:0", upstream)], &[(upstream, server)]);
        all.replace("drain: {minDelay: 0s}\n", drained)
    };
    let mut sluice = Sluice::start(&yaml("one", &one));
    let mut client = Client::connect(sluice.address());
    assert_eq!(client.read_through("\n"), "one\n");
    reload(&mut sluice, &yaml("two", &two));
    assert_eq!(client.assert_ended(), End::Reset);
}

#[test]
fn a_drain_lets_streams_end_by_themselves() {
    let upstream = echoing();
    let mut sluice = Sluice::start(&yaml(&[("127.0.0.1:0", "app")], &[("app", &upstream)]));
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(sluice.address())).collect();
    clients.iter_mut().for_each(|one| say(one, "before"));
    sluice.signal(Signal::SIGTERM);
    let address = sluice.address();
    eventually("nobody is let in any more", || {
        TcpStream::connect(address).err()
    });
    clients.iter_mut().for_each(|one| say(one, "meanwhile"));
    for mut client in clients {
        assert_eq!(client.finish_sending().assert_ended(), End::Closed);
    }
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}

#[test]
fn what_does_not_end_by_itself_is_cut_off() {
    let upstream = echoing();
    let timeout = "drain: {minDelay: 0s, timeout: 300ms}";
    let yaml = yaml(&[("127.0.0.1:0", "app")], &[("app", &upstream)]);
    let mut sluice = Sluice::start(&yaml.replace("drain: {minDelay: 0s}", timeout));
    let mut client = Client::connect(sluice.address());
    say(&mut client, "before");
    sluice.signal(Signal::SIGTERM);
    client.assert_ended();
    assert_eq!(sluice.wait_for_exit().code(), Some(0));
}
