//! Finds the end of a head in a growing buffer, in linear time however the bytes arrive.
//!
//! It looks at line ends alone; what the lines say is read once, when all of them are there.

use bytes::{Buf, BytesMut};
use memchr::memchr;

use super::HeadLimits;
use super::error::InvalidFields;

/// Empty lines that may stand before a request (RFC 9112, 2.2: at least one is to be ignored).
const MAX_EMPTY_LINES: u8 = 2;

/// How far a head has been scanned. One per connection and direction; ready again for the next head
/// after each one that was found.
#[derive(Debug, Default)]
pub struct HeadScanner {
    /// Where the first line begins that has not ended yet.
    line_start: usize,
    /// Up to here there is no LF in that line.
    searched: usize,
    empty_lines: u8,
}

/// Why there is no head, although bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanFault {
    Fields(InvalidFields),
    StartLineTooLong,
}

impl HeadScanner {
    /// The length of the head at the beginning of `buf`, the empty line included, once it is whole.
    pub(super) fn find_end(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, ScanFault> {
        loop {
            let unread = buf.get(self.searched..).unwrap_or_default();
            let Some(line_feed) = memchr(b'\n', unread) else {
                self.searched = buf.len();
                return self.check_partial(buf.len(), limits).map(|()| None);
            };
            let end = self.searched + line_feed + 1;
            let line = buf.get(self.line_start..end).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Err(ScanFault::Fields(InvalidFields::BareLf));
            }
            if self.line_start == 0 && line.len() > limits.request_line_bytes.saturating_add(2) {
                return Err(ScanFault::StartLineTooLong);
            }
            if end > limits.header_bytes {
                return Err(ScanFault::Fields(InvalidFields::TooLarge));
            }
            if line.len() == 2 {
                *self = Self::default();
                return Ok(Some(end));
            }
            self.line_start = end;
            self.searched = end;
        }
    }

    /// Whether what is there of an unfinished head may still grow.
    fn check_partial(&self, length: usize, limits: &HeadLimits) -> Result<(), ScanFault> {
        if self.line_start == 0 && length > limits.request_line_bytes.saturating_add(1) {
            return Err(ScanFault::StartLineTooLong);
        }
        match length < limits.header_bytes {
            true => Ok(()),
            false => Err(ScanFault::Fields(InvalidFields::TooLarge)),
        }
    }

    /// Drops the few empty lines that may precede a request.
    pub(super) fn skip_empty_lines(&mut self, buf: &mut BytesMut) {
        while self.line_start == 0 && self.empty_lines < MAX_EMPTY_LINES && buf.starts_with(b"\r\n")
        {
            buf.advance(2);
            self.searched = 0;
            self.empty_lines += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_searched_twice() {
        let limits = HeadLimits::default();
        let mut scanner = HeadScanner::default();
        assert_eq!(
            scanner.find_end(b"GET / HTTP/1.1\r\nHos", &limits),
            Ok(None)
        );
        assert_eq!((scanner.line_start, scanner.searched), (16, 19));
        assert_eq!(
            scanner.find_end(b"GET / HTTP/1.1\r\nHost: a", &limits),
            Ok(None)
        );
        assert_eq!((scanner.line_start, scanner.searched), (16, 23));
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(scanner.find_end(whole, &limits), Ok(Some(whole.len())));
        assert_eq!((scanner.line_start, scanner.searched), (0, 0));
    }
}
