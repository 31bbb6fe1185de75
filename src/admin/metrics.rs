//! `/metrics`: what was counted in shared memory, what the supervisor publishes, and what the kernel
//! says about our processes, as Prometheus text. Waits for no worker.
//!
//! Not here: names and help (`catalog`), the bound on series (`admission`).

pub mod catalog;

mod admission;
mod counted;
mod process;
mod text;
mod told;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::status::Status;
use super::time::Timestamp;
use crate::shm::Segment;
use crate::shm::layout::BOUNDS;
use crate::shm::totals::{Distribution, Totals};

pub(super) use admission::Admission;

pub(super) const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// All that one scrape is made of.
pub(super) struct Scrape<'a> {
    pub status: &'a Status,
    pub totals: &'a Totals,
    pub segment: &'a Segment,
    pub reasons: &'static [&'static str],
}

pub(super) fn render(scrape: &Scrape<'_>, admission: &mut Admission) -> String {
    let mut families = told::families(scrape);
    families.extend(counted::families(scrape, admission));
    families.extend(process::families(scrape.status, admission));
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    text::page(&families)
}

fn family(metric: &catalog::Metric, samples: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(metric.kind);
    family.set_metric(samples);
    family
}

/// One sample of a counter or a gauge, whichever the family is.
fn sample(metric: &catalog::Metric, values: &[&str], value: f64) -> Metric {
    let mut sample = Metric::from_label(labels(metric, values));
    if metric.kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        sample.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        sample.set_gauge(gauge);
    }
    sample
}

fn distribution(metric: &catalog::Metric, values: &[&str], read: &Distribution) -> Metric {
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
    let mut sample = Metric::from_label(labels(metric, values));
    sample.set_histogram(histogram);
    sample
}

fn labels(metric: &catalog::Metric, values: &[&str]) -> Vec<LabelPair> {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}

/// A family of one sample without labels.
fn single(metric: &catalog::Metric, value: f64) -> MetricFamily {
    family(metric, vec![sample(metric, &[], value)])
}

fn seconds(time: Timestamp) -> f64 {
    time.seconds()
}

#[cfg(test)]
mod tests;
