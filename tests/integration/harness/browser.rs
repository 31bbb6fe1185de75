//! A real browser, driven by the WebDriver protocol.
//!
//! Not here: what its pages are to show.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::client::request;
use super::foreign;
use super::port;
use super::wait::eventually;
use super::wire::{Response, Wire};

/// The driver answers to its own address alone.
fn ask(driver: SocketAddr, path: &str) -> Response {
    request(
        driver,
        format!("GET {path} HTTP/1.1\r\nhost: {driver}\r\n\r\n"),
    )
}

/// Drives Chromium by the WebDriver protocol.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// With these arguments beside the usual ones; `None` where it is not installed.
    #[track_caller]
    pub(crate) fn open(url: &str, more: &[&str]) -> Option<Browser> {
        foreign::find("chromium")?;
        let mut program = foreign::find("chromedriver")?;
        let address = port::free_address();
        let driver = program
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser {
            driver,
            address,
            session: String::new(),
            _profile: profile,
        };
        eventually("the driver answers", || {
            std::net::TcpStream::connect(address).ok()?;
            (ask(address, "/status").json()["value"]["ready"] == true).then_some(())
        });
        let folder = browser._profile.path().display().to_string();
        let profile = format!("--user-data-dir={folder}");
        let usual = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1200,1100",
            &profile,
        ];
        let arguments = [&usual[..], more].concat();
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let made = browser.post("/session", &wanted);
        browser.session = made["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("{made}"))
            .to_owned();
        browser.post(&browser.path("url"), &json!({"url": url}));
        Some(browser)
    }

    fn path(&self, command: &str) -> String {
        format!("/session/{}/{command}", self.session)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let answer = request(self.address, head + &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["value"].clone()
    }

    /// What the script returns, or what a promise that it returns comes to.
    pub(crate) fn evaluate(&self, script: &str) -> Value {
        self.post(
            &self.path("execute/sync"),
            &json!({"script": script, "args": []}),
        )
    }

    /// PNG, in base64.
    pub(crate) fn screenshot(&self) -> String {
        let answer = ask(self.address, &self.path("screenshot"));
        answer.json()["value"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let end = format!(
            "DELETE /session/{} HTTP/1.1\r\nhost: a\r\n\r\n",
            self.session
        );
        if let Ok(stream) = std::net::TcpStream::connect(self.address) {
            let mut wire = Wire::new(stream);
            // A browser that is gone already needs no end.
            let _ended = wire
                .write(end.as_bytes())
                .and_then(|()| wire.read_response("DELETE"));
        }
        let _killed = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}
