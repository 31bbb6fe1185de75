//! How requests to an upstream are treated, compiled: what the upstream says, or a rule instead.

use super::config::traffic::{self as config, Hedge, RetryBudget, Timeouts};
use super::retry::RetryPolicy;

#[derive(Debug, Clone)]
pub struct Traffic {
    pub timeouts: Timeouts,
    pub retry: RetryPolicy,
    pub budget: RetryBudget,
    pub hedge: Option<Hedge>,
}

impl Traffic {
    /// `None` where it names a method that is none; a valid configuration has no such.
    pub fn build(traffic: &config::Traffic) -> Option<Self> {
        Some(Self {
            timeouts: traffic.timeouts,
            retry: RetryPolicy::build(&traffic.retry)?,
            budget: traffic.retry.budget,
            hedge: traffic.hedge,
        })
    }
}
