//! The same seen by programs that others wrote: curl, OpenSSL, Python.

use std::fs;
use std::process::Stdio;

use super::{certificates, config};
use nix::sys::signal::Signal;

use crate::harness::certificates::Authority;
use crate::harness::foreign::{find, run};
use crate::harness::sluice::command;
use crate::harness::upstream::ok;
use crate::harness::{Sluice, get, process};

/// What `openssl s_client` says of a handshake with these arguments; nothing where it is not
/// installed.
#[track_caller]
pub(super) fn s_client(sluice: &Sluice, arguments: &[&str]) -> Option<String> {
    let mut command = find("openssl")?;
    let address = sluice.address().to_string();
    let output = command
        .args(["s_client", "-connect", &address, "-servername", "a.test"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let both = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&both).into_owned())
}

/// A key and a certificate of RSA, signed by itself.
fn rsa_pair(ca: &Authority) -> Option<String> {
    let (cert, key) = (ca.path("rsa.crt"), ca.path("rsa.key"));
    run(find("openssl")?
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
        ])
        .args([
            "-subj",
            "/CN=a.test",
            "-addext",
            "subjectAltName=DNS:a.test",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert));
    Some(format!(
        "{{cert: {}, key: {}}}",
        cert.display(),
        key.display()
    ))
}

#[test]
fn openssl_gets_the_kind_of_key_that_it_takes() {
    let ca = Authority::new();
    let Some(rsa) = rsa_pair(&ca) else { return };
    let pairs = [rsa, ca.pair("ecdsa", &["a.test"])];
    let sluice = Sluice::start(&config(&certificates(&pairs), ""));
    let both = s_client(&sluice, &[]).unwrap();
    assert!(both.contains("signature type: ECDSA"), "{both}");
    let rsa = s_client(&sluice, &["-sigalgs", "RSA-PSS+SHA256"]).unwrap();
    assert!(rsa.contains("signature type: RSA-PSS"), "{rsa}");
    let old = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    let old = s_client(&sluice, &old).unwrap();
    assert!(old.contains("signature type: RSA"), "{old}");
}

#[test]
fn openssl_is_held_to_versions_and_ciphers() {
    let ca = Authority::new();
    let mut tls = certificates(&[ca.pair("a", &["a.test"])]);
    let sluice = Sluice::start(&config(&tls, ""));
    let Some(new) = s_client(&sluice, &["-tls1_3"]) else {
        return;
    };
    assert!(new.contains("New, TLSv1.3"), "{new}");
    let old = s_client(&sluice, &["-tls1_2"]).unwrap();
    assert!(old.contains("New, TLSv1.2"), "{old}");

    tls.push("minVersion: 1.3".to_owned());
    tls.push("ciphers: [TLS_CHACHA20_POLY1305_SHA256]".to_owned());
    let strict = Sluice::start(&config(&tls, ""));
    let new = s_client(&strict, &[]).unwrap();
    assert!(new.contains("TLS_CHACHA20_POLY1305_SHA256"), "{new}");
    let old = s_client(&strict, &["-tls1_2"]).unwrap();
    assert!(old.contains("alert protocol version"), "{old}");
    let other = s_client(&strict, &["-ciphersuites", "TLS_AES_128_GCM_SHA256"]).unwrap();
    assert!(other.contains("alert handshake failure"), "{other}");
}

#[test]
fn openssl_resumes_with_both_versions() {
    let ca = Authority::new();
    let tls = certificates(&[ca.pair("a", &["a.test"])]);
    let mut sluice = Sluice::start(&config(&tls, ""));
    let versions = ["-tls1_2", "-tls1_3"];
    for version in versions {
        let file = ca.path(version);
        let session = file.to_str().unwrap();
        // The tickets of 1.3 come with the answer.
        let Some(mut python) = find("python3") else {
            return;
        };
        let script = "import subprocess, sys\n\
                      p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n\
                      p.stdin.write(b'GET / HTTP/1.0\\r\\nHost: a.test\\r\\n\\r\\n'); p.stdin.flush()\n\
                      sys.stdout.buffer.write(p.stdout.read())\n";
        let address = sluice.address().to_string();
        let first = run(python
            .args(["-c", script, "openssl", "s_client", "-connect", &address])
            .args(["-servername", "a.test", "-ign_eof", version])
            .args(["-sess_out", session]));
        let first = String::from_utf8_lossy(&first.stdout).into_owned();
        assert!(
            first.contains("New, TLSv1") && first.contains("200 OK"),
            "{first}"
        );
    }
    let all_resume = |sluice: &Sluice| {
        // At either worker.
        for version in versions.into_iter().cycle().take(12) {
            let session = ca.path(version);
            let again = [version, "-sess_in", session.to_str().unwrap()];
            let again = s_client(sluice, &again).unwrap();
            assert!(again.contains("Reused, TLSv1"), "{again}");
        }
    };
    all_resume(&sluice);
    sluice.signal(Signal::SIGUSR2);
    assert!(sluice.wait_for_exit().success());
    all_resume(&sluice);
    let status = get(sluice.admin(), "/status").json();
    let successor = u32::try_from(status["pid"].as_u64().unwrap()).unwrap();
    assert_ne!(successor, sluice.pid());
    process::signal(successor, Signal::SIGKILL);
}

/// A response for the certificate `a.crt`, as its authority signs it; written to `a.ocsp`. `status` is
/// how a line of OpenSSL's index begins.
fn ocsp_response(ca: &Authority, status: &str) -> Option<()> {
    let file = |name: &str| ca.path(name).to_str().unwrap().to_owned();
    let output = run(find("openssl")?.args(["x509", "-noout", "-serial", "-in", &file("a.crt")]));
    let serial = String::from_utf8_lossy(&output.stdout);
    let serial = serial.trim().trim_start_matches("serial=");
    let line = format!("{status}\t{serial}\tunknown\t/CN=a.test\n");
    fs::write(file("index.txt"), line).unwrap();
    fs::write(file("ca.key"), ca.key()).unwrap();
    let ask = ["ocsp", "-issuer", &file("ca.crt"), "-cert", &file("a.crt")];
    run(find("openssl")?.args(ask).args(["-reqout", &file("a.req")]));
    run(find("openssl")?
        .args(["ocsp", "-index", &file("index.txt"), "-CA", &file("ca.crt")])
        .args(["-rsigner", &file("ca.crt"), "-rkey", &file("ca.key")])
        .args(["-reqin", &file("a.req"), "-respout", &file("a.ocsp")])
        .args(["-ndays", "7"]));
    Some(())
}

const VALID: &str = "V\t400101000000Z\t";
const REVOKED: &str = "R\t400101000000Z\t240101000000Z";

fn with_response(ca: &Authority, pair: &str) -> String {
    let stapled = format!("ocsp: {}}}", ca.path("a.ocsp").display());
    pair.replace('}', &format!(", {stapled}"))
}

#[test]
fn a_response_that_is_of_no_use_is_warned_of() {
    let ca = Authority::new();
    let [a, b] = ["a", "b"].map(|name| ca.pair(name, &[&format!("{name}.test")]));
    for (status, pair, said) in [
        (VALID, &a, None),
        (VALID, &b, Some("the response is for another certificate")),
        (REVOKED, &a, Some("says that the certificate is revoked")),
    ] {
        if ocsp_response(&ca, status).is_none() {
            return;
        }
        let stapled = config(&certificates(&[with_response(&ca, pair)]), "");
        let output = command(&stapled, &["check", "-c", "CONFIG"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains(said.unwrap_or("0 warnings")), "{text}");
    }
}

#[test]
fn openssl_is_given_the_response_of_the_authority() {
    let ca = Authority::new();
    let pair = ca.pair("a", &["a.test"]);
    if ocsp_response(&ca, VALID).is_none() {
        return;
    }
    let first = with_response(&ca, &pair);
    let sluice = Sluice::start(&config(
        &certificates(&[first, ca.pair("b", &["b.test"])]),
        "",
    ));
    let authority = ca.ca();
    for version in ["-tls1_2", "-tls1_3"] {
        let checked = ["-status", version, "-CAfile", authority.to_str().unwrap()];
        let told = s_client(&sluice, &checked).unwrap();
        for word in ["OCSP Response Status: successful", "Cert Status: good"] {
            assert!(told.contains(word), "{word} in {told}");
        }
        assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
        let other = s_client(&sluice, &["-status", version, "-servername", "b.test"]).unwrap();
        assert!(other.contains("no response sent"), "{other}");
    }
}

#[test]
fn curl_shows_its_certificate_and_is_refused_without() {
    let ca = Authority::new();
    let mut tls = certificates(&[ca.pair("a", &["a.test"])]);
    tls.push(format!(
        "clientAuth: {{ca: {}, mode: require}}",
        ca.ca().display()
    ));
    let sluice = Sluice::start(&config(&tls, ""));
    ca.write("client", &ca.issue_to("client", &["client.test"]));
    let Some(mut curl) = find("curl") else { return };
    let to = format!("a.test:443:{}", sluice.address());
    let common = |curl: &mut std::process::Command| {
        curl.args(["-sS", "--max-time", "60", "--noproxy", "*", "--connect-to"])
            .arg(&to)
            .arg("--cacert")
            .arg(ca.ca());
    };
    common(&mut curl);
    let answer = run(curl
        .arg("--cert")
        .arg(ca.path("client.crt"))
        .arg("--key")
        .arg(ca.path("client.key"))
        .arg("https://a.test/"));
    assert!(String::from_utf8_lossy(&answer.stdout).contains("\"method\":\"GET\""));
    let mut without = find("curl").unwrap();
    common(&mut without);
    let refused = without.arg("https://a.test/").output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
}

#[test]
fn curl_speaks_http2_where_it_is_agreed_on() {
    let ca = Authority::new();
    let tls = certificates(&[ca.pair("a", &["a.test"])]);
    let sluice = Sluice::start(&config(&tls, ""));
    for (wanted, spoken) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let Some(mut curl) = find("curl") else { return };
        let answer = run(curl
            .args([
                "-sS",
                "--max-time",
                "60",
                "--noproxy",
                "*",
                wanted,
                "--connect-to",
            ])
            .arg(format!("a.test:443:{}", sluice.address()))
            .arg("--cacert")
            .arg(ca.ca())
            .args(["-w", " %{http_version}", "-d", "hi", "https://a.test/"]));
        let told = String::from_utf8_lossy(&answer.stdout);
        assert!(told.ends_with(&format!(" {spoken}")), "{told}");
        assert!(told.contains("[\"x-forwarded-proto\",\"https\"]"), "{told}");
    }
}

#[test]
fn python_moves_large_bodies_both_ways() {
    let ca = Authority::new();
    let tls = certificates(&[ca.pair("a", &["a.test"])]);
    let upstream = crate::harness::Upstream::per_request(|request| {
        ok(&String::from_utf8_lossy(&request.body))
    });
    let yaml = config(&tls, "").replace("builtin://echo", &upstream.url());
    let sluice = Sluice::start(&yaml);
    let Some(mut python) = find("python3") else {
        return;
    };
    let script = "
import http.client, socket, ssl, sys
host, port = sys.argv[1].rsplit(':', 1)
context = ssl.create_default_context(cafile=sys.argv[2])
class Connection(http.client.HTTPSConnection):
    def connect(self):
        raw = socket.create_connection((host, int(port)), 60)
        self.sock = context.wrap_socket(raw, server_hostname='a.test')
connection = Connection('a.test', context=context)
for size in (0, 1, 16383, 16384, 16385, 70000, 3000000):
    body = bytes(97 + n % 26 for n in range(size))
    connection.request('POST', '/', body)
    answer = connection.getresponse().read()
    assert answer == body, (size, len(answer))
print('whole', connection.sock.version())
";
    let address = sluice.address().to_string();
    let output = run(python.args(["-c", script, &address]).arg(ca.ca()));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("whole TLSv1.3"), "{told}");
}
