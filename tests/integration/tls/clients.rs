//! Clients that show who they are, where they may: what upstreams are told of them, and that nobody
//! can say it of himself.

use std::process::{Command, Output};

use super::{certificates, config};
use crate::harness::certificates::Authority;
use crate::harness::foreign::{find, run};
use crate::harness::secure::Secure;
use crate::harness::{Sluice, eventually};

const TOLD: &str = "  headers:\n    - {key: x-subject, value: $tls.client.subject}\n    - {key: x-san, \
                    value: $tls.client.san}\n    - {key: x-print, value: $tls.client.fingerprint}\n    \
                    - {key: x-tls, value: $tls.version $tls.cipher $tls.sni}\n";

/// A listener where clients may show a certificate of this authority, and need not.
fn proxy(ca: &Authority) -> Sluice {
    let mut tls = certificates(&[ca.pair("a", &["a.test"])]);
    tls.push(format!(
        "clientAuth: {{ca: {}, mode: optional}}",
        ca.ca().display()
    ));
    Sluice::start(&config(&tls, TOLD))
}

fn curl(sluice: &Sluice, ca: &Authority, arguments: &[&str]) -> Option<Output> {
    let mut curl: Command = find("curl")?;
    curl.args(["-sS", "--max-time", "60", "--noproxy", "*", "--connect-to"])
        .arg(format!("a.test:443:{}", sluice.address()))
        .arg("--cacert")
        .arg(ca.ca())
        .args(arguments)
        .arg("https://a.test/");
    Some(curl.output().unwrap())
}

/// The headers that the echo got.
#[track_caller]
fn headers(output: &Output) -> Vec<(String, String)> {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(body["headers"].clone()).unwrap()
}

#[track_caller]
fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|(given, _)| given == name);
    let value = found.next().map(|(_, value)| value.as_str());
    assert_eq!(found.next(), None, "{name} twice");
    value
}

/// Subjects, and what strings OpenSSL makes of them: of UTF-8 as it would, of UTF-16, of Latin-1.
const SUBJECTS: [(&str, &str); 3] = [
    (
        "/DC=test/C=DE/ST= a /O=Engines, Inc/OU=a\\+b<\"x\">;/CN=#Ada L\u{f6}velace+UID=7+\
         emailAddress=ada@x.test/SN=L/GN=A=b/street=1/serialNumber=9/businessCategory=x",
        "utf8only",
    ),
    ("/C=DE/O=Engines/CN=L\u{f6}velace \u{2665}", "MASK:0x0800"),
    ("/C=DE/O=Engines/CN=L\u{f6}velace", "MASK:0x0004"),
];

/// A certificate by OpenSSL, with names of every kind; what OpenSSL says of it.
fn foreign_client(ca: &Authority, (subject, strings): (&str, &str)) -> Option<[String; 2]> {
    let file = |name: &str| ca.path(name).to_str().unwrap().to_owned();
    std::fs::write(file("ca.key"), ca.key()).unwrap();
    let settings = format!("[req]\ndistinguished_name=dn\nstring_mask={strings}\n[dn]\n");
    std::fs::write(file("c.cnf"), settings).unwrap();
    let names = "subjectAltName=DNS:c.test,URI:spiffe://td/ns/x,email:ada@x.test,IP:10.0.0.1,IP:2001:db8::1";
    run(find("openssl")?
        .args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-utf8"])
        .args(["-config", &file("c.cnf"), "-subj", subject])
        .args([
            "-addext",
            names,
            "-keyout",
            &file("c.key"),
            "-out",
            &file("c.csr"),
        ]));
    run(find("openssl")?
        .args([
            "x509",
            "-req",
            "-days",
            "5",
            "-in",
            &file("c.csr"),
            "-copy_extensions",
            "copy",
        ])
        .args([
            "-CA",
            &file("ca.crt"),
            "-CAkey",
            &file("ca.key"),
            "-CAcreateserial",
        ])
        .args(["-out", &file("c.crt")]));
    let print = run(find("openssl")?
        .args([
            "x509",
            "-noout",
            "-in",
            &file("c.crt"),
            "-subject",
            "-nameopt",
        ])
        .args(["RFC2253", "-fingerprint", "-sha256"]));
    let print = String::from_utf8(print.stdout).unwrap();
    let said: Vec<&str> = print
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(_, value)| value)
        .collect();
    let [subject, print] = said[..] else {
        panic!("{print}");
    };
    Some([
        subject.to_owned(),
        print.replace(':', "").to_ascii_lowercase(),
    ])
}

#[test]
fn what_a_certificate_says_is_told_as_openssl_tells_it() {
    let ca = Authority::new();
    let sluice = proxy(&ca);
    for written in SUBJECTS {
        let Some(said) = foreign_client(&ca, written) else {
            return;
        };
        is_told(&sluice, &ca, &said);
    }
}

#[track_caller]
fn is_told(sluice: &Sluice, ca: &Authority, [subject, print]: &[String; 2]) {
    let (cert, key) = (ca.path("c.crt"), ca.path("c.key"));
    for protocol in ["--http1.1", "--http2"] {
        let shown = [
            protocol,
            "--cert",
            cert.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let Some(answer) = curl(sluice, ca, &shown) else {
            return;
        };
        let headers = headers(&answer);
        assert_eq!(header(&headers, "x-subject"), Some(subject.as_str()));
        assert_eq!(header(&headers, "x-print"), Some(print.as_str()));
        assert_eq!(
            header(&headers, "x-san"),
            Some("DNS:c.test,URI:spiffe://td/ns/x,email:ada@x.test,IP:10.0.0.1,IP:2001:db8::1")
        );
        let tls = header(&headers, "x-tls").unwrap();
        assert!(
            tls.starts_with("TLSv1.3 TLS_") && tls.ends_with(" a.test"),
            "{tls}"
        );
    }
}

#[test]
fn who_shows_nothing_is_served_and_cannot_say_who_he_is() {
    let ca = Authority::new();
    let sluice = proxy(&ca);
    let forged = [
        "-H",
        "x-subject: CN=admin",
        "-H",
        "X-San: DNS:admin",
        "-H",
        "x-print: 00",
    ];
    for protocol in ["--http1.1", "--http2"] {
        let arguments = [&[protocol][..], &forged].concat();
        let Some(answer) = curl(&sluice, &ca, &arguments) else {
            return;
        };
        let headers = headers(&answer);
        for name in ["x-subject", "x-san", "x-print"] {
            assert_eq!(header(&headers, name), None, "{name}");
        }
    }
}

#[test]
fn what_is_shown_has_to_be_good() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let sluice = proxy(&ca);
    ca.write("late", &ca.issue_expired(&["late.test"]));
    stranger.write("other", &stranger.issue_to("other", &["other.test"]));
    for (of, name) in [(&ca, "late"), (&stranger, "other")] {
        let file = |end: &str| of.path(&format!("{name}.{end}"));
        let (cert, key) = (file("crt"), file("key"));
        let shown = [
            "--cert",
            cert.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let Some(refused) = curl(&sluice, &ca, &shown) else {
            return;
        };
        assert!(!refused.status.success(), "{name} is taken");
    }
    let page = crate::harness::get(sluice.admin(), "/metrics").text();
    assert!(
        page.contains("result=\"client-certificate\"} 2\n"),
        "{page}"
    );
}

#[test]
fn a_session_ends_with_the_authority_that_vouched_for_it() {
    let (ca, next) = (Authority::new(), Authority::new());
    let pair = ca.pair("a", &["a.test"]);
    let yaml = |of: &Authority| {
        let mut tls = certificates(std::slice::from_ref(&pair));
        tls.push(format!(
            "clientAuth: {{ca: {}, mode: optional}}",
            of.ca().display()
        ));
        config(&tls, TOLD)
    };
    let sluice = Sluice::start(&yaml(&ca));
    let client = Secure::showing(&ca.pem, Some(&ca.issue_to("ada", &["ada.test"])));
    for resumed in [false, true] {
        let mut connection = client.connect(sluice.address(), "a.test");
        assert_eq!(connection.is_resumed(), resumed);
        let answer = connection.last_get("a.test");
        assert!(answer.contains("O=Example,CN=ada"), "{answer}");
    }
    sluice.rewrite(&yaml(&next));
    eventually("it is reloaded", || {
        (sluice.log().all("reload done").len() == 2).then_some(())
    });
    sluice.settle();
    let again = client.try_connect(sluice.address(), "a.test");
    let answer = again.and_then(|mut connection| connection.try_last_get("a.test"));
    assert!(answer.is_err(), "{answer:?}");
}
