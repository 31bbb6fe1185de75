//! Peers written in Python that run beside a test, heard line by line.
//!
//! Not here: whether their packages are there (`foreign`).

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use super::foreign;

/// A script of tests/python that runs.
pub(crate) struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// `None` where the package that it needs is not there.
    #[track_caller]
    pub(crate) fn start(package: &str, script: &str, arguments: &[&str]) -> Option<Peer> {
        let mut command = foreign::python(package, script)?;
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Peer { child, lines })
    }

    /// The next line that it says.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let line = self.lines.next();
        line.expect("the script said no more; see its stderr above")
            .unwrap()
    }

    /// Ends its input, which tells it to come to an end.
    pub(crate) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Gone already where it came to an end.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
