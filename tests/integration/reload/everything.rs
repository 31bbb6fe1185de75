//! What can change while running: everything in the file.

use std::net::{TcpListener, TcpStream};

use super::{config, generation, post, reload, start, status, wait_until_all_serve, with};
use crate::harness::{eventually, process};
use nix::sys::signal::Signal;

#[test]
fn listeners_come_and_go_and_the_others_are_not_touched() {
    let mut sluice = start(&with(1, 2, "127.0.0.1:0", ""));
    let kept = sluice.address();
    let mut idle = sluice.connect();
    assert_eq!(idle.get("/").status, 200);

    let both = "127.0.0.1:0, '[::1]:0'";
    assert_eq!(reload(&sluice, &with(2, 2, both, "")).status, 200);
    sluice.learn_addresses();
    let added = sluice.address_of("[::1]:0");
    assert_eq!(crate::harness::get(added, "/").status, 200);
    let mut on_added = crate::harness::Client::connect(added);
    assert_eq!(on_added.get("/").status, 200);
    let mut silent_on_added = crate::harness::Client::connect(added);
    assert_eq!(silent_on_added.get("/").status, 200);

    assert_eq!(reload(&sluice, &with(3, 2, "127.0.0.1:0", "")).status, 200);
    let last = on_added.get("/").with_status(200);
    assert_eq!(last.header("connection"), Some("close"), "and drains");
    on_added.assert_ended();
    silent_on_added.assert_ended();
    eventually("the removed address is closed", || {
        TcpStream::connect(added).err()
    });
    assert_eq!(crate::harness::get(kept, "/").status, 200);
    for _ in 0..2 {
        let answer = idle.get("/").with_status(200);
        assert_eq!(answer.header("connection"), None, "the kept one goes on");
    }
}

#[test]
fn an_address_that_is_taken_is_a_rejected_reload() {
    let sluice = start(&config(1, 2));
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = foreign.local_addr().unwrap();
    let more = format!("127.0.0.1:0, '{taken}'");
    let answer = reload(&sluice, &with(2, 2, &more, ""));
    assert_eq!(answer.status, 422);
    let told = format!("error at server.listen[1] (line 2, column 25): cannot listen on {taken}: ");
    assert!(answer.text().contains(&told), "{}", answer.text());
    let admin = with(2, 2, "127.0.0.1:0", &format!("admin:\n  listen: {taken}\n"));
    let answer = reload(&sluice, &admin);
    let told = format!("error at admin.listen (line 17, column 11): cannot listen on {taken}: ");
    assert!(answer.text().contains(&told), "{}", answer.text());
    assert_eq!(reload(&sluice, &with(2, 2, &more, "")).status, 422);
    assert_eq!(generation(&sluice), 1);
    assert_eq!(sluice.get("/").status, 200);
    drop(foreign);
    assert_eq!(post(&sluice, "/reload").status, 200, "it is free now");
    assert_eq!(crate::harness::get(taken, "/").status, 200);
}

#[test]
fn an_address_can_give_way_to_a_wider_one() {
    let mut sluice = start(&config(1, 1));
    let port = sluice.address().port();
    let narrow = with(2, 1, &format!("'127.0.0.1:{port}'"), "");
    assert_eq!(reload(&sluice, &narrow).status, 200);
    let wide = with(3, 1, &format!("'0.0.0.0:{port}'"), "");
    assert_eq!(reload(&sluice, &wide).status, 200);
    sluice.learn_addresses();
    assert_eq!(
        crate::harness::get(([127, 0, 0, 1], port).into(), "/").status,
        200
    );
}

#[test]
fn the_admin_address_moves_and_answers_the_reload_that_moved_it() {
    let mut sluice = start(&config(1, 1));
    let old = sluice.admin();
    let elsewhere = crate::harness::port::free_address();
    let moved = with(
        2,
        1,
        "127.0.0.1:0",
        &format!("admin:\n  listen: {elsewhere}\n"),
    );
    assert_eq!(reload(&sluice, &moved).status, 200);
    sluice.learn_addresses();
    assert_eq!(sluice.admin(), elsewhere);
    assert_eq!(generation(&sluice), 2);
    eventually("the old admin address is closed", || {
        TcpStream::connect(old).err()
    });
}

#[test]
fn the_log_level_changes_in_all_processes() {
    let sluice = start(&config(1, 1));
    let debug = with(2, 1, "127.0.0.1:0", "log:\n  level: debug\n");
    assert_eq!(reload(&sluice, &debug).status, 200);
    let worker = |event: &crate::harness::log::Event| {
        let of_worker = event.text("process").as_deref() == Some("worker-0");
        (of_worker && event.text("level").as_deref() == Some("debug")).then_some(())
    };
    sluice.get("/");
    sluice.log().wait_until("a debug line of a worker", worker);
}

#[test]
fn a_level_asked_for_outlasts_workers_and_reloads_until_the_file_says_another() {
    let sluice = start(&config(1, 1));
    let requests = || sluice.log().all("request").len();
    assert_eq!(post(&sluice, "/log?level=debug").status, 200);
    process::signal(sluice.workers()[0], Signal::SIGKILL);
    sluice.log().wait_for("worker exited");
    sluice.get("/");
    eventually("the replacement logs requests", || {
        (requests() == 1).then_some(())
    });
    assert_eq!(reload(&sluice, &config(2, 1)).status, 200);
    sluice.get("/");
    eventually("it still does", || (requests() == 2).then_some(()));
    let other = with(3, 1, "127.0.0.1:0", "log:\n  level: warn\n");
    assert_eq!(reload(&sluice, &other).status, 200);
    sluice.get("/");
    let quiet = sluice.log().all("reload done").len();
    assert_eq!((requests(), quiet), (2, 2), "from then on only warnings");
}

#[test]
fn the_number_of_workers_follows_the_file() {
    let sluice = start(&config(1, 1));
    for (mark, workers) in [(2, 3), (3, 2), (4, 4), (5, 1)] {
        assert_eq!(reload(&sluice, &config(mark, workers)).status, 200);
        wait_until_all_serve(&sluice, workers.into());
        assert_eq!(sluice.workers().len(), usize::from(workers));
        for _ in 0..20 {
            assert_eq!(sluice.get("/").status, 200);
        }
    }
    assert_eq!(status(&sluice)["generation"], 5);
}
