//! What happens to the labels of a series on its way in, in order: the replica label of an HA pair is taken off, then the
//! rules of relabelling are applied.
//!
//! Made from settings once, so that a raw form means the same as long as the process lives; called by
//! [`labels::of_series`](super::labels::of_series), hence only for series that are not known yet or begin a day.

use std::borrow::Cow;

use super::{
    ha::ReplicaLabels,
    labels::LabelLimits,
    reject::Reject,
    relabel::{Pair, Relabel},
};

/// Rules may cut a label set down to the limit, so that before them it may have so many times more labels.
const LABELS_BEFORE: usize = 4;

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Labels that name an HA pair and its replicas, if there are such.
    pub ha: Option<ReplicaLabels>,
    /// Rules of relabelling.
    pub relabel: Relabel,
}

impl Rules {
    /// Limits of labels before the rules are applied.
    pub(crate) fn limits_before(&self, limits: &LabelLimits) -> LabelLimits {
        let times = if self.relabel.is_empty() { 1 } else { LABELS_BEFORE };
        LabelLimits { labels_max: limits.labels_max.saturating_mul(times), ..*limits }
    }

    /// Labels, sorted by name, as they are stored; `None` if the series is dropped.
    pub(crate) fn apply<'a>(
        &self,
        pairs: Vec<(&'a str, &'a str)>,
        limits: &LabelLimits,
    ) -> Result<Option<Vec<Pair<'a>>>, Reject> {
        let has = |name: &str| pairs.binary_search_by_key(&name, |(known, _)| known).is_ok();
        let replica = self.ha.as_ref().filter(|ha| has(&ha.cluster) && has(&ha.replica)).map(|ha| ha.replica.as_str());
        let kept = pairs.into_iter().filter(|(name, _)| Some(*name) != replica);
        let pairs = kept.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))).collect();
        if self.relabel.is_empty() { Ok(Some(pairs)) } else { self.relabel.apply(pairs, limits) }
    }
}
