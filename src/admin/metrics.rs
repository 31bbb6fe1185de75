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

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::status::Status;
use super::time::Timestamp;
use crate::shm::Segment;
use crate::shm::series::Family;
use crate::shm::totals::Totals;

pub(super) use admission::Admission;
use counted::Counted;
use text::Page;

pub(super) const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// All that one scrape is made of.
pub(super) struct Scrape<'a> {
    pub status: &'a Status,
    pub totals: &'a Totals,
    pub segment: &'a Segment,
    pub reasons: &'static [&'static str],
}

pub(super) fn render(scrape: &Scrape<'_>, admission: &mut Admission) -> String {
    let mut told = told::families(scrape);
    told.extend(process::families(scrape.status, admission));
    told.retain(|family| !family.get_metric().is_empty());
    let counted = Counted::read(scrape, admission);
    let told = told
        .iter()
        .map(|family| (family.name(), Part::Told(family)));
    let mut parts: Vec<(&str, Part<'_>)> = told.collect();
    parts.extend(
        counted
            .families()
            .map(|(name, family)| (name, Part::Counted(family))),
    );
    parts.sort_by_key(|(name, _)| *name);
    // A little longer than the last one.
    let mut page = Page::with_capacity(admission.page + admission.page / 16 + 4_096);
    for (_, part) in parts {
        match part {
            Part::Told(family) => page.family(family),
            Part::Counted(family) => counted.write(family, &mut page),
        }
    }
    let text = page.finish();
    admission.page = text.len();
    text
}

/// A family, by where it comes from.
enum Part<'f> {
    Told(&'f MetricFamily),
    Counted(Family),
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
