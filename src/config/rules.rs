//! The rules at the door of remote write: relabelling, HA pairs, limits of series.
//!
//! Called while settings are validated; hands checked rules to `ingest`, which compiles them, and finds the place of what it
//! refuses.

use ingest::remote_write::{Action, Relabel, RelabelRule, ReplicaLabels, Rules};
use serde_saphyr::Spanned;

use super::{
    Budget,
    raw::{self, Refused},
    required, size,
    units::Size,
    within,
};

/// Memory of a known series, as its index documents it.
const SERIES_BYTES: u64 = 200;

/// Validates the rules for labels.
pub(super) fn rules(
    origin: &str,
    written: Option<Vec<Spanned<raw::Relabel>>>,
    ha: Option<raw::Ha>,
) -> Result<Rules, Refused> {
    let relabel = relabel(origin, written.unwrap_or_default())?;
    Ok(Rules { ha: ha.map(|ha| ha.validate(origin)).transpose()?, relabel })
}

/// Checks and compiles rules of relabelling.
pub(super) fn relabel(origin: &str, written: Vec<Spanned<raw::Relabel>>) -> Result<Relabel, Refused> {
    let mut relabel = Relabel::none();
    for rule in written {
        let checked = rule.value.rule(origin)?;
        relabel.add(&checked).map_err(|fault| rule.value.refused(origin, fault.key, &rule, &fault.reason))?;
    }
    Ok(relabel)
}

/// The limits of series: of all, and of one metric.
pub(super) fn limits(
    origin: &str,
    series_max: Option<Spanned<u64>>,
    per_metric: Option<Spanned<u64>>,
    budget: Budget,
) -> Result<(usize, usize), Refused> {
    let series = match series_max {
        None => budget.series / SERIES_BYTES,
        Some(written) => {
            let series = within(origin, &written, 1..=1_000_000_000)?;
            if series * SERIES_BYTES > budget.total / 2 {
                let mib = |bytes: u64| Size(bytes >> 20 << 20);
                let reason = format!(
                    "{series} series take {}, more than half of the memory budget of {}; raise `memory` as well",
                    mib(series * SERIES_BYTES),
                    mib(budget.total)
                );
                return Err(Refused::at(origin, &written, reason));
            }
            series
        }
    };
    let per_metric = required(origin, "remote_write.series_per_metric_max", per_metric)?;
    let per_metric = size(within(origin, &per_metric, 0..=1_000_000_000)?);
    Ok((size(series), if per_metric == 0 { usize::MAX } else { per_metric }))
}

impl raw::Relabel {
    /// The rule with Prometheus' defaults where nothing is written.
    fn rule(&self, origin: &str) -> Result<RelabelRule, Refused> {
        let mut rule = RelabelRule::default();
        if let Some(written) = &self.action {
            rule.action = Action::named(&written.value).ok_or_else(|| {
                let names: Vec<&str> = Action::ALL.iter().map(|(name, _)| *name).collect();
                let reason = format!("`{}` is no action; write one of {}", written.value, names.join(", "));
                Refused::at(origin, written, reason)
            })?;
        }
        let text = |into: &mut String, written: &Option<Spanned<String>>| {
            if let Some(written) = written {
                into.clone_from(&written.value);
            }
        };
        text(&mut rule.separator, &self.separator);
        text(&mut rule.regex, &self.regex);
        text(&mut rule.target_label, &self.target_label);
        text(&mut rule.replacement, &self.replacement);
        rule.source_labels = self.source_labels.as_ref().map(|labels| labels.value.clone()).unwrap_or_default();
        rule.modulus = self.modulus.as_ref().map_or(0, |modulus| modulus.value);
        Ok(rule)
    }

    /// Refuses the rule where the key is written, or as a whole if it is not.
    fn refused(&self, origin: &str, key: &str, whole: &Spanned<Self>, reason: &str) -> Refused {
        let at = |written: &Option<Spanned<String>>| written.as_ref().map(|at| Refused::at(origin, at, reason));
        let place = match key {
            "source_labels" => self.source_labels.as_ref().map(|at| Refused::at(origin, at, reason)),
            "modulus" => self.modulus.as_ref().map(|at| Refused::at(origin, at, reason)),
            "separator" => at(&self.separator),
            "regex" => at(&self.regex),
            "target_label" => at(&self.target_label),
            "replacement" => at(&self.replacement),
            _ => None,
        };
        place.unwrap_or_else(|| Refused::at(origin, whole, reason))
    }
}

impl raw::Ha {
    fn validate(self, origin: &str) -> Result<ReplicaLabels, Refused> {
        let default = ReplicaLabels::default();
        let label = |written: &Option<Spanned<String>>, default: String| match written {
            Some(written) if written.value.is_empty() => {
                Err(Refused::at(origin, written, "the name of a label is empty"))
            }
            Some(written) => Ok(written.value.clone()),
            None => Ok(default),
        };
        let labels = ReplicaLabels {
            cluster: label(&self.cluster_label, default.cluster)?,
            replica: label(&self.replica_label, default.replica)?,
        };
        if labels.cluster == labels.replica {
            let reason = format!("`{}` cannot name both the pair and the replica", labels.replica);
            return Err(match self.replica_label.as_ref().or(self.cluster_label.as_ref()) {
                Some(written) => Refused::at(origin, written, reason),
                None => Refused::whole(origin, reason),
            });
        }
        Ok(labels)
    }
}
