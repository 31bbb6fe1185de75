//! HTTP/2's frames as they are read along: what is made of them does not depend on where the bytes are
//! cut, and what is spent is spent once.

use sluice::proxy::http2::frames::{Frames, PREFACE};

pub fn check(bytes: &[u8]) {
    let (cut, bytes) = match bytes {
        [cut, rest @ ..] => (usize::from(*cut).max(1), rest),
        [] => return,
    };
    let mut whole = Frames::of_client(0);
    let mut pieces = Frames::of_client(0);
    let of_whole = whole.read(PREFACE, 0).and_then(|()| whole.read(bytes, 0));
    let of_pieces = pieces.read(PREFACE, 0).and_then(|()| {
        let mut pieces_of = bytes.chunks(cut);
        pieces_of.try_for_each(|piece| pieces.read(piece, 0))
    });
    assert_eq!(of_whole, of_pieces, "cut into pieces of {cut}");
    if of_whole.is_ok() {
        assert_eq!(whole.section(), pieces.section());
    }
}
