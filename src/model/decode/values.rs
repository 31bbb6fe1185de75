//! The small types that a value can have: texts, numbers, sizes, durations, and words of a list.

use std::time::Duration;

use super::{Decode, Reader, Shape, nearest};
use crate::model::yaml::NodeId;

/// No wait is longer; it also keeps sums of times and durations far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

const SIZE_UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

/// A number between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Number<const MIN: u64, const MAX: u64>(pub(in crate::model) u32);

/// A size in bytes between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Bytes<const MIN: u64, const MAX: u64>(pub(in crate::model) u32);

/// A size in bytes, or no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Unlimited(pub(in crate::model) Option<u64>);

/// A duration that may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Delay(pub(in crate::model) Duration);

/// How a default is written.
pub(in crate::model) trait Shown {
    fn shown(&self) -> String;
}

impl<'t> Decode<'t> for &'t str {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        reader.scalar(
            at,
            "a text",
            "write one value; put it in quotes if YAML takes it for more",
        )
    }

    fn shape() -> Shape {
        Shape::Text
    }
}

impl<'t> Decode<'t> for bool {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        const HELP: &str = "write `true` or `false`";
        match reader.scalar(at, "true or false", HELP)? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => reader.expected(at, "true or false", HELP),
        }
    }

    fn shape() -> Shape {
        Shape::Bool
    }
}

impl<'t, const MIN: u64, const MAX: u64> Decode<'t> for Number<MIN, MAX> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        let number = reader.tree.text(at).and_then(digits);
        if let Some(number) = number.filter(|number| (MIN..=MAX).contains(number)) {
            return u32::try_from(number).ok().map(Self);
        }
        let wanted = format!("a number from {MIN} to {MAX}");
        let help = format!("write a whole number, at least {MIN} and at most {MAX}");
        reader.expected(at, &wanted, &help)
    }

    fn shape() -> Shape {
        Shape::Number { min: MIN, max: MAX }
    }
}

impl<'t, const MIN: u64, const MAX: u64> Decode<'t> for Bytes<MIN, MAX> {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        let size = reader.tree.text(at).and_then(parse_size);
        if let Some(size) = size.filter(|size| (MIN..=MAX).contains(size)) {
            return u32::try_from(size).ok().map(Self);
        }
        let wanted = format!("a size from {} to {}", size_text(MIN), size_text(MAX));
        reader.expected(
            at,
            &wanted,
            "write a size like `64KiB` or `10MiB`, or a number of bytes",
        )
    }

    fn shape() -> Shape {
        Shape::Bytes { min: MIN, max: MAX }
    }
}

impl<'t> Decode<'t> for Unlimited {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        const WANTED: &str = "a size or `unlimited`";
        const HELP: &str =
            "write a size like `64KiB` or `10MiB`, a number of bytes, or `unlimited`";
        let text = reader.scalar(at, WANTED, HELP)?;
        if text == "unlimited" {
            return Some(Self(None));
        }
        match parse_size(text) {
            Some(size) => Some(Self(Some(size))),
            None => reader.expected(at, WANTED, HELP),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![
            Shape::Bytes {
                min: 0,
                max: u64::MAX,
            },
            Shape::Words(vec!["unlimited"]),
        ])
    }
}

impl<'t> Decode<'t> for Duration {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        match Delay::decode(at, reader)? {
            Delay(Self::ZERO) => reader.expected(at, "more than no time", "write at least `1ms`"),
            Delay(duration) => Some(duration),
        }
    }

    fn shape() -> Shape {
        Shape::Duration
    }
}

impl<'t> Decode<'t> for Delay {
    fn decode(at: NodeId, reader: &mut Reader<'t>) -> Option<Self> {
        const HELP: &str = "write a number with its unit: `250ms`, `5s`, `1m` or `1h`";
        let text = reader.scalar(at, "a duration", HELP)?;
        match parse_duration(text) {
            Some(duration) if duration <= MAX_DURATION => Some(Self(duration)),
            Some(_) => reader.expected(at, "at most one year", "write a shorter time"),
            None => reader.expected(at, "a duration", HELP),
        }
    }

    fn shape() -> Shape {
        Shape::Duration
    }
}

/// `250ms`, `5s`, `1m`, `1h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = with_unit(text, &DURATION_UNITS)?;
    Some(Duration::from_millis(number.checked_mul(unit)?))
}

/// `64KiB`, `10MiB`, or bytes.
fn parse_size(text: &str) -> Option<u64> {
    match digits(text) {
        Some(bytes) => Some(bytes),
        None => with_unit(text, &SIZE_UNITS).and_then(|(number, unit)| number.checked_mul(unit)),
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    units
        .iter()
        .find_map(|(unit, worth)| Some((digits(text.strip_suffix(unit)?)?, *worth)))
}

/// Digits and nothing else: no sign, no point, no exponent.
fn digits(text: &str) -> Option<u64> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| text.parse().ok()).flatten()
}

impl Shown for &str {
    fn shown(&self) -> String {
        (*self).to_owned()
    }
}

impl Shown for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl<const MIN: u64, const MAX: u64> Shown for Number<MIN, MAX> {
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

impl<const MIN: u64, const MAX: u64> Shown for Bytes<MIN, MAX> {
    fn shown(&self) -> String {
        size_text(u64::from(self.0))
    }
}

impl Shown for Unlimited {
    fn shown(&self) -> String {
        self.0.map_or_else(|| "unlimited".to_owned(), size_text)
    }
}

impl Shown for Delay {
    fn shown(&self) -> String {
        self.0.shown()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        in_largest_unit(millis, &DURATION_UNITS)
    }
}

fn size_text(bytes: u64) -> String {
    match in_largest_unit(bytes, &SIZE_UNITS) {
        text if text.ends_with("iB") => text,
        _ => bytes.to_string(),
    }
}

/// `5s` rather than `5000ms`; but `90s`, not one and a half minutes.
fn in_largest_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, worth): &&(&str, u64)| amount > 0 && amount.is_multiple_of(*worth);
    match units.iter().filter(fits).max_by_key(|(_, worth)| *worth) {
        Some((unit, worth)) => format!("{}{unit}", amount / worth),
        None => format!("0{}", units.first().map_or("", |(unit, _)| unit)),
    }
}

/// Reads one of a list of words.
pub(in crate::model) fn decode_word<'t, T: Copy>(
    at: NodeId,
    reader: &mut Reader<'t>,
    words: &[(&'static str, T)],
) -> Option<T> {
    let text = reader.tree.text(at).unwrap_or_default();
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let wanted = match &*names {
        [only] => format!("`{only}`"),
        several => format!("one of {}", several.join(", ")),
    };
    let help = match nearest(&text.to_ascii_lowercase(), names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => match names.split_last() {
            Some((last, [])) => format!("write `{last}`"),
            Some((last, rest)) => format!("write {} or {last}", rest.join(", ")),
            None => String::new(),
        },
    };
    reader.expected(at, &wanted, &help)
}

/// Gives an enum its words in YAML.
macro_rules! words {
    ($type:ty { $($word:literal => $value:expr,)* }) => {
        impl<'t> $crate::model::decode::Decode<'t> for $type {
            fn decode(
                at: $crate::model::yaml::NodeId,
                reader: &mut $crate::model::decode::Reader<'t>,
            ) -> Option<Self> {
                $crate::model::decode::decode_word(at, reader, &[$(($word, $value)),*])
            }

            fn shape() -> $crate::model::decode::Shape {
                $crate::model::decode::Shape::Words(vec![$($word),*])
            }
        }

        impl $crate::model::decode::Shown for $type {
            fn shown(&self) -> String {
                let words: &[(&str, Self)] = &[$(($word, $value)),*];
                let word = words.iter().find(|(_, value)| value == self);
                word.map(|(word, _)| (*word).to_owned()).unwrap_or_default()
            }
        }
    };
}
pub(in crate::model) use words;
