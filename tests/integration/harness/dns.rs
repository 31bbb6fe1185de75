//! A name server on loopback, over UDP and TCP, whose answers a test changes while it is asked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// A whole message, with the prefix that TCP has.
const MOST: usize = 65_535 + 2;
/// Between two looks whether the test is over.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<Zone>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<Record>>,
    moods: HashMap<String, Mood>,
    asked: Vec<(String, RecordType, Transport)>,
}

/// How the server is towards one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Fails,
    Silent,
    SilentAbout(RecordType),
    /// Refuses questions with EDNS.
    OldFashioned,
    /// Sends all behind the header back, EDNS of the question included, with an address behind it.
    Careless,
    /// Over UDP it says that the answer does not fit.
    Truncates,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Dns {
    pub(crate) fn start() -> Dns {
        // The same port for both; the one that the system gives for TCP is almost always free for UDP.
        let (tcp, udp) = super::eventually("a port that is free for both", || {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let udp = UdpSocket::bind(tcp.local_addr().unwrap()).ok()?;
            Some((tcp, udp))
        });
        let address = tcp.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        udp.set_read_timeout(Some(LOOK)).unwrap();
        let of_udp = Arc::clone(&shared);
        thread::spawn(move || serve_udp(&udp, &of_udp));
        let of_tcp = Arc::clone(&shared);
        thread::spawn(move || serve_tcp(&tcp, &of_tcp));
        Dns { address, shared }
    }

    /// As the config's `resolver:` names it, with more of its keys.
    pub(crate) fn config(&self, more: &str) -> String {
        format!(
            "resolver: {{nameservers: ['{}'], timeout: 500ms, attempts: 1, maxTtl: 2s{more}}}\n",
            self.address
        )
    }

    /// All addresses of a name; none of a family is an empty answer, none at all is NXDOMAIN.
    pub(crate) fn addresses(&self, name: &str, addresses: &[IpAddr], ttl: u32) {
        let of = |kind: RecordType| {
            let data = addresses.iter().map(|ip| RData::from(*ip));
            let data = data.filter(move |data| data.record_type() == kind);
            data.map(|data| record(name, ttl, data)).collect()
        };
        let (v4, v6) = (of(RecordType::A), of(RecordType::AAAA));
        let mut zone = self.zone();
        zone.records.insert((name.to_owned(), RecordType::A), v4);
        zone.records.insert((name.to_owned(), RecordType::AAAA), v6);
    }

    /// Target, port, priority and weight of each.
    pub(crate) fn services(&self, name: &str, services: &[(&str, u16, u16, u16)], ttl: u32) {
        let data = services.iter().map(|(target, port, priority, weight)| {
            let target = Name::from_ascii(target).unwrap();
            record(
                name,
                ttl,
                RData::SRV(SRV::new(*priority, *weight, *port, target)),
            )
        });
        let key = (name.to_owned(), RecordType::SRV);
        self.zone().records.insert(key, data.collect());
    }

    pub(crate) fn forget(&self, name: &str) {
        self.zone().records.retain(|(known, _), _| known != name);
    }

    pub(crate) fn mood(&self, name: &str, mood: Mood) {
        self.zone().moods.insert(name.to_owned(), mood);
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<(String, RecordType, Transport)> {
        self.zone().asked.clone()
    }

    pub(crate) fn times_asked(&self, name: &str) -> usize {
        let zone = self.zone();
        zone.asked
            .iter()
            .filter(|(asked, _, _)| asked == name)
            .count()
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.shared.zone.lock().unwrap()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept; that it may be gone already is fine.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Zone {
    fn answer(&mut self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let question = Message::from_vec(bytes).ok()?;
        let query = question.queries.first()?.clone();
        let name = query.name().to_lowercase().to_ascii();
        let kind = query.query_type();
        self.asked.push((name.clone(), kind, transport));
        let mut answer = Message::new(question.id, MessageType::Response, OpCode::Query);
        answer.add_query(query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        let is_extended = question.edns.is_some();
        match self.moods.get(&name).copied().unwrap_or(Mood::Well) {
            Mood::Silent => return None,
            Mood::SilentAbout(silent) if silent == kind => return None,
            Mood::Fails => answer.metadata.response_code = ResponseCode::ServFail,
            Mood::OldFashioned if is_extended => {
                answer.metadata.response_code = ResponseCode::FormErr;
            }
            Mood::Careless if is_extended => return self.echo(bytes, &name),
            Mood::Truncates if transport == Transport::Udp => answer.metadata.truncation = true,
            Mood::Truncates
            | Mood::SilentAbout(_)
            | Mood::OldFashioned
            | Mood::Careless
            | Mood::Well => {
                let records = self.records.get(&(name.clone(), kind));
                answer.add_answers(records.into_iter().flatten().cloned());
                if !self.knows(&name) {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
            }
        }
        answer.to_vec().ok()
    }

    /// As short programs that stand in for name servers do it: one answer is announced, and what stands
    /// in its place is the question's EDNS.
    fn echo(&self, question: &[u8], name: &str) -> Option<Vec<u8>> {
        let mut answer = question.to_vec();
        answer.get_mut(2..4)?.copy_from_slice(&[0x81, 0x80]);
        answer.get_mut(6..12)?.copy_from_slice(&[0, 1, 0, 0, 0, 0]);
        let records = self.records.get(&(name.to_owned(), RecordType::A))?;
        if let Some(RData::A(address)) = records.first().map(|record| &record.data) {
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(address.0.octets());
        }
        Some(answer)
    }

    fn knows(&self, name: &str) -> bool {
        let mut all = self.records.iter();
        all.any(|((known, _), records)| known == name && !records.is_empty())
    }
}

fn record(name: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, data)
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; MOST];
    while !shared.stopped.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let answer = shared
            .zone
            .lock()
            .unwrap()
            .answer(&buffer[..length], Transport::Udp);
        if let Some(answer) = answer {
            // Whoever asked may be gone.
            let _sent = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else {
            continue;
        };
        // It ends with the connection.
        thread::spawn(move || serve_connection(stream, &shared));
    }
}

fn serve_connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        let answer = shared
            .zone
            .lock()
            .unwrap()
            .answer(&question, Transport::Tcp);
        if let Some(answer) = answer {
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }
}
