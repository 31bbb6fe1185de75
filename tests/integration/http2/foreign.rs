//! Clients of HTTP/2 that others wrote, on an upstream of HTTP/1.1.

use std::fs;
use std::io::Write;

use crate::harness::foreign::{find, run};
use crate::harness::upstream::ok;
use crate::harness::{Sluice, Upstream};

#[track_caller]
fn curl(arguments: &[&str]) -> Option<String> {
    let mut command = find("curl")?;
    command.args(["-sS", "--max-time", "60", "--noproxy", "*"]);
    let output = run(command.arg("--http2-prior-knowledge").args(arguments));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn curl_gets_posts_heads_and_uploads() {
    let upstream = Upstream::per_request(|request| {
        ok(&format!("{} {}", request.head.method(), request.body.len()))
    });
    let sluice = Sluice::to(&upstream);
    let url = format!("http://{}/x", sluice.address());
    let Some(got) = curl(&[&url, "-w", " %{http_version}"]) else {
        return;
    };
    assert_eq!(got, "GET 0 2");
    assert_eq!(curl(&["-d", "a=b", &url]).unwrap(), "POST 3");
    assert!(curl(&["-I", &url]).unwrap().starts_with("HTTP/2 200"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![7; 5_000_000]).unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(curl(&["-T", path, &url]).unwrap(), "PUT 5000000");
}

#[test]
fn the_access_log_names_the_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = format!("accessLog: {{mode: on, path: '{}'}}", file.display());
    let yaml = crate::harness::sluice::config("builtin://echo", "");
    let sluice = Sluice::start(&format!("{yaml}{log}\n"));
    let url = format!("http://{}/seen", sluice.address());
    if curl(&[&url]).is_none() {
        return;
    }
    let line = crate::harness::eventually("a line in the access log", || {
        fs::read_to_string(&file)
            .ok()
            .filter(|text| !text.is_empty())
    });
    let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["protocol"], "HTTP/2");
    assert_eq!(line["path"], "/seen");
    assert_eq!(line["status"], 200);
}
