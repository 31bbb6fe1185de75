//! The words that stand for the cases of an enum.

use std::num::NonZeroU16;

use crate::model::config::{
    HostHeader, Lifecycle, LogFormat, LogLevel, OrphanedStreams, ProxyHeader, Scheme,
    UpstreamProtocol, Workers,
};
use crate::model::decode::{Decode, Reader, Shape, Shown, words};
use crate::model::proxy_protocol::Version;
use crate::model::yaml::NodeId;

/// More processes than any machine has cores for.
const MAX_WORKERS: u16 = 1_024;

/// How a rule's `path` is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum PathType {
    Exact,
    Prefix,
    Regex,
}

words!(PathType {
    "exact" => Self::Exact,
    "prefix" => Self::Prefix,
    "regex" => Self::Regex,
});

/// What is spoken over a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Protocol {
    Http,
    Tcp,
}

words!(Protocol {
    "http" => Self::Http,
    "tcp" => Self::Tcp,
});

words!(HostHeader {
    "upstream" => Self::Upstream,
    "preserve" => Self::Preserve,
});

words!(ProxyHeader {
    "require" => Self::Require,
    "optional" => Self::Optional,
});

words!(Version {
    "v1" => Self::V1,
    "v2" => Self::V2,
});

words!(Scheme {
    "http" => Self::Http,
    "https" => Self::Https,
});

words!(UpstreamProtocol {
    "auto" => Self::Auto,
    "http1" => Self::Http1,
    "h2" => Self::H2,
    "h2c" => Self::H2c,
});

words!(Lifecycle {
    "edge" => Self::Edge,
    "sidecar" => Self::Sidecar,
});

words!(OrphanedStreams {
    "keep" => Self::Keep,
    "drain" => Self::Drain,
});

words!(LogLevel {
    "error" => Self::Error,
    "warn" => Self::Warn,
    "info" => Self::Info,
    "debug" => Self::Debug,
    "trace" => Self::Trace,
});

words!(LogFormat {
    "auto" => Self::Auto,
    "json" => Self::Json,
    "text" => Self::Text,
});

/// A number, or the word `auto`.
impl<'t> Decode<'t> for Workers {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        let text = reader.tree.text(at).unwrap_or_default();
        if text == "auto" {
            return Some(Self::Auto);
        }
        let count = text
            .parse::<NonZeroU16>()
            .ok()
            .filter(|count| count.get() <= MAX_WORKERS);
        match count {
            Some(count) => Some(Self::Count(count)),
            None => {
                let wanted = format!("a number from 1 to {MAX_WORKERS}, or `auto`");
                reader.expected(
                    at,
                    &wanted,
                    "write how many worker processes to run, or `auto`",
                )
            }
        }
    }

    fn shape() -> Shape {
        let number = Shape::Number {
            min: 1,
            max: u64::from(MAX_WORKERS),
        };
        Shape::Either(vec![number, Shape::Words(vec!["auto"])])
    }
}

impl Shown for Workers {
    fn shown(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Count(count) => count.to_string(),
        }
    }
}
