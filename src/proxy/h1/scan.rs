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
    /// Every line that ends before this offset is well ended and not empty.
    scanned: usize,
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
        let mut at = self.scanned;
        loop {
            let rest = buf.get(at..).unwrap_or_default();
            let Some(line) = memchr(b'\n', rest) else {
                self.scanned = at;
                return check_partial(buf.len(), at, limits).map(|()| None);
            };
            let before = line.checked_sub(1).and_then(|i| rest.get(i));
            if before != Some(&b'\r') {
                return Err(ScanFault::Fields(InvalidFields::BareLf));
            }
            let end = at + line + 1;
            if at == 0 && end > limits.request_line_bytes.saturating_add(2) {
                return Err(ScanFault::StartLineTooLong);
            }
            if end > limits.header_bytes {
                return Err(ScanFault::Fields(InvalidFields::TooLarge));
            }
            if line == 1 {
                self.scanned = 0;
                self.empty_lines = 0;
                return Ok(Some(end));
            }
            at = end;
        }
    }

    /// Drops the few empty lines that may precede a request.
    pub(super) fn skip_empty_lines(&mut self, buf: &mut BytesMut) {
        while self.scanned == 0 && self.empty_lines < MAX_EMPTY_LINES && buf.starts_with(b"\r\n") {
            buf.advance(2);
            self.empty_lines += 1;
        }
    }
}

/// Whether what is there of an unfinished head may still grow.
fn check_partial(len: usize, at: usize, limits: &HeadLimits) -> Result<(), ScanFault> {
    if at == 0 && len > limits.request_line_bytes.saturating_add(1) {
        return Err(ScanFault::StartLineTooLong);
    }
    if len >= limits.header_bytes {
        return Err(ScanFault::Fields(InvalidFields::TooLarge));
    }
    Ok(())
}
