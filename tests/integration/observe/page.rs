//! The dashboard in a real browser: numbers move, a broken configuration shows its error.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::echo;
use crate::harness::{Response, Sluice, eventually, foreign, port, request};

/// The driver answers to its own address alone.
fn ask(driver: SocketAddr, path: &str) -> Response {
    request(
        driver,
        format!("GET {path} HTTP/1.1\r\nhost: {driver}\r\n\r\n"),
    )
}

/// Drives Chromium by the WebDriver protocol.
struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(url: &str) -> Option<Browser> {
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
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1200,1100",
            &format!("--user-data-dir={folder}"),
        ];
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

    fn evaluate(&self, script: &str) -> Value {
        self.post(
            &self.path("execute/sync"),
            &json!({"script": script, "args": []}),
        )
    }

    /// PNG, in base64.
    fn screenshot(&self) -> String {
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
            let mut wire = crate::harness::wire::Wire::new(stream);
            // A browser that is gone already needs no end.
            let _ended = wire
                .write(end.as_bytes())
                .and_then(|()| wire.read_response("DELETE"));
        }
        let _killed = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

#[test]
fn the_page_shows_traffic_and_a_broken_configuration() {
    let sluice = Sluice::start(&echo(2, ""));
    let Some(browser) = Browser::open(&format!("http://{}/", sluice.admin())) else {
        return;
    };
    eventually("the page says that it serves", || {
        (browser.evaluate("return document.getElementById('state').textContent") == "serving")
            .then_some(())
    });

    let total = || {
        let value =
            browser.evaluate("return document.getElementById('requests-total')?.dataset.value");
        value.as_str().and_then(|value| value.parse::<u64>().ok())
    };
    let mut client = sluice.connect();
    for _ in 0..300 {
        assert_eq!(client.get("/").status, 200);
    }
    eventually("the page counts 300 requests", || {
        (total() == Some(300)).then_some(())
    });
    let routes = browser.evaluate("return document.getElementById('routes').textContent");
    assert!(routes.as_str().unwrap().contains("all"), "{routes}");
    let workers = browser.evaluate("return document.querySelectorAll('#workers tbody tr').length");
    assert_eq!(workers, 2);

    sluice.rewrite(
        "server:\n  listen: 127.0.0.1:0\n  rules:\n    - path: /\n      upstreams: [nobody]\n",
    );
    eventually("the page shows the error", || {
        let script =
            "const it = document.getElementById('alert'); return it.hidden ? '' : it.textContent";
        browser
            .evaluate(script)
            .as_str()?
            .contains("nobody")
            .then_some(())
    });
    sluice.rewrite(&echo(2, "log:\n  level: warn\n"));
    eventually("the error goes when the configuration is mended", || {
        (browser.evaluate("return document.getElementById('alert').hidden") == true).then_some(())
    });
    let foreign_requests = browser.evaluate(
        "return performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith(location.origin)).length",
    );
    assert_eq!(foreign_requests, 0, "the page loads nothing from elsewhere");
    let wide = browser.evaluate("return document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(wide, true, "nothing sticks out of the window");
    let shot = browser.screenshot();
    if let Some(file) = std::env::var_os("SLUICE_SCREENSHOT") {
        std::fs::write(file, shot).unwrap();
    }
}
