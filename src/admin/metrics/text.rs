//! Prometheus' text format, byte for byte as the prometheus crate's own encoder writes it (a test compares
//! them), in a third of its time: the labels of a histogram are written out once, not once a bucket,
//! and counts are integers. The page of 1,000 routes has 19,000 lines, and the supervisor has one loop.

use std::fmt::Write as _;

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType};

/// Integers up to here are the same as a float and as an integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A line with its labels is about so long.
const LINE: usize = 112;

/// The families one after the other, in one piece.
pub(super) fn page(families: &[MetricFamily]) -> String {
    let lines = families.iter().flat_map(MetricFamily::get_metric);
    let lines: usize = lines
        .map(|metric| metric.get_histogram().get_bucket().len() + 3)
        .sum();
    let mut text = String::with_capacity(lines * LINE);
    for family in families {
        encode_family(family, &mut text);
    }
    text
}

fn encode_family(family: &MetricFamily, text: &mut String) {
    let name = family.name();
    if !family.help().is_empty() {
        text.extend(["# HELP ", name, " "]);
        escape(family.help(), Quotes::Kept, text);
        text.push('\n');
    }
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
    };
    text.extend(["# TYPE ", name, " ", kind, "\n"]);
    let (mut labels, mut bounds) = (String::new(), Bounds::default());
    for metric in family.get_metric() {
        labels.clear();
        write_labels(metric.get_label(), &mut labels);
        match family.get_field_type() {
            MetricType::COUNTER => sample(name, &labels, metric.get_counter().get_value(), text),
            MetricType::HISTOGRAM => {
                histogram(name, &labels, metric.get_histogram(), &mut bounds, text);
            }
            _ => sample(name, &labels, metric.get_gauge().get_value(), text),
        }
    }
}

/// `labels` is without its braces.
fn sample(name: &str, labels: &str, value: f64, text: &mut String) {
    text.push_str(name);
    if !labels.is_empty() {
        text.extend(["{", labels, "}"]);
    }
    text.push(' ');
    number(value, text);
    text.push('\n');
}

/// The bounds of a family's buckets as text: all its histograms have the same.
#[derive(Default)]
struct Bounds(Vec<(f64, String)>);

impl Bounds {
    fn text(&mut self, index: usize, bound: f64) -> &str {
        if self.0.get(index).is_none_or(|(known, _)| *known != bound) {
            self.0.truncate(index);
            self.0.push((bound, bound.to_string()));
        }
        self.0.get(index).map_or("", |(_, text)| text)
    }
}

fn histogram(
    name: &str,
    labels: &str,
    histogram: &Histogram,
    bounds: &mut Bounds,
    text: &mut String,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut bucket = |bound: &str, count: u64| {
        text.extend([name, "_bucket{", labels, comma, "le=\"", bound, "\"} "]);
        number(count as f64, text);
        text.push('\n');
    };
    for (index, each) in histogram.get_bucket().iter().enumerate() {
        bucket(
            bounds.text(index, each.upper_bound()),
            each.cumulative_count(),
        );
    }
    bucket("+Inf", histogram.get_sample_count());
    sample(
        &format!("{name}_sum"),
        labels,
        histogram.get_sample_sum(),
        text,
    );
    sample(
        &format!("{name}_count"),
        labels,
        histogram.get_sample_count() as f64,
        text,
    );
}

fn write_labels(labels: &[LabelPair], text: &mut String) {
    for (index, label) in labels.iter().enumerate() {
        text.extend([if index > 0 { "," } else { "" }, label.name(), "=\""]);
        escape(label.value(), Quotes::Escaped, text);
        text.push('"');
    }
}

/// Writing into a string does not fail.
fn number(value: f64, text: &mut String) {
    if value.fract() == 0.0 && (0.0..EXACT).contains(&value) && value.is_sign_positive() {
        digits(value as u64, text);
    } else {
        let _infallible = write!(text, "{value}");
    }
}

fn digits(mut value: u64, text: &mut String) {
    let mut reversed = [0_u8; 20];
    let mut used = 0;
    for place in &mut reversed {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    text.extend(
        reversed
            .iter()
            .take(used)
            .rev()
            .map(|digit| char::from(*digit)),
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Kept,
    Escaped,
}

fn escape(value: &str, quotes: Quotes, text: &mut String) {
    let special =
        |byte: u8| byte == b'\\' || byte == b'\n' || (byte == b'"' && quotes == Quotes::Escaped);
    if !value.bytes().any(special) {
        text.push_str(value);
        return;
    }
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes == Quotes::Escaped => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use prometheus::proto::{Bucket, Counter, Gauge, Metric};
    use proptest::prelude::*;

    use super::*;

    fn labelled(values: &[String]) -> Vec<LabelPair> {
        let pair = |(index, value): (usize, &String)| {
            let mut pair = LabelPair::default();
            pair.set_name(format!("label_{index}"));
            pair.set_value(value.clone());
            pair
        };
        values.iter().enumerate().map(pair).collect()
    }

    fn family(kind: MetricType, help: &str, labels: &[String], numbers: &[f64]) -> MetricFamily {
        let sample = |number: &f64| {
            let mut sample = Metric::from_label(labelled(labels));
            let (mut counter, mut gauge) = (Counter::default(), Gauge::default());
            counter.set_value(*number);
            gauge.set_value(*number);
            sample.set_counter(counter);
            sample.set_gauge(gauge);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(0.0005);
            bucket.set_cumulative_count(7);
            let mut histogram = Histogram::default();
            histogram.set_bucket(vec![bucket]);
            histogram.set_sample_count(9);
            histogram.set_sample_sum(*number);
            sample.set_histogram(histogram);
            sample
        };
        let mut family = MetricFamily::default();
        family.set_name("sluice_test".to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(numbers.iter().map(sample).collect());
        family
    }

    proptest! {
        #[test]
        fn it_writes_what_the_crates_encoder_writes(
            help in "(?s).{0,20}",
            labels in proptest::collection::vec("(?s).{0,12}", 0..4),
            numbers in proptest::collection::vec(any::<f64>(), 1..4),
            whole in proptest::collection::vec(any::<u32>(), 1..4),
        ) {
            let whole: Vec<f64> = whole.into_iter().map(f64::from).collect();
            for kind in [MetricType::COUNTER, MetricType::GAUGE, MetricType::HISTOGRAM] {
                for numbers in [&numbers, &whole] {
                    let families = [family(kind, &help, &labels, numbers)];
                    let ours = page(&families);
                    let theirs = TextEncoder::new().encode_to_string(&families).unwrap();
                    prop_assert_eq!(ours, theirs);
                }
            }
        }
    }
}
