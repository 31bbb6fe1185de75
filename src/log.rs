//! The program's own log: a line on stderr for each event, as text for a terminal and as JSON
//! elsewhere, each naming the process that wrote it. Level and format can change while running.
//!
//! Not here: the access log, which is one line for each request and has files and formats of its own.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::container::Pod;
use crate::model::config::{Log, LogFormat, LogLevel};

/// Changes the log of this process while it runs.
#[derive(Clone)]
pub struct Handle {
    filter: reload::Handle<Targets, Registry>,
    json: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("`{0}` is no log filter; write a level, or `target=level` several times with commas")]
    Filter(String),
    #[error("the log cannot be changed any more")]
    Gone(#[from] reload::Error),
}

/// Until a configuration says otherwise.
pub const AT_START: Log = Log {
    level: LogLevel::Info,
    format: LogFormat::Auto,
};

/// From now on events of this process are written; a second call in one process changes nothing.
pub fn init(process: String, settings: Log) -> Handle {
    let json = Arc::new(AtomicBool::new(is_json(settings.format)));
    let (filter, handle) = reload::Layer::new(at_level(settings.level));
    let origin = Origin {
        process,
        pod: Pod::of_environment(),
    };
    let lines = Lines {
        origin,
        json: Arc::clone(&json),
    };
    // Fails only where a subscriber is set already, as in tests.
    let _already = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    Handle {
        filter: handle,
        json,
    }
}

impl Handle {
    pub fn apply(&self, settings: Log) -> Result<(), LogError> {
        self.json.store(is_json(settings.format), Relaxed);
        Ok(self.filter.reload(at_level(settings.level))?)
    }

    /// A level, or levels by target: `info,sluice::proxy=debug`.
    pub fn filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = match filter.trim().parse() {
            Ok(level) => of_this_program(level),
            Err(_) => filter
                .parse()
                .map_err(|_| LogError::Filter(filter.to_owned()))?,
        };
        Ok(self.filter.reload(parsed)?)
    }
}

fn at_level(level: LogLevel) -> Targets {
    of_this_program(match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    })
}

/// Libraries say what is wrong, and no more: among what they trace is each event of a watched
/// directory, and the log itself may be written there. Who wants it all the same names their targets.
/// TLS and HTTP/2 warn of what peers send, as often as they send it: it is counted instead.
fn of_this_program(level: tracing::Level) -> Targets {
    Targets::new()
        .with_target(env!("CARGO_PKG_NAME"), level)
        .with_target("rustls", tracing::Level::ERROR)
        .with_target("h2", tracing::Level::ERROR)
        .with_default(level.min(tracing::Level::WARN))
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    }
}

/// Writes each event as one line with one call, so that processes do not write into each other's.
struct Lines {
    origin: Origin,
    json: Arc<AtomicBool>,
}

/// Who writes.
struct Origin {
    process: String,
    /// In JSON alone: whoever reads text knows where it comes from.
    pod: Option<Pod>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (target, fields) = Fields::of(event);
        let line = if self.json.load(Relaxed) {
            json_line(&self.origin, event.metadata(), target, fields)
        } else {
            text_line(&self.origin, event.metadata(), &fields)
        };
        // Nobody can be told that the log cannot be written.
        let _unwritten = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _infallible = write!(text, ": {error}");
            cause = error.source();
        }
        self.put(field, text.into());
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }

    /// Libraries that log by the `log` crate come with fields that say where in their sources they
    /// did, in paths of the machine that built them. The target alone is of use, in its own place.
    fn of(event: &Event<'_>) -> (String, Self) {
        let mut fields = Self::default();
        event.record(&mut fields);
        let target = fields.0.remove("log.target");
        for name in ["log.module_path", "log.file", "log.line"] {
            fields.0.remove(name);
        }
        let target = match target {
            Some(Value::String(target)) => target,
            _ => event.metadata().target().to_owned(),
        };
        (target, fields)
    }
}

fn json_line(origin: &Origin, metadata: &Metadata<'_>, target: String, fields: Fields) -> String {
    let mut line = Map::new();
    line.insert("time".into(), now().into());
    line.insert("level".into(), level(metadata).into());
    line.insert("process".into(), origin.process.as_str().into());
    if let Some(pod) = &origin.pod {
        line.insert("pod".into(), pod.name.as_str().into());
        line.insert("namespace".into(), pod.namespace.as_str().into());
    }
    line.insert("target".into(), target.into());
    line.extend(fields.0);
    format!("{}\n", Value::Object(line))
}

fn text_line(origin: &Origin, metadata: &Metadata<'_>, fields: &Fields) -> String {
    let process = &origin.process;
    let mut line = format!("{} {:5} {process}", now(), level(metadata).to_uppercase());
    if let Some(Value::String(message)) = fields.0.get("message") {
        let _infallible = write!(line, " {message}");
    }
    for (name, value) in fields.0.iter().filter(|(name, _)| *name != "message") {
        let _infallible = write!(line, " {name}={value}");
    }
    line.push('\n');
    line
}

fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// RFC 3339 in UTC.
fn now() -> String {
    let mut text = String::new();
    let written =
        tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut text));
    match written {
        Ok(()) => text,
        Err(_) => format!("{:?}", SystemTime::now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What the layer would write for the events of `f`.
    fn lines(f: impl FnOnce()) -> Vec<(String, String)> {
        struct Both(Arc<Mutex<Vec<(String, String)>>>);
        impl<S: Subscriber> Layer<S> for Both {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let (target, fields) = Fields::of(event);
                let pod = Pod {
                    name: "web-0".to_owned(),
                    namespace: "shop".to_owned(),
                };
                let origin = Origin {
                    process: "worker-0".to_owned(),
                    pod: Some(pod),
                };
                let text = text_line(&origin, event.metadata(), &fields);
                let json = json_line(&origin, event.metadata(), target, fields);
                self.0.lock().unwrap().push((text, json));
            }
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Both(Arc::clone(&seen)));
        tracing::subscriber::with_default(subscriber, f);
        std::mem::take(&mut *seen.lock().unwrap())
    }

    #[test]
    fn a_line_names_process_level_and_fields() {
        let lines = lines(|| tracing::warn!(generation = 7, why = "a \"b\"\n", "reload rejected"));
        let (text, json) = &lines[0];
        assert!(text.contains("WARN  worker-0 reload rejected"), "{text}");
        assert!(text.contains(r#"why="a \"b\"\n""#), "{text}");
        assert_eq!(text.matches('\n').count(), 1, "one event, one line");
        let json: Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["process"], "worker-0");
        assert_eq!(json["pod"], "web-0");
        assert_eq!(json["namespace"], "shop");
        assert_eq!(json["message"], "reload rejected");
        assert_eq!(json["generation"], 7);
        assert_eq!(json["level"], "warn");
    }

    #[test]
    fn where_in_its_sources_a_library_logged_is_nobodys_business() {
        let lines = lines(|| {
            tracing::warn!(
                { log.target = "h9::wire", log.module_path = "h9::wire::frames",
                  log.file = "registry/h9-1.0/src/wire.rs", log.line = 7, code = 3 },
                "odd"
            );
        });
        let (text, json) = &lines[0];
        assert!(text.ends_with("worker-0 odd code=3\n"), "{text}");
        let json: Value = serde_json::from_str(json).unwrap();
        let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(json["target"], "h9::wire");
        let wanted = [
            "code",
            "level",
            "message",
            "namespace",
            "pod",
            "process",
            "target",
            "time",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn a_level_is_that_of_this_program_and_libraries_only_warn() {
        let filter = at_level(LogLevel::Trace);
        for (target, level, written) in [
            ("sluice::proxy", tracing::Level::TRACE, true),
            ("notify::inotify", tracing::Level::WARN, true),
            ("notify::inotify", tracing::Level::INFO, false),
            ("rustls::check", tracing::Level::WARN, false),
            ("h2::proto::streams", tracing::Level::WARN, false),
            ("rustls::check", tracing::Level::ERROR, true),
        ] {
            assert_eq!(
                filter.would_enable(target, &level),
                written,
                "{target} {level}"
            );
        }
        let filter = at_level(LogLevel::Error);
        assert!(!filter.would_enable("notify", &tracing::Level::WARN));
    }

    #[test]
    fn a_filter_is_a_level_or_targets() {
        let (_layer, filter) = reload::Layer::<Targets, Registry>::new(Targets::new());
        let json = Arc::new(AtomicBool::new(false));
        let handle = Handle { filter, json };
        assert!(handle.filter("debug").is_ok());
        assert!(handle.filter("info,sluice::proxy=trace").is_ok());
        assert!(matches!(handle.filter("info=="), Err(LogError::Filter(_))));
    }
}
