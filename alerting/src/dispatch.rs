//! Gathers alerts into groups, and says when a group owes its receivers a notification, and why not.
//!
//! Fed with alerts as they change; asked from time to time what is [due](Dispatcher::due), which changes nothing; told to
//! [go on](Dispatcher::went) once that is on disk. Invariants: what a receiver was told is what it is owed and cannot be lost any more; an
//! alert that it was told of and that is silenced, inhibited or muted since has not ended, and its end is told; every alert that is kept
//! from a receiver has a reason. Not here: what is silenced (`silence`), messages and senders (`outbox`, `notify`).
//! Spec: Alertmanager's dispatcher and its notification pipeline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hashbrown::{HashMap, HashSet};

use crate::{
    Daily, Labels, Route,
    alerts::Alert,
    config::receiver::ReceiverKind,
    dedup::{self, Question, Reason, Told},
    incident::Incidents,
    outbox::{Key, Owed, Rate},
};

/// A way to tell a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// What it is.
    pub kind: ReceiverKind,
    /// Where messages go; those with the same share a rate.
    pub destination: Arc<str>,
    /// Is it told of ends?
    pub sends_resolved: bool,
    /// How often it may be told.
    pub rate: Rate,
    /// When it is told of a whole day in one message, if it is.
    pub digest: Option<Daily>,
    /// Is it told when all that it knows as firing is silenced?
    pub hears_of_silence: bool,
}

/// What still fires is in each digest, though the route repeats itself less often than that.
const DIGEST_REPEAT_MS: i64 = 12 * 3_600_000;

impl Integration {
    /// When something is due that is owed from a time on.
    #[must_use]
    pub fn due_ms(&self, owed_ms: i64) -> i64 {
        self.digest.map_or(owed_ms, |digest| digest.next_ms(owed_ms))
    }

    fn repeat_ms(&self, route: &Route) -> i64 {
        let repeat_ms = ms(route.repeat_interval());
        if self.digest.is_some() { repeat_ms.min(DIGEST_REPEAT_MS) } else { repeat_ms }
    }
}

/// Why a receiver is not told of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quiet {
    /// By silences, by id.
    Silenced(Vec<String>),
    /// By another alert, by fingerprint.
    Inhibited(Vec<u64>),
    /// By a time, by its name.
    Muted(Vec<String>),
    /// By somebody who has taken the incident, so that it is not repeated.
    Acknowledged(Arc<str>),
}

/// What receivers know, and what they told us. It outlives a configuration.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// What they were told.
    pub told: HashMap<Key, Told>,
    /// Who took what there.
    pub incidents: Incidents,
}

/// Says what is quiet; implemented where silences, inhibition rules and times are known.
pub trait Hush {
    /// Why an alert is not told, if it is not.
    fn quiet(&self, alert: &Alert, route: &Route, now_ms: i64) -> Option<Quiet>;
}

/// Where an alert goes: routes with the labels of its groups.
pub type Ways<'a> = dyn Fn(&Labels) -> Vec<(Arc<Route>, Labels)> + 'a;

/// Where a group is: the id of its route, and its labels.
type Place = (Arc<str>, Labels);

/// Alerts that are told together.
#[derive(Debug)]
pub struct Group {
    /// Its name: that of the route, and its labels.
    pub key: Arc<str>,
    /// How it is told.
    pub route: Arc<Route>,
    /// What its alerts have in common, as the route says.
    pub labels: Labels,
    alerts: HashMap<Labels, Arc<Alert>>,
    next_ms: i64,
    has_flushed: bool,
}

impl Group {
    /// Its alerts, in no order.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.alerts.values()
    }
}

/// Something that is not told, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// From whom it is kept.
    pub key: Key,
    /// Alerts by fingerprint, and why; none of an alert that is known already.
    pub alerts: BTreeMap<u64, Option<Quiet>>,
}

/// What groups owe now.
#[derive(Debug, Default)]
pub struct Due {
    /// Intents, in no order.
    pub owed: Vec<(Owed, Rate)>,
    /// What is kept from receivers, as far as that is news.
    pub kept: Vec<Kept>,
    /// Groups that were flushed, each with its alerts as they were.
    pub(crate) flushed: Vec<(Place, Vec<Arc<Alert>>)>,
    told: Vec<(Key, Told)>,
}

impl Due {
    /// Leaves for later what is remarked to those who are still owed what it is about.
    pub fn wait_for(&mut self, owes_alerts: impl Fn(&Key) -> bool) {
        let waits = |owed: &Owed| owed.reason.is_remark() && owes_alerts(&owed.key);
        let waiting: HashSet<Key> =
            self.owed.extract_if(.., |(owed, _)| waits(owed)).map(|(owed, _)| owed.key).collect();
        self.told.retain(|(key, _)| !waiting.contains(key));
    }
}

/// All groups, and what receivers know of them.
#[derive(Debug, Default)]
pub struct Dispatcher {
    receivers: BTreeMap<Arc<str>, Arc<[Integration]>>,
    /// By route and key: routes with the same matchers share keys, not groups.
    groups: HashMap<Place, Group>,
    memory: Memory,
    /// What was last written down as kept.
    kept: HashMap<Key, BTreeMap<u64, Option<Quiet>>>,
}

impl Dispatcher {
    /// With receivers, and what they know.
    #[must_use]
    pub fn new(receivers: BTreeMap<Arc<str>, Arc<[Integration]>>, memory: Memory) -> Self {
        Self { receivers, groups: HashMap::new(), memory, kept: HashMap::new() }
    }

    /// Puts an alert into its groups.
    pub fn take(&mut self, alert: &Arc<Alert>, ways: &Ways<'_>, now_ms: i64) {
        for (route, labels) in ways(&alert.labels) {
            let group = self.groups.entry((route.id().into(), labels)).or_insert_with_key(|(_, labels)| Group {
                key: route.group_key(labels).into(),
                next_ms: now_ms + ms(route.group_wait()),
                route,
                labels: labels.clone(),
                alerts: HashMap::new(),
                has_flushed: false,
            });
            // What fires for longer than a group would have waited waits no more.
            if !group.has_flushed && alert.starts_ms + ms(group.route.group_wait()) < now_ms {
                group.next_ms = now_ms;
            }
            group.alerts.insert(alert.labels.clone(), Arc::clone(alert));
        }
    }

    /// What is due, and what is kept. Nothing changes before it [went](Self::went); `id` gives each intent its name.
    #[must_use]
    pub fn due(&self, hush: &dyn Hush, now_ms: i64, mut id: impl FnMut() -> u128) -> Due {
        let mut due = Due::default();
        for (place, group) in self.groups.iter().filter(|(_, group)| group.next_ms <= now_ms) {
            let alerts: Vec<Standing> =
                group.alerts.values().map(|alert| Standing::of(alert, group, hush, now_ms)).collect();
            let receiver = Arc::from(group.route.receiver());
            for (key, integration) in self.integrations(&receiver, &group.key) {
                let (owed, kept) = self.ask(&key, integration, (group, &alerts), now_ms);
                due.kept.extend(kept);
                if let Some((owed, told)) = owed {
                    due.owed.push((Owed { id: id(), ..owed }, integration.rate));
                    due.told.push((key, told));
                }
            }
            due.flushed.push((place.clone(), group.alerts.values().cloned().collect()));
        }
        due
    }

    /// What one integration is owed of a group, and what is kept from it.
    fn ask(
        &self,
        key: &Key,
        integration: &Integration,
        (group, alerts): (&Group, &[Standing]),
        now_ms: i64,
    ) -> (Option<(Owed, Told)>, Option<Kept>) {
        let told = self.memory.told.get(key);
        let taken_by = self.memory.incidents.taken_by(key);
        let was_told = |fingerprint: u64| told.is_some_and(|told| told.firing.contains(&fingerprint));
        let (mut firing, mut resolved, mut held) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut kept = BTreeMap::new();
        for Standing { fingerprint, is_resolved, quiet, .. } in alerts {
            let is_known = was_told(*fingerprint);
            match (quiet, is_resolved) {
                (None, false) => drop(firing.insert(*fingerprint)),
                (None, true) => drop(resolved.insert(*fingerprint)),
                // Whoever was told that it fires is told that it does not any more.
                (Some(_), true) if is_known => drop(resolved.insert(*fingerprint)),
                (Some(quiet), false) if is_known => {
                    held.insert(*fingerprint);
                    kept.insert(*fingerprint, Some(quiet.clone()));
                }
                (Some(quiet), _) => drop(kept.insert(*fingerprint, Some(quiet.clone()))),
            }
        }
        let is_active: BTreeSet<u64> = firing.union(&held).copied().collect();
        let once =
            alerts.iter().filter(|standing| firing.contains(&standing.fingerprint)).all(|standing| standing.once);
        let question = Question {
            firing: &is_active,
            resolved: &resolved,
            sends_resolved: integration.sends_resolved,
            repeat_ms: (!firing.is_empty() && !once && taken_by.is_none())
                .then_some(integration.repeat_ms(&group.route)),
            now_ms,
        };
        let due = dedup::due(told, question);
        let hears = integration.hears_of_silence && taken_by.is_none();
        let silence = told.filter(|_| hears).and_then(|told| of_silence(told, &firing, (alerts, &held)));
        // Whatever else is new: nobody looks at what was taken because it was silenced.
        let reason = silence.filter(|reason| *reason == Reason::Unsilenced).or(due).or(silence);
        if reason.is_none() {
            let quiet = taken_by.map(|by| Quiet::Acknowledged(Arc::clone(by)));
            kept.extend(firing.iter().map(|fingerprint| (*fingerprint, quiet.clone())));
        }
        let is_news = !kept.is_empty() && self.kept.get(key) != Some(&kept);
        let kept = is_news.then(|| Kept { key: key.clone(), alerts: kept });
        let Some(reason) = reason else { return (None, kept) };
        let is_told =
            |standing: &&Standing| firing.contains(&standing.fingerprint) || resolved.contains(&standing.fingerprint);
        let told_alerts =
            alerts.iter().filter(is_told).map(|standing| (standing.fingerprint, Arc::clone(&standing.alert)));
        let owed = Owed {
            id: 0,
            key: key.clone(),
            destination: Arc::clone(&integration.destination),
            group_labels: group.labels.clone(),
            route_labels: group.route.labels().iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
            merged: Vec::new(),
            reason,
            by: None,
            alerts: told_alerts.collect(),
            untold: firing.into_iter().filter(|fingerprint| !was_told(*fingerprint)).collect(),
            held,
            past: BTreeMap::new(),
            since_ms: integration.due_ms(now_ms),
            is_digest: integration.digest.is_some(),
            failures: 0,
            // Nobody is told that a remark could not be made.
            fell_back: reason.is_remark(),
            fallback_of: None,
        };
        let began_ms = Told::began_ms(told, now_ms);
        let now = Told { at_ms: now_ms, began_ms, firing: is_active, resolved, is_silenced: false };
        let heard = |told: &Told| Told { is_silenced: true, ..told.clone() };
        let told = told.filter(|_| reason == Reason::Silenced).map_or(now, heard);
        (Some((owed, told)), kept)
    }

    /// Goes on: what was due is on disk.
    pub fn went(&mut self, due: Due, now_ms: i64) {
        for (place, alerts) in due.flushed {
            let Some(group) = self.groups.get_mut(&place) else { continue };
            (group.next_ms, group.has_flushed) = (now_ms + ms(group.route.group_interval()), true);
            for alert in alerts.iter().filter(|alert| alert.is_resolved(now_ms)) {
                // It may have begun anew meanwhile.
                if group.alerts.get(&alert.labels).is_some_and(|now| Arc::ptr_eq(now, alert)) {
                    group.alerts.remove(&alert.labels);
                }
            }
            if group.alerts.is_empty() {
                self.groups.remove(&place);
            }
        }
        for (key, told) in due.told {
            // What fires next is another incident.
            if told.firing.is_empty() {
                self.memory.incidents.forget(&key);
            }
            self.memory.told.insert(key, told);
        }
        self.kept.extend(due.kept.into_iter().map(|kept| (kept.key, kept.alerts)));
    }

    /// A receiver will never have what it was owed: the next flush owes it anew.
    pub fn failed(&mut self, key: &Key) {
        self.memory.told.remove(key);
    }

    /// When a group is due next, milliseconds; none if there is none.
    #[must_use]
    pub fn wakes_ms(&self) -> Option<i64> {
        self.groups.values().map(|group| group.next_ms).min()
    }

    /// The integrations of a receiver, each with the key that it has for a group.
    pub fn integrations<'a>(
        &'a self,
        receiver: &'a Arc<str>,
        group: &Arc<str>,
    ) -> impl Iterator<Item = (Key, &'a Integration)> + use<'a> {
        let group = Arc::clone(group);
        let all = self.receivers.get(receiver).map(|all| &**all).unwrap_or_default();
        let number = |nth: usize| all[..nth].iter().filter(|before| before.kind == all[nth].kind).count();
        all.iter().enumerate().map(move |(nth, integration)| {
            let (group, receiver) = (Arc::clone(&group), Arc::clone(receiver));
            (Key { group, receiver, kind: integration.kind, integration: number(nth) }, integration)
        })
    }

    /// The integration of a key, if it is configured.
    #[must_use]
    pub fn integration(&self, key: &Key) -> Option<&Integration> {
        let all = self.receivers.get(&key.receiver)?;
        all.iter().filter(|integration| integration.kind == key.kind).nth(key.integration)
    }

    /// What receivers know, for a dispatcher after this one.
    #[must_use]
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// What became of incidents.
    #[must_use]
    pub fn incidents(&self) -> &Incidents {
        &self.memory.incidents
    }

    /// The same, to be changed.
    pub fn incidents_mut(&mut self) -> &mut Incidents {
        &mut self.memory.incidents
    }

    /// Nobody has an incident any more: if all of it is silenced still, that is told again.
    pub fn given_up(&mut self, key: &Key) {
        if let Some(told) = self.memory.told.get_mut(key) {
            told.is_silenced = false;
        }
    }

    /// Is a receiver told, or was it, of the group of a key?
    #[must_use]
    pub fn knows(&self, key: &Key) -> Option<&Told> {
        self.memory.told.get(key)
    }

    /// The groups, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Forgets what receivers were told of groups that are gone for so long that they would be told anew.
    pub fn sweep(&mut self, now_ms: i64, kept_ms: i64) {
        let groups: HashSet<&str> = self.groups.values().map(|group| &*group.key).collect();
        let Memory { told, incidents } = &mut self.memory;
        told.retain(|key, told| told.at_ms > now_ms - kept_ms || groups.contains(&*key.group));
        incidents.retain(|key| told.contains_key(key));
        self.kept.retain(|key, _| groups.contains(&*key.group));
    }

    /// Is an alert of these labels in a group?
    #[must_use]
    pub fn has(&self, labels: &Labels) -> bool {
        self.groups.values().any(|group| group.alerts.contains_key(labels))
    }
}

/// An alert of a group at the time of a flush.
struct Standing {
    alert: Arc<Alert>,
    fingerprint: u64,
    is_resolved: bool,
    once: bool,
    quiet: Option<Quiet>,
}

impl Standing {
    fn of(alert: &Arc<Alert>, group: &Group, hush: &dyn Hush, now_ms: i64) -> Self {
        Self {
            fingerprint: alert.labels.fingerprint(),
            is_resolved: alert.is_resolved(now_ms),
            once: alert.once,
            quiet: hush.quiet(alert, &group.route, now_ms),
            alert: Arc::clone(alert),
        }
    }
}

/// What is to be told of silence: that all that is known as firing is silenced, or that something is not any more.
fn of_silence(told: &Told, firing: &BTreeSet<u64>, (alerts, held): (&[Standing], &BTreeSet<u64>)) -> Option<Reason> {
    match (told.is_silenced, firing.is_empty()) {
        (true, false) => Some(Reason::Unsilenced),
        (false, true) => are_silenced(alerts, held).then_some(Reason::Silenced),
        _ => None,
    }
}

/// Are these alerts silenced, one at least, and none of them quiet for another reason?
fn are_silenced(alerts: &[Standing], held: &BTreeSet<u64>) -> bool {
    let mut of_held = alerts.iter().filter(|standing| held.contains(&standing.fingerprint));
    !held.is_empty() && of_held.all(|standing| matches!(standing.quiet, Some(Quiet::Silenced(_))))
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
