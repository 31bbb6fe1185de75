use proptest::prelude::*;

use super::*;

#[expect(unreachable_pub, reason = "it is a module of another crate")]
#[path = "../../../fuzz/src/client_hello.rs"]
mod checks;

fn block(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &block(value)].concat()
}

fn names(name: &[u8]) -> Vec<u8> {
    block(&[&[HOST_NAME][..], &block(name)].concat())
}

/// The message without its header.
fn content(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut content = vec![3, 3];
    content.extend_from_slice(&[7; 32]);
    content.extend_from_slice(&[2, 1, 1]);
    content.extend_from_slice(&block(&[0x13, 0x01, 0x13, 0x02]));
    content.extend_from_slice(&[1, 0]);
    content.extend(extensions.map(block).unwrap_or_default());
    content
}

fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO], &length[1..], content].concat()
}

/// In records of at most so many bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[HANDSHAKE_RECORD, 3, 1][..], &block(piece)].concat();
    message.chunks(most).flat_map(record).collect()
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    records(&message(&content(Some(extensions))), LONGEST_RECORD)
}

fn named(name: &str) -> Hello {
    Hello::Tls(Some(name.to_owned()))
}

#[test]
fn the_name_is_found_among_other_extensions_and_however_it_is_cut() {
    let extensions = [
        extension(0x0a0a, &[]),
        extension(16, &block(b"\x02h2")),
        extension(SERVER_NAME, &names(b"Shop.Example.COM.")),
        extension(51, &[9; 1200]),
    ]
    .concat();
    let message = message(&content(Some(&extensions)));
    for most in [LONGEST_RECORD, 500, 5, 1] {
        let bytes = records(&message, most);
        assert_eq!(
            parse(&bytes),
            named("shop.example.com"),
            "records of {most}"
        );
        let more = [&bytes[..], b"\x17\x03\x03"].concat();
        assert_eq!(
            parse(&more),
            named("shop.example.com"),
            "early data behind it"
        );
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Hello::Incomplete, "cut at {cut}");
        }
    }
}

#[test]
fn no_name_is_no_fault() {
    assert_eq!(
        parse(&records(&message(&content(None)), 100)),
        Hello::Tls(None)
    );
    assert_eq!(parse(&hello(&[])), Hello::Tls(None));
    assert_eq!(
        parse(&hello(&extension(16, &block(b"\x02h2")))),
        Hello::Tls(None)
    );
}

#[test]
fn what_is_no_hello() {
    let twice = extension(SERVER_NAME, &names(b"a")).repeat(2);
    let good = hello(&extension(SERVER_NAME, &names(b"a")));
    let mut cut_inside = content(Some(&extension(SERVER_NAME, &names(b"abc"))));
    cut_inside.truncate(cut_inside.len() - 1);
    for bytes in [
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"\x16\x02\x00\x00\x01\x01".to_vec(),
        b"\x16\x03\x09\x00\x01\x01".to_vec(),
        b"\x16\x03\x01\x00\x00".to_vec(),
        b"\x16\x03\x01\xff\xff".to_vec(),
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x01".to_vec(),
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff".to_vec(),
        b"\x80\x2e\x01\x03\x01".to_vec(),
        hello(&twice),
        hello(&extension(SERVER_NAME, &[])),
        hello(&extension(SERVER_NAME, &names(b""))),
        hello(&extension(SERVER_NAME, &names(b"a b"))),
        hello(&extension(SERVER_NAME, &names("\u{e4}".as_bytes()))),
        hello(&extension(SERVER_NAME, &names(&[b'a'; 256]))),
        hello(&extension(
            SERVER_NAME,
            &[&names(b"a")[..], &[0]].concat()[..4],
        )),
        records(&message(&cut_inside), 1000),
    ] {
        assert_eq!(parse(&bytes), Hello::Other, "{bytes:?}");
    }
    assert_eq!(parse(&good), named("a"));
}

#[test]
fn it_is_waited_for_within_a_bound() {
    let long = message(&vec![0; LONGEST]);
    let bytes = records(&long, 1000);
    assert_eq!(parse(&bytes[..LONGEST - 1]), Hello::Incomplete);
    assert_eq!(parse(&bytes[..LONGEST]), Hello::Other);
}

proptest! {
    #[test]
    fn a_longer_look_never_takes_back_what_was_seen(
        name in "[a-zA-Z0-9.-]{0,20}",
        most in 1..200_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let extensions = extension(SERVER_NAME, &names(name.as_bytes()));
        let mut bytes = records(&message(&content(Some(&extensions))), most);
        bytes.extend(rest);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        checks::check(&bytes);
    }
}
