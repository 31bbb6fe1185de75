//! What the processes say to each other: frames are the same however they arrive, nothing is allocated
//! by what a head merely claims, and what cannot be understood is an error.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice::ipc::frame::{Decoder, Frame, InvalidFrame};
use sluice::ipc::message::{FromWorker, ToSuccessor, ToWorker};

pub fn check(bytes: &[u8]) {
    let whole = frames(bytes, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(frames(bytes, piece), whole, "in pieces of {piece}");
    }
    if let Ok(frames) = whole {
        frames
            .iter()
            .for_each(|frame| check_message(&frame.payload));
    }
    check_message(bytes);
}

fn frames(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, InvalidFrame> {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    for mut more in bytes.chunks(piece.max(1).min(bytes.len().max(1))) {
        while let Some(frame) = decoder.decode(&mut more)? {
            found.push(frame);
        }
    }
    Ok(found)
}

fn check_message(payload: &[u8]) {
    check_as::<ToWorker>(payload);
    check_as::<FromWorker>(payload);
    check_as::<ToSuccessor>(payload);
}

/// What is understood means the same when it is said again.
fn check_as<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(payload: &[u8]) {
    let Ok(message) = postcard::from_bytes::<T>(payload) else {
        return;
    };
    let said = postcard::to_stdvec(&message).expect("a message can be packed");
    let again: T = postcard::from_bytes(&said).expect("and unpacked");
    assert_eq!(again, message);
}
