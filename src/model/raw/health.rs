//! `healthCheck:` as it is written.

use std::time::Duration;

use crate::model::config::{CheckType, Scheme};
use crate::model::decode::{At, Delay, Number, OneOrMany, section, words};

section! {
    /// `healthCheck:`
    RawHealthCheck {
        /// What counts as healthy: the answer to an HTTP request, a TCP connection that opens, or
        /// `SERVING` from the gRPC health service over HTTP/2.
        "type" kind: CheckType = CheckType::Http,
        /// The path to ask for.
        "path" path: &'t str = "/",
        /// The method to ask with.
        "method" method: &'t str = "GET",
        /// The `Host` to ask for. Without it, the one that the server's url gives.
        "host" host: &'t str,
        /// Headers to ask with.
        "headers" headers: Vec<At<RawCheckHeader<'t>>>,
        /// Which answers are good: a status like `204`, a range like `200-299`, a class like `2xx`, or
        /// a list of them. Without it, `200-399`.
        "expectedStatus" expected_status: OneOrMany<&'t str>,
        /// A text that the first 64 KiB of the answer's body must contain.
        "expectedBody" expected_body: &'t str,
        /// The gRPC service to ask for; without it, the server as a whole.
        "service" service: &'t str,
        /// The port to check instead of the endpoint's own.
        "port" port: Number<1, 65_535>,
        /// Whether it is checked over TLS: `http` is without, `https` with what `tls` says. Without it, as
        /// the server's url says.
        "scheme" scheme: Scheme,
        /// From one check of an endpoint to the next.
        "interval" interval: Duration = Duration::from_secs(10),
        /// Up to how much longer that may be, by chance. Without it, a tenth of the interval.
        "jitter" jitter: Delay,
        /// How long a check may take, connecting included.
        "timeout" timeout: Duration = Duration::from_secs(2),
        /// So many good checks in a row bring an unhealthy endpoint back.
        "healthyThreshold" healthy_threshold: Number<1, 1_000> = Number(2),
        /// So many bad checks in a row take an endpoint out.
        "unhealthyThreshold" unhealthy_threshold: Number<1, 1_000> = Number(3),
    }
}

section! {
    /// One of a check's `headers`.
    RawCheckHeader {
        /// The header's name.
        "key" key: &'t str; require,
        /// Its value, the same for every check; secrets like `env:NAME` are filled in.
        "value" value: &'t str; require,
    }
}

words!(CheckType {
    "http" => Self::Http,
    "tcp" => Self::Tcp,
    "grpc" => Self::Grpc,
});
