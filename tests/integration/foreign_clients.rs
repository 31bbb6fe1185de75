//! Programs that others wrote, on both sides of the proxy.

use std::fs;
use std::io::Write;

use crate::harness::foreign::{find, run};
use crate::harness::nginx::Nginx;
use crate::harness::upstream::ok;
use crate::harness::{Sluice, Upstream, request};

/// Runs curl with these arguments; its stdout, or nothing where it is not installed.
#[track_caller]
fn curl(arguments: &[&str]) -> Option<String> {
    let mut command = find("curl")?;
    let output = run(command
        .args(["-sS", "--max-time", "60", "--noproxy", "*"])
        .args(arguments));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn curl_gets_posts_and_heads() {
    let upstream = Upstream::per_request(|request| {
        ok(&format!(
            "{} {}",
            request.head.method(),
            String::from_utf8_lossy(&request.body)
        ))
    });
    let sluice = Sluice::to(&upstream);
    let url = format!("http://{}/x", sluice.address());
    let Some(got) = curl(&[&url]) else { return };
    assert_eq!(got, "GET ");
    assert_eq!(curl(&["-d", "a=b", &url]).unwrap(), "POST a=b");
    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "a=b", &url];
    assert_eq!(curl(&chunked).unwrap(), "POST a=b");
    assert!(curl(&["-I", &url]).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(curl(&["--http1.0", &url]).unwrap(), "GET ");
}

#[test]
fn curl_keeps_one_connection_for_several_urls() {
    let upstream = Upstream::saying("ok");
    let sluice = Sluice::to(&upstream);
    let url = format!("http://{}/[1-5]", sluice.address());
    let Some(told) = curl(&["-w", "%{num_connects},", &url]) else {
        return;
    };
    assert_eq!(told, "ok1,ok0,ok0,ok0,ok0,");
}

#[test]
fn curl_uploads_a_large_file_after_100_continue() {
    let upstream = Upstream::start(|exchange| {
        let mut length = 0;
        exchange.streamed(&mut |piece| length += piece.len())?;
        exchange.write(ok(&length.to_string()))
    });
    let sluice = Sluice::to(&upstream);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![7; 5_000_000]).unwrap();
    let url = format!("http://{}/", sluice.address());
    let path = file.path().to_str().unwrap();
    let Some(told) = curl(&["-T", path, "-H", "Expect: 100-continue", &url]) else {
        return;
    };
    assert_eq!(told, "5000000");
}

#[test]
fn nginx_is_proxied_byte_for_byte() {
    let Some((nginx, large)) = nginx_with_a_large_file() else {
        return;
    };
    let yaml = crate::harness::sluice::config(&nginx.url(), "");
    let sluice = Sluice::start(&yaml);
    assert_eq!(sluice.get("/large").with_status(200).body, large);
    let ranged = "GET /large HTTP/1.1\r\nHost: x\r\nRange: bytes=10-19\r\n\r\n";
    assert_eq!(sluice.request(ranged).with_status(206).body, large[10..20]);
    let direct = request(nginx.address(), "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    let etag = direct.header("etag").unwrap();
    let known = format!("GET /large HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\n\r\n");
    sluice.request(known).with_status(304);
    assert_eq!(
        sluice.get("/none").with_status(404).header("server"),
        direct.header("server")
    );
}

#[test]
fn wrk_sees_no_errors() {
    let Some(mut wrk) = find("wrk") else { return };
    let sluice = Sluice::start(&crate::harness::sluice::config("builtin://echo", ""));
    let url = format!("http://{}/", sluice.address());
    let output = run(wrk.args(["-t1", "-c32", "-d2s", "--timeout", "30s", &url]));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("requests in"), "{told}");
    assert!(
        !told.contains("Socket errors") && !told.contains("Non-2xx"),
        "{told}"
    );
}

/// A real server with one large file.
fn nginx_with_a_large_file() -> Option<(Nginx, Vec<u8>)> {
    let nginx = Nginx::serving("listen 127.0.0.1:PORT; root FOLDER;")?;
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[usize::from(n % 7 == 0)])
        .collect();
    fs::write(nginx.folder().join("large"), &large).unwrap();
    Some((nginx, large))
}
