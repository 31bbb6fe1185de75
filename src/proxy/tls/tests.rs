use super::*;

#[test]
fn records_are_cut_from_pieces_in_order_and_without_loss() {
    let large: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
    let parts = [&b"head"[..], &large, b"", b"tail"];
    let pieces: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let (mut plain, mut seen, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let record = next_record(&pieces, seen.len(), &mut plain);
        if record.is_empty() {
            break;
        }
        sizes.push(record.len());
        seen.extend_from_slice(record);
    }
    assert_eq!(seen, parts.concat());
    assert_eq!(sizes, [RECORD, RECORD, 40_008 - 2 * RECORD]);
}

/// Both ends of one connection, shaken hands.
async fn pair() -> (TlsStream, TlsStream) {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use crate::model::config::tls::{Alpn, ListenerTls, Version, Versions};
    use crate::model::tls::{provider, roots, tests::certificate};

    let certificate = certificate(&["a.test"]);
    let roots = roots(&certificate.chain).unwrap();
    let settings = ListenerTls {
        certificates: vec![certificate],
        versions: Versions {
            min: Version::V1_2,
            max: Version::V1_3,
        },
        ciphers: Vec::new(),
        client_auth: None,
        alpn: vec![Alpn::Http11],
    };
    let server = crate::model::snapshot::tls::ListenerTls::build(&settings).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Session::client(Arc::new(client), ServerName::try_from("a.test").unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let theirs = listener.accept().await.unwrap().0;
    let server = Session::server(Arc::new(server.server)).unwrap();
    let mut server = TlsStream::new(theirs, server);
    let mut client = TlsStream::new(ours, client.unwrap());
    client.begin().unwrap();
    let nothing = &mut || {};
    let (one, other) = tokio::join!(
        std::future::poll_fn(|cx| server.poll_handshake(cx, nothing)),
        std::future::poll_fn(|cx| client.poll_handshake(cx, &mut || {})),
    );
    one.and(other).unwrap();
    (server, client)
}

async fn write_all(stream: &mut TlsStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = std::future::poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)]));
        bytes = &bytes[written.await.unwrap()..];
    }
}

async fn read(stream: &mut TlsStream) -> io::Result<Vec<u8>> {
    let mut into = BytesMut::with_capacity(1000);
    let count = std::future::poll_fn(|cx| stream.poll_fill(cx, &mut into)).await?;
    assert_eq!(count, into.len());
    Ok(into.to_vec())
}

#[tokio::test]
async fn what_is_written_is_read_and_nothing_is_kept_while_idle() {
    let (mut server, mut client) = pair().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let receive = async {
        let mut received = Vec::new();
        while received.len() < sent.len() {
            received.extend(read(&mut client).await.unwrap());
        }
        received
    };
    let ((), received) = tokio::join!(write_all(&mut server, &sent), receive);
    assert!(received == sent, "{} bytes", received.len());
    for idle in [&server, &client] {
        assert_eq!(idle.incoming.capacity(), 0);
        assert_eq!(idle.plain.capacity() + idle.waiting.capacity(), 0);
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_holds_up_and_loses_nothing() {
    let (mut server, mut client) = pair().await;
    let sent = vec![7; 16 << 20];
    let mut written = 0;
    let stalled = |stream: &mut TlsStream, from: usize| {
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        stream.poll_write(&mut nobody, &[IoSlice::new(&sent[from..])])
    };
    while let Poll::Ready(count) = stalled(&mut server, written) {
        written += count.unwrap();
    }
    assert!(server.waiting.len() <= SEALED_AT_ONCE + 2 * OVERHEAD);
    let mut received = 0;
    let rest = async {
        write_all(&mut server, &sent[written..]).await;
        server.end_writing();
    };
    let receive = async {
        loop {
            match read(&mut client).await.unwrap().len() {
                0 => return,
                count => received += count,
            }
        }
    };
    tokio::join!(rest, receive);
    assert_eq!(received, sent.len(), "up to the announced end");
}

#[tokio::test]
async fn an_end_that_is_not_announced_is_an_error() {
    let (mut server, mut client) = pair().await;
    write_all(&mut server, b"some").await;
    server.deny_farewell();
    drop(server);
    assert_eq!(read(&mut client).await.unwrap(), b"some");
    assert_eq!(
        read(&mut client).await.unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );

    let (server, mut client) = pair().await;
    drop(server);
    assert_eq!(read(&mut client).await.unwrap(), b"");
}

#[tokio::test]
async fn nothing_more_is_said_behind_an_alert() {
    let (mut server, mut client) = pair().await;
    write_all(&mut client, b"sound").await;
    assert_eq!(read(&mut server).await.unwrap(), b"sound");
    // A record that its key does not open.
    let nonsense = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    client.tcp.try_write(&nonsense).unwrap();
    assert_eq!(
        read(&mut server).await.unwrap_err().kind(),
        io::ErrorKind::Other
    );
    let answer = std::future::poll_fn(|cx| server.poll_write(cx, &[IoSlice::new(b"answer")]));
    assert_eq!(answer.await.unwrap_err().kind(), io::ErrorKind::Other);
    drop(server);
    let error = read(&mut client).await.unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
    assert!(client.plain.is_empty(), "and no answer");
}
