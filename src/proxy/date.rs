//! The time of day as a `Date` header says it, written once a second at most.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

const LENGTH: usize = 29;

#[derive(Default)]
pub(super) struct Date {
    written: Cell<Option<(u64, [u8; LENGTH])>>,
}

impl Date {
    pub(super) fn now(&self) -> [u8; LENGTH] {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let second = since.unwrap_or(Duration::ZERO).as_secs();
        match self.written.get() {
            Some((at, text)) if at == second => text,
            _ => {
                let text = imf_fixdate(second);
                self.written.set(Some((second, text)));
                text
            }
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(second: u64) -> [u8; LENGTH] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = second / 86_400;
    let (year, month, day) = civil(days);
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS.get((days % 7) as usize).unwrap_or(&"Thu"),
        MONTHS.get(month).unwrap_or(&"Jan"),
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
    );
    let mut fixed = [b' '; LENGTH];
    for (to, from) in fixed.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    fixed
}

/// Year, month from 0 and day from 1 of a day since 1970: years are counted from March, so that the
/// leap day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub(super) fn civil(days: u64) -> (u64, usize, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let text = |second| String::from_utf8(imf_fixdate(second).to_vec()).unwrap();
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(text(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }
}
