//! Holds docs/observability.md to the code: every metric with its kind and labels, every endpoint, every
//! field of the access log, and nothing that does not exist.

use super::metrics::catalog;
use super::routes::ENDPOINTS;
use crate::model::config::observe::LogField;

const PAGE: &str = include_str!("../../docs/observability.md");

/// The cells of the table rows below a heading, until the next heading of any level.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, below) = PAGE
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let section = below.split("\n#").next().unwrap_or(below);
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &'static str| line.trim_matches('|').split(" | ").map(str::trim).collect();
    let rows: Vec<Vec<&str>> = lines.map(cells).collect();
    assert!(!rows.is_empty(), "no table below {heading}");
    rows
}

fn first_cells(heading: &str) -> Vec<String> {
    let mut names: Vec<_> = rows(heading)
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    names.sort();
    names
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names
}

#[test]
fn every_metric_is_documented_with_kind_and_labels() {
    let listed = rows("## Metrics")
        .into_iter()
        .map(|row| format!("{} {} {}", row[0], row[1], row[2]));
    let exist = catalog::ALL.iter().map(|metric| {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = if labels.is_empty() {
            "-".to_owned()
        } else {
            labels.join(", ")
        };
        format!(
            "`{}` {} {labels}",
            metric.name,
            format!("{:?}", metric.kind).to_lowercase()
        )
    });
    assert_eq!(sorted(listed), sorted(exist));
}

#[test]
fn every_endpoint_is_documented() {
    let exist = ENDPOINTS.map(|(method, path)| format!("{method} {path}"));
    assert_eq!(first_cells("## The admin port"), sorted(exist));
}

#[test]
fn every_log_field_is_documented() {
    let exist = LogField::ALL.map(|field| field.name().to_owned());
    assert_eq!(first_cells("## Access log"), sorted(exist));
}
