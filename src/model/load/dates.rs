//! Certificates on a certain day: loading has no clock, so whoever has one asks afterwards.

use super::{Loaded, Located};
use crate::model::config::tls::Facts;
use crate::model::diagnostic::{Diagnostic, Severity};

const DAY: i64 = 24 * 60 * 60;
/// A certificate is spoken of when less than this is left of its time, or less than a tenth of it
/// where it is made for a shorter time.
const SOON: i64 = 14 * DAY;

/// A certificate and where it is named.
pub(super) type Dated = Located<Facts>;

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
        let Facts {
            not_before,
            not_after,
            ..
        } = self.value;
        let now = today.now;
        let (out_of_time, message, help) = if now >= not_after {
            let message = format!("the certificate has expired {} ago", span(now - not_after));
            (true, message, "put a renewed certificate into the file")
        } else if now < not_before {
            let message = format!(
                "the certificate is not valid yet for {}",
                span(not_before - now)
            );
            (
                true,
                message,
                "wait until it is, or look at this machine's clock",
            )
        } else if not_after - now < SOON.min((not_after - not_before) / 10) {
            let message = format!("the certificate expires in {}", span(not_after - now));
            (
                false,
                message,
                "renew it; see that whatever renews it still runs",
            )
        } else {
            return None;
        };
        let refused = out_of_time && !(today.tolerates)(&self.value.fingerprint);
        let severity = match refused {
            true => Severity::Error,
            false => Severity::Warning,
        };
        Some(self.diagnostic(severity, message, help))
    }
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
