//! The dashboard in a real browser: numbers move, a broken configuration shows its error.

use super::echo;
use crate::harness::browser::Browser;
use crate::harness::{Sluice, eventually};

#[test]
fn the_page_shows_traffic_and_a_broken_configuration() {
    let sluice = Sluice::start(&echo(2, ""));
    let Some(browser) = Browser::open(&format!("http://{}/", sluice.admin()), &[]) else {
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
