//! A word of the health board: what everybody thinks of an endpoint.

/// Written by active checks and passive ejection, read by whoever picks an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nobody has looked yet: gets requests.
    Unknown,
    Healthy,
    /// Active checks say so.
    Unhealthy,
    /// Failed too often in live traffic; comes back by itself.
    Ejected,
}

impl Health {
    pub fn from_word(word: u64) -> Health {
        match word & 0xff {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            3 => Health::Ejected,
            _ => Health::Unknown,
        }
    }

    pub fn word(self) -> u64 {
        self as u64
    }

    pub fn takes_traffic(self) -> bool {
        matches!(self, Health::Unknown | Health::Healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_gives_back_the_health_it_was_made_of() {
        for health in [
            Health::Unknown,
            Health::Healthy,
            Health::Unhealthy,
            Health::Ejected,
        ] {
            assert_eq!(Health::from_word(health.word()), health);
        }
    }
}
