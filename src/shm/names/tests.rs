use std::time::{Duration, Instant};

use super::{LINGER, Shelf};

const SECOND: Duration = Duration::from_secs(1);

fn ids(shelf: &mut Shelf<&'static str>, names: &[&'static str]) -> Vec<u32> {
    names.iter().map(|name| shelf.take(name)).collect()
}

#[test]
fn a_name_keeps_its_id_over_reloads_and_a_short_absence() {
    let (mut shelf, start) = (Shelf::new(2, 100), Instant::now());
    assert_eq!(ids(&mut shelf, &["a", "b"]), [2, 3]);
    shelf.leave_all(start);
    assert_eq!(ids(&mut shelf, &["b", "c"]), [3, 4]);
    shelf.reclaim(start + LINGER - SECOND, |_| false);
    assert_eq!(ids(&mut shelf, &["a"]), [2]);
}

#[test]
fn a_name_long_gone_is_forgotten_and_its_id_rests() {
    let (mut shelf, start) = (Shelf::new(2, 100), Instant::now());
    ids(&mut shelf, &["a"]);
    shelf.leave_all(start);
    shelf.leave_all(start + LINGER);
    shelf.reclaim(start + LINGER, |_| false);
    assert_eq!(ids(&mut shelf, &["b", "a"]), [3, 4]);
}

#[test]
fn ids_come_back_only_when_all_are_used_and_no_row_counts_under_them() {
    let (mut shelf, start) = (Shelf::new(0, 3), Instant::now());
    assert_eq!(ids(&mut shelf, &["a", "b", "c", "d"]), [0, 1, 2, 3]);
    shelf.leave_all(start);
    ids(&mut shelf, &["c"]);
    shelf.reclaim(start + LINGER, |id| id == 0);
    assert_eq!(ids(&mut shelf, &["d", "e"]), [1, 3]);
}
