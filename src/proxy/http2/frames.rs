//! Reads along the frames that a peer of HTTP/2 sends, without holding any of them: frames that cost
//! work and bring nothing have to be earned, and a header section has to come to its end.
//!
//! What stands in the frames is the business of the `h2` crate, and so are bounds on what a frame may
//! hold (docs/adr/0021-http2-by-the-h2-crate.md). No IO, no clock: times are arguments.

use tokio::io::ReadBuf;

/// What stands before the first frame of a client.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much a peer may waste at once.
const MOST: u32 = 10_000;
/// How much of it comes back each second.
const EACH_SECOND: u64 = 1_000;
/// So many bytes of bodies earn as much as an empty frame costs: window updates and pings that go
/// with a large body are no waste, not even where its reader takes a few hundred bytes at a time and gives
/// room back for each.
const EARNING: u64 = 128;
/// What a piece of a body earns, whichever way it goes, however small: peers of gRPC measure the way with a ping
/// for each, and give room back for it.
const PIECE: u32 = 10;
/// What an answer earns that was given in full; what a reset costs.
const ANSWER: u32 = 10;
/// What a request earns that a server was asked: its head, its trailers, and a reset behind them.
const ASKED: u32 = 2 * ANSWER;

/// The kind of frame that there were too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    EmptyData,
    Priority,
    Reset,
    Settings,
    Ping,
    WindowUpdate,
    Continuation,
    /// Of a server, which has one for each answer, and another for its trailers.
    Head,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Server,
}

/// Whether a header section has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Closed,
    Open,
}

/// One connection's incoming frames.
#[derive(Debug)]
pub struct Frames {
    peer: Peer,
    /// Of the preface, or of a frame's payload: bytes that are passed over.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    section: Section,
    /// What becomes of the section once the payload has been passed over.
    after: Section,
    left: u32,
    paid: Millis,
    unpaid_bytes: u64,
    /// Pieces of bodies, and heads, since the last rest.
    pieces: u32,
}

/// Since any beginning.
pub type Millis = u64;

/// Pieces of bodies that are read at one time.
const AT_ONCE: u32 = 128;
/// What a head counts as there: a request takes more than a piece.
const PIECES_OF_A_HEAD: u32 = 8;
const HEAD: usize = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    pub fn of_client(now: Millis) -> Self {
        Self::new(Peer::Client, now)
    }

    pub fn of_server(now: Millis) -> Self {
        Self::new(Peer::Server, now)
    }

    fn new(peer: Peer, now: Millis) -> Self {
        Self {
            peer,
            skip: match peer {
                Peer::Client => PREFACE.len(),
                Peer::Server => 0,
            },
            head: [0; HEAD],
            have: 0,
            section: Section::Closed,
            after: Section::Closed,
            left: MOST,
            paid: now,
            unpaid_bytes: 0,
            pieces: 0,
        }
    }

    /// Takes the next bytes from the peer, wherever they were cut, up to where it is to rest; how many those are.
    /// `idle` is told where in them whole frames stand that say nothing at all (see `take_out`).
    pub fn read(
        &mut self,
        bytes: &[u8],
        now: Millis,
        idle: &mut Vec<usize>,
    ) -> Result<usize, Flood> {
        let (mut at, mut begun) = (0, None);
        loop {
            let passed = self.skip.min(bytes.len() - at);
            self.skip -= passed;
            at += passed;
            if self.skip == 0 {
                self.section = self.after;
            }
            let between = self.skip == 0 && self.have == 0;
            let (Some(byte), Some(place)) = (bytes.get(at), self.head.get_mut(self.have)) else {
                return Ok(at);
            };
            if between && self.pieces >= AT_ONCE {
                return Ok(at);
            }
            *place = *byte;
            if self.have == 0 {
                begun = Some(at);
            }
            at += 1;
            self.have += 1;
            if self.have == HEAD {
                self.have = 0;
                self.begin(now)?;
                if self.says_nothing() {
                    idle.extend(begun);
                }
                begun = None;
            }
        }
    }

    /// A piece of a body that has nothing in it and is not the last. In the middle of a header section, or without
    /// a stream, it is an error, which the `h2` crate is to see.
    fn says_nothing(&self) -> bool {
        let [length @ .., kind, flags, a, b, c, d] = self.head;
        let stream = [a & 0x7f, b, c, d];
        length == [0; 3]
            && kind == 0
            && flags == 0
            && stream != [0; 4]
            && self.section == Section::Closed
    }

    pub fn section(&self) -> Section {
        self.section
    }

    /// Whether so many pieces have come that those whom they are for are to take them in before more is read; no
    /// longer, once it has said so.
    pub fn is_to_rest(&mut self) -> bool {
        let rests = self.pieces >= AT_ONCE;
        if rests {
            self.pieces = 0;
        }
        rests
    }

    /// A piece of a body has gone either way.
    pub fn piece(&mut self) {
        self.left = (self.left + PIECE).min(MOST);
    }

    /// Bytes of bodies have gone the other way.
    pub fn sent(&mut self, bytes: usize) {
        self.earn(bytes);
    }

    /// A client's request was answered to its end.
    pub fn answered(&mut self) {
        self.left = (self.left + ANSWER).min(MOST);
    }

    /// A server is sent a request.
    pub fn asked(&mut self) {
        self.left = (self.left + ASKED).min(MOST);
    }

    fn begin(&mut self, now: Millis) -> Result<(), Flood> {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.skip = length;
        let (cost, flood) = match kind {
            0 if length == 0 && flags & END_STREAM == 0 => (1, Flood::EmptyData),
            0 => {
                if length > 0 {
                    self.pieces += 1;
                    self.piece();
                }
                self.earn(length);
                return Ok(());
            }
            1 => {
                self.pieces += PIECES_OF_A_HEAD;
                self.begin_section(flags);
                match self.peer {
                    // They are bounded by how many requests there may be.
                    Peer::Client => return Ok(()),
                    Peer::Server => (1, Flood::Head),
                }
            }
            2 => (1, Flood::Priority),
            3 => (ANSWER, Flood::Reset),
            4 => (10, Flood::Settings),
            6 => (4, Flood::Ping),
            8 => (1, Flood::WindowUpdate),
            9 => {
                self.begin_section(flags);
                (10, Flood::Continuation)
            }
            _ => (1, Flood::Other),
        };
        self.pay(cost, now).ok_or(flood)
    }

    fn begin_section(&mut self, flags: u8) {
        self.section = Section::Open;
        self.after = match flags & END_HEADERS {
            0 => Section::Open,
            _ => Section::Closed,
        };
    }

    fn earn(&mut self, bytes: usize) {
        self.unpaid_bytes += bytes as u64;
        let earned = u32::try_from(self.unpaid_bytes / EARNING).unwrap_or(MOST);
        self.unpaid_bytes %= EARNING;
        self.left = self.left.saturating_add(earned).min(MOST);
    }

    fn pay(&mut self, cost: u32, now: Millis) -> Option<()> {
        if self.left < cost {
            let back = now.saturating_sub(self.paid).saturating_mul(EACH_SECOND) / 1_000;
            let back = u32::try_from(back).unwrap_or(MOST);
            self.left = self.left.saturating_add(back).min(MOST);
            self.paid = now;
        }
        self.left = self.left.checked_sub(cost)?;
        Some(())
    }
}

/// Reads `bytes` along, up to where it is to rest, and puts them where there is room for all of them, but for what says
/// nothing. How many are not to be seen again.
pub fn pass(
    frames: &mut Frames,
    bytes: &mut [u8],
    into: &mut ReadBuf<'_>,
    now: Millis,
) -> Result<usize, Flood> {
    let mut idle = Vec::new();
    let taken = frames.read(bytes, now, &mut idle)?;
    let passed = bytes.get_mut(..taken).unwrap_or_default();
    let left = take_out(passed, &idle);
    into.put_slice(passed.get(..left).unwrap_or_default());
    Ok(taken)
}

/// Takes the frames out that stand at `idle` in `bytes`; how many bytes are left. Some servers send an empty DATA
/// frame whenever they flush, and the `h2` crate ends a connection with the hundredth of its life.
fn take_out(bytes: &mut [u8], idle: &[usize]) -> usize {
    let Some(first) = idle.first() else {
        return bytes.len();
    };
    let ends = idle.iter().skip(1).copied().chain([bytes.len()]);
    let mut left = *first;
    for (at, end) in idle.iter().zip(ends) {
        bytes.copy_within(at + HEAD..end, left);
        left += end - (at + HEAD);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + payload, 0xff);
        bytes
    }

    fn read(frames: &mut Frames, mut bytes: &[u8], now: Millis) -> Result<(), Flood> {
        while !bytes.is_empty() {
            frames.is_to_rest();
            let taken = frames.read(bytes, now, &mut Vec::new())?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn begun() -> Frames {
        let mut frames = Frames::of_client(0);
        read(&mut frames, PREFACE, 0).unwrap();
        frames
    }

    fn until_flood(kind: u8, payload: usize) -> (usize, Flood) {
        until(begun(), kind, payload)
    }

    fn until(mut frames: Frames, kind: u8, payload: usize) -> (usize, Flood) {
        let one = frame(kind, 0, payload);
        for count in 0..=MOST as usize {
            if let Err(flood) = read(&mut frames, &one, 0) {
                return (count, flood);
            }
        }
        panic!("no bound on frames of type {kind}");
    }

    #[test]
    fn every_kind_of_waste_has_a_bound() {
        assert_eq!(until_flood(0, 0), (10_000, Flood::EmptyData));
        assert_eq!(until_flood(2, 5), (10_000, Flood::Priority));
        assert_eq!(until_flood(3, 4), (1_000, Flood::Reset));
        assert_eq!(until_flood(4, 0), (1_000, Flood::Settings));
        assert_eq!(until_flood(6, 8), (2_500, Flood::Ping));
        assert_eq!(until_flood(8, 4), (10_000, Flood::WindowUpdate));
        assert_eq!(until_flood(9, 0), (1_000, Flood::Continuation));
        assert_eq!(until_flood(77, 3), (10_000, Flood::Other));
    }

    #[test]
    fn a_server_has_heads_for_what_it_was_asked_and_no_more() {
        let head = |frames: &mut Frames| read(frames, &frame(1, END_HEADERS, 9), 0);
        let mut frames = Frames::of_server(0);
        for _ in 0..100_000 {
            frames.asked();
            head(&mut frames).unwrap();
            head(&mut frames).unwrap();
            read(&mut frames, &frame(3, 0, 4), 0).unwrap();
        }
        assert_eq!(until(frames, 1, 9), (10_000 - 12, Flood::Head));
        let ping = until(Frames::of_server(0), 6, 8);
        assert_eq!(ping, (2_500, Flood::Ping), "it has no preface");
        let mut client = begun();
        for _ in 0..100_000 {
            head(&mut client).unwrap();
        }
    }

    #[test]
    fn it_does_not_matter_where_the_bytes_are_cut() {
        let mut all = PREFACE.to_vec();
        for _ in 0..1_200 {
            all.extend(frame(4, 0, 6));
            all.extend(frame(1, END_HEADERS, 30));
            all.extend(frame(0, 0, 1));
            all.extend(frame(3, 0, 4));
        }
        for size in [1, 2, 7, 9, 10, 4096] {
            let mut frames = Frames::of_client(0);
            let cut = all
                .chunks(size)
                .position(|piece| read(&mut frames, piece, 0).is_err());
            let at = cut.unwrap() * size;
            let whole = 24 + 1_000 * (15 + 39 + 10 + 13);
            assert!(at.abs_diff(whole) < 4096 + 200, "{size}: {at} for {whole}");
        }
    }

    #[test]
    fn time_and_bodies_and_answers_earn() {
        let ping = frame(6, 0, 8);
        let mut frames = begun();
        for second in 0..3_600 {
            for _ in 0..100 {
                read(&mut frames, &ping, second * 1_000).unwrap();
            }
        }
        let mut frames = begun();
        for _ in 0..10_000 {
            read(&mut frames, &frame(0, 0, 16_384), 0).unwrap();
            frames.sent(16_384);
            read(&mut frames, &ping, 0).unwrap();
        }
        let mut frames = Frames::of_server(0);
        for _ in 0..10_000 {
            frames.sent(16_384);
            for _ in 0..2 * 16_384 / 512 {
                read(&mut frames, &frame(8, 0, 4), 0).unwrap();
            }
        }
        let mut frames = begun();
        for _ in 0..10_000 {
            frames.answered();
            read(&mut frames, &frame(3, 0, 4), 0).unwrap();
        }
    }

    #[test]
    fn a_ping_and_room_for_each_small_message_are_no_flood() {
        for mut frames in [begun(), Frames::of_server(0)] {
            for _ in 0..100_000 {
                frames.piece();
                read(&mut frames, &frame(6, 0, 8), 0).unwrap();
                read(&mut frames, &frame(8, 0, 4), 0).unwrap();
                read(&mut frames, &frame(8, 0, 4), 0).unwrap();
            }
            for _ in 0..100_000 {
                read(&mut frames, &frame(0, 0, 5), 0).unwrap();
                read(&mut frames, &frame(6, 0, 8), 0).unwrap();
            }
            // They earn no more than was spent.
            assert_eq!(until(frames, 6, 8), (2_499, Flood::Ping));
        }
    }

    #[test]
    fn what_says_nothing_is_taken_out_where_it_came_in_one_piece() {
        let empty = frame(0, 0, 0);
        let last = frame(0, END_STREAM, 0);
        let mut connection = empty.clone();
        connection[8] = 0;
        // What is wrong with it is for the `h2` crate to say: of no stream, or padded with nothing.
        let kept = [
            frame(1, END_HEADERS, 20),
            frame(0, 0, 30),
            connection,
            frame(0, 8, 0),
            last,
        ];
        let (mut all, mut expected) = (Vec::new(), kept.concat());
        for frame in &kept {
            all.extend(empty.repeat(2));
            all.extend(frame);
        }
        all.extend(&empty);
        let whole = all.len();
        let out = |bytes: &mut [u8], frames: &mut Frames| {
            let mut idle = Vec::new();
            frames.read(bytes, 0, &mut idle).unwrap();
            let left = take_out(bytes, &idle);
            bytes[..left].to_vec()
        };
        assert_eq!(out(&mut all.clone(), &mut Frames::of_server(0)), expected);
        for cut in 1..whole {
            let mut frames = Frames::of_server(0);
            let (start, rest) = all.split_at_mut(cut);
            let mut passed = out(&mut start.to_vec(), &mut frames);
            passed.extend(out(&mut rest.to_vec(), &mut frames));
            let more = passed.len() - expected.len();
            assert!(more == 0 || more == HEAD, "cut at {cut}: {more} more");
        }
        let open = [frame(1, 0, 20), empty.clone()].concat();
        let seen = out(&mut open.clone(), &mut Frames::of_server(0));
        assert_eq!(seen, open, "in the middle of a header section");
        expected.clear();
        assert_eq!(
            out(&mut empty.repeat(9), &mut Frames::of_server(0)),
            expected
        );
    }

    #[test]
    fn it_rests_after_so_many_pieces() {
        let one = frame(0, 0, 3);
        let all = one.repeat(3 * AT_ONCE as usize);
        let mut frames = Frames::of_server(0);
        for cut in [all.len(), 1] {
            let mut at = 0;
            for _ in 0..3 {
                assert!(!frames.is_to_rest());
                let before = at;
                while at < all.len() {
                    let end = (at + cut).min(all.len());
                    match frames.read(&all[at..end], 0, &mut Vec::new()) {
                        Ok(0) => break,
                        taken => at += taken.unwrap(),
                    }
                }
                assert_eq!(at - before, all.len() / 3, "cut at each {cut}");
                assert!(frames.is_to_rest());
            }
        }
    }

    #[test]
    fn a_header_section_is_open_until_its_last_byte() {
        let mut frames = begun();
        let mut whole = frame(1, 0, 20);
        read(&mut frames, &whole, 0).unwrap();
        assert_eq!(frames.section(), Section::Open, "no END_HEADERS");
        whole = frame(9, END_HEADERS, 20);
        let (start, last) = whole.split_at(whole.len() - 1);
        read(&mut frames, start, 0).unwrap();
        assert_eq!(frames.section(), Section::Open);
        read(&mut frames, last, 0).unwrap();
        assert_eq!(frames.section(), Section::Closed);
    }
}
