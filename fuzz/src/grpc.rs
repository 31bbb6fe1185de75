//! What is read of gRPC: base64 of gRPC-Web, wherever it is cut, and timeouts.

use sluice::model::grpc::parse_timeout;
use sluice::model::grpc::web::{Decoder, encode};

pub fn check(bytes: &[u8]) {
    let (cut, bytes) = match bytes {
        [cut, rest @ ..] => (usize::from(*cut).max(1), rest),
        [] => return,
    };
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&encode(bytes)).as_deref(), Ok(bytes));
    assert!(decoder.is_whole());

    let mut whole = Decoder::default();
    let of_whole = whole.decode(bytes);
    let mut pieces = Decoder::default();
    let of_pieces: Result<Vec<_>, _> = bytes
        .chunks(cut)
        .map(|piece| pieces.decode(piece))
        .collect();
    match (of_whole, of_pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces.concat()),
        (whole, pieces) => assert_eq!(whole.is_err(), pieces.is_err(), "cut by {cut}"),
    }

    if let Some(timeout) = parse_timeout(bytes) {
        assert!((2..=9).contains(&bytes.len()), "{bytes:?}");
        assert!(timeout.as_secs() <= 99_999_999 * 3_600);
    }
}
