//! Talks to the admin port of a running program: one request, one answer, within a time. Works in an
//! image that has nothing but this binary.
//!
//! Not here: what is asked, and how an answer is shown.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;

/// More than any answer of ours: 20,000 routes are some 8 MB.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// Where the running program is.
#[derive(Debug, Clone, Args)]
pub(super) struct Remote {
    /// The admin port of the running program.
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_ADMIN",
        default_value = "http://127.0.0.1:9901"
    )]
    admin: String,
    /// The bearer token, for changes from another machine.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SLUICE_ADMIN_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{0:?} is no admin URL; write it like http://127.0.0.1:9901")]
    Url(String),
    #[error("nobody answers at {0}")]
    Connect(String, #[source] io::Error),
    #[error("{0} did not answer in full")]
    Exchange(String, #[source] io::Error),
    #[error("{0} does not speak HTTP")]
    Protocol(String),
    #[error("{path} answered {code}: {body}")]
    Refused {
        path: String,
        code: u16,
        body: String,
    },
    #[error("{0} was answered with something else than expected")]
    Shape(String, #[source] serde_json::Error),
}

impl Remote {
    pub(super) fn get(&self, path: &str) -> Result<Answer, RemoteError> {
        self.call("GET", path, Duration::from_secs(10))
    }

    /// Waits as long as the server itself does: a reload with a canary takes its window.
    pub(super) fn post(&self, path: &str) -> Result<Answer, RemoteError> {
        self.call("POST", path, Duration::from_secs(24 * 60 * 60))
    }

    /// Sends a text along.
    pub(super) fn send(&self, path: &str, body: &str) -> Result<Answer, RemoteError> {
        self.exchange("POST", path, body, Duration::from_secs(70))
    }

    /// The body of a `GET` that must succeed.
    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, RemoteError> {
        let answer = self.get(path)?.ok(path)?;
        serde_json::from_str(&answer.body)
            .map_err(|error| RemoteError::Shape(path.to_owned(), error))
    }

    fn call(&self, method: &str, path: &str, patience: Duration) -> Result<Answer, RemoteError> {
        self.exchange(method, path, "", patience)
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &str,
        patience: Duration,
    ) -> Result<Answer, RemoteError> {
        let authority =
            authority(&self.admin).ok_or_else(|| RemoteError::Url(self.admin.clone()))?;
        let connect = |error| RemoteError::Connect(authority.to_owned(), error);
        let exchange = |error| RemoteError::Exchange(authority.to_owned(), error);
        let mut stream = connect_any(authority).map_err(connect)?;
        stream.set_read_timeout(Some(patience)).map_err(exchange)?;
        stream.set_write_timeout(Some(patience)).map_err(exchange)?;
        let token = self
            .token
            .iter()
            .map(|token| format!("authorization: Bearer {token}\r\n"));
        let token: String = token.collect();
        // Of HTTP/1.0: the answer comes in one piece and ends with the connection.
        let length = match method {
            "GET" => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.0\r\nhost: {authority}\r\n{length}{token}\r\n");
        // A server that refuses at once does not read on: its answer is what counts.
        let sent = stream.write_all((head + body).as_bytes());
        let mut answer = Vec::new();
        stream
            .take(LONGEST_ANSWER)
            .read_to_end(&mut answer)
            .and(sent)
            .or_else(|error| {
                if answer.is_empty() {
                    Err(error)
                } else {
                    Ok(())
                }
            })
            .map_err(exchange)?;
        parse(&answer).ok_or_else(|| RemoteError::Protocol(authority.to_owned()))
    }
}

impl Answer {
    pub(super) fn ok(self, path: &str) -> Result<Answer, RemoteError> {
        if self.code == 200 {
            return Ok(self);
        }
        let Answer { code, body } = self;
        let body = body.trim().to_owned();
        Err(RemoteError::Refused {
            path: path.to_owned(),
            code,
            body,
        })
    }
}

/// Host and port of `http://host:port`, with or without a slash behind.
fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':')?;
    let valid = !host.is_empty() && !rest.contains('/') && port.parse::<u16>().is_ok();
    valid.then_some(rest)
}

fn connect_any(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    let head = std::str::from_utf8(head).ok()?;
    let code = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let body = String::from_utf8_lossy(body.get(4..)?).into_owned();
    Some(Answer { code, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_urls_name_a_host_and_a_port() {
        assert_eq!(authority("http://127.0.0.1:9901"), Some("127.0.0.1:9901"));
        assert_eq!(authority("http://[::1]:80/"), Some("[::1]:80"));
        assert_eq!(authority("sluice-admin:9901"), Some("sluice-admin:9901"));
        for bad in [
            "",
            "http://",
            "http://host",
            "https://host:1",
            "http://host:1/path",
            ":9901",
        ] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_http_is_not_understood() {
        let answer = parse(b"HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nno\n").unwrap();
        assert_eq!((answer.code, answer.body.as_str()), (503, "no\n"));
        for bad in [
            &b""[..],
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ] {
            assert!(parse(bad).is_none());
        }
    }
}
