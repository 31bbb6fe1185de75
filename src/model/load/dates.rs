//! Certificates and stapled responses on a certain day: loading has no clock, so whoever has one asks
//! afterwards.

use super::{Loaded, Located};
use crate::model::config::tls::Facts;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::tls::{Staple, Timed};

const DAY: i64 = 24 * 60 * 60;
/// A certificate is spoken of when less than this is left of its time, or less than a tenth of it
/// where it is made for a shorter time.
const SOON: i64 = 14 * DAY;

/// What has its time, and where it is named.
pub(super) type Dated = Located<Timed>;

/// The day, and what may be served on it although its time is over.
pub struct Today<'a> {
    /// Seconds since 1970.
    pub now: i64,
    /// Whether a certificate with this fingerprint is served already, or has to be because there is
    /// nothing else: then it is warned of.
    pub tolerates: &'a dyn Fn(&str) -> bool,
}

impl Dated {
    fn judge(&self, today: &Today<'_>) -> Option<Diagnostic> {
        let said = match &self.value {
            Timed::Certificate(facts) => certificate(facts, today),
            Timed::Staple(staple) => response(staple, today.now),
        };
        let (severity, message, help) = said?;
        Some(self.diagnostic(severity, message, help))
    }
}

type Said = (Severity, String, &'static str);

fn certificate(facts: &Facts, today: &Today<'_>) -> Option<Said> {
    let Facts {
        not_before,
        not_after,
        ..
    } = *facts;
    let now = today.now;
    let out_of_time = match (today.tolerates)(&facts.fingerprint) {
        true => Severity::Warning,
        false => Severity::Error,
    };
    Some(if now >= not_after {
        let message = format!("the certificate has expired {} ago", span(now - not_after));
        (
            out_of_time,
            message,
            "put a renewed certificate into the file",
        )
    } else if now < not_before {
        let message = format!(
            "the certificate is not valid yet for {}",
            span(not_before - now)
        );
        let help = "wait until it is, or look at this machine's clock";
        (out_of_time, message, help)
    } else if not_after - now < SOON.min((not_after - not_before) / 10) {
        let message = format!("the certificate expires in {}", span(not_after - now));
        let help = "renew it; see that whatever renews it still runs";
        (Severity::Warning, message, help)
    } else {
        return None;
    })
}

/// Whoever looks at it refuses one that is out of its time; nobody is kept from it by an error here,
/// since it is the same at the next start.
fn response(staple: &Staple, now: i64) -> Option<Said> {
    let late = staple.until.filter(|until| now >= *until);
    let message = match late {
        Some(until) => format!("the OCSP response has expired {} ago", span(now - until)),
        None if now < staple.from => {
            format!(
                "the OCSP response is not valid yet for {}",
                span(staple.from - now)
            )
        }
        None => return None,
    };
    let help = "have it renewed, or leave `ocsp` out: clients that look at it refuse it";
    Some((Severity::Warning, message, help))
}

impl Loaded {
    /// The same with what is to be said of certificates today; an error leaves no configuration.
    #[must_use]
    pub fn dated(mut self, today: &Today<'_>) -> Loaded {
        let said = self.certificates.iter().filter_map(|c| c.judge(today));
        self.diagnostics.extend(said);
        self.diagnostics
            .sort_by_key(|found| (found.line, found.column));
        if self.errors().next().is_some() {
            self.config = None;
        }
        self
    }
}

fn span(seconds: i64) -> String {
    let (count, unit) = if seconds < 120 {
        (seconds, "second")
    } else if seconds < 7_200 {
        (seconds / 60, "minute")
    } else if seconds < 172_800 {
        (seconds / 3_600, "hour")
    } else {
        (seconds / DAY, "day")
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tls::tests::response_until;

    #[test]
    fn a_response_has_its_time_and_never_keeps_a_configuration_from_being_served() {
        let said = |staple: &Staple, now: i64| {
            response(staple, now).map(|(severity, message, _)| {
                assert_eq!(severity, Severity::Warning);
                message
            })
        };
        let one = response_until(Some("20260102000000Z"));
        assert_eq!(said(&one, one.from), None);
        let early = said(&one, one.from - 60);
        assert_eq!(
            early.as_deref(),
            Some("the OCSP response is not valid yet for 60 seconds")
        );
        let late = said(&one, one.from + 3 * DAY);
        assert_eq!(
            late.as_deref(),
            Some("the OCSP response has expired 2 days ago")
        );
        let endless = response_until(None);
        assert_eq!(said(&endless, endless.from + 900 * DAY), None);
    }
}
