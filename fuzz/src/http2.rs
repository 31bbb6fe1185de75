//! HTTP/2's frames as they are read along: what is made of them does not depend on where the bytes are
//! cut, what is spent is spent once, and what is passed on is what came, without what says nothing.

use sluice::proxy::http2::frames::{Flood, Frames, PREFACE, pass};
use tokio::io::ReadBuf;

pub fn check(bytes: &[u8]) {
    let (cut, bytes) = match bytes {
        [cut, rest @ ..] => (usize::from(*cut).max(1), rest),
        [] => return,
    };
    let mut whole = Frames::of_client(0);
    let mut pieces = Frames::of_client(0);
    let of_whole = passed(&mut whole, PREFACE).and_then(|_| passed(&mut whole, bytes));
    let of_pieces = passed(&mut pieces, PREFACE).and_then(|_| {
        let mut out = Vec::new();
        for piece in bytes.chunks(cut) {
            out.extend(passed(&mut pieces, piece)?);
        }
        Ok(out)
    });
    assert_eq!(
        of_whole.as_ref().err(),
        of_pieces.as_ref().err(),
        "cut into pieces of {cut}"
    );
    let (Ok(of_whole), Ok(of_pieces)) = (of_whole, of_pieces) else {
        return;
    };
    assert_eq!(whole.section(), pieces.section());
    // Of what is cut in the middle, less is taken out; a second time nothing is left to take.
    assert!(of_whole.len() <= of_pieces.len() && of_pieces.len() <= bytes.len());
    let mut again = Frames::of_client(0);
    let _preface = passed(&mut again, PREFACE);
    assert_eq!(passed(&mut again, &of_pieces), Ok(of_whole));
}

fn passed(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<u8>, Flood> {
    let mut bytes = bytes.to_vec();
    let mut memory = vec![0; bytes.len()];
    let mut into = ReadBuf::new(&mut memory);
    let mut at = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(at..) {
        frames.is_to_rest();
        at += pass(frames, rest, &mut into, 0)?;
    }
    Ok(into.filled().to_vec())
}
