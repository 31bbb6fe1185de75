//! The settings that the environment may give: the few that whoever starts the program has to know
//! whatever the file says, because probes and grace periods are built on them. They win over it.
//!
//! Not here: secrets, which the file refers to, and reading the environment, which is not pure.

use std::net::SocketAddr;
use std::time::Duration;

use super::process::{is_taken, overlap};
use super::{Fault, listener};
use crate::model::config::{Config, Lifecycle, LogLevel};
use crate::model::decode::{Decode, Delay, Reader, shortened};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::load::{Address, Loaded};
use crate::model::raw::RawConfig;
use crate::model::yaml::{self, Tree};

const ADMIN_LISTEN: &str = "SLUICE_ADMIN_LISTEN";
const LIFECYCLE: &str = "SLUICE_LIFECYCLE";
const DRAIN_MIN_DELAY: &str = "SLUICE_DRAIN_MIN_DELAY";
const DRAIN_TIMEOUT: &str = "SLUICE_DRAIN_TIMEOUT";
const LOG_LEVEL: &str = "SLUICE_LOG_LEVEL";

/// What the environment settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Environment {
    admin_listen: Option<SocketAddr>,
    lifecycle: Option<Lifecycle>,
    drain_min_delay: Option<Duration>,
    drain_timeout: Option<Duration>,
    log_level: Option<LogLevel>,
}

/// A variable whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InvalidVariable {
    name: &'static str,
    fault: Fault,
}

impl Environment {
    /// Asks for each variable by name; an empty one counts as not set.
    fn read(
        variable: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Self, Vec<InvalidVariable>> {
        let mut reader = Variables {
            variable,
            invalid: Vec::new(),
        };
        let environment = Self {
            admin_listen: reader.read(ADMIN_LISTEN, listener::address),
            lifecycle: reader.read(LIFECYCLE, value),
            drain_min_delay: reader.read(DRAIN_MIN_DELAY, |text| value(text).map(|Delay(d)| d)),
            drain_timeout: reader.read(DRAIN_TIMEOUT, value),
            log_level: reader.read(LOG_LEVEL, value),
        };
        match reader.invalid {
            invalid if invalid.is_empty() => Ok(environment),
            invalid => Err(invalid),
        }
    }

    /// Gives back what does not go together.
    fn settle(&self, config: &mut Config, addresses: &[Address]) -> Vec<Diagnostic> {
        if let Some(lifecycle) = self.lifecycle {
            config.lifecycle = lifecycle;
        }
        if let Some(min_delay) = self.drain_min_delay {
            config.drain.min_delay = Some(min_delay);
        }
        if let Some(timeout) = self.drain_timeout {
            config.drain.timeout = timeout;
        }
        if let Some(level) = self.log_level {
            config.log.level = level;
        }
        let Some(listen) = self.admin_listen else {
            return default_is_taken(config, addresses);
        };
        let mut listeners = config.listeners.iter();
        if let Some(other) = listeners.find(|other| overlap(listen, other.address)) {
            let (name, fault) = (ADMIN_LISTEN, is_taken(listen, other.address));
            return vec![diagnostic(InvalidVariable { name, fault })];
        }
        config.admin.listen = listen;
        Vec::new()
    }
}

/// Where the admin port stands because nobody said otherwise.
fn default_is_taken(config: &Config, addresses: &[Address]) -> Vec<Diagnostic> {
    let admin = config.admin.listen;
    let mut listeners = config.listeners.iter();
    let Some(other) = listeners.find(|other| overlap(admin, other.address)) else {
        return Vec::new();
    };
    let message = format!("`{}` is where the admin port is: {admin}", other.address);
    let help = "write another port, or put the admin port elsewhere by `admin.listen`";
    let mut places = addresses.iter();
    let place = places.find(|place| place.address() == other.address);
    place
        .map(|place| place.refused(message, help))
        .into_iter()
        .collect()
}

impl Loaded {
    /// The same, with what the environment settles; `variable` gives a variable by its name.
    #[must_use]
    pub fn within(mut self, variable: &mut dyn FnMut(&str) -> Option<String>) -> Self {
        let errors = match (Environment::read(variable), &mut self.config) {
            (Ok(environment), Some(config)) => {
                let listen = environment.admin_listen;
                let listen = listen.map(|it| Address::elsewhere(path(ADMIN_LISTEN), it));
                self.addresses.extend(listen);
                environment.settle(config, &self.addresses)
            }
            (Ok(_), None) => Vec::new(),
            (Err(invalid), _) => invalid.into_iter().map(diagnostic).collect(),
        };
        if !errors.is_empty() {
            self.config = None;
            self.diagnostics.extend(errors);
        }
        self
    }
}

/// Port 0 is another one each time.
fn diagnostic(InvalidVariable { name, fault }: InvalidVariable) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        path: path(name),
        line: 1,
        column: 1,
        message: format!("{name}: {}", fault.message),
        help: fault.help,
    }
}

fn path(name: &str) -> String {
    format!("${name}")
}

struct Variables<'v> {
    variable: &'v mut dyn FnMut(&str) -> Option<String>,
    invalid: Vec<InvalidVariable>,
}

impl Variables<'_> {
    fn read<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let text = (self.variable)(name).filter(|text| !text.is_empty())?;
        parse(&text)
            .map_err(|fault| self.invalid.push(InvalidVariable { name, fault }))
            .ok()
    }
}

/// Read as the value of a key is, so that both take the same words and complain in the same way.
fn value<T: for<'t> Decode<'t>>(text: &str) -> Result<T, Fault> {
    let parsed = yaml::parse(text);
    let Some(tree) = parsed.tree.filter(|_| parsed.errors.is_empty()) else {
        return Err(Fault::new(
            format!("`{}` is not a value", shortened(text)),
            "write it as in the configuration",
        ));
    };
    let mut reader = Reader::new(&tree, RawConfig::shape);
    let value = T::decode(Tree::ROOT, &mut reader);
    let found = reader.into_diagnostics().into_iter().next();
    value.ok_or_else(|| {
        let found = found.map(|found| (found.message, found.help));
        let (message, help) = found.unwrap_or_default();
        Fault { message, help }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load;

    const FILE: &str = "
admin: {listen: '127.0.0.1:9901'}
log: {level: warn}
server: {listen: 8080, upstreams: [{id: a, url: 'builtin://echo'}], rules: [{upstreams: [a]}]}
";

    fn within(variables: &[(&str, &str)]) -> Loaded {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let mut variable = |name: &str| find(name).map(|(_, value)| (*value).to_owned());
        load(FILE, &mut |_| Err("no secrets here".to_owned())).within(&mut variable)
    }

    fn errors(variables: &[(&str, &str)]) -> Vec<String> {
        let loaded = within(variables);
        assert_eq!(loaded.config, None);
        let errors = loaded.errors();
        errors
            .map(|e| format!("{}: {}", e.message, e.help))
            .collect()
    }

    #[test]
    fn it_wins_over_the_file() {
        let config = within(&[
            (ADMIN_LISTEN, "0.0.0.0:9999"),
            (LIFECYCLE, "sidecar"),
            (DRAIN_MIN_DELAY, "0s"),
            (DRAIN_TIMEOUT, "1m"),
            (LOG_LEVEL, "debug"),
        ])
        .config
        .unwrap();
        assert_eq!(config.admin.listen, "0.0.0.0:9999".parse().unwrap());
        assert_eq!(config.lifecycle, Lifecycle::Sidecar);
        assert_eq!(config.drain_min_delay(), Duration::ZERO);
        assert_eq!(config.drain.timeout, Duration::from_secs(60));
        assert_eq!(config.log.level, LogLevel::Debug);
    }

    #[test]
    fn without_it_the_file_stands() {
        let nothing = within(&[(LIFECYCLE, ""), ("SLUICE_PORT", "tcp://10.0.0.1:80")]);
        assert_eq!(nothing, within(&[]));
        let config = nothing.config.unwrap();
        assert_eq!(config.lifecycle, Lifecycle::Edge);
        assert_eq!(config.drain_min_delay(), Duration::from_secs(5));
        assert_eq!(config.log.level, LogLevel::Warn);
    }

    #[test]
    fn a_sidecar_waits_only_where_told_to() {
        let config = within(&[(LIFECYCLE, "sidecar")]).config.unwrap();
        assert_eq!(config.drain_min_delay(), Duration::ZERO);
    }

    #[test]
    fn every_invalid_variable_is_named() {
        let invalid = errors(&[
            (ADMIN_LISTEN, "nowhere"),
            (LIFECYCLE, "edges"),
            (DRAIN_MIN_DELAY, "5"),
            (DRAIN_TIMEOUT, "[1s"),
            (LOG_LEVEL, "loud"),
        ]);
        let names: Vec<_> = invalid.iter().map(|line| line.split(':').next()).collect();
        let expected = [
            ADMIN_LISTEN,
            LIFECYCLE,
            DRAIN_MIN_DELAY,
            DRAIN_TIMEOUT,
            LOG_LEVEL,
        ];
        assert_eq!(names, expected.map(Some));
        assert!(invalid[1].contains("did you mean `edge`?"), "{invalid:?}");
    }

    #[test]
    fn the_admin_port_takes_no_listeners_place() {
        let errors = errors(&[(ADMIN_LISTEN, "0.0.0.0:8080")]);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with(ADMIN_LISTEN), "{errors:?}");
    }
}
