//! Everything that the two processes can say to each other. Pure data, versioned by being compiled
//! into one binary: a worker is always started from its supervisor's own executable.
//!
//! Not here: which of them is said when (`supervisor::state`), and file descriptors, of which a
//! message says only how many travel beside it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::config::Log;
use crate::model::resolved::Resolved;
use crate::model::secret::{Secret, SecretBytes};

/// From the supervisor to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message. Beside it: the shared segment.
    Hello(Hello),
    /// Sockets that the worker may have to serve from some generation on. Beside it: one for each.
    Sockets(Vec<SocketId>),
    /// Build this generation beside the one that serves; answered with `Prepared` or `Rejected`. A
    /// later one takes the place of an earlier one that was not committed.
    Prepare(Box<Prepare>),
    /// Serve by the prepared generation, on the sockets that there are, for others to see how that goes;
    /// answered with `Committed`. Its `Commit` follows, or the `Prepare` of another one.
    Try { generation: u64 },
    /// Serve by the prepared generation from now on, and on its sockets; answered with `Committed`.
    Commit { generation: u64 },
    /// Forget the prepared generation, and the sockets that only it needed.
    Abort { generation: u64 },
    /// All serve the committed generation: close what only earlier ones listened on, once all that has
    /// arrived there is accepted. The supervisor has closed its own, so that nothing arrives any more.
    Retire,
    /// The present endpoints of these servers; takes effect at once. One without any is forgotten.
    Endpoints(Vec<Resolved>),
    /// Serve on, and tell clients to make their next connection elsewhere.
    Leave,
    /// Accept no more, finish what is in flight, within the time if there is one, then exit. A second
    /// one can only shorten the time.
    Drain { timeout: Option<Duration> },
    /// Close and open again what is written to files.
    ReopenLogs,
    /// Log by this filter until a generation with another level is committed.
    LogFilter(String),
    /// Seal and open session tickets with these from now on.
    TicketKeys(TicketKeys),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its row in the shared segment.
    pub row: u16,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    pub generation: u64,
    /// The sockets to serve after the commit: all of them, not only the new ones.
    pub sockets: Vec<Serve>,
    /// The sockets that others serve after the commit: what waits there is theirs.
    pub given: Vec<SocketId>,
    /// A `Config`: packed on its own, so that it is packed once for all workers, and so that one that
    /// cannot be unpacked is a rejection, not the end of the channel.
    pub config: Packed,
    /// The ids under which the shared segment counts what the config names.
    pub labels: Packed,
    /// What its connections and requests may take, in bytes; `None` is as much as there is.
    pub memory: Option<u64>,
}

/// One socket of a listener. Every address has one per worker slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    pub socket: SocketId,
    /// As configured: which of the config's listeners it belongs to.
    pub address: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TicketKeys {
    /// The first one seals, all of them open; none means no tickets.
    pub keys: Vec<TicketKey>,
    /// How long a client may keep a ticket.
    pub lifetime: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    pub name: [u8; 16],
    /// 32 bytes.
    pub secret: SecretBytes,
}

/// From a worker to its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The first message: it can be spoken to.
    Ready,
    Prepared {
        generation: u64,
    },
    Rejected {
        generation: u64,
        reason: String,
    },
    Committed {
        generation: u64,
    },
}

/// Of what follows in `ToSuccessor`, and of what the `Estate` has packed. To be counted up with each change
/// of its bytes.
pub const ESTATE_FORMAT: u32 = 2;

/// From a supervisor to the one of a new binary. The two may be of different versions: one that cannot
/// read the other's format leaves the old one serving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSuccessor {
    /// Beside it: the shared segment.
    Estate(Estate),
    /// Beside it: one listening socket for each.
    Sockets(Vec<Inherited>),
    /// That was all.
    Complete,
    /// Sessions that began here go on there. Comes before `Complete`.
    TicketKeys(Vec<TicketKey>),
    /// The first message: the format of the others. Its own bytes never change.
    Format(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    /// Numbers of generations go on after it.
    pub last_generation: u64,
    /// Which names have which ids in the shared segment.
    pub labels: Packed,
    /// Which endpoints have which places on its health board.
    pub endpoints: Packed,
    /// The key of sticky cookies.
    pub secret: Option<Secret>,
    /// What became of the last configurations.
    pub history: Packed,
    /// What a guard has seen, and has not judged yet.
    pub vigil: Packed,
    /// Where the newest generation is pinned: the hash of the file's contents that it outlasts.
    pub pinned: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// As configured.
    pub address: SocketAddr,
    /// Where it is configured as port 0: for whom the system chose one.
    pub chosen_for: Option<Owner>,
    pub slot: u16,
}

/// Who accepts on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    Workers,
    Admin,
}

/// The new supervisor's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromSuccessor {
    /// Its workers serve: the old one may go.
    Ready,
}

/// A value in the format of the channel.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Packed(Vec<u8>);

#[derive(Debug, thiserror::Error)]
#[error("could not pack or unpack a message")]
pub struct PackError(#[from] postcard::Error);

impl Packed {
    pub fn pack<T: Serialize>(value: &T) -> Result<Packed, PackError> {
        Ok(Packed(postcard::to_stdvec(value)?))
    }

    pub fn unpack<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PackError> {
        Ok(postcard::from_bytes(&self.0)?)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What `bytes` has told.
impl From<Vec<u8>> for Packed {
    fn from(bytes: Vec<u8>) -> Packed {
        Packed(bytes)
    }
}

/// As many bytes at once, not one by one as a `Vec<u8>` would be.
impl Serialize for Packed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Packed;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(bytes.to_vec()))
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Packed, E> {
                Ok(Packed(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A config holds secrets, so its bytes are not shown.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resolved::{Address, ResolvedEndpoint, Standing};

    #[test]
    fn every_message_survives_the_channel() {
        let config = Packed::pack(&vec![7u8; 300]).unwrap();
        let address = "[::1]:80".parse().unwrap();
        let (socket, generation) = (SocketId(9), 3);
        let labels = Packed::default();
        let sockets = vec![Serve { socket, address }];
        let prepare = Prepare {
            generation,
            sockets,
            given: vec![SocketId(10)],
            config,
            labels,
            memory: Some(1 << 20),
        };
        let endpoint = |id, address: &str| ResolvedEndpoint {
            id,
            address: Address::Ip(address.parse().unwrap()),
            weight: 1,
            priority: 0,
        };
        let resolved = Resolved {
            upstream: "todos".to_owned(),
            server: "todos.example:80".to_owned(),
            standing: Standing::Configured,
            endpoints: vec![endpoint(3, "10.0.0.1:80"), endpoint(9, "[::1]:80")],
        };
        for message in [
            ToWorker::Hello(Hello {
                row: 4,
                log: crate::log::AT_START,
            }),
            ToWorker::Sockets(vec![socket]),
            ToWorker::Prepare(Box::new(prepare)),
            ToWorker::Try { generation },
            ToWorker::Commit { generation },
            ToWorker::Abort { generation },
            ToWorker::Retire,
            ToWorker::Endpoints(vec![resolved]),
            ToWorker::Drain {
                timeout: Some(Duration::from_secs(30)),
            },
            ToWorker::Leave,
            ToWorker::ReopenLogs,
            ToWorker::LogFilter("debug".to_owned()),
            ToWorker::TicketKeys(TicketKeys {
                keys: vec![TicketKey {
                    name: [7; 16],
                    secret: SecretBytes::new([8; 32]),
                }],
                lifetime: Duration::from_secs(60),
            }),
        ] {
            let bytes = postcard::to_stdvec(&message).unwrap();
            assert_eq!(postcard::from_bytes::<ToWorker>(&bytes).unwrap(), message);
        }
    }

    /// Whoever changes them changes the format: count `ESTATE_FORMAT` up, and write them here anew.
    #[test]
    fn what_is_handed_over_has_the_bytes_of_its_format() {
        let packed = || Packed::pack(&"p").unwrap();
        let address = "127.0.0.1:80".parse().unwrap();
        let estate = Estate {
            last_generation: 7,
            labels: packed(),
            endpoints: packed(),
            secret: Some(Secret::new("s".to_owned())),
            history: packed(),
            vigil: packed(),
            pinned: Some("h".to_owned()),
        };
        let key = TicketKey {
            name: [1; 16],
            secret: SecretBytes::new([2; 32]),
        };
        let slot = 3;
        let messages = [
            ToSuccessor::Format(ESTATE_FORMAT),
            ToSuccessor::Estate(estate),
            ToSuccessor::Sockets(vec![Inherited {
                address,
                chosen_for: Some(Owner::Admin),
                slot,
            }]),
            ToSuccessor::TicketKeys(vec![key]),
            ToSuccessor::Complete,
        ];
        let bytes = messages.map(|message| postcard::to_stdvec(&message).unwrap());
        let shown: String = bytes.concat().iter().map(|b| format!("{b:02x}")).collect();
        let known = "\
            040200070201700201700101730201700201700101680101007f000001500101\
            0303010101010101010101010101010101010120020202020202020202020202\
            020202020202020202020202020202020202020202";
        assert_eq!(shown, known);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_not_a_panic() {
        proptest::proptest!(|(bytes: Vec<u8>)| {
            let _either = postcard::from_bytes::<ToWorker>(&bytes);
            let _either = postcard::from_bytes::<FromWorker>(&bytes);
        });
    }

    #[test]
    fn what_is_packed_is_not_shown() {
        let packed = Packed::pack(&"hunter2").unwrap();
        assert!(!format!("{packed:?}").contains("hunter2"));
        assert_eq!(packed.unpack::<String>().unwrap(), "hunter2");
    }
}
