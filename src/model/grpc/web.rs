//! gRPC-Web as bytes: content types to and fro, trailers as the last frame of a body, and base64 in
//! pieces, each with its own padding if its sender wants.
//!
//! No IO. Not here: who translates (`proxy::grpc`).

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;

use crate::model::fields::Fields;

/// A frame of trailers is told from messages by this bit.
const TRAILERS: u8 = 0x80;

const TEXT: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Of bytes that are no text.
const NONE: u8 = 0xff;
const VALUES: [u8; 256] = values();

#[expect(clippy::indexing_slicing, reason = "runs while compiling")]
const fn values() -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < TEXT.len() {
        table[TEXT[value] as usize] = value as u8;
        value += 1;
    }
    table
}

/// What stands in a body of `-text` is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct InvalidText;

/// From text to bytes, wherever the text is cut and padded.
#[derive(Debug, Default)]
pub struct Decoder {
    group: [u8; 4],
    have: usize,
    padding: usize,
}

impl Decoder {
    pub fn decode(&mut self, text: &[u8]) -> Result<Bytes, InvalidText> {
        let mut bytes = BytesMut::with_capacity(text.len() / 4 * 3 + 3);
        for byte in text {
            match byte {
                b'\r' | b'\n' => continue,
                b'=' if self.have >= 2 => self.add(0)?,
                _ => {
                    let value = VALUES.get(usize::from(*byte)).copied();
                    let value = value.filter(|value| *value != NONE && self.padding == 0);
                    self.add(value.ok_or(InvalidText)?)?;
                }
            }
            if *byte == b'=' {
                self.padding += 1;
            }
            if self.have == 4 {
                self.give(&mut bytes);
            }
        }
        Ok(bytes.freeze())
    }

    /// Whether the text may end here.
    pub fn is_whole(&self) -> bool {
        self.have == 0
    }

    fn add(&mut self, value: u8) -> Result<(), InvalidText> {
        *self.group.get_mut(self.have).ok_or(InvalidText)? = value;
        self.have += 1;
        Ok(())
    }

    fn give(&mut self, bytes: &mut BytesMut) {
        let [a, b, c, d] = self.group;
        let three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        let count = 3_usize.saturating_sub(self.padding);
        bytes.put_slice(three.get(..count).unwrap_or_default());
        (self.have, self.padding) = (0, 0);
    }
}

/// A piece of text of its own, padded.
pub fn encode(bytes: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(bytes.len().div_ceil(3) * 4);
    let digit = |value: u8| TEXT.get(usize::from(value & 63)).copied().unwrap_or(b'=');
    for three in bytes.chunks(3) {
        let at = |place: usize| three.get(place).copied().unwrap_or(0);
        let (a, b, c) = (at(0), at(1), at(2));
        text.put_slice(&[
            digit(a >> 2),
            digit(a << 4 | b >> 4),
            if three.len() > 1 {
                digit(b << 2 | c >> 6)
            } else {
                b'='
            },
            if three.len() > 2 { digit(c) } else { b'=' },
        ]);
    }
    text.freeze()
}

/// Trailers as the last frame of a body, names in lower case as the protocol has them.
pub fn trailer_frame(trailers: &Fields) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers.iter() {
        lines.put_slice(&name.to_ascii_lowercase());
        lines.put_slice(b": ");
        lines.put_slice(value);
        lines.put_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(5 + lines.len());
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    frame.put_slice(&lines);
    frame.freeze()
}

/// `application/grpc-web-text+proto` as `application/grpc+proto`.
pub fn to_grpc(content_type: &[u8]) -> HeaderValue {
    let text = str::from_utf8(content_type).unwrap_or_default();
    let format = text.find(['+', ';']).and_then(|at| text.get(at..));
    let whole = format!("application/grpc{}", format.unwrap_or_default());
    HeaderValue::from_str(&whole).unwrap_or(HeaderValue::from_static("application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_each_others_opposite() {
        let all: Vec<u8> = (0..=255).collect();
        for length in 0..=all.len() {
            let text = encode(&all[..length]);
            let mut decoder = Decoder::default();
            assert_eq!(decoder.decode(&text).unwrap(), &all[..length]);
            assert!(decoder.is_whole());
        }
        assert_eq!(&encode(b"gRPC")[..], b"Z1JQQw==");
    }

    #[test]
    fn it_does_not_matter_where_text_is_cut_and_padded() {
        let text = [encode(b"one "), encode(b"two"), encode(b", three")].concat();
        for cut in 0..text.len() {
            let mut decoder = Decoder::default();
            let (first, second) = text.split_at(cut);
            let mut bytes = decoder.decode(first).unwrap().to_vec();
            bytes.extend(decoder.decode(second).unwrap());
            assert_eq!(bytes, b"one two, three", "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for wrong in ["A===", "AB=C", "====", "A B=", "A\0AA", "ABC=D"] {
            let mut decoder = Decoder::default();
            let read = decoder.decode(wrong.as_bytes());
            assert!(read.is_err() || !decoder.is_whole(), "{wrong:?}: {read:?}");
        }
    }

    #[test]
    fn trailers_are_a_frame() {
        let trailers = Fields::of(&[("Grpc-Status", "0")]);
        assert_eq!(
            &trailer_frame(&trailers)[..],
            b"\x80\0\0\0\x10grpc-status: 0\r\n"
        );
    }

    #[test]
    fn the_format_stays_in_the_content_type() {
        assert_eq!(
            to_grpc(b"application/grpc-web+proto"),
            "application/grpc+proto"
        );
        assert_eq!(to_grpc(b"application/grpc-web-text"), "application/grpc");
    }
}
