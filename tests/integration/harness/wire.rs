//! One end of an HTTP/1 connection, byte by byte: what was read is kept raw beside its meaning, so
//! that a test can assert on either. Used by the clients and by the recording upstreams.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::wait::DEADLINE;

/// A socket with the bytes that were read from it and not yet taken.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A start line and headers as they stood on the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// Everything up to and including the empty line.
    pub(crate) raw: String,
    pub(crate) start_line: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The 1xx answers that came before it.
    pub(crate) interim: Vec<Head>,
}

/// How the end of a body is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// Reads more into the buffer; 0 at the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    /// Everything up to and including `pattern`.
    pub(crate) fn read_through(&mut self, pattern: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, pattern) {
                return Ok(self.take(at + pattern.len()));
            }
            if self.fill()? == 0 {
                return Err(ended(&self.buffer));
            }
        }
    }

    pub(crate) fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                return Err(ended(&self.buffer));
            }
        }
        Ok(self.take(length))
    }

    /// All that comes until the other side closes in good order.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// The next head; `None` when the other side closed between two messages.
    pub(crate) fn read_head(&mut self) -> io::Result<Option<Head>> {
        while self.buffer.is_empty() {
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(Head::parse(&self.read_through(b"\r\n\r\n")?)))
    }

    /// The next final answer with its body, and the interim ones before it.
    pub(crate) fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = self.read_head()?.ok_or_else(|| ended(b""))?;
            let status = head.status();
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let (body, trailers) = self.read_body(head.response_framing(method))?;
            return Ok(Response {
                status,
                head,
                body,
                trailers,
                interim,
            });
        }
    }

    pub(crate) fn read_body(&mut self, framing: Framing) -> io::Result<(Vec<u8>, Headers)> {
        let mut body = Vec::new();
        let trailers = self.read_body_into(framing, &mut |piece| body.extend_from_slice(piece))?;
        Ok((body, trailers))
    }

    /// Hands the body on in pieces, for those too large to keep; gives back the trailers.
    pub(crate) fn read_body_into(
        &mut self,
        framing: Framing,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Headers> {
        match framing {
            Framing::None => Ok(Vec::new()),
            Framing::Length(length) => self.pass_on(length, sink).map(|()| Vec::new()),
            Framing::Chunked => self.read_chunks(sink),
            Framing::UntilClose => loop {
                sink(&std::mem::take(&mut self.buffer));
                if self.fill()? == 0 {
                    return Ok(Vec::new());
                }
            },
        }
    }

    fn read_chunks(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Headers> {
        loop {
            let line = String::from_utf8(self.read_through(b"\r\n")?).map_err(invalid)?;
            let digits = line.trim_end().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(digits, 16).map_err(invalid)?;
            if size == 0 {
                return self.read_trailers();
            }
            self.pass_on(size, sink)?;
            let end = self.read_exact(2)?;
            if end != b"\r\n" {
                return Err(invalid(format!("a chunk ends in {end:?}")));
            }
        }
    }

    fn read_trailers(&mut self) -> io::Result<Headers> {
        let mut trailers = Vec::new();
        loop {
            let line = self.read_through(b"\r\n")?;
            if line == b"\r\n" {
                return Ok(trailers);
            }
            trailers.extend(parse_header(&String::from_utf8_lossy(&line)));
        }
    }

    fn pass_on(&mut self, length: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        loop {
            let now = usize::try_from(left).map_or(self.buffer.len(), |l| l.min(self.buffer.len()));
            sink(&self.take(now));
            left -= now as u64;
            if left == 0 {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(ended(b"in the middle of a body"));
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }
}

pub(crate) type Headers = Vec<(String, String)>;

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Head {
        let raw = String::from_utf8_lossy(bytes).into_owned();
        let mut lines = raw.split("\r\n");
        let start_line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(parse_header).collect();
        Head {
            start_line,
            headers,
            raw,
        }
    }

    /// The values of a header, one per line that names it.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a header that stands there once at most.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() < 2,
            "{name} stands there {} times:\n{}",
            all.len(),
            self.raw
        );
        all.first().copied()
    }

    pub(crate) fn status(&self) -> u16 {
        let code = self
            .start_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("not a status line: {:?}", self.start_line))
    }

    pub(crate) fn method(&self) -> &str {
        self.start_line.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn target(&self) -> &str {
        self.start_line.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn request_framing(&self) -> Framing {
        self.declared_framing().unwrap_or(Framing::None)
    }

    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        match self.status() {
            100..=199 | 204 | 304 => Framing::None,
            _ if method == "HEAD" => Framing::None,
            _ => self.declared_framing().unwrap_or(Framing::UntilClose),
        }
    }

    fn declared_framing(&self) -> Option<Framing> {
        if self
            .header("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
        {
            return Some(Framing::Chunked);
        }
        let length = self.header("content-length")?;
        Some(Framing::Length(
            length
                .parse()
                .unwrap_or_else(|_| panic!("length {length:?}")),
        ))
    }
}

impl Response {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }

    /// Asserts on the status and gives the answer on; failures show all of it.
    #[track_caller]
    pub(crate) fn with_status(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{}{}", self.head.raw, self.text());
        self
    }
}

fn parse_header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

fn ended(after: &[u8]) -> io::Error {
    let after = String::from_utf8_lossy(after);
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("the connection ended after {after:?}"),
    )
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
