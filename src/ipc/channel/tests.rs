use super::*;
use std::io::{Read, Seek, Write};
use std::time::Duration;

type Ends = (
    (Sender<String>, Receiver<u64>),
    (Sender<u64>, Receiver<String>),
);

fn ends() -> Ends {
    let (ours, theirs) = pair().unwrap();
    (open(ours).unwrap(), open(theirs).unwrap())
}

fn file_saying(text: &str) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into()
}

fn said(fd: OwnedFd) -> String {
    let mut file = std::fs::File::from(fd);
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn messages_go_both_ways_and_the_end_is_seen() {
    let ((ours, mut from_them), (theirs, mut from_us)) = ends();
    ours.send(&"hello".to_owned()).unwrap();
    theirs.send(&7).unwrap();
    assert_eq!(from_us.receive().await.unwrap().unwrap().0, "hello");
    assert_eq!(from_them.receive().await.unwrap().unwrap().0, 7);
    drop((ours, from_them));
    assert!(from_us.receive().await.unwrap().is_none());
}

#[tokio::test]
async fn descriptors_arrive_with_their_own_message() {
    let ((ours, _), (_, mut from_us)) = ends();
    let large = "x".repeat(3 * 1024 * 1024);
    ours.send_with(&"two".to_owned(), vec![file_saying("a"), file_saying("b")])
        .unwrap();
    ours.send_with(&large, vec![file_saying("c")]).unwrap();
    ours.send(&"none".to_owned()).unwrap();
    ours.send_with(&"one".to_owned(), vec![file_saying("d")])
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (message, fds) = from_us.receive().await.unwrap().unwrap();
        let texts: Vec<String> = fds.into_iter().map(said).collect();
        seen.push((message.len(), texts.concat()));
    }
    let expected = [(3, "ab"), (large.len(), "c"), (4, ""), (3, "d")];
    assert_eq!(seen, expected.map(|(len, text)| (len, text.to_owned())));
}

#[tokio::test]
async fn a_peer_that_does_not_read_stalls_nobody() {
    let ((ours, _), (_theirs, _from_us)) = ends();
    let large = "x".repeat(1024 * 1024);
    let refused = loop {
        if let Err(error) = ours.send(&large) {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(refused, ChannelError::Stalled), "{refused}");
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_message_is_an_error() {
    let (mut ours, theirs) = pair().unwrap();
    let (_sender, mut receiver) = open::<u64, String>(theirs).unwrap();
    ours.write_all(&Head::new(100, 0).unwrap().encode())
        .unwrap();
    drop(ours);
    let end = receiver.receive().await;
    assert!(matches!(end, Err(ChannelError::Cut)), "{end:?}");
}

#[tokio::test]
async fn promised_descriptors_that_do_not_come_are_an_error() {
    let (mut ours, theirs) = pair().unwrap();
    let (_sender, mut receiver) = open::<u64, String>(theirs).unwrap();
    let payload = postcard::to_stdvec("hi").unwrap();
    ours.write_all(&Head::new(payload.len(), 1).unwrap().encode())
        .unwrap();
    ours.write_all(&payload).unwrap();
    let end = receiver.receive().await;
    assert!(matches!(end, Err(ChannelError::LostFds)), "{end:?}");
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let ((ours, _), (_, mut from_us)) = ends();
    let large = "x".repeat(2 * 1024 * 1024);
    ours.send(&large).unwrap();
    let received = loop {
        let wait = tokio::time::timeout(Duration::from_micros(50), from_us.receive());
        if let Ok(message) = wait.await {
            break message.unwrap().unwrap().0;
        }
    };
    assert_eq!(received.len(), large.len());
}
