//! TLS to servers: who is believed, what is shown, and what is said when it does not come about.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::foreign::find;
use crate::harness::{Launch, Sluice, eventually, port};

/// A server that says hello to every request, and how it ends.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    resumed: Arc<AtomicUsize>,
    turns: Arc<Turns>,
}

/// How often keys are to be changed, and were.
#[derive(Default)]
struct Turns {
    wanted: AtomicUsize,
    made: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// With a length, and the connection stays.
    Kept,
    /// Up to the end of the connection, which is announced, or not.
    UntilClose { announced: bool },
    /// With a length, and then an announced end.
    Closed,
    /// With a length, and then new keys, which nobody has asked for.
    Rekeyed,
}

impl Server {
    fn start(own: &Issued, clients: Option<&str>, answer: Answer) -> Server {
        let config = Arc::new(config(own, clients));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, resumed) = (Arc::default(), Arc::default());
        let turns = Arc::<Turns>::default();
        let server = Server {
            address,
            connections: Arc::clone(&connections),
            resumed: Arc::clone(&resumed),
            turns: Arc::clone(&turns),
        };
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (config, resumed) = (Arc::clone(&config), Arc::clone(&resumed));
                let turns = Arc::clone(&turns);
                // A client that goes away is not the test's concern.
                thread::spawn(move || drop(serve(config, tcp, answer, &resumed, &turns)));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

fn config(own: &Issued, clients: Option<&str>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    builder
        .with_single_cert(vec![CertificateDer::from(own.der.clone())], key)
        .unwrap()
}

fn serve(
    config: Arc<ServerConfig>,
    tcp: TcpStream,
    answer: Answer,
    resumed: &AtomicUsize,
    turns: &Turns,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.extend_from_slice(&byte);
        }
        if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed) {
            resumed.fetch_add(1, Ordering::SeqCst);
        }
        let framing = match answer {
            Answer::Kept | Answer::Closed | Answer::Rekeyed => "content-length: 5\r\n",
            Answer::UntilClose { .. } => "connection: close\r\n",
        };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\nhello").as_bytes())?;
        stream.flush()?;
        match answer {
            Answer::Kept => continue,
            Answer::Rekeyed => {
                rekey(&mut stream, turns)?;
                continue;
            }
            Answer::UntilClose { announced: false } => return Ok(()),
            Answer::Closed | Answer::UntilClose { .. } => {
                stream.conn.send_close_notify();
                return stream.flush();
            }
        }
    }
}

/// Changes keys when it is told to; the client has its answer by then.
fn rekey(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    turns: &Turns,
) -> std::io::Result<()> {
    let turn = turns.made.load(Ordering::SeqCst);
    eventually("a turn", || {
        (turns.wanted.load(Ordering::SeqCst) > turn).then_some(())
    });
    let renewed = stream.conn.refresh_traffic_keys();
    renewed.map_err(std::io::Error::other)?;
    stream.flush()?;
    turns.made.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// Everything to this server, with these lines under `tls:`.
fn to(url: &str, tls: &[String]) -> String {
    let tls: String = tls.iter().map(|line| format!("        {line}\n")).collect();
    let tls = match tls.is_empty() {
        true => String::new(),
        false => format!("      tls:\n{tls}"),
    };
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n  upstreams:\n    - id: app\n      url: {url}\n\
         {tls}  rules:\n    - path: /\n      upstreams: [app]\n  errorHeader: true\n"
    )
}

fn trusting(ca: &Authority) -> String {
    format!("ca: {}", ca.ca().display())
}

#[test]
fn a_server_is_believed_for_its_name_and_authority_alone() {
    let ca = Authority::new();
    let server = Server::start(&ca.issue(&["app.test"]), None, Answer::Kept);
    let named = "serverName: app.test".to_owned();
    let fine = Sluice::start(&to(&server.url(), &[trusting(&ca), named.clone()]));
    assert_eq!(fine.get("/").with_status(200).text(), "hello");
    assert_eq!(fine.get("/").with_status(200).text(), "hello");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "it is kept");

    let error = |tls: &[String]| {
        let sluice = Sluice::start(&to(&server.url(), tls));
        let answer = sluice.get("/").with_status(502);
        assert_eq!(answer.header("x-sluice-error"), Some("upstream_tls"));
        let told = sluice.log().wait_for("no TLS with a server");
        told.text("error").unwrap()
    };
    let wrong_name = error(&[trusting(&ca), "serverName: other.test".to_owned()]);
    assert!(wrong_name.contains("other.test"), "{wrong_name}");
    let stranger = Authority::new();
    let wrong_authority = error(&[trusting(&stranger), named.clone()]);
    assert!(wrong_authority.contains("certificate"), "{wrong_authority}");
    let by_address = error(&[trusting(&ca)]);
    assert!(
        by_address.contains("127.0.0.1") || by_address.contains("name"),
        "{by_address}"
    );

    let blind = Sluice::start(&to(&server.url(), &["verify: false".to_owned()]));
    assert_eq!(blind.get("/").with_status(200).text(), "hello");
    let odd = blind.log().wait_for("the configuration is odd");
    assert!(odd.text("warning").unwrap().contains("not verified"));
}

#[test]
fn those_whom_the_system_trusts_are_believed_where_nobody_is_named() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let server = Server::start(&ca.issue(&["app.test"]), None, Answer::Kept);
    let yaml = to(&server.url(), &["serverName: app.test".to_owned()]);
    let status = |system: &Authority| {
        let launch = Launch::new(&yaml).env("SSL_CERT_FILE", system.ca().to_str().unwrap());
        launch.start().get("/").status
    };
    assert_eq!(status(&ca), 200);
    assert_eq!(status(&stranger), 502);
}

#[test]
fn the_certificate_of_ours_is_shown_where_it_is_asked_for() {
    let ca = Authority::new();
    let server = Server::start(&ca.issue(&["app.test"]), Some(&ca.pem), Answer::Kept);
    ca.write("client", &ca.issue_to("proxy", &["proxy.test"]));
    let mut tls = vec![trusting(&ca), "serverName: app.test".to_owned()];
    let without = Sluice::start(&to(&server.url(), &tls));
    without.get("/").with_status(502);
    tls.push(format!("clientCert: {}", ca.path("client.crt").display()));
    tls.push(format!("clientKey: {}", ca.path("client.key").display()));
    let with = Sluice::start(&to(&server.url(), &tls));
    assert_eq!(with.get("/").with_status(200).text(), "hello");
}

#[test]
fn sessions_are_resumed_and_other_settings_share_no_connection() {
    let ca = Authority::new();
    let server = Server::start(&ca.issue(&["app.test"]), None, Answer::Closed);
    let tls = [trusting(&ca), "serverName: app.test".to_owned()];
    let sluice = Sluice::start(&to(&server.url(), &tls));
    for _ in 0..3 {
        sluice.get("/").with_status(200);
    }
    assert!(server.resumed.load(Ordering::SeqCst) >= 1);

    let kept = Server::start(&ca.issue(&["app.test"]), None, Answer::Kept);
    let sluice = Sluice::start(&to(&kept.url(), &tls));
    sluice.get("/").with_status(200);
    let stranger = Authority::new();
    let stranger = [trusting(&stranger), "serverName: app.test".to_owned()];
    sluice.rewrite(&to(&kept.url(), &stranger));
    eventually("the connection of before is of no use", || {
        (sluice.get("/").status == 502).then_some(())
    });
}

/// As with tickets that come late: what TLS says by itself is no reason to give a connection up.
#[test]
fn an_idle_connection_outlives_what_was_not_asked_for() {
    let ca = Authority::new();
    let server = Server::start(&ca.issue(&["app.test"]), None, Answer::Rekeyed);
    let tls = [trusting(&ca), "serverName: app.test".to_owned()];
    let sluice = Sluice::start(&to(&server.url(), &tls));
    for turn in 1..=6 {
        sluice.get("/").with_status(200);
        server.turns.wanted.store(turn, Ordering::SeqCst);
        eventually("the keys are new", || {
            (server.turns.made.load(Ordering::SeqCst) == turn).then_some(())
        });
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn an_answer_is_whole_only_if_its_end_was_announced() {
    let ca = Authority::new();
    for announced in [true, false] {
        let answer = Answer::UntilClose { announced };
        let server = Server::start(&ca.issue(&["app.test"]), None, answer);
        let tls = [trusting(&ca), "serverName: app.test".to_owned()];
        let sluice = Sluice::start(&to(&server.url(), &tls));
        let mut client = sluice.connect();
        client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
        let answer = client.try_response("GET");
        match answer {
            Ok(answer) => assert!(announced && answer.text() == "hello"),
            Err(error) => assert!(!announced, "{error}"),
        }
    }
}

#[test]
fn a_server_that_does_not_shake_hands_is_given_up() {
    let ca = Authority::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let yaml = to(&url, &[trusting(&ca)])
        .replace("      tls:\n", "      timeouts: {tls: 200ms}\n      tls:\n");
    let sluice = Sluice::start(&yaml);
    let answer = sluice.get("/").with_status(504);
    assert_eq!(
        answer.header("x-sluice-error"),
        Some("upstream_tls_timeout")
    );
}

#[test]
fn openssl_is_spoken_to_as_a_server() {
    let ca = Authority::new();
    ca.write("app", &ca.issue(&["app.test"]));
    let Some(openssl) = find("openssl") else {
        return;
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Foreign::start(openssl.get_program(), &ca, version);
        let tls = [trusting(&ca), "serverName: app.test".to_owned()];
        let sluice = Sluice::start(&to(&format!("https://{}", server.address), &tls));
        let page = sluice.get("/").with_status(200).text();
        assert!(page.contains("Ciphers supported"), "{page}");
    }
}

/// `openssl s_server -www`: a page about the handshake.
struct Foreign {
    child: Child,
    address: SocketAddr,
}

impl Foreign {
    fn start(program: &std::ffi::OsStr, ca: &Authority, version: &str) -> Foreign {
        let address = port::free_address();
        let child = Command::new(program)
            .args([
                "s_server",
                "-www",
                "-quiet",
                "-accept",
                &address.to_string(),
                version,
            ])
            .arg("-cert")
            .arg(ca.path("app.crt"))
            .arg("-key")
            .arg(ca.path("app.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Foreign { child, address };
        eventually("openssl listens", || TcpStream::connect(address).ok());
        server
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
