//! Which sites a point of a history keeps: the largest, and those that were kept before.
//!
//! A pure function of the counters and of the point before, for any thread. What it allocates depends on how many
//! sites are to be kept, not on how many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::counts::Counts;
use crate::point::SitePoint;
use crate::stack::NodeId;

/// The sites of a point that is being made.
pub(crate) struct TrackedSites {
    /// By node, each once.
    pub(crate) sites: Vec<(NodeId, Counts)>,
    /// Whether no other site holds anything.
    pub(crate) are_all: bool,
}

/// What a site is kept for; the first ones before the others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It is among the largest, as many as are half of those that can be kept.
    Large,
    /// It was kept before, and has something still.
    KeptBefore,
    /// It is among the largest otherwise.
    New,
    /// It was kept before, and has nothing now.
    Emptied,
}

impl TrackedSites {
    /// Chooses at most `limit` sites. `pairs` are gone through twice, and may have several counts of one node, which
    /// are added up; a node whose counts are spread over several is ranked by its largest.
    pub(crate) fn choose<I>(pairs: I, before: &[SitePoint], limit: usize) -> Self
    where
        I: Iterator<Item = (NodeId, Counts)> + Clone,
    {
        let mut nodes = largest(pairs.clone(), limit);
        nodes.extend(before.iter().map(|site| site.node));
        nodes.sort_unstable();
        nodes.dedup();
        let mut sites: Vec<(NodeId, Counts)> = nodes.into_iter().map(|node| (node, Counts::ZERO)).collect();
        let mut are_all = true;
        for (node, counts) in pairs {
            match sites.binary_search_by_key(&node, |&(node, _)| node) {
                Ok(index) => sites[index].1 += counts,
                Err(_) => are_all &= counts.live_bytes() <= 0,
            }
        }
        sites.retain(|(_, counts)| !counts.is_zero());
        sites.sort_unstable_by_key(|&(node, counts)| (Reverse(counts.live_bytes()), node));

        let was_kept = |node| before.binary_search_by_key(&node, |site| site.node).is_ok();
        let claim = |(rank, (node, counts)): (usize, (NodeId, Counts))| match counts.live_bytes() {
            ..=0 => Claim::Emptied,
            _ if rank < limit.div_ceil(2) => Claim::Large,
            _ if was_kept(node) => Claim::KeptBefore,
            _ => Claim::New,
        };
        let mut claims: Vec<(Claim, NodeId, Counts)> =
            sites.into_iter().enumerate().map(|(rank, site)| (claim((rank, site)), site.0, site.1)).collect();
        // Of one claim, the largest come first.
        claims.sort_by(|a, b| a.0.cmp(&b.0));
        are_all &= claims.iter().skip(limit).all(|(claim, ..)| *claim == Claim::Emptied);
        claims.truncate(limit);
        let mut sites: Vec<(NodeId, Counts)> = claims.into_iter().map(|(_, node, counts)| (node, counts)).collect();
        sites.sort_unstable_by_key(|&(node, _)| node);
        Self { sites, are_all }
    }
}

/// The `limit` nodes with most live bytes.
fn largest(pairs: impl Iterator<Item = (NodeId, Counts)>, limit: usize) -> Vec<NodeId> {
    let mut largest = BinaryHeap::new();
    for (node, counts) in pairs.filter(|(_, counts)| counts.live_bytes() > 0) {
        let entry = Reverse((counts.live_bytes(), Reverse(node)));
        if largest.len() < limit {
            largest.push(entry);
        } else if let Some(mut least) = largest.peek_mut()
            && entry < *least
        {
            *least = entry;
        }
    }
    largest.into_iter().map(|Reverse((_, Reverse(node)))| node).collect()
}

#[cfg(test)]
mod tests {
    use crate::fixtures::counts;

    use super::*;

    fn pairs(sites: &[(u32, u64)]) -> Vec<(NodeId, Counts)> {
        // 1,000 bytes were freed of each, so that those with nothing have counts too.
        sites.iter().map(|&(node, live_bytes)| (NodeId(node), counts(2, 1000 + live_bytes, 1, 1000))).collect()
    }

    fn chosen(sites: &[(u32, u64)], before: &[u32], limit: usize) -> (Vec<u32>, bool) {
        let before: Vec<SitePoint> = before.iter().map(|&node| SitePoint::new(NodeId(node), Counts::ZERO)).collect();
        let tracked = TrackedSites::choose(pairs(sites).into_iter(), &before, limit);
        (tracked.sites.iter().map(|(node, _)| node.0).collect(), tracked.are_all)
    }

    #[test]
    fn the_largest_are_chosen_and_those_that_hold_nothing_are_not() {
        let sites = [(1, 10), (2, 40), (3, 0), (4, 30), (5, 20)];
        assert_eq!(chosen(&sites, &[], 2), (vec![2, 4], false));
        assert_eq!(chosen(&sites, &[], 4), (vec![1, 2, 4, 5], true));
        assert_eq!(chosen(&sites, &[], 0), (vec![], false));
        assert_eq!(chosen(&[(3, 0)], &[], 0), (vec![], true));
    }

    /// Of four places two are for the largest, 1 and 2. The other two go to 6 and 7, though 3 to 5 are larger.
    #[test]
    fn what_was_chosen_before_stays_while_it_has_something() {
        let sites = [(1, 90), (2, 80), (3, 70), (4, 60), (5, 50), (6, 40), (7, 30)];
        assert_eq!(chosen(&sites, &[6, 7], 4), (vec![1, 2, 6, 7], false));
        assert_eq!(chosen(&sites, &[7], 4), (vec![1, 2, 3, 7], false));
    }

    #[test]
    fn what_was_chosen_before_and_is_empty_stays_where_there_is_room() {
        assert_eq!(chosen(&[(1, 90), (2, 80), (3, 70), (8, 0)], &[8], 4), (vec![1, 2, 3, 8], true));
        assert_eq!(chosen(&[(1, 90), (2, 80), (3, 70), (4, 60), (8, 0)], &[8], 4), (vec![1, 2, 3, 4], true));
        assert_eq!(chosen(&[(1, 90)], &[9], 4), (vec![1], true));
    }

    #[test]
    fn all_counts_of_a_chosen_node_are_added_up() {
        let mut twice = pairs(&[(1, 50), (2, 40)]);
        twice.push((NodeId(1), counts(1, 5, 0, 0)));
        let tracked = TrackedSites::choose(twice.into_iter(), &[], 1);
        assert_eq!((tracked.sites, tracked.are_all), (vec![(NodeId(1), counts(3, 1055, 1, 1000))], false));
    }
}
