//! The TLS that checks speak.
//!
//! Not here: the handshake (`probe`).

use std::collections::HashMap;

use crate::model::config::tls::Alpn;
use crate::model::config::{Config, Probe, Scheme};
use crate::model::snapshot::tls::{UpstreamTls, usable_roots};

/// Of one generation, by upstream: built once, not with each answer of a name
/// server.
#[derive(Default)]
pub(super) struct SecureChecks {
    pub(super) generation: u64,
    by_upstream: HashMap<String, UpstreamTls>,
}

impl SecureChecks {
    pub(super) fn of(generation: u64, config: &Config) -> SecureChecks {
        let mut system = None;
        let mut by_upstream = HashMap::new();
        for upstream in &config.upstreams {
            let (Some(check), Some(settings)) = (&upstream.health_check, &upstream.tls) else {
                continue;
            };
            if check.scheme == Some(Scheme::Http) {
                continue;
            }
            let system = system.get_or_insert_with(|| usable_roots(&config.system_authorities));
            match UpstreamTls::build(settings, system) {
                Ok(common) => {
                    let needed = matches!(check.probe, Probe::Grpc { .. }).then_some(Alpn::H2);
                    by_upstream.insert(upstream.id.clone(), common.for_checks(needed));
                }
                // Every worker has built the same.
                Err(error) => {
                    let upstream = &upstream.id;
                    tracing::error!(upstream, %error, "no TLS for health checks");
                }
            }
        }
        SecureChecks {
            generation,
            by_upstream,
        }
    }

    pub(super) fn find(&self, upstream: &str) -> Option<&UpstreamTls> {
        self.by_upstream.get(upstream)
    }
}
