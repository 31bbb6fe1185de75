//! Finds the lines of a head in a growing buffer, in linear time however the bytes arrive.
//!
//! It looks at line ends alone; what the lines say is read once, when all of them are there.

use bytes::{Buf, BytesMut};
use memchr::memchr;

use super::HeadLimits;
use super::error::InvalidFields;

/// Empty lines that may stand before a request (RFC 9112, 2.2: at least one is to be ignored).
const MAX_EMPTY_LINES: u8 = 2;
/// Ends of lines that are kept from the scan: those of an ordinary head.
const REMEMBERED_LINES: usize = 48;

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

/// The ends of the lines of a head, each behind its CRLF; the last is the end of the head.
#[derive(Debug)]
pub(super) struct Lines {
    /// Those beyond are looked up again when they are asked for.
    first: [u32; REMEMBERED_LINES],
    count: usize,
    end: usize,
}

/// Why there is no head, although bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanFault {
    Fields(InvalidFields),
    StartLineTooLong,
}

impl HeadScanner {
    /// The lines of the head at the beginning of `buf`, once it is whole.
    pub(super) fn find_lines(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<Lines>, ScanFault> {
        let continued = self.searched > 0;
        let mut lines = Lines {
            first: [0; REMEMBERED_LINES],
            count: 0,
            end: 0,
        };
        if !self.scan(buf, limits, &mut lines)? {
            return Ok(None);
        }
        if continued {
            // Some of the ends went by in earlier calls: once more, now that all is there.
            lines.count = 0;
            self.scan(buf, limits, &mut lines)?;
        }
        Ok(Some(lines))
    }

    /// Whether the empty line is there.
    fn scan(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        lines: &mut Lines,
    ) -> Result<bool, ScanFault> {
        let (mut start, mut searched) = (self.line_start, self.searched);
        let (mut most, mut fault) = bound(start, limits);
        while let Some(length) = memchr(b'\n', buf.get(searched..).unwrap_or_default()) {
            let end = searched + length + 1;
            // Before what is wrong within: it would not have been seen, had the bytes come one by one.
            if end > most {
                return Err(fault);
            }
            let line = buf.get(start..end).unwrap_or_default();
            let [.., b'\r', b'\n'] = line else {
                return Err(ScanFault::Fields(InvalidFields::BareLf));
            };
            lines.push(end);
            if line.len() == 2 {
                *self = Self::default();
                return Ok(true);
            }
            (start, searched) = (end, end);
            (most, fault) = bound(start, limits);
        }
        (self.line_start, self.searched) = (start, buf.len());
        // At least one more byte is to come.
        match buf.len() < most {
            true => Ok(false),
            false => Err(fault),
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

/// Up to which byte the line that begins at `start` may go, and what is wrong beyond it: the first line has
/// a bound of its own.
fn bound(start: usize, limits: &HeadLimits) -> (usize, ScanFault) {
    let head = limits.header_bytes.min(u32::MAX as usize);
    let line = limits.request_line_bytes.saturating_add(2);
    match start == 0 && line <= head {
        true => (line, ScanFault::StartLineTooLong),
        false => (head, ScanFault::Fields(InvalidFields::TooLarge)),
    }
}

impl Lines {
    fn push(&mut self, end: usize) {
        if let Some(slot) = self.first.get_mut(self.count) {
            *slot = end as u32;
        }
        self.count += 1;
        self.end = end;
    }

    /// The length of the head, the empty line included.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// How many lines there are, the empty one included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The end of the line that has this number and begins at `start` of `head`.
    pub(super) fn end_of(&self, number: usize, start: usize, head: &[u8]) -> usize {
        match self.first.get(number) {
            Some(end) => *end as usize,
            None => {
                let rest = head.get(start..).unwrap_or_default();
                memchr(b'\n', rest).map_or(head.len(), |length| start + length + 1)
            }
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
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(scanner.find_lines(&whole[..19], &limits).unwrap().is_none());
        assert_eq!((scanner.line_start, scanner.searched), (16, 19));
        assert!(scanner.find_lines(&whole[..23], &limits).unwrap().is_none());
        assert_eq!((scanner.line_start, scanner.searched), (16, 23));
        let lines = scanner.find_lines(whole, &limits).unwrap().unwrap();
        assert_eq!((lines.count(), lines.end()), (3, whole.len()));
        assert_eq!((scanner.line_start, scanner.searched), (0, 0));
    }

    /// What is wrong beyond a bound is not looked at, though it be there already.
    #[test]
    fn the_fault_does_not_depend_on_how_the_bytes_come() {
        let limits = |line, head| HeadLimits {
            request_line_bytes: line,
            header_bytes: head,
            header_count: 10,
        };
        for limits in [
            limits(20, 40),
            limits(40, 40),
            limits(38, 40),
            limits(80, 40),
        ] {
            for (line, field) in [(10, 5), (10, 40), (30, 0), (38, 0), (60, 0)] {
                let head = format!("{}\r\na:{}\nb\r\n\r\n", "l".repeat(line), "v".repeat(field));
                let fault = |piece| {
                    let mut scanner = HeadScanner::default();
                    let ends = (piece..=head.len()).step_by(piece).chain([head.len()]);
                    let mut found =
                        ends.map(|end| scanner.find_lines(&head.as_bytes()[..end], &limits));
                    found.find_map(Result::err)
                };
                let whole = fault(head.len());
                assert!(whole.is_some(), "{head:?}");
                for piece in 1..head.len() {
                    assert_eq!(
                        fault(piece),
                        whole,
                        "{limits:?}, {head:?} in pieces of {piece}"
                    );
                }
            }
        }
    }

    #[test]
    fn ends_are_those_of_the_lines_also_beyond_the_remembered() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        (0..60).for_each(|_| head.extend_from_slice(b"a:b\r\n"));
        head.extend_from_slice(b"\r\n");
        let found = HeadScanner::default().find_lines(&head, &HeadLimits::default());
        let lines = found.unwrap().unwrap();
        assert_eq!((lines.count(), lines.end()), (62, head.len()));
        let mut start = 16;
        for number in 1..61 {
            assert_eq!(lines.end_of(number, start, &head), start + 5);
            start += 5;
        }
    }
}
