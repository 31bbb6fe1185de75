//! Certificates as files that change: taken up like any other change, refused when they are no good,
//! and never felt by who is connected.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{certificates, config};
use crate::harness::certificates::{Authority, Issued};
use crate::harness::kubelet::Volume;
use crate::harness::secure::Secure;
use crate::harness::sluice::command;
use crate::harness::{Sluice, eventually, get};

/// 4096-01-01, as certificates of tests that are told nothing else.
const EXPIRES: f64 = 67_090_118_400.0;

fn keys(issued: &Issued) -> [(&'static str, &str); 2] {
    [("tls.crt", &issued.cert), ("tls.key", &issued.key)]
}

fn mounted(volume: &Volume) -> String {
    let (cert, key) = (volume.path("tls.crt"), volume.path("tls.key"));
    format!("{{cert: {}, key: {}}}", cert.display(), key.display())
}

#[test]
fn a_certificate_is_rotated_a_hundred_times_under_load_without_a_failed_handshake() {
    const CLIENTS: usize = 2;
    let ca = Authority::new();
    let mut volume = Volume::with(&keys(&ca.issue(&["a.test"])));
    let sluice = Sluice::start(&config(&certificates(&[mounted(&volume)]), ""));
    let (address, stop) = (sluice.address(), Arc::new(AtomicBool::new(false)));
    let served = Arc::new(AtomicUsize::new(0));
    let mut kept = Secure::trusting(&ca.pem).connect(address, "a.test");
    let clients = (0..CLIENTS).map(|_| {
        let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
        // Remembers no session: each handshake is a whole one.
        let ca = ca.pem.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let mut connection = Secure::trusting(&ca).connect(address, "a.test");
                let answer = connection.last_get("a.test");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                served.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..100 {
        let next = ca.issue(&["a.test"]);
        volume.write(&keys(&next));
        eventually("the new certificate is served", || {
            let shown = Secure::trusting(&ca.pem).connect(address, "a.test").shown();
            (shown == next.der).then_some(())
        });
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert!(served.load(Ordering::SeqCst) > 100);
    let answer = kept.last_get("a.test");
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "on the first connection: {answer}"
    );
    assert_eq!(sluice.log().all("reload rejected").len(), 0);
}

#[test]
fn a_pair_that_does_not_belong_together_changes_nothing() {
    let ca = Authority::new();
    let (first, second) = (ca.issue(&["a.test"]), ca.issue(&["a.test"]));
    let mut volume = Volume::with(&keys(&first));
    let sluice = Sluice::start(&config(&certificates(&[mounted(&volume)]), ""));
    let shown = || {
        let client = Secure::trusting(&ca.pem);
        client.connect(sluice.address(), "a.test").shown()
    };
    volume.write(&[("tls.crt", &second.cert), ("tls.key", &first.key)]);
    let refused = sluice.log().wait_for("reload rejected");
    let errors = refused.text("errors").unwrap();
    assert!(
        errors.contains("tls.key") && errors.contains("is not that of"),
        "{errors}"
    );
    assert_eq!(shown(), first.der);

    volume.write(&keys(&ca.issue_expired(&["a.test"])));
    eventually("the expired one is refused too", || {
        let all = sluice.log().all("reload rejected");
        let told = all.iter().filter_map(|event| event.text("errors"));
        let expired = told
            .into_iter()
            .any(|errors| errors.contains("has expired"));
        expired.then_some(())
    });
    assert_eq!(shown(), first.der);

    volume.write(&keys(&second));
    eventually("the right pair is served", || {
        (shown() == second.der).then_some(())
    });
}

#[test]
fn expiry_and_names_are_told() {
    let ca = Authority::new();
    let pair = ca.pair("a", &["a.test", "*.b.test"]);
    let sluice = Sluice::start(&config(&certificates(&[pair]), ""));
    let status = get(sluice.admin(), "/status").json();
    let certificate = &status["certificates"][0];
    assert!(certificate["name"].as_str().unwrap().ends_with("a.crt"));
    assert_eq!(
        certificate["hosts"],
        serde_json::json!(["a.test", "*.b.test"])
    );
    assert_eq!(certificate["expiresAt"], "4096-01-01T00:00:00.000Z");
    let metrics = get(sluice.admin(), "/metrics").text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("sluice_tls_certificate_expiry_timestamp_seconds{"))
        .unwrap();
    let expires: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(
        line.contains("a.crt") && (expires - EXPIRES).abs() < 1.0,
        "{line}"
    );
    let config = get(sluice.admin(), "/config").text();
    assert!(
        config.contains("a.key") && !config.contains("PRIVATE"),
        "{config}"
    );
    let key = fs::read_to_string(ca.path("a.key")).unwrap();
    let secret: String = key.lines().nth(1).unwrap().to_owned();
    assert!(!config.contains(&secret) && !sluice.log().text().contains(&secret));
}

#[test]
fn what_is_wrong_with_a_file_is_said_before_it_is_served() {
    let ca = Authority::new();
    let (one, other) = (ca.issue(&["a.test"]), ca.issue(&["a.test"]));
    let mut swapped = one.clone();
    swapped.key = other.key.clone();
    let mut alone = one.clone();
    alone.cert = alone.cert.replace(&ca.pem, "");
    let mut garbage = one.clone();
    garbage.cert = "hello".to_owned();
    let told = |name: &str, pair: &Issued| {
        let written = ca.write(name, pair);
        let output = command(
            &config(&certificates(&[written]), ""),
            &["check", "-c", "CONFIG"],
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = told("swapped", &swapped);
    assert!(
        code == Some(1) && text.contains("swapped.key is not that of"),
        "{text}"
    );
    let (code, text) = told("expired", &ca.issue_expired(&["a.test"]));
    assert!(code == Some(1) && text.contains("has expired"), "{text}");
    let (code, text) = told("garbage", &garbage);
    assert!(
        code == Some(1) && text.contains("no certificate in it"),
        "{text}"
    );
    let (code, text) = told("alone", &alone);
    assert!(code == Some(0) && text.contains("Test Authority"), "{text}");
    let (code, text) = told("fine", &one);
    assert!(code == Some(0) && text.contains("0 warnings"), "{text}");
}
