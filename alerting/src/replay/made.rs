//! What the rules of a replay write, and which of it others of them read.
//!
//! Kept in memory for as long as a query of the replay looks back at it.

use std::collections::BTreeMap;

use promql::{Gather, Matcher, NAME, Symbols, Want};

use super::Replayed;
use crate::{
    ALERTNAME, Error, Labels, Result, alert,
    memory::{following, gather},
    query::{Sample, Value},
    rules::{Action, Written},
};

/// Samples that are kept: some 200 MB with their series, which nobody's rules come near.
const SAMPLES_MAX: usize = 4_000_000;

/// A selector of which it is known how far back it looks, milliseconds.
#[derive(Debug)]
pub(super) struct Reach {
    pub matchers: Vec<Matcher>,
    pub back_ms: i64,
}

/// Series that rules of a replay wrote.
#[derive(Debug)]
pub(super) struct Made {
    written: Written,
    /// Labels that are the same in all series of a recording rule, by its name.
    recorded: BTreeMap<String, Vec<BTreeMap<String, String>>>,
    reaches: Vec<Reach>,
    /// May anybody ask for what is written?
    is_read: bool,
    lookback_ms: i64,
    series: BTreeMap<String, BTreeMap<Labels, Kept>>,
    samples: usize,
}

/// A series, and how far back somebody looks at it.
#[derive(Debug)]
pub(super) struct Kept {
    pub of: promql::Labels,
    pub samples: Vec<(i64, Value)>,
    pub back_ms: i64,
}

impl Made {
    /// Nothing yet, by these groups.
    pub fn new(groups: &[Replayed], lookback_ms: i64) -> Self {
        let mut made = Self {
            written: Written::default(),
            recorded: BTreeMap::new(),
            reaches: Vec::new(),
            is_read: false,
            lookback_ms,
            series: BTreeMap::new(),
            samples: 0,
        };
        for of in groups {
            for rule in &of.group.rules {
                match &rule.action {
                    Action::Record(name) => {
                        let labels = of.group.labels.clone().into_iter().chain(rule.labels.clone()).collect();
                        made.recorded.entry(name.clone()).or_default().push(labels);
                    }
                    Action::Alert(alert) => {
                        // A template may ask anything.
                        let mut templates = alert.annotations.values().chain(rule.labels.values());
                        made.is_read |= templates.any(|text| text.contains("query"));
                    }
                }
                made.written.add(rule);
            }
        }
        made
    }

    /// Queries that read what is made look back so far.
    pub fn reach(&mut self, reaches: Vec<Reach>) {
        self.reaches.extend(reaches);
        self.is_read = true;
    }

    /// Could a query read what rules of the replay write?
    pub fn may_be_read(&self, query: &promql::Query) -> bool {
        query.selectors().iter().any(|selector| self.written.is_read(selector.matchers()))
    }

    /// Is a series one that rules of the replay write?
    pub fn writes(&self, labels: &Labels) -> bool {
        let name = labels.get(NAME);
        if [alert::ALERTS, alert::ALERTS_FOR_STATE].contains(&name) {
            return self.written.has_alert(labels.get(ALERTNAME));
        }
        let is_of = |own: &BTreeMap<String, String>| own.iter().all(|(name, value)| labels.get(name) == value);
        self.recorded.get(name).is_some_and(|rules| rules.iter().any(is_of))
    }

    /// Keeps samples of a time. One that contradicts another of the same time is left out, as storage does.
    pub fn write(&mut self, samples: &[Sample], at_ms: i64, symbols: &mut Symbols) {
        if !self.is_read {
            return;
        }
        for Sample { labels, value } in samples {
            let name = labels.get(NAME);
            let of_name = match self.series.get_mut(name) {
                Some(of_name) => of_name,
                None => self.series.entry(name.to_owned()).or_default(),
            };
            if !of_name.contains_key(labels) {
                let matches =
                    |reach: &&Reach| reach.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.label())));
                let back_ms = self.reaches.iter().filter(matches).map(|reach| reach.back_ms).max();
                let back_ms = back_ms.unwrap_or_default().max(self.lookback_ms);
                let of = promql::Labels::of(labels.iter(), symbols);
                of_name.insert(labels.clone(), Kept { of, samples: Vec::new(), back_ms });
            }
            let Some(kept) = of_name.get_mut(labels) else { continue };
            if kept.samples.last().is_none_or(|(last_ms, _)| *last_ms < at_ms) {
                let value = following(value.clone(), kept.samples.last());
                kept.samples.push((at_ms, value));
                self.samples += 1;
            }
        }
    }

    /// Forgets what nobody looks back at any more, once in a while.
    ///
    /// # Errors
    /// `Invalid` if there is too much nevertheless.
    pub fn settle(&mut self, at_ms: i64, is_time: bool) -> Result<()> {
        if !is_time && self.samples <= SAMPLES_MAX {
            return Ok(());
        }
        for of_name in self.series.values_mut() {
            of_name.retain(|_, kept| {
                let after_ms = at_ms.saturating_sub(kept.back_ms);
                // The one before tells whether a counter was reset.
                let first = kept.samples.partition_point(|(time, _)| *time <= after_ms).saturating_sub(1);
                kept.samples.drain(..first);
                kept.samples.last().is_some_and(|(time, _)| *time > after_ms)
            });
        }
        self.series.retain(|_, of_name| !of_name.is_empty());
        self.samples = self.series.values().flat_map(BTreeMap::values).map(|kept| kept.samples.len()).sum();
        if self.samples > SAMPLES_MAX {
            return Err(Error::invalid(format!(
                "rules write more series than are kept in memory for those that read them; replay fewer groups at once: \
                 samples={} samples_max={SAMPLES_MAX}",
                self.samples
            )));
        }
        Ok(())
    }

    /// Numbers labels anew.
    pub fn number(&mut self, symbols: &mut Symbols) {
        for (labels, kept) in self.series.values_mut().flatten() {
            kept.of = promql::Labels::of(labels.iter(), symbols);
        }
    }

    /// Samples that are wanted, of series that are stored and of those that were written.
    pub fn gather(&self, stored: &BTreeMap<Labels, Kept>, want: &Want) -> Gather {
        let matches =
            |labels: &Labels| want.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.label())));
        let mut out = Gather::default();
        for (labels, before) in stored {
            match self.series.get(labels.get(NAME)).and_then(|of_name| of_name.get(labels)) {
                None => gather(&mut out, &before.of, &before.samples, want),
                Some(kept) => {
                    let first_ms = kept.samples.first().map_or(i64::MAX, |(time, _)| *time);
                    let before = before.samples.iter().filter(|(time, _)| *time < first_ms);
                    let all: Vec<(i64, Value)> = before.chain(&kept.samples).cloned().collect();
                    gather(&mut out, &kept.of, &all, want);
                }
            }
        }
        let is_named = |name: &str| want.matchers.iter().all(|of| of.label() != NAME || of.matches(name));
        for (_, of_name) in self.series.iter().filter(|(name, _)| is_named(name)) {
            for (labels, kept) in of_name {
                let is_there = kept.samples.last().is_some_and(|(time, _)| *time > want.after_ms);
                if is_there && matches(labels) && !stored.contains_key(labels) {
                    gather(&mut out, &kept.of, &kept.samples, want);
                }
            }
        }
        out
    }
}
