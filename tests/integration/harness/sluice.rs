//! The real program: started on a config in a folder of its own, found through its log, ended with
//! everything it started. A test that fails prints config, log and `/status`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::client::{Client, get};
use super::log::Log;
use super::process;
use super::upstream::Upstream;
use super::wait::eventually;

/// A running program.
pub(crate) struct Sluice {
    _folder: TempDir,
    config: PathBuf,
    child: Child,
    log: Log,
    /// As configured and as bound, in the order of the log.
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<SocketAddr>,
}

/// How to start one.
pub(crate) struct Launch {
    yaml: String,
    environment: Vec<(String, String)>,
    named_by: NamedBy,
    wrapper: Vec<String>,
    program: PathBuf,
}

/// How the program learns which config to run.
#[derive(PartialEq, Eq)]
enum NamedBy {
    Argument,
    Environment,
    /// It stands elsewhere; nothing is written.
    Place(PathBuf),
}

impl Launch {
    pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sluice");

    pub(crate) fn new(yaml: &str) -> Launch {
        // No load balancer has to learn that a test is over.
        let no_delay = ("SLUICE_DRAIN_MIN_DELAY".to_owned(), "0s".to_owned());
        Launch {
            yaml: yaml.to_owned(),
            environment: vec![no_delay],
            named_by: NamedBy::Argument,
            wrapper: Vec::new(),
            program: Launch::PROGRAM.into(),
        }
    }

    /// Runs a copy of it.
    pub(crate) fn program(mut self, path: &Path) -> Launch {
        self.program = path.to_owned();
        self
    }

    /// Runs the config that stands at this path, as it is.
    pub(crate) fn at(path: &Path) -> Launch {
        Launch {
            named_by: NamedBy::Place(path.to_owned()),
            ..Launch::new("")
        }
    }

    /// Names the config by `SLUICE_CONFIG` alone.
    pub(crate) fn by_environment(mut self) -> Launch {
        self.named_by = NamedBy::Environment;
        self
    }

    /// Starts it by way of another program, whose arguments these are.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Launch {
        self.wrapper = wrapper.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Launch {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until all workers serve.
    #[track_caller]
    pub(crate) fn start(self) -> Sluice {
        let mut sluice = self.spawn();
        sluice.log.wait_for("ready");
        sluice.learn_addresses();
        sluice
    }

    /// Starts it and waits for nothing.
    #[track_caller]
    pub(crate) fn spawn(self) -> Sluice {
        let folder = tempfile::tempdir().unwrap();
        let by_environment = self.named_by == NamedBy::Environment;
        let mut path = folder.path().join("sluice.yaml");
        let program = self.program.to_str().unwrap();
        let words = self.wrapper.iter().map(String::as_str);
        let words: Vec<&str> = words.chain([program, "run"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        match self.named_by {
            NamedBy::Place(place) => path = place,
            _ => fs::write(&path, complete(&self.yaml)).unwrap(),
        }
        match by_environment {
            true => command.env("SLUICE_CONFIG", &path),
            false => command.arg("-c").arg(&path),
        };
        let mut child = command
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own, so that a failing test leaves no worker behind.
            .process_group(0)
            .spawn()
            .unwrap();
        let log = Log::reading(child.stderr.take().unwrap());
        Sluice {
            _folder: folder,
            config: path,
            child,
            log,
            listeners: Vec::new(),
            admin: None,
        }
    }
}

impl Sluice {
    /// Runs this config; port 0 where the test does not care. The admin port is added.
    #[track_caller]
    pub(crate) fn start(yaml: &str) -> Sluice {
        Launch::new(yaml).start()
    }

    /// Everything to one upstream, by one worker.
    #[track_caller]
    pub(crate) fn to(upstream: &Upstream) -> Sluice {
        Sluice::to_with(upstream, "")
    }

    /// Everything to one upstream, with more lines for `server:`, not indented.
    #[track_caller]
    pub(crate) fn to_with(upstream: &Upstream, server: &str) -> Sluice {
        Sluice::start(&config(&upstream.url(), server))
    }

    /// The first listener.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners.first().expect("a listener in the log").1
    }

    /// What a listener that was configured like this is bound to.
    #[track_caller]
    pub(crate) fn address_of(&self, configured: &str) -> SocketAddr {
        let mut found = self.listeners.iter().filter(|(name, _)| name == configured);
        found
            .next()
            .unwrap_or_else(|| panic!("{configured} not in {:?}", self.listeners))
            .1
    }

    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("an admin port in the log")
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The living workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        process::children(self.pid())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> super::Response {
        get(self.address(), path)
    }

    #[track_caller]
    pub(crate) fn request(&self, bytes: impl AsRef<[u8]>) -> super::Response {
        super::request(self.address(), bytes)
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.config.clone()
    }

    /// Puts a new config in the old one's place, as an editor does: beside it, then renamed.
    pub(crate) fn rewrite(&self, yaml: &str) {
        let beside = self.config.with_extension("yaml.new");
        fs::write(&beside, complete(yaml)).unwrap();
        fs::rename(beside, self.config_path()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until every worker serves the committed generation, and nobody else is left. A worker serves
    /// a new generation a moment before the others do, and before the supervisor knows.
    #[track_caller]
    pub(crate) fn settle(&self) {
        eventually("all workers serve the committed generation", || {
            let status = get(self.admin(), "/status").json();
            let workers = status["workers"].as_array()?;
            let serving = |worker: &serde_json::Value| {
                worker["state"] == "serving" && worker["generation"] == status["generation"]
            };
            (!workers.is_empty() && workers.iter().all(serving)).then_some(())
        });
    }

    /// Waits for the supervisor's end.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the supervisor ends", || child.try_wait().unwrap())
    }

    /// Reads where it listens from the log so far; again after a reload, which logs before it answers.
    pub(crate) fn learn_addresses(&mut self) {
        let address = |event: &super::log::Event| event.text("address")?.parse().ok();
        let listening = self.log.all("listening");
        let named = listening
            .iter()
            .filter_map(|e| Some((e.text("configured")?, address(e)?)));
        self.listeners = named.collect();
        self.admin = self.log.all("admin listening").last().and_then(address);
    }

    fn print_evidence(&self) {
        let config = fs::read_to_string(self.config_path()).unwrap_or_default();
        eprintln!(
            "---- config\n{config}\n---- stderr of all processes\n{}",
            self.log.text()
        );
        if let Some(status) = self.admin.and_then(read_status) {
            eprintln!("---- /status\n{status}");
        }
    }
}

impl Drop for Sluice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_evidence();
        }
        let group = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        // The group is gone already where the test has waited for its end.
        let _killed = signal::killpg(group, Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

/// Everything to the upstream at `url`, by one worker.
pub(crate) fn config(url: &str, server: &str) -> String {
    let server: String = server.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "server:\n  listen: 127.0.0.1:0\n  workers: 1\n{server}  upstreams:\n    - id: app\n      \
         url: {url}\n  rules:\n    - path: /\n      upstreams: [app]\n"
    )
}

/// Runs the program to its end with these arguments; `config` is written where they say `CONFIG`.
#[track_caller]
pub(crate) fn command(config: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.yaml");
    fs::write(&path, dedent(config)).unwrap();
    let path = path.to_str().unwrap();
    let arguments = arguments
        .iter()
        .map(|a| if *a == "CONFIG" { path } else { a });
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// `/status`, without a panic: it is asked while one is under way.
fn read_status(admin: SocketAddr) -> Option<String> {
    let stream = std::net::TcpStream::connect(admin).ok()?;
    let mut wire = super::wire::Wire::new(stream);
    wire.write(b"GET /status HTTP/1.1\r\nhost: status\r\n\r\n")
        .ok()?;
    Some(wire.read_response("GET").ok()?.text())
}

/// The config as it is written to the file: not indented, and the admin port free to choose.
fn complete(yaml: &str) -> String {
    let yaml = dedent(yaml);
    match yaml.lines().any(|line| line.starts_with("admin:")) {
        true => yaml,
        false => format!("{yaml}admin:\n  listen: 127.0.0.1:0\n"),
    }
}

/// Without the indentation that all lines share, and without an empty first line.
fn dedent(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let filled = text.lines().filter(|line| !line.trim().is_empty());
    let shared = filled.map(indent).min().unwrap_or_default();
    text.lines()
        .map(|line| format!("{}\n", line.get(shared..).unwrap_or_default()))
        .collect()
}
