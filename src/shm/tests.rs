use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::health::Millis;
use super::layout::{Layout, ShareCell};
use super::recorder::Recorder;
use super::series::{ConnectionState, Family, Key, NONE};
use super::totals::Totals;
use super::{RowId, Segment, ShmError};

const SMALL: Layout = Layout { chunks: 16 };

fn segment() -> Segment {
    Segment::create_sized(SMALL).expect("a segment")
}

fn recorder(segment: &Segment) -> Recorder {
    let row = segment.lease(0).expect("a free row");
    Recorder::open(segment.clone(), row).expect("the row opens")
}

fn requests(route: u32) -> Key {
    Key::new(Family::Requests, route, 2, 1)
}

#[test]
#[cfg_attr(miri, ignore = "there is one mapping")]
fn rows_are_summed_and_another_mapping_sees_them() {
    let segment = segment();
    let (one, two) = (recorder(&segment), recorder(&segment));
    one.counter(requests(5)).add(3);
    two.counter(requests(5)).add(4);
    two.counter(requests(6)).add(1);
    let again = Segment::open(segment.fd().try_clone_to_owned().expect("a dup")).expect("opens");
    let totals = Totals::read(&again);
    assert_eq!(totals.scalars.get(&requests(5)), Some(&7));
    assert_eq!(totals.scalars.get(&requests(6)), Some(&1));
}

#[test]
fn counters_outlive_their_process_and_gauges_do_not() {
    let segment = segment();
    let key = Key::new(Family::Connections, 2, ConnectionState::Active as u32, 0);
    let row = segment.lease(3).expect("a free row");
    {
        let dies = Recorder::open(segment.clone(), row).expect("the row opens");
        dies.counter(requests(5)).add(3);
        dies.counter(key).add(9);
    }
    segment.release(row);
    assert_eq!(segment.lease(3), Some(row));
    let next = Recorder::open(segment.clone(), row).expect("the row opens");
    next.counter(requests(5)).add(1);
    let totals = Totals::read(&segment);
    assert_eq!(totals.scalars.get(&requests(5)), Some(&4));
    assert_eq!(totals.scalars.get(&key), None);
}

#[test]
fn a_histogram_keeps_sum_and_buckets() {
    let segment = segment();
    let key = Key::new(Family::RequestDuration, 2, 3, 0);
    let mine = recorder(&segment);
    mine.histogram(key).record(Duration::from_micros(400));
    mine.histogram(key).record(Duration::from_secs(60));
    recorder(&segment)
        .histogram(key)
        .record(Duration::from_micros(400));
    let totals = Totals::read(&segment);
    let sum = totals.histograms.get(&key).expect("recorded");
    assert_eq!((sum.count(), sum.buckets[0], sum.buckets[15]), (3, 2, 1));
    assert_eq!(sum.sum_nanos, 60_000_800_000);
}

#[test]
fn series_beyond_the_limit_are_counted_together() {
    let segment = segment();
    let recorder = recorder(&segment);
    recorder.set_limit(3);
    for route in 2..12 {
        recorder.counter(requests(route)).add(1);
    }
    let totals = Totals::read(&segment);
    assert_eq!(
        totals.scalars.get(&Key::overflow(Family::Requests)),
        Some(&7)
    );
    assert_eq!(
        totals.scalars.get(&Key::overflow(Family::DroppedSeries)),
        Some(&7)
    );
    assert_eq!(totals.scalars.values().sum::<u64>(), 10 + 7);
}

#[test]
#[cfg_attr(miri, ignore = "one thread alone, for minutes")]
fn a_full_arena_drops_and_does_not_panic() {
    let segment = Segment::create_sized(Layout { chunks: 1 }).expect("a segment");
    let recorder = recorder(&segment);
    for route in 2..600 {
        recorder.counter(requests(route)).add(1);
        recorder
            .histogram(Key::new(Family::RequestDuration, route, 2, 0))
            .record(Duration::ZERO);
    }
    let totals = Totals::read(&segment);
    assert_eq!(totals.scalars.len(), 255);
    assert!(totals.histograms.is_empty());
}

#[test]
fn only_entries_that_nobody_holds_are_given_away() {
    let segment = segment();
    let recorder = recorder(&segment);
    let held = recorder.counter(requests(5));
    recorder.counter(requests(6)).add(1);
    recorder.forget(|_| false);
    recorder.counter(requests(7)).add(1);
    held.add(1);
    let totals = Totals::read(&segment);
    assert_eq!(totals.scalars.get(&requests(5)), Some(&1));
    assert_eq!(totals.scalars.get(&requests(6)), None);
    assert_eq!(totals.scalars.get(&requests(7)), Some(&1));
}

#[test]
fn a_lease_is_one_process_at_a_time() {
    let segment = segment();
    let first = segment.lease(0).expect("a free row");
    let second = segment.lease(0).expect("a free row");
    assert_ne!(first, second);
    segment.beat(second);
    let beats: Vec<u64> = segment.leases().iter().map(|lease| lease.beats).collect();
    assert_eq!(beats, [0, 1]);
    segment.release(first);
    assert_eq!(segment.lease(7), Some(first));
}

#[test]
#[cfg_attr(miri, ignore = "there are no memfds")]
fn what_is_no_segment_is_refused() {
    let file = std::fs::File::open("/proc/self/exe").expect("a file");
    assert!(matches!(Segment::open(file.into()), Err(ShmError::Map(_))));
    let odd = super::map::memfd(4096).expect("a memfd");
    assert!(matches!(Segment::open(odd), Err(ShmError::Damaged(_))));
    let blank = super::map::memfd(SMALL.bytes()).expect("a memfd");
    assert!(matches!(Segment::open(blank), Err(ShmError::Damaged(_))));
    assert!(matches!(
        Recorder::open(segment(), RowId(9_999)),
        Err(ShmError::NoRow(9_999))
    ));
}

#[test]
fn boards_end_where_the_layout_says() {
    let segment = segment();
    assert!(segment.board(0).is_some());
    assert!(segment.board(u32::MAX).is_none() && segment.shared(u32::MAX).is_none());
    assert_eq!(NONE, 0);
}

#[test]
fn what_a_dead_process_had_under_way_is_not_under_way_any_more() {
    let segment = segment();
    let (dies, lives) = (
        segment.lease(0).expect("a row"),
        segment.lease(1).expect("a row"),
    );
    let share = |row, cell| segment.share(row, 5, cell).expect("a share");
    segment.begin_endpoint(5, Millis(1));
    share(dies, ShareCell::Requests).store(3, SeqCst);
    share(dies, ShareCell::Connections).store(2, SeqCst);
    share(lives, ShareCell::Requests).store(4, SeqCst);
    assert_eq!(segment.shares(5, ShareCell::Requests), 7);
    segment.release(dies);
    assert_eq!(segment.shares(5, ShareCell::Requests), 4);
    assert_eq!(segment.shares(5, ShareCell::Connections), 0);
    assert_eq!(segment.shares(6, ShareCell::Requests), 0);
}

/// What processes do to each other, done by threads, which Miri and ThreadSanitizer can watch: rows are
/// leased, written and given back while somebody else sums them up.
#[test]
fn a_reader_beside_writers_sees_sums_that_only_grow() {
    const WRITERS: u16 = 3;
    const TIMES: u64 = if cfg!(miri) { 20 } else { 2000 };
    let segment = segment();
    let reader = {
        let segment = segment.clone();
        std::thread::spawn(move || {
            let (mut last, most) = (0, u64::from(WRITERS) * TIMES);
            while last < most {
                let totals = Totals::read(&segment);
                let sum = totals.scalars.get(&requests(5)).copied().unwrap_or(0);
                assert!((last..=most).contains(&sum), "{sum} after {last}");
                last = sum;
                std::thread::yield_now();
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|slot| {
            let segment = segment.clone();
            std::thread::spawn(move || write_and_leave(&segment, slot, TIMES))
        })
        .collect();
    for writer in writers {
        writer.join().expect("a writer");
    }
    reader.join().expect("the reader");
    assert!(segment.leases().is_empty());
}

/// One process after the other, all for one slot, each in the row that the one before has left or in
/// another.
fn write_and_leave(segment: &Segment, slot: u16, times: u64) {
    let lives = 4;
    for _ in 0..lives {
        let row = segment.lease(slot).expect("a free row");
        let recorder = Recorder::open(segment.clone(), row).expect("the row opens");
        let key = Key::new(Family::Connections, 2, ConnectionState::Active as u32, 0);
        recorder.counter(key).add(1);
        for _ in 0..times / lives {
            recorder.counter(requests(5)).add(1);
            segment.beat(row);
        }
        drop(recorder);
        segment.release(row);
    }
}
