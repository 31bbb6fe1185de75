//! Who of an upstream's members may be chosen at all: by tier, by health, and by what was tried.

use super::{Ask, Member};

/// All are well, almost always.
pub(super) fn list_all(eligible: &mut Vec<u32>, members: &[Member]) {
    list_lowest(eligible, members, |_| true);
}

/// Lists the places of those that may. The lowest tier of which enough are well takes part with those
/// that are; where no tier has enough, the lowest that has any, with all that it has. Members that were
/// tried come only when there are no others.
pub(super) fn list(
    eligible: &mut Vec<u32>,
    members: &[Member],
    panic_threshold: u32,
    ask: &Ask<'_>,
) {
    let is_new = |member: &Member| !ask.tried.has(&member.endpoint);
    let is_well = |member: &Member| member.endpoint.takes_traffic(ask.now);
    let class = class(members, panic_threshold, is_well);
    let in_class = |one: &Member| match class {
        Class::Well(tier) => one.tier == tier && is_well(one),
        Class::All(tier) => one.tier == tier,
    };
    list_lowest(eligible, members, |one| in_class(one) && is_new(one));
    if eligible.is_empty() {
        list_lowest(eligible, members, |one| is_well(one) && is_new(one));
    }
    if eligible.is_empty() {
        list_lowest(eligible, members, is_new);
    }
    if eligible.is_empty() {
        list_lowest(eligible, members, in_class);
    }
    // Other workers change who is well between two looks at it.
    if eligible.is_empty() {
        list_all(eligible, members);
    }
}

enum Class {
    Well(u32),
    /// Also those that are not well: there are too few that are.
    All(u32),
}

fn class(members: &[Member], threshold: u32, is_well: impl Fn(&Member) -> bool) -> Class {
    let mut some = None;
    let mut tier = lowest(members, 0);
    let first = tier.unwrap_or_default();
    while let Some(now) = tier {
        let of_tier = members.iter().filter(|one| one.tier == now);
        let (all, well) = of_tier.fold((0, 0), |(all, well), one| {
            (all + 1_u64, well + u64::from(is_well(one)))
        });
        if well > 0 && well * 100 >= u64::from(threshold) * all {
            return Class::Well(now);
        }
        if well > 0 {
            some = some.or(Some(now));
        }
        tier = now.checked_add(1).and_then(|next| lowest(members, next));
    }
    Class::All(some.unwrap_or(first))
}

/// The lowest tier from one on.
fn lowest(members: &[Member], from: u32) -> Option<u32> {
    let tiers = members.iter().map(|one| one.tier);
    tiers.filter(|tier| *tier >= from).min()
}

/// Of those that may, the ones of the lowest tier.
fn list_lowest(eligible: &mut Vec<u32>, members: &[Member], may: impl Fn(&Member) -> bool) {
    eligible.clear();
    let mut lowest = u32::MAX;
    for (at, member) in (0..).zip(members) {
        if member.tier > lowest || !may(member) {
            continue;
        }
        if member.tier < lowest {
            lowest = member.tier;
            eligible.clear();
        }
        eligible.push(at);
    }
}
