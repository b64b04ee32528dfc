//! What becomes of the alerts of one rule, evaluation after evaluation.
//!
//! `group` evaluates a rule and calls [`State::step`] with what its query found; the state is kept from one evaluation to the next, is copied
//! when files are read anew, and is made again of rows after a start. Whoever tells people reads [`State::instances`] and [`State::due`].
//!
//! An alert is its labels. It is pending once its condition is true, fires when that has been so for `for`, goes on firing for
//! `keep_firing_for` after the condition, and is resolved then, which is told for 15 minutes. A pending alert whose condition is no longer
//! true is gone at once.
//!
//! Invariants: a step that fails changes nothing, but for a limit in Prometheus' way; what is restored from a snapshot goes on as if it had
//! not been away, and the time away counts; nothing here reads a clock.
//! Not here: an evaluation whose query fails is no step.
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/>

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    Error, Labels, Result,
    rules::{Alert, Group, LimitMode, NoData},
};

/// How long the end of an alert is told.
pub const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

/// How often somebody is told again that an alert fires, or has ended.
pub const RESEND_MS: i64 = 60_000;

/// The series that says which alerts there are.
pub const ALERTS: &str = "ALERTS";

/// The series that says since when.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// What an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its condition is true, not for long enough yet.
    Pending,
    /// People are told.
    Firing,
    /// People are told that it is over.
    Resolved,
}

/// One alert of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// What it is now.
    pub phase: Phase,
    /// Since when its condition is true.
    pub active_at_ms: i64,
    /// Since when it fires, or last fired.
    pub fired_at_ms: Option<i64>,
    /// When it was resolved.
    pub resolved_at_ms: Option<i64>,
    /// Since when it fires only because it is kept firing.
    pub keep_firing_since_ms: Option<i64>,
    /// When people were told last.
    pub sent_at_ms: Option<i64>,
    /// The last value for which its condition was true.
    pub value: f64,
    /// As they were expanded with that value.
    pub annotations: Labels,
}

/// The alerts of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    instances: BTreeMap<Labels, Instance>,
    /// What alerts were whose series have not ended: a limit in Prometheus' way made them go.
    lost: Vec<(Labels, Phase)>,
    /// Alerts that the limit kept from beginning, each at each evaluation.
    pub refused: u64,
}

/// What a rule says of its alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params {
    /// How long the condition must be true.
    pub for_ms: i64,
    /// How long an alert fires after it.
    pub keep_firing_for_ms: i64,
    /// The most that are pending or firing; 0 for as many as there are.
    pub limit: usize,
    /// What happens to more.
    pub limit_mode: LimitMode,
    /// What happens when there is no data.
    pub no_data: NoData,
}

/// For what the condition is true.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// The labels of the alert, all of them.
    pub labels: Labels,
    /// Expanded.
    pub annotations: Labels,
    /// What the query gave.
    pub value: f64,
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// For what the condition is true.
    pub elements: Vec<Element>,
    /// Has every selector of the query found a recent sample?
    pub has_data: bool,
    /// May alerts end, and begin to fire? Not before ingest has caught up after a start: what is missing may be on its way, and what is seen
    /// may be over.
    pub has_caught_up: bool,
}

/// A change of an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Which alert.
    pub labels: Labels,
    /// What it was, if it was there.
    pub from: Option<Phase>,
    /// What it is, if it is there.
    pub to: Option<Phase>,
    /// When.
    pub at_ms: i64,
}

/// An alert that people are to be told of.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Which alert.
    pub labels: Labels,
    /// As they are now.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at_ms: i64,
    /// When it ended, or when it is to be taken as ended unless it is told of again.
    pub ends_at_ms: i64,
    /// Is it over?
    pub is_resolved: bool,
}

impl Params {
    /// Of an alert in its group.
    #[must_use]
    pub fn of(group: &Group, alert: &Alert) -> Self {
        Self {
            for_ms: alert.for_ms,
            keep_firing_for_ms: alert.keep_firing_for_ms,
            limit: group.limit,
            limit_mode: group.limit_mode,
            no_data: alert.no_data,
        }
    }
}

impl Instance {
    /// Is it pending or firing?
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.phase != Phase::Resolved
    }

    fn new(element: &Element, ts: i64) -> Self {
        Self {
            phase: Phase::Pending,
            active_at_ms: ts,
            fired_at_ms: None,
            resolved_at_ms: None,
            keep_firing_since_ms: None,
            sent_at_ms: None,
            value: element.value,
            annotations: element.annotations.clone(),
        }
    }

    /// The condition is true, or is taken to be.
    fn holds(&mut self, ts: i64, params: &Params, may_fire: bool) {
        self.keep_firing_since_ms = None;
        let is_long_enough = ts.saturating_sub(self.active_at_ms) >= params.for_ms;
        match self.phase {
            Phase::Pending if is_long_enough && may_fire => {
                self.phase = Phase::Firing;
                self.fired_at_ms = Some(ts);
            }
            // Whoever wrote a longer `for` wants it to hold for what fires already.
            Phase::Firing if !is_long_enough => self.phase = Phase::Pending,
            _ => {}
        }
    }

    /// The condition is not true. Says whether it is still there.
    fn lapses(&mut self, ts: i64, params: &Params) -> bool {
        match self.phase {
            Phase::Pending => false,
            Phase::Resolved => self.resolved_at_ms.is_some_and(|at| ts.saturating_sub(at) <= RESOLVED_KEPT_MS),
            Phase::Firing => {
                if params.keep_firing_for_ms > 0 {
                    let since = *self.keep_firing_since_ms.get_or_insert(ts);
                    if ts.saturating_sub(since) < params.keep_firing_for_ms {
                        return true;
                    }
                }
                self.phase = Phase::Resolved;
                self.resolved_at_ms = Some(ts);
                true
            }
        }
    }
}

/// The series that tell of an alert; none if it is neither pending nor firing.
fn series_of(labels: &Labels, phase: Phase) -> Vec<Labels> {
    let state = match phase {
        Phase::Pending => "pending",
        Phase::Firing => "firing",
        Phase::Resolved => return Vec::new(),
    };
    let alerts = labels.with([(promql::NAME, ALERTS), ("alertstate", state)]);
    vec![alerts, labels.with([(promql::NAME, ALERTS_FOR_STATE)])]
}

impl FromIterator<(Labels, Instance)> for State {
    /// Of alerts as they were left.
    fn from_iter<I: IntoIterator<Item = (Labels, Instance)>>(instances: I) -> Self {
        Self { instances: instances.into_iter().collect(), ..Self::default() }
    }
}

impl State {
    /// Takes what an evaluation found, and says what changed, in the order of labels.
    ///
    /// # Errors
    /// `Invalid`, and nothing changes: two elements have the same labels. `Invalid`, and all alerts are forgotten: there are more than
    /// the limit allows, and it is Prometheus' way to do so.
    pub fn step(&mut self, ts: i64, input: &Input, params: &Params) -> Result<Vec<Transition>> {
        let mut found = BTreeMap::new();
        for element in &input.elements {
            if found.insert(&element.labels, element).is_some() {
                let message = "vector contains metrics with the same labelset after applying alert labels";
                return Err(Error::invalid(format!("{message}: labels={:?}", element.labels)));
            }
        }
        let mut changes = self.go_on(ts, &found, input, params);
        changes.extend(self.begin(ts, &found, input, params));
        let active = self.active();
        if params.limit > 0 && active > params.limit && params.limit_mode == LimitMode::Prometheus {
            self.lose(&changes);
            return Err(Error::invalid(format!("exceeded limit of {} with {active} alerts", params.limit)));
        }
        changes.sort_by(|left, right| left.labels.cmp(&right.labels));
        Ok(changes)
    }

    /// Forgets all alerts, but for the series that tell of them.
    fn lose(&mut self, changes: &[Transition]) {
        let before: BTreeMap<&Labels, Option<Phase>> =
            changes.iter().map(|change| (&change.labels, change.from)).collect();
        let lost = std::mem::take(&mut self.instances).into_iter().filter_map(|(labels, instance)| {
            let phase = before.get(&labels).copied().unwrap_or(Some(instance.phase))?;
            Some((labels, phase))
        });
        self.lost.extend(lost);
    }

    /// What was there already.
    fn go_on(
        &mut self,
        ts: i64,
        found: &BTreeMap<&Labels, &Element>,
        input: &Input,
        params: &Params,
    ) -> Vec<Transition> {
        let mut changes = Vec::new();
        self.instances.retain(|labels, instance| {
            let before = instance.phase;
            let is_frozen = !input.has_caught_up || (!input.has_data && params.no_data == NoData::Keep);
            let stays = match found.get(labels) {
                Some(element) if instance.is_active() => {
                    instance.value = element.value;
                    instance.annotations = element.annotations.clone();
                    instance.holds(ts, params, input.has_caught_up);
                    true
                }
                // It is over and begins anew, unless there is no room for it.
                Some(_) => instance.lapses(ts, params),
                None if instance.is_active() && is_frozen => true,
                None if instance.is_active() && !input.has_data && params.no_data == NoData::Alert => {
                    instance.holds(ts, params, true);
                    true
                }
                None => instance.lapses(ts, params),
            };
            let after = stays.then_some(instance.phase);
            if after != Some(before) && before != Phase::Resolved {
                changes.push(Transition { labels: labels.clone(), from: Some(before), to: after, at_ms: ts });
            }
            stays
        });
        changes
    }

    /// What is new.
    fn begin(
        &mut self,
        ts: i64,
        found: &BTreeMap<&Labels, &Element>,
        input: &Input,
        params: &Params,
    ) -> Vec<Transition> {
        let (mut changes, mut begun, mut active) = (Vec::new(), Vec::new(), self.active());
        for (labels, element) in found {
            let known = self.instances.get(*labels);
            if known.is_some_and(Instance::is_active) {
                continue;
            }
            if params.limit > 0 && active >= params.limit && params.limit_mode == LimitMode::Refuse {
                self.refused += 1;
                continue;
            }
            let from = known.map(|instance| instance.phase);
            let mut instance = Instance::new(element, ts);
            instance.holds(ts, params, input.has_caught_up);
            active += 1;
            changes.push(Transition { labels: (*labels).clone(), from, to: Some(instance.phase), at_ms: ts });
            begun.push(((*labels).clone(), instance));
        }
        // Put in together they fill the nodes of the tree, which one after the other they leave half empty.
        if begun.len() > self.instances.len() {
            self.instances.append(&mut begun.into_iter().collect());
        } else {
            self.instances.extend(begun);
        }
        changes
    }

    /// The same, sharing what is known already: of very many alerts that go on there are no two copies.
    #[must_use]
    pub fn shared(&self, mut element: Element) -> Element {
        if let Some((labels, instance)) = self.instances.get_key_value(&element.labels) {
            element.labels = labels.clone();
            if instance.annotations == element.annotations {
                element.annotations = instance.annotations.clone();
            }
        }
        element
    }

    /// How many are pending or firing.
    #[must_use]
    pub fn active(&self) -> usize {
        self.instances.values().filter(|instance| instance.is_active()).count()
    }

    /// The alert of these labels.
    #[must_use]
    pub fn get(&self, labels: &Labels) -> Option<&Instance> {
        self.instances.get(labels)
    }

    /// All alerts with their labels, in the order of labels.
    pub fn instances(&self) -> impl Iterator<Item = (&Labels, &Instance)> {
        self.instances.iter()
    }

    /// The series that tell of the alerts that are pending or firing: `ALERTS`, which is 1, and `ALERTS_FOR_STATE`, which is the second
    /// in which each began; and the ends, [`promql::STALE`], of those that changes ended.
    #[expect(clippy::cast_precision_loss, reason = "times are known to the millisecond for as long as 2^53 of them")]
    pub fn series(&mut self, changes: &[Transition]) -> impl Iterator<Item = (Labels, f64)> {
        let lost = std::mem::take(&mut self.lost).into_iter();
        let gone = lost.filter(|(labels, _)| !self.instances.get(labels).is_some_and(Instance::is_active));
        let gone: Vec<(Labels, Phase)> = gone.collect();
        let gone = gone.into_iter().flat_map(|(labels, phase)| series_of(&labels, phase));
        let ended = changes.iter().flat_map(|Transition { labels, from, to, .. }| {
            let still = to.map(|to| series_of(labels, to)).unwrap_or_default();
            let before = from.map(|from| series_of(labels, from)).unwrap_or_default();
            before.into_iter().filter(move |series| !still.contains(series))
        });
        let active = self.instances.iter().flat_map(|(labels, instance)| {
            let since = (instance.active_at_ms.div_euclid(1000)) as f64;
            series_of(labels, instance.phase).into_iter().zip([1.0, since])
        });
        let end = f64::from_bits(promql::STALE);
        active.chain(ended.chain(gone).map(move |labels| (labels, end)))
    }

    /// The series that told of them last.
    pub fn written(&self) -> impl Iterator<Item = Labels> {
        let of = self.instances.iter().map(|(labels, instance)| (labels, instance.phase));
        let lost = self.lost.iter().map(|(labels, phase)| (labels, *phase));
        of.chain(lost).flat_map(|(labels, phase)| series_of(labels, phase))
    }

    /// The alerts that people are to be told of now: what fires, again after `resend_ms`, and what is resolved, likewise. They count as told.
    pub fn due(&mut self, ts: i64, resend_ms: i64, interval_ms: i64) -> Vec<Due> {
        let mut due = Vec::new();
        for (labels, instance) in &mut self.instances {
            let Some(starts_at_ms) = instance.fired_at_ms.filter(|_| instance.phase != Phase::Pending) else {
                continue;
            };
            let is_news = instance.sent_at_ms.is_none_or(|sent| instance.resolved_at_ms.is_some_and(|at| at > sent));
            if !is_news && instance.sent_at_ms.is_some_and(|sent| ts.saturating_sub(sent) < resend_ms) {
                continue;
            }
            instance.sent_at_ms = Some(ts);
            let silent_ms = resend_ms.max(interval_ms).saturating_mul(4);
            due.push(Due {
                labels: labels.clone(),
                annotations: instance.annotations.clone(),
                starts_at_ms,
                ends_at_ms: instance.resolved_at_ms.unwrap_or_else(|| ts.saturating_add(silent_ms)),
                is_resolved: instance.phase == Phase::Resolved,
            });
        }
        due
    }
}
