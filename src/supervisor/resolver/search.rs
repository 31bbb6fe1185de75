//! Which names a short one may stand for, in the order of asking: as the C library has it, so that
//! what works in a pod's shell works here.

/// From resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) domains: Vec<String>,
    /// A name with fewer dots is tried with the domains first.
    pub(super) ndots: u32,
}

impl Search {
    /// Each with a dot at its end.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let whole = format!("{name}.");
        let domains = self.domains.iter().map(|domain| domain.trim_matches('.'));
        let domains = domains.filter(|domain| !domain.is_empty());
        let longer = domains.map(|domain| format!("{name}.{domain}."));
        let mut all: Vec<String> = longer.collect();
        match dots >= self.ndots as usize {
            true => all.insert(0, whole),
            false => all.push(whole),
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ndots: u32) -> Search {
        let domains = ["shop.svc.cluster.local", "svc.cluster.local.", "."];
        Search {
            domains: domains.map(str::to_owned).to_vec(),
            ndots,
        }
    }

    #[test]
    fn short_names_are_searched_for_first_and_whole_ones_last() {
        let all = pod(5).candidates("todos");
        let wanted = [
            "todos.shop.svc.cluster.local.",
            "todos.svc.cluster.local.",
            "todos.",
        ];
        assert_eq!(all, wanted);
        assert_eq!(pod(5).candidates("a.b.c.d.e").last().unwrap(), "a.b.c.d.e.");
    }

    #[test]
    fn names_with_enough_dots_are_asked_for_as_they_are_first() {
        assert_eq!(pod(1).candidates("a.example")[0], "a.example.");
        assert_eq!(pod(5).candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f.");
        assert_eq!(pod(1).candidates("a.example").len(), 3);
    }

    #[test]
    fn a_dot_at_the_end_ends_the_search() {
        assert_eq!(pod(5).candidates("todos."), ["todos."]);
    }
}
