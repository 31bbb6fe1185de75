//! Messages cut out of a stream of bytes: a head with the length and the number of file descriptors
//! that travel beside the frame, then the message. Both numbers are checked before anything is
//! allocated or waited for.
//!
//! Pure: bytes in, bytes out. Not here: reading and writing (`channel`).

/// Longer than the largest config anybody has (10,000 hosts are some 2 MiB), and little enough to
/// survive a length that is nonsense.
pub const MAX_PAYLOAD: usize = 64 * 1024 * 1024;
/// The kernel takes 253 with one call.
pub const MAX_FDS: usize = 128;

/// Length and number of descriptors, both as big-endian u32.
pub const HEAD: usize = 8;

/// A frame whose head has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub payload: usize,
    pub fds: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    #[error("a frame of {0} bytes is over the bound of {MAX_PAYLOAD}")]
    TooLong(usize),
    #[error("a frame with {0} file descriptors is over the bound of {MAX_FDS}")]
    TooManyFds(usize),
}

impl Head {
    pub fn new(payload: usize, fds: usize) -> Result<Head, InvalidFrame> {
        if payload > MAX_PAYLOAD {
            return Err(InvalidFrame::TooLong(payload));
        }
        if fds > MAX_FDS {
            return Err(InvalidFrame::TooManyFds(fds));
        }
        Ok(Head { payload, fds })
    }

    pub fn encode(self) -> [u8; HEAD] {
        // Both are below their bounds, which fit.
        let (payload, fds) = (self.payload as u32, self.fds as u32);
        (u64::from(payload) << 32 | u64::from(fds)).to_be_bytes()
    }

    pub fn decode(bytes: [u8; HEAD]) -> Result<Head, InvalidFrame> {
        let word = u64::from_be_bytes(bytes);
        Head::new((word >> 32) as usize, (word & 0xffff_ffff) as usize)
    }
}

/// Takes bytes as they come and gives back whole frames.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What has come of the frame under way; its allocation is given up after a large one.
    bytes: Vec<u8>,
    head: Option<Head>,
}

/// One message, still packed, with the number of descriptors that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub payload: Vec<u8>,
    pub fds: usize,
}

impl Decoder {
    /// Takes bytes off the front of `input` until a frame is whole or there are none left.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, InvalidFrame> {
        if self.head.is_none() {
            self.take(input, HEAD);
            let Ok(head) = <[u8; HEAD]>::try_from(self.bytes.as_slice()) else {
                return Ok(None);
            };
            self.head = Some(Head::decode(head)?);
            self.bytes = Vec::new();
        }
        let Some(head) = self.head else {
            return Ok(None);
        };
        self.take(input, head.payload);
        if self.bytes.len() < head.payload {
            return Ok(None);
        }
        self.head = None;
        let payload = std::mem::take(&mut self.bytes);
        Ok(Some(Frame {
            payload,
            fds: head.fds,
        }))
    }

    /// Whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        self.head.is_none() && self.bytes.is_empty()
    }

    /// Grows with what really comes, never by what the head merely claims.
    fn take(&mut self, input: &mut &[u8], whole: usize) {
        let missing = whole.saturating_sub(self.bytes.len()).min(input.len());
        let (now, later) = input.split_at(missing);
        self.bytes.extend_from_slice(now);
        *input = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(payload: &[u8], fds: usize) -> Vec<u8> {
        let mut bytes = Head::new(payload.len(), fds).unwrap().encode().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn decode_all(decoder: &mut Decoder, mut input: &[u8]) -> Result<Vec<Frame>, InvalidFrame> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut input)? {
            frames.push(frame);
        }
        assert!(input.is_empty(), "everything was taken");
        Ok(frames)
    }

    #[test]
    fn a_length_that_is_nonsense_allocates_nothing() {
        let mut decoder = Decoder::default();
        let claimed = (MAX_PAYLOAD as u32 + 1).to_be_bytes();
        let bytes = [claimed, [0; 4]].concat();
        let refused = decoder.decode(&mut &bytes[..]).unwrap_err();
        assert_eq!(refused, InvalidFrame::TooLong(MAX_PAYLOAD + 1));
        assert_eq!(
            Head::decode(999u64.to_be_bytes()),
            Err(InvalidFrame::TooManyFds(999))
        );

        let mut decoder = Decoder::default();
        let longest = Head::new(MAX_PAYLOAD, 0).unwrap().encode();
        assert_eq!(decoder.decode(&mut &longest[..]), Ok(None));
        assert_eq!(decoder.bytes.capacity(), 0, "a claim is no memory");
    }

    #[test]
    fn an_end_inside_a_frame_is_seen() {
        let mut decoder = Decoder::default();
        assert!(decoder.is_between_frames());
        assert_eq!(decoder.decode(&mut &[0u8, 0][..]), Ok(None));
        assert!(!decoder.is_between_frames());
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            sent in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0..MAX_FDS), 0..8),
            cuts in prop::collection::vec(1usize..40, 1..8),
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|(p, fds)| encode(p, *fds)).collect();
            let (mut decoder, mut rest, mut seen) = (Decoder::default(), &bytes[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                seen.extend(decode_all(&mut decoder, piece).unwrap());
                rest = later;
            }
            let sent: Vec<Frame> =
                sent.into_iter().map(|(payload, fds)| Frame { payload, fds }).collect();
            prop_assert_eq!(seen, sent);
            prop_assert!(decoder.is_between_frames());
        }

        #[test]
        fn arbitrary_bytes_never_panic_nor_hoard(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            let mut input = &bytes[..];
            while let Ok(Some(frame)) = decoder.decode(&mut input) {
                prop_assert!(frame.payload.len() <= bytes.len());
            }
            prop_assert!(decoder.bytes.len() <= bytes.len());
        }
    }
}
