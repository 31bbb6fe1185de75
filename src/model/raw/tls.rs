//! `tls:` as it is written, at listeners.

use std::time::Duration;

use crate::model::config::tls::{Alpn, ClientAuthMode, TicketMode, Version};
use crate::model::decode::{At, Decode, Delay, Number, Reader, Shape, Shown, section, words};
use crate::model::yaml::NodeId;

section! {
    /// `tls:` of a listener.
    RawListenerTls {
        /// Certificates with their keys; the client's server name chooses, and the first serves clients that give none, or one that no certificate is for.
        "certificates" certificates: Vec<At<RawCertificate<'t>>>; require,
        /// The oldest version of TLS that is spoken.
        "minVersion" min_version: Version = Version::V1_2,
        /// The newest version of TLS that is spoken.
        "maxVersion" max_version: Version = Version::V1_3,
        /// The cipher suites in the order of preference, by their names in the registry or by OpenSSL's. A version of TLS of which none is listed keeps its own.
        "ciphers" ciphers: Vec<At<&'t str>>,
        /// Asks clients for certificates.
        "clientAuth" client_auth: RawClientAuth<'t>,
        /// The protocols that are offered, in the order of preference; without it, `h2` and `http/1.1`,
        /// and with `protocol: tcp` none.
        "alpn" alpn: Vec<At<Alpn>>,
    }
}

section! {
    /// One of `certificates`.
    RawCertificate {
        /// A PEM file with the certificate and behind it those of its issuers.
        "cert" cert: &'t str; require,
        /// A PEM file with its private key.
        "key" key: &'t str; require,
        /// A file with an OCSP response for it (DER), sent along in handshakes.
        "ocsp" ocsp: &'t str,
    }
}

section! {
    /// `clientAuth:`
    RawClientAuth {
        /// A PEM file with the certificates of those who issue the clients' certificates.
        "ca" ca: &'t str; require,
        /// `require` refuses clients without a certificate, `optional` those with one that is not good.
        "mode" mode: ClientAuthMode = ClientAuthMode::Require,
    }
}

section! {
    /// `tls:` of an upstream.
    RawUpstreamTls {
        /// The name that is asked for and that the certificate must be for; without it, the host of the url.
        "serverName" server_name: &'t str,
        /// A PEM file with the certificates of those who may issue the server's; without it, those that the system trusts.
        "ca" ca: &'t str,
        /// Whether the server's certificate is verified. `false` lets anybody in between read and change everything.
        "verify" verify: bool = true,
        /// A PEM file with a certificate to show, should the server ask for one.
        "clientCert" client_cert: &'t str,
        /// A PEM file with its private key.
        "clientKey" client_key: &'t str,
        /// The protocols that are offered, in the order of preference; without it, `http/1.1`, or `h2` with `protocol: h2`.
        "alpn" alpn: Vec<At<Alpn>>,
        /// The oldest version of TLS that is spoken.
        "minVersion" min_version: Version = Version::V1_2,
        /// The newest version of TLS that is spoken.
        "maxVersion" max_version: Version = Version::V1_3,
    }
}

section! {
    /// `redirectHttps:`
    RawRedirectHttps {
        /// The port of https; 443 is not named.
        "port" port: Number<1, 65_535> = Number(443),
        /// The status: 301 or 308 for good, 302 or 307 for now; 307 and 308 keep method and body.
        "code" code: Number<301, 308> = Number(308),
    }
}

section! {
    /// `hsts:`
    RawHsts {
        /// For how long; `0s` takes it back.
        "maxAge" max_age: Delay = Delay(Duration::from_secs(365 * 24 * 60 * 60)),
        /// Whether it is meant for all names below the host too.
        "includeSubDomains" include_sub_domains: bool = false,
        /// Whether browsers may have the host in the list that they are delivered with.
        "preload" preload: bool = false,
    }
}

section! {
    /// `sessionTickets:`
    RawSessionTickets {
        /// Whether clients get tickets to resume their sessions with, at any worker.
        "mode" mode: TicketMode = TicketMode::On,
        /// How often the key of tickets is changed; tickets stay good for as long again.
        "rotation" rotation: Duration = Duration::from_secs(6 * 60 * 60),
    }
}

words!(TicketMode {
    "on" => Self::On,
    "off" => Self::Off,
});

words!(ClientAuthMode {
    "require" => Self::Require,
    "optional" => Self::Optional,
});

words!(Alpn {
    "h2" => Self::H2,
    "http/1.1" => Self::Http11,
});

/// `1.2` and `1.3`, also as `TLSv1.2`.
impl<'t> Decode<'t> for Version {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        let text = reader.tree.text(at).unwrap_or_default();
        let number = text.to_ascii_lowercase();
        let number = number
            .trim_start_matches("tls")
            .trim_start_matches(['v', ' ', '_']);
        match number {
            "1.2" => Some(Self::V1_2),
            "1.3" => Some(Self::V1_3),
            "1.0" | "1.1" | "1" => reader.expected(
                at,
                "1.2 or 1.3",
                "write `1.2`: older versions of TLS are not safe, and not spoken",
            ),
            _ => reader.expected(at, "1.2 or 1.3", "write `1.2` or `1.3`"),
        }
    }

    fn shape() -> Shape {
        // Without quotes it is a number to other readers of YAML.
        Shape::Text
    }
}

impl Shown for Version {
    fn shown(&self) -> String {
        match self {
            Self::V1_2 => "1.2".to_owned(),
            Self::V1_3 => "1.3".to_owned(),
        }
    }
}
