//! What the processes keep of the memory that they had for a moment.

use crate::harness::process::anonymous_memory;
use crate::harness::{Sluice, eventually};

/// In bytes: what all processes have of their own, without the pages of the program's file, which
/// are many more in a build for debugging.
fn memory_of_their_own(sluice: &Sluice) -> u64 {
    let all = sluice.workers().into_iter().chain([sluice.pid()]);
    all.map(anonymous_memory).sum()
}

#[test]
fn a_configuration_of_ten_thousand_hosts_leaves_nothing_of_its_reading_behind() {
    let rules: String = (0..10_000)
        .map(|host| {
            let rule =
                |path| format!("    - {{host: h{host}.test, path: {path}, upstreams: [e]}}\n");
            rule("/api") + &rule("/")
        })
        .collect();
    let sluice = Sluice::start(&format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 2\n  upstreams: [{{id: e, url: 'builtin://echo'}}]\n  \
         rules:\n{rules}admin: {{listen: 127.0.0.1:0}}\n"
    ));
    // 60 MB for everything, of which up to 15 MB are the program's own pages.
    eventually("the processes have less than 45 MB of their own", || {
        (memory_of_their_own(&sluice) < 45_000_000).then_some(())
    });
}
