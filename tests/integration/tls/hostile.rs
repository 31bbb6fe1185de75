//! Peers that speak no proper TLS: they are told in a few bytes, cost no memory, fill no log, and
//! harm nobody who does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{certificates, config};
use crate::harness::certificates::Authority;
use crate::harness::process::anonymous_memory;
use crate::harness::secure::Secure;
use crate::harness::{DEADLINE, Sluice, eventually, get};

/// An alert of seven bytes, or an answer to a hello that had come whole.
const MOST_SAID: usize = 4096;
const MOST_GROWN: u64 = 8 << 20;

struct Stage {
    ca: Authority,
    sluice: Sluice,
}

impl Stage {
    fn set() -> Stage {
        let ca = Authority::new();
        let tls = certificates(&[ca.pair("a", &["a.test"])]);
        let yaml = config(&tls, "").replace("workers: 2", "workers: 1");
        let sluice = Sluice::start(&yaml);
        Stage { ca, sluice }
    }

    fn client(&self) -> Secure {
        Secure::trusting(&self.ca.pem)
    }

    fn served(&self) {
        let mut other = self.client().connect(self.sluice.address(), "a.test");
        let answer = other.last_get("a.test");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Runs it; afterwards the worker is the same, has not grown, and has said nothing.
    fn endures(&self, assault: impl FnOnce()) {
        let workers = self.sluice.workers();
        let before = anonymous_memory(workers[0]);
        assault();
        self.served();
        assert_eq!(self.sluice.workers(), workers);
        let grown = anonymous_memory(workers[0]).saturating_sub(before);
        assert!(grown < MOST_GROWN, "{grown} bytes more");
        let log = self.sluice.log().text();
        for word in ["panicked", "\"warn\"", "\"error\""] {
            assert!(!log.contains(word), "{word}");
        }
    }
}

/// Sends it all, as far as it is taken, and reads what is said to it.
fn offer(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let taken = stream.write_all(bytes);
    // No more will come, which is the end of one that has been taken whole.
    let _gone = taken.and_then(|()| stream.shutdown(Shutdown::Write));
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is left open"),
        Ok(_) => assert!(said.len() < MOST_SAID, "{} bytes", said.len()),
    }
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &length, payload].concat()
}

#[test]
fn handshakes_that_are_cut_or_wrong_anywhere_are_bounded() {
    let stage = Stage::set();
    let address = stage.sluice.address();
    let hello = stage.client().hello("a.test");
    stage.endures(|| {
        for cut in 0..hello.len() {
            offer(address, &hello[..cut]);
        }
        for place in 0..hello.len() {
            for value in [0, 0xff, hello[place] ^ 0x55] {
                let mut wrong = hello.clone();
                wrong[place] = value;
                offer(address, &wrong);
            }
        }
    });
    eventually("they are counted", || {
        let name = "sluice_tls_handshakes_total{listener=\"127.0.0.1:0\",result=\"malformed\"} ";
        let metrics = get(stage.sluice.admin(), "/metrics").text();
        let line = metrics.lines().find(|line| line.starts_with(name))?;
        let count: u32 = line.trim_start_matches(name).parse().ok()?;
        (count > 50).then_some(())
    });
}

#[test]
fn records_without_end_and_without_meaning_are_bounded() {
    let stage = Stage::set();
    let address = stage.sluice.address();
    let hello = stage.client().hello("a.test");
    let announced = |length: u16| [&[22, 3, 1][..], &length.to_be_bytes()].concat();
    // A message of 16 MiB, as its first four bytes say.
    let endless = [&[1, 0xff, 0xff, 0xff][..], &[0; 16_380]].concat();
    let many = |one: Vec<u8>| one.repeat(200_000 / one.len());
    let mut cases = vec![
        announced(0),
        announced(65_535),
        [announced(16_641), vec![0; 16_641]].concat(),
        [record(22, &endless), record(22, &[0; 16_384]).repeat(256)].concat(),
        many(record(22, &[])),
        many(record(23, &[])),
        many(record(20, &[1])),
        many(record(21, &[1, 90])),
        [hello.clone(), many(record(20, &[1]))].concat(),
        [hello.clone(), many(record(23, &[]))].concat(),
        [hello.clone(), record(23, &[7; 16_000]).repeat(8)].concat(),
        hello.repeat(100),
    ];
    for kind in [0, 20, 21, 22, 23, 24, 255] {
        let nonsense: Vec<u8> = (0..5_000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        cases.push(record(kind, &nonsense));
        cases.push([hello.clone(), record(kind, &nonsense)].concat());
    }
    stage.endures(|| {
        for bytes in cases.iter().cycle().take(5 * cases.len()) {
            offer(address, bytes);
        }
    });
}

#[test]
fn nonsense_behind_a_handshake_ends_the_connection_with_an_alert() {
    let stage = Stage::set();
    let client = stage.client();
    stage.endures(|| {
        for kind in [20, 21, 22, 23, 77] {
            for length in [0, 1, 16, 17, 300, 16_384, 16_640] {
                let mut connection = client.connect(stage.sluice.address(), "a.test");
                connection.send_unsealed(&record(kind, &vec![7; length]));
                let error = connection.rest().unwrap_err();
                assert!(
                    error.to_string().contains("received fatal alert"),
                    "{kind}, {length}: {error}"
                );
            }
        }
    });
}
