//! Prometheus' text format, byte for byte as the prometheus crate's own encoder writes it (tests compare
//! them), in a fraction of its time: the labels of a histogram are written out once, not once a
//! bucket, and counts are integers. The page of 1,000 routes has 20,000 lines, and the supervisor has one loop.

use std::fmt::Write as _;
use std::sync::LazyLock;

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType};

use crate::shm::layout::BOUNDS;
use crate::shm::totals::Distribution;

/// Integers up to here are the same as a float and as an integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The bounds of our own buckets, as they stand at the end of a line.
static OWN_BOUNDS: LazyLock<[String; BOUNDS.len()]> =
    LazyLock::new(|| BOUNDS.map(|nanos| end_of_bucket(&(nanos as f64 / 1e9).to_string())));

/// What is written, family after family.
pub(super) struct Page {
    text: String,
    /// The beginning that all lines of a histogram share.
    prefix: String,
}

/// Labels as they stand between the braces.
#[derive(Default)]
pub(super) struct Labels(String);

impl Labels {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        escape(value, Quotes::Escaped, &mut self.0);
        self.0.push('"');
    }

    fn set(&mut self, pairs: &[LabelPair]) {
        self.clear();
        for pair in pairs {
            self.add(pair.name(), pair.value());
        }
    }
}

impl Page {
    pub(super) fn with_capacity(bytes: usize) -> Page {
        Page {
            text: String::with_capacity(bytes),
            prefix: String::new(),
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn head(&mut self, name: &str, help: &str, kind: MetricType) {
        if !help.is_empty() {
            self.text.extend(["# HELP ", name, " "]);
            escape(help, Quotes::Kept, &mut self.text);
            self.text.push('\n');
        }
        let kind = match kind {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "untyped",
        };
        self.text.extend(["# TYPE ", name, " ", kind, "\n"]);
    }

    pub(super) fn sample(&mut self, name: &str, labels: &Labels, value: f64) {
        self.text.push_str(name);
        self.rest_of_sample(labels, value);
    }

    /// With our own bounds.
    pub(super) fn distribution(&mut self, name: &str, labels: &Labels, read: &Distribution) {
        self.begin_buckets(name, labels);
        let mut cumulative = 0;
        for (end, count) in OWN_BOUNDS.iter().zip(read.buckets) {
            cumulative += count;
            self.bucket(end, cumulative);
        }
        self.end_buckets(name, labels, read.count(), read.sum_nanos as f64 / 1e9);
    }

    pub(super) fn family(&mut self, family: &MetricFamily) {
        let name = family.name();
        self.head(name, family.help(), family.get_field_type());
        let mut labels = Labels::default();
        for metric in family.get_metric() {
            labels.set(metric.get_label());
            match family.get_field_type() {
                MetricType::COUNTER => self.sample(name, &labels, metric.get_counter().get_value()),
                MetricType::HISTOGRAM => self.histogram(name, &labels, metric.get_histogram()),
                _ => self.sample(name, &labels, metric.get_gauge().get_value()),
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &Labels, histogram: &Histogram) {
        self.begin_buckets(name, labels);
        for bucket in histogram.get_bucket() {
            let end = end_of_bucket(&bucket.upper_bound().to_string());
            self.bucket(&end, bucket.cumulative_count());
        }
        let (count, sum) = (histogram.get_sample_count(), histogram.get_sample_sum());
        self.end_buckets(name, labels, count, sum);
    }

    fn begin_buckets(&mut self, name: &str, Labels(labels): &Labels) {
        let comma = if labels.is_empty() { "" } else { "," };
        self.prefix.clear();
        self.prefix
            .extend([name, "_bucket{", labels, comma, "le=\""]);
    }

    fn bucket(&mut self, end: &str, count: u64) {
        self.text.push_str(&self.prefix);
        self.text.push_str(end);
        number(count as f64, &mut self.text);
        self.text.push('\n');
    }

    fn end_buckets(&mut self, name: &str, labels: &Labels, count: u64, sum: f64) {
        self.bucket(&end_of_bucket("+Inf"), count);
        self.text.extend([name, "_sum"]);
        self.rest_of_sample(labels, sum);
        self.text.extend([name, "_count"]);
        self.rest_of_sample(labels, count as f64);
    }

    fn rest_of_sample(&mut self, Labels(labels): &Labels, value: f64) {
        if !labels.is_empty() {
            self.text.extend(["{", labels, "}"]);
        }
        self.text.push(' ');
        number(value, &mut self.text);
        self.text.push('\n');
    }
}

fn end_of_bucket(bound: &str) -> String {
    format!("{bound}\"}} ")
}

/// Writing into a string does not fail.
fn number(value: f64, text: &mut String) {
    if value.fract() == 0.0 && (0.0..EXACT).contains(&value) && value.is_sign_positive() {
        text.push_str(itoa::Buffer::new().format(value as u64));
    } else {
        let _infallible = write!(text, "{value}");
    }
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
                    let mut page = Page::with_capacity(0);
                    page.family(&families[0]);
                    let ours = page.finish();
                    let theirs = TextEncoder::new().encode_to_string(&families).unwrap();
                    prop_assert_eq!(ours, theirs);
                }
            }
        }
    }

    #[test]
    fn what_was_counted_is_written_as_the_crates_encoder_writes_it() {
        let mut read = Distribution {
            sum_nanos: 1_234_567_890,
            ..Distribution::default()
        };
        for (place, bucket) in read.buckets.iter_mut().enumerate() {
            *bucket = place as u64 * 7;
        }
        for values in [vec![], vec!["a\"b".to_owned(), "c\\".to_owned()]] {
            let mut sample = Metric::from_label(labelled(&values));
            sample.set_histogram(proto(&read));
            let mut family = MetricFamily::default();
            family.set_name("sluice_test".to_owned());
            family.set_help("Help.".to_owned());
            family.set_field_type(MetricType::HISTOGRAM);
            family.set_metric(vec![sample]);
            let mut labels = Labels::default();
            labels.set(&labelled(&values));
            let mut page = Page::with_capacity(0);
            page.head("sluice_test", "Help.", MetricType::HISTOGRAM);
            page.distribution("sluice_test", &labels, &read);
            let theirs = TextEncoder::new().encode_to_string(&[family]).unwrap();
            assert_eq!(page.finish(), theirs);
        }
    }

    fn proto(read: &Distribution) -> Histogram {
        let mut cumulative = 0;
        let buckets = BOUNDS.iter().zip(read.buckets).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e9);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(read.count());
        histogram.set_sample_sum(read.sum_nanos as f64 / 1e9);
        histogram
    }
}
