//! What is told: a group of alerts as it stands when the message goes out, or many groups by name.
//!
//! Made of an attempt of the outbox by whoever sends, and given to notifiers and to templates. Invariants: alerts are in the order of
//! Alertmanager; the status is firing as long as anything fires, told or not. Not here: what templates call these things.

use std::{cmp::Ordering, collections::BTreeSet, ops::Deref, sync::Arc};

use crate::{
    ALERTNAME, Labels, Route,
    alerts::Alert,
    dedup::Reason,
    outbox::{Attempt, Owed},
};

use super::{report::Report, text};

/// Characters of a group's name in a summary.
const NAME_CHARS_MAX: usize = 160;

/// What is told to one receiver in one message.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Name of who is told.
    pub receiver: Arc<str>,
    /// Names the group, the same for as long as it lives.
    pub group_key: Arc<str>,
    /// Labels that the group's alerts have in common, as the route says.
    pub group_labels: Labels,
    /// Labels of the route.
    pub route_labels: Labels,
    /// Why it is told now.
    pub reason: Reason,
    /// Who is the reason, if somebody is.
    pub by: Option<Arc<str>>,
    /// The alerts, of which those fire that have not ended at [`now_ms`](Self::now_ms).
    pub alerts: Vec<Shown>,
    /// Of them, those that the receiver was never told of as firing.
    pub untold: BTreeSet<u64>,
    /// Do others fire of which nothing is said, because they are silenced, inhibited or muted?
    pub has_held: bool,
    /// Where we are reached from outside.
    pub external_url: Arc<str>,
    /// Who should have been told and could not be, if this receiver is told in place of it.
    pub fallback_of: Option<Arc<str>>,
    /// What was kept of the answer to the message before.
    pub answer: Option<String>,
    /// The time as of which it is told, milliseconds.
    pub now_ms: i64,
    /// Groups by name, if there were too many for a message each, or they are a digest. What stands above is about all of them then.
    pub summary: Vec<Named>,
    /// Is it what happened since the digest before?
    pub is_digest: bool,
    /// The answer to a question, if it is that, and not about alerts.
    pub report: Option<Arc<Report>>,
}

/// An alert that is told. Its texts may be escaped; its fingerprint is that of its labels as they are.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Names it.
    pub fingerprint: u64,
    /// The alert, as it is to be shown.
    pub alert: Arc<Alert>,
}

/// A group in a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its labels, as people read them.
    pub name: String,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many have ended.
    pub resolved: usize,
    /// How many of these the receiver was never told of as firing.
    pub late: usize,
    /// Do others fire of which nothing is said?
    pub has_held: bool,
    /// How often its alerts fired since they were told.
    pub times: u64,
    /// For how long they did, in all, milliseconds.
    pub fired_ms: i64,
}

impl Deref for Shown {
    type Target = Alert;

    fn deref(&self) -> &Alert {
        &self.alert
    }
}

impl Notification {
    /// What an attempt tells as of now. `answers` are those of the messages before. None of an attempt that is about nothing.
    #[must_use]
    pub fn of(attempt: &Attempt, answers: &[Option<String>], external_url: &Arc<str>, now_ms: i64) -> Option<Self> {
        let (all, summary) = match attempt {
            Attempt::One(owed) => (std::slice::from_ref(owed), Vec::new()),
            Attempt::Summary(all) => (&**all, all.iter().map(|owed| Named::of(owed, now_ms)).collect()),
        };
        let first = all.first()?;
        let shown =
            |(fingerprint, alert): (&u64, &Arc<Alert>)| Shown { fingerprint: *fingerprint, alert: Arc::clone(alert) };
        let mut alerts: Vec<Shown> = all.iter().flat_map(|owed| owed.alerts.iter().map(shown)).collect();
        alerts.sort_by(|a, b| in_order(a, b));
        alerts.dedup_by(|a, b| a.labels == b.labels);
        Some(Self {
            receiver: Arc::clone(&first.key.receiver),
            group_key: Arc::clone(&first.key.group),
            group_labels: common(all.iter().map(|owed| &owed.group_labels)),
            route_labels: common(all.iter().map(|owed| &owed.route_labels)),
            reason: first.reason,
            by: first.by.clone(),
            alerts,
            untold: all.iter().flat_map(|owed| owed.untold.iter().copied()).collect(),
            has_held: all.iter().any(|owed| !owed.held.is_empty()),
            external_url: Arc::clone(external_url),
            fallback_of: first.fallback_of.clone(),
            answer: if summary.is_empty() { answers.first().cloned().flatten() } else { None },
            now_ms,
            summary,
            is_digest: first.is_digest,
            report: None,
        })
    }

    /// One that nobody is owed, to see whether a receiver can be told: an alert by itself, in a group that no real one is in.
    #[must_use]
    pub fn sample(
        receiver: &str,
        route: &Route,
        alert: Alert,
        (id, external_url, now_ms): (u128, Arc<str>, i64),
    ) -> Self {
        let group_labels = route.group_labels(&alert.labels);
        let shown = Shown { fingerprint: alert.labels.fingerprint(), alert: Arc::new(alert) };
        Self {
            receiver: receiver.into(),
            group_key: format!("{}#test-{id:032x}", route.group_key(&group_labels)).into(),
            route_labels: route.labels().iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
            group_labels,
            reason: Reason::First,
            by: None,
            untold: [shown.fingerprint].into_iter().collect(),
            alerts: vec![shown],
            has_held: false,
            external_url,
            fallback_of: None,
            answer: None,
            now_ms,
            summary: Vec::new(),
            is_digest: false,
            report: None,
        }
    }

    /// The same once all of it has ended, for a receiver that answered so.
    #[must_use]
    pub fn ended(&self, answer: &str) -> Self {
        let ended = |shown: &Shown| {
            let ends_ms = shown.ends_ms.min(self.now_ms);
            Shown { alert: Arc::new(Alert { ends_ms, ..Alert::clone(shown) }), ..shown.clone() }
        };
        let answer = Some(answer.to_owned()).filter(|answer| !answer.is_empty());
        let (alerts, untold) = (self.alerts.iter().map(ended).collect(), BTreeSet::new());
        Self { reason: Reason::AllResolved, has_held: false, alerts, untold, answer, ..self.clone() }
    }

    /// Does anything of it fire, told or not?
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.has_held || self.firing().next().is_some()
    }

    /// Its status, as templates and webhooks have it.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.is_firing() { "firing" } else { "resolved" }
    }

    /// Alerts that fire.
    pub fn firing(&self) -> impl Iterator<Item = &Shown> {
        self.alerts.iter().filter(|alert| !alert.is_resolved(self.now_ms))
    }

    /// Alerts that have ended.
    pub fn resolved(&self) -> impl Iterator<Item = &Shown> {
        self.alerts.iter().filter(|alert| alert.is_resolved(self.now_ms))
    }

    /// Labels that all alerts have in common.
    #[must_use]
    pub fn common_labels(&self) -> Labels {
        common(self.alerts.iter().map(|alert| &alert.labels))
    }

    /// Annotations that all alerts have in common.
    #[must_use]
    pub fn common_annotations(&self) -> Labels {
        common(self.alerts.iter().map(|alert| &alert.annotations))
    }

    /// The receiver's name as templates and webhooks have it: Alertmanager makes a regular expression of it.
    #[must_use]
    pub fn receiver_pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.receiver.len());
        for c in self.receiver.chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern
    }

    /// The same with every text that came with alerts passed through a function, for templates whose output is markup: what is escaped
    /// before a template runs cannot be taken for the template's own markup.
    #[must_use]
    pub fn with_texts(&self, escape: impl Fn(&str) -> String) -> Self {
        let labels = |labels: &Labels| -> Labels {
            let all: Vec<_> = labels.iter().map(|(name, value)| (escape(name), escape(value))).collect();
            all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        };
        let alert = |shown: &Shown| {
            let alert = Alert {
                labels: labels(&shown.labels),
                annotations: labels(&shown.annotations),
                generator_url: escape(&shown.generator_url).into(),
                ..Alert::clone(shown)
            };
            Shown { fingerprint: shown.fingerprint, alert: Arc::new(alert) }
        };
        Self {
            group_labels: labels(&self.group_labels),
            route_labels: labels(&self.route_labels),
            alerts: self.alerts.iter().map(alert).collect(),
            summary: self.summary.iter().map(|named| Named { name: escape(&named.name), ..named.clone() }).collect(),
            ..self.clone()
        }
    }

    /// A title with who could not be told in front of it, if somebody could not.
    #[must_use]
    pub fn titled(&self, title: &str) -> String {
        match &self.fallback_of {
            Some(receiver) => format!("[{receiver} could not be told] {title}"),
            None => title.to_owned(),
        }
    }

    /// What is remarked about the group: `Acknowledged by Ann.`
    #[must_use]
    pub fn remark(&self) -> String {
        let by = self.by.as_ref().map(|by| format!(" by {}", text::one_line(by))).unwrap_or_default();
        match self.reason {
            Reason::Unacknowledged => format!("No longer acknowledged{by}."),
            Reason::Closed => format!("The incident was closed{by}. Its alerts fire still."),
            Reason::Silenced => "All that fires is silenced.".to_owned(),
            _ => format!("Acknowledged{by}."),
        }
    }

    /// The title of a summary.
    #[must_use]
    pub fn summary_title(&self) -> String {
        let firing = self.summary.iter().filter(|named| named.is_firing()).count();
        let groups = self.summary.len();
        let title = match self.is_digest {
            true => {
                let times: u64 = self.summary.iter().map(|named| named.times).sum();
                format!("Daily digest: {groups} groups of alerts fired {times} times, {firing} of them fire still")
            }
            false => format!("{groups} groups of alerts changed, {firing} of them fire"),
        };
        self.titled(&title)
    }

    /// The groups of a summary, one a line, as many as fit; how many did not is said in the last line.
    #[must_use]
    pub fn summary_lines(&self, chars_max: usize) -> String {
        const LAST_LINE_CHARS: usize = 40;
        let (mut lines, mut chars) = (String::new(), 0);
        for (nth, named) in self.summary.iter().enumerate() {
            let line = if self.is_digest { named.digest_line() } else { named.line() };
            let line_chars = line.chars().count() + 1;
            if chars + line_chars + LAST_LINE_CHARS > chars_max {
                return format!("{lines}… and {} more", self.summary.len() - nth);
            }
            chars += line_chars;
            lines.push_str(&line);
            lines.push('\n');
        }
        lines.truncate(lines.trim_end().len());
        lines
    }
}

impl Named {
    fn of(owed: &Owed, now_ms: i64) -> Self {
        let labels: Vec<String> =
            owed.group_labels.iter().map(|(name, value)| format!("{name}={}", text::one_line(value))).collect();
        let alertname = || common(owed.alerts.values().map(|alert| &alert.labels)).get(ALERTNAME).to_owned();
        let name = match (labels.is_empty(), alertname()) {
            (false, _) => labels.join(", "),
            (true, name) if name.is_empty() => "all alerts".to_owned(),
            (true, name) => text::one_line(&name),
        };
        let ended = owed.alerts.iter().filter(|(_, alert)| alert.is_resolved(now_ms));
        let late = ended.clone().filter(|(fingerprint, _)| owed.untold.contains(*fingerprint)).count();
        let resolved = ended.count();
        let lasted = |alert: &Arc<Alert>| (alert.ends_ms.min(now_ms) - alert.starts_ms).max(0);
        let past = owed.past.values();
        Self {
            times: owed.alerts.len() as u64 + past.clone().map(|past| u64::from(past.times)).sum::<u64>(),
            fired_ms: owed.alerts.values().map(lasted).sum::<i64>() + past.map(|past| past.ms).sum::<i64>(),
            name: text::truncated(&name, NAME_CHARS_MAX),
            firing: owed.alerts.len() - resolved,
            resolved,
            late,
            has_held: !owed.held.is_empty(),
        }
    }

    pub(super) fn is_firing(&self) -> bool {
        self.firing > 0 || self.has_held
    }

    /// As it is read in a digest: `[FIRING:1] alertname=Down: 3 times, 2h 5m`.
    fn digest_line(&self) -> String {
        let state = match (self.firing, self.is_firing()) {
            (0, true) => "[FIRING]".to_owned(),
            (firing, true) => format!("[FIRING:{firing}]"),
            (_, false) => "[RESOLVED]".to_owned(),
        };
        let times = if self.times == 1 { "once" } else { &format!("{} times", self.times) };
        format!("{state} {}: {times}, {}", self.name, lasting(self.fired_ms))
    }

    /// As it is read: `[FIRING:2, RESOLVED:1] alertname=Down`.
    fn line(&self) -> String {
        let mut counts = Vec::new();
        if self.is_firing() {
            counts.push(format!("FIRING:{}", self.firing));
        }
        if self.resolved > 0 {
            counts.push(format!("RESOLVED:{}", self.resolved));
        }
        format!("[{}] {}", counts.join(", "), self.name)
    }
}

/// A time in days, hours and minutes, the two largest of them.
fn lasting(ms: i64) -> String {
    let minutes = ms / 60_000;
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than 1m".to_owned(),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// Pairs that all have; none if there is nobody.
pub(crate) fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = all.next() else { return Labels::default() };
    let mut pairs: Vec<(&str, &str)> = first.iter().collect();
    for labels in all {
        pairs.retain(|(name, value)| labels.get(name) == *value);
    }
    pairs.into_iter().collect()
}

/// Alertmanager's order: by job and instance, those without them last, then by all labels.
fn in_order(a: &Alert, b: &Alert) -> Ordering {
    let of = |name: &str| {
        let (a, b) = (a.labels.get(name), b.labels.get(name));
        a.is_empty().cmp(&b.is_empty()).then_with(|| a.cmp(b))
    };
    of("job").then_with(|| of("instance")).then_with(|| a.labels.in_order(&b.labels))
}
