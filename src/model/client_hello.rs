//! The name that a TLS client asks for, read from its first message without answering it: enough to
//! choose an upstream that ends TLS itself.
//!
//! Not here: whether the rest of the message is any good; the upstream will say.

/// A client's first message ends within this many bytes, records' headers included.
pub const LONGEST: usize = 16 * 1024;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const RECORD_HEADER: usize = 5;
/// Also the longest that a record may be before it is encrypted.
const LONGEST_RECORD: usize = 16 * 1024;
const LONGEST_NAME: usize = 255;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// They may become one.
    Incomplete,
    /// TLS, for this name, in lower case without a trailing dot; `None` where it names none.
    Tls(Option<String>),
    /// Something else, or longer than is waited for.
    Other,
}

pub fn parse(bytes: &[u8]) -> Hello {
    let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut message = Vec::new();
    let whole = match collect(bytes, &mut message) {
        Records::Whole => true,
        Records::Part => false,
        Records::Other => return Hello::Other,
    };
    match (whole, bytes.len() < LONGEST) {
        (true, _) => body(&message).map_or(Hello::Other, Hello::Tls),
        (false, true) => Hello::Incomplete,
        (false, false) => Hello::Other,
    }
}

enum Records {
    /// All of the message is there, without its own header.
    Whole,
    Part,
    Other,
}

/// Joins the pieces of the message, which may be spread over records, until it is whole.
fn collect(bytes: &[u8], message: &mut Vec<u8>) -> Records {
    let mut rest = bytes;
    loop {
        match rest {
            [HANDSHAKE_RECORD, 3, 0..=4, high, low, after @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length == 0 || length > LONGEST_RECORD {
                    return Records::Other;
                }
                let piece = after.get(..length).unwrap_or(after);
                message.extend_from_slice(piece);
                match take_whole(message) {
                    Some(decided) => return decided,
                    None if piece.len() < length => return Records::Part,
                    None => rest = after.get(length..).unwrap_or_default(),
                }
            }
            start if begins_a_record(start) => return Records::Part,
            _ => return Records::Other,
        }
    }
}

fn begins_a_record(start: &[u8]) -> bool {
    start.len() < RECORD_HEADER
        && match start {
            [] | [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3] => true,
            [HANDSHAKE_RECORD, 3, minor, ..] => *minor <= 4,
            _ => false,
        }
}

/// Whether the message is there to its end; its header is taken off then.
fn take_whole(message: &mut Vec<u8>) -> Option<Records> {
    let length = match message.as_slice() {
        [] => return None,
        [CLIENT_HELLO, a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]) as usize,
        [CLIENT_HELLO, ..] => return None,
        _ => return Some(Records::Other),
    };
    if length > LONGEST {
        return Some(Records::Other);
    }
    if message.len() < 4 + length {
        return None;
    }
    message.truncate(4 + length);
    message.drain(..4);
    Some(Records::Whole)
}

/// `None` where it is malformed.
fn body(message: &[u8]) -> Option<Option<String>> {
    let mut reader = Reader(message);
    // Version and random.
    reader.take(2 + 32)?;
    let _session = reader.short_block()?;
    let _ciphers = reader.block()?;
    let _compressions = reader.short_block()?;
    if reader.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(reader.block()?);
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let value = extensions.block()?;
        if kind == SERVER_NAME {
            if name.is_some() {
                return None;
            }
            name = Some(server_name(value)?);
        }
    }
    Some(name)
}

fn server_name(value: &[u8]) -> Option<String> {
    let mut names = Reader(Reader(value).block()?);
    let [HOST_NAME] = names.take(1)? else {
        return None;
    };
    let name = str::from_utf8(names.block()?).ok()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain);
    (valid && names.0.is_empty()).then(|| name.to_ascii_lowercase())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// With its length in two bytes before it.
    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// With its length in one byte before it.
    fn short_block(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        self.0 = rest;
        self.take(usize::from(*length))
    }
}

#[cfg(test)]
mod tests;
