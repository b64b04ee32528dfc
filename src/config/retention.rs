//! How long rows are kept: by dataset, and shorter for some series.
//!
//! Called while settings are validated; hands days by dataset to `storage`, and rules with selectors that are understood to
//! [`crate::retention`].

use std::collections::BTreeMap;

use query::Selector;
use serde_saphyr::Spanned;

use super::{
    raw::{self, Refused},
    span,
    units::Span,
    within,
};
use crate::retention::{DATASETS, Rule};

const DAY_S: u64 = 86_400;
/// Rules there may be. Each is a question to table `series` for every day to which it applies for the first time.
const RULES_MAX: usize = 100;

/// Days by dataset; a part of a day counts as one.
pub(super) fn days(origin: &str, retention: BTreeMap<String, Spanned<Span>>) -> Result<BTreeMap<String, u32>, Refused> {
    let known: Vec<&str> = schemas::all().iter().map(|dataset| dataset.name).collect();
    let days = |(dataset, kept): (String, Spanned<Span>)| {
        if !known.contains(&dataset.as_str()) {
            let reason = format!("storage.retention: there is no dataset {dataset:?}; there are {}", known.join(", "));
            return Err(Refused::at(origin, &kept, reason));
        }
        Ok((dataset, whole_days(origin, &kept)?))
    };
    let written = retention.get(schemas::series().name).cloned();
    let mut days: BTreeMap<String, u32> = retention.into_iter().map(days).collect::<Result<_, _>>()?;
    // What is kept of a series means nothing without its labels.
    let needed = longest(&days);
    let series = schemas::series();
    if days.get(series.name).copied().unwrap_or(series.retention_days) < needed {
        if let Some(written) = written {
            let reason = format!("labels would go before what they name: keep series for {needed}d at least");
            return Err(Refused::at(origin, &written, reason));
        }
        days.insert(series.name.to_owned(), needed);
    }
    Ok(days)
}

/// Rules for some series; none keeps anything for longer than its dataset is kept.
pub(super) fn rules(
    origin: &str,
    written: Vec<Spanned<raw::RetentionRule>>,
    days: &BTreeMap<String, u32>,
) -> Result<Vec<Rule>, Refused> {
    if let Some(beyond) = written.get(RULES_MAX) {
        return Err(Refused::at(origin, beyond, format!("there are more than {RULES_MAX} rules; join some")));
    }
    let longest = longest(days);
    let rule = |rule: Spanned<raw::RetentionRule>| {
        let missing = |key: &str| {
            let reason = format!("a rule has no `{key}`; write {{match: '{{job=\"debug\"}}', keep: 7d}}");
            Refused::at(origin, &rule, reason)
        };
        let text = rule.value.selector.as_ref().ok_or_else(|| missing("match"))?;
        let keep = rule.value.keep.as_ref().ok_or_else(|| missing("keep"))?;
        let selector =
            Selector::parse(&text.value).map_err(|error| Refused::at(origin, text, format!("no selector: {error}")))?;
        let days = whole_days(origin, keep)?;
        if days > longest {
            let reason = format!(
                "a rule cannot keep series for longer than everything is kept, {longest}d: raise `storage.retention` and \
                 shorten the rest by a rule"
            );
            return Err(Refused::at(origin, keep, reason));
        }
        Ok(Rule { text: text.value.as_str().into(), selector, days })
    };
    written.into_iter().map(rule).collect()
}

/// Days for which rows of series are kept, at most.
fn longest(days: &BTreeMap<String, u32>) -> u32 {
    let kept = |dataset: &schemas::Dataset| days.get(dataset.name).copied().unwrap_or(dataset.retention_days);
    DATASETS.map(|dataset| kept(dataset())).into_iter().max().unwrap_or(0)
}

fn whole_days(origin: &str, kept: &Spanned<Span>) -> Result<u32, Refused> {
    let seconds = within(origin, kept, span(DAY_S)..=span(36_500 * DAY_S))?.0.as_secs();
    Ok(u32::try_from(seconds.div_ceil(DAY_S)).unwrap_or(u32::MAX))
}
