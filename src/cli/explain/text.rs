//! The report for people.

use std::io::{self, Write};

use super::report::{Report, Sent, Tried};

pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let asked = &report.request;
    writeln!(
        out,
        "{} {}://{}{} from {}",
        asked.method, asked.scheme, asked.host, asked.target, asked.client
    )?;
    write_rules(out, report)?;
    match &report.route {
        None => {
            writeln!(
                out,
                "\nno rule of {} takes it: 404 Rule not found",
                report.rules_total
            )
        }
        Some(route) => {
            writeln!(
                out,
                "\nroute {}, rule {} of {}",
                route.name,
                route.index + 1,
                report.rules_total
            )?;
            report
                .upstreams
                .iter()
                .try_for_each(|sent| write_upstream(out, sent))
        }
    }
}

fn write_rules(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.rules_tried == 0 {
        return Ok(());
    }
    writeln!(out, "\nrules tried, in order:")?;
    let places = report
        .rules
        .last()
        .map_or(1, |last| (last.index + 1).to_string().len());
    let names = report
        .rules
        .iter()
        .map(|rule| rule.name.chars().count().min(40))
        .max();
    let names = names.unwrap_or_default();
    for Tried {
        index,
        name,
        reason,
        ..
    } in &report.rules
    {
        let reason = reason.as_deref().unwrap_or("takes it");
        writeln!(out, "  {:>places$}  {name:<names$}  {reason}", index + 1)?;
    }
    if report.rules_not_shown > 0 {
        writeln!(
            out,
            "  and {} more that came less close; --all shows them",
            report.rules_not_shown
        )?;
    }
    Ok(())
}

fn write_upstream(out: &mut impl Write, sent: &Sent) -> io::Result<()> {
    writeln!(
        out,
        "\nupstream {}, {} of the route's requests",
        sent.id,
        percent(sent.share)
    )?;
    if sent.servers.is_empty() {
        writeln!(out, "  answered inside the program")?;
    }
    for server in &sent.servers {
        writeln!(
            out,
            "  {} ({}) is asked for {} with host: {}",
            server.address,
            percent(server.share),
            server.target,
            server.host
        )?;
    }
    sent.headers
        .iter()
        .try_for_each(|line| writeln!(out, "    {}: {}", line.name, line.value))
}

/// Without digits that say nothing.
fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round();
    format!("{}%", tenths / 10.0)
}
