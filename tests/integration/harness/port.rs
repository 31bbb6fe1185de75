//! Ports for programs that cannot be told to choose one themselves, and addresses where nobody listens.
//!
//! Whoever asks the system for a free port and gives it back may see it given to the next test. These
//! come from below the range that the system gives out.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

const FIRST: u16 = 20_000;
/// The system's own range begins at 32,768.
const COUNT: u16 = 12_000;
/// Of the numbers, so that processes that begin next to each other do not go the same way.
const STRIDE: u16 = 7_919;

/// A port of the loopback that is free and that the system gives to nobody.
pub(crate) fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::SeqCst);
        let place = u32::from(process) * u32::from(STRIDE) + u32::from(step);
        let port = FIRST + (place % u32::from(COUNT)) as u16;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// On the loopback.
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free()).into()
}

/// An address that is taken and on which nobody listens: connections are refused for as long as it lives.
pub(crate) struct Dead {
    socket: Socket,
}

impl Dead {
    pub(crate) fn new() -> Dead {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        Dead { socket }
    }

    /// As it is written in a config's `url`.
    pub(crate) fn url(&self) -> String {
        let address = self.socket.local_addr().unwrap();
        format!("http://{}", address.as_socket().unwrap())
    }
}
