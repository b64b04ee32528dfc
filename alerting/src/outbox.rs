//! What receivers are owed, until they have it.
//!
//! Filled by the dispatcher with intents that are on disk already; asked by the senders for what may go out now, and told what became of it.
//! Invariants: of one group and integration one message is under way at a time, so they arrive in order; what waits for another reason is
//! sent as things stand when it goes out, not as they stood; a destination is asked no more often than it allows, and not at all until the
//! time it names; whoever is owed something is told, or somebody is told that he was not: nothing is dropped silently.
//! Not here: what messages look like, how they travel (`notify`), what a clock says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use hashbrown::HashMap;

use crate::{Labels, alerts::Alert, config::receiver::ReceiverKind, dedup::Reason};

/// First pause after a failure; it doubles with each.
const PAUSE_MS: i64 = 1_000;
/// Longest pause.
const PAUSE_MS_MAX: i64 = 300_000;
/// A destination that asks for a longer pause is asked again after this one: some send nonsense.
const PARKED_MS_MAX: i64 = 900_000;
/// So long is tried what may still succeed; what is older nobody can act on.
const TRIED_MS_MAX: i64 = 24 * 3_600_000;
/// After so long without success the fallback is told as well.
const FALLBACK_AFTER_MS: i64 = 600_000;
/// With more than so many groups waiting for one destination that takes summaries, they are named in one message.
const STORM: usize = 30;
/// Messages under way to one destination that knows no rate.
const UNDER_WAY_MAX: usize = 8;
/// Messages under way to all of them: each has a thread, and a receiver that hangs keeps it for half a minute.
const ALL_UNDER_WAY_MAX: usize = 64;
/// Answers to questions that are under way: each may be asked for minutes, and is held in memory with its file.
const QUESTIONS_UNDER_WAY_MAX: usize = 2;
/// Groups of one digest; what is beyond is another one. A message names as many as it has room for, and counts the others.
const DIGEST_GROUPS_MAX: usize = 10_000;
/// Groups named in one message: at some 100 bytes each they fit what chats take.
const SUMMARY_GROUPS_MAX: usize = 100;

/// Who is told of what: a group, and an integration of a receiver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The group's key.
    pub group: Arc<str>,
    /// The receiver's name.
    pub receiver: Arc<str>,
    /// By what.
    pub kind: ReceiverKind,
    /// Which one of the receiver's integrations of this kind, from 0: others that come or go change nothing.
    pub integration: usize,
}

/// Something that is owed.
#[derive(Debug, Clone)]
pub struct Owed {
    /// Names it in the history: of the intent that is kept.
    pub id: u128,
    /// Who is owed what.
    pub key: Key,
    /// Where it goes: integrations with the same share a rate.
    pub destination: Arc<str>,
    /// Labels that the group's alerts have in common.
    pub group_labels: Labels,
    /// Labels of the route.
    pub route_labels: Labels,
    /// Intents that are one with it, because they came before it went out.
    pub merged: Vec<u128>,
    /// Why.
    pub reason: Reason,
    /// Who is the reason, if somebody is.
    pub by: Option<Arc<str>>,
    /// Alerts by fingerprint; ends are those that are known.
    pub alerts: BTreeMap<u64, Arc<Alert>>,
    /// Of its alerts, those that were owed as firing and of which no message went out: they are told, though they ended since.
    pub untold: BTreeSet<u64>,
    /// Alerts that fire, but are silenced, inhibited or muted: the group has not ended.
    pub held: BTreeSet<u64>,
    /// Earlier occurrences of its alerts, by fingerprint, that were owed and are told with it.
    pub past: BTreeMap<u64, Past>,
    /// Since when it is due, milliseconds; that of a digest is to come.
    pub since_ms: i64,
    /// Is it told with all else that is due by then?
    pub is_digest: bool,
    /// Failures so far.
    pub failures: u32,
    /// Was the fallback told?
    pub fell_back: bool,
    /// Who should have been told and could not be, if this is owed to somebody in place of it.
    pub fallback_of: Option<Arc<str>>,
}

/// Occurrences of an alert that are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// How many.
    pub times: u32,
    /// How long they were in all, milliseconds.
    pub ms: i64,
}

/// How often a destination may be asked, and whether it takes one message for many groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time that one message takes, milliseconds; 0 for as many as come.
    pub every_ms: i64,
    /// Messages that may go out at once after a pause.
    pub burst: u32,
    /// May groups be named in one message when too many wait?
    pub takes_summaries: bool,
}

/// What goes out now.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "it is one mostly, and there are as many as messages under way")]
pub enum Attempt {
    /// One group's message.
    One(Owed),
    /// Many groups, by name.
    Summary(Vec<Owed>),
}

/// What a destination answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has it.
    Sent,
    /// It may have it later.
    Failed(String),
    /// It wants to be asked again after a time, milliseconds.
    Limited(i64, String),
    /// It will never take it.
    Refused(String),
}

/// What became of something owed, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was told.
    Sent,
    /// It is tried again at a time, milliseconds.
    Waits(i64, String),
    /// It is given up: why.
    Dead(String),
}

/// An end of an attempt: fates by id, and what fallbacks are owed now.
#[derive(Debug, Default)]
pub struct Ended {
    /// What became of each.
    pub fates: Vec<(Owed, Fate)>,
    /// What has failed for so long, or for good, that somebody else is to be told.
    pub fallbacks: Vec<(Owed, String)>,
}

#[derive(Debug, Default)]
struct Destination {
    rate: Option<Rate>,
    /// When the next message is allowed by rate: a bucket as a time that runs ahead (GCRA).
    allowed_ms: i64,
    /// Not asked before this time, because it said so.
    parked_ms: i64,
    /// Keys that wait, the oldest first.
    waiting: VecDeque<Key>,
    /// Messages under way.
    under_way: usize,
    /// Is it told answers to questions? Then it is told nothing else.
    is_of_questions: bool,
}

#[derive(Debug)]
struct Entry {
    owed: Owed,
    /// Not before this time.
    next_ms: i64,
    is_under_way: bool,
    /// What came while it was under way.
    behind: Option<Owed>,
}

impl Destination {
    /// Are as many messages under way as may be? One, where there is a rate: it may be told to wait.
    fn is_busy(&self) -> bool {
        let most = if self.rate.is_some_and(|rate| rate.every_ms > 0) { 1 } else { UNDER_WAY_MAX };
        self.under_way >= most
    }

    /// From when on the next message is allowed.
    fn opens_ms(&self) -> i64 {
        let ahead = self.rate.map_or(0, |rate| rate.every_ms * i64::from(rate.burst.saturating_sub(1)));
        self.parked_ms.max(self.allowed_ms - ahead)
    }

    /// The next message that may go out.
    fn next(&mut self, entries: &mut HashMap<Key, Entry>, now_ms: i64) -> Option<Attempt> {
        if self.is_busy() || self.opens_ms() > now_ms {
            return None;
        }
        let is_ready = |key: &Key| entries.get(key).is_some_and(|entry| entry.next_ms <= now_ms);
        let ready: Vec<&Key> = self.waiting.iter().filter(|key| is_ready(key)).collect();
        // Digests have destinations of their own: one is, all are.
        let first = ready.first().and_then(|key| entries.get(*key));
        let is_digest = first.is_some_and(|entry| entry.owed.is_digest);
        let is_storm = ready.len() > STORM && self.rate.is_some_and(|rate| rate.takes_summaries);
        let mut left = match (is_digest, is_storm) {
            (true, _) => DIGEST_GROUPS_MAX,
            (false, true) => SUMMARY_GROUPS_MAX,
            (false, false) => 1,
        };
        let (taken, waiting): (Vec<Key>, Vec<Key>) = mem::take(&mut self.waiting).into_iter().partition(|key| {
            let takes = left > 0 && is_ready(key);
            left -= usize::from(takes);
            takes
        });
        self.waiting = waiting.into();
        let mut owed: Vec<Owed> = Vec::with_capacity(taken.len());
        for key in taken {
            if let Some(entry) = entries.get_mut(&key) {
                entry.is_under_way = true;
                owed.push(entry.owed.clone());
            }
        }
        let attempt = if is_digest || is_storm { Attempt::Summary(owed) } else { Attempt::One(owed.pop()?) };
        self.under_way += 1;
        self.allowed_ms = self.allowed_ms.max(now_ms) + self.rate.map_or(0, |rate| rate.every_ms);
        Some(attempt)
    }
}

impl Owed {
    /// This and what is owed after it, in one: as things are now, and with what was never told.
    fn followed_by(mut self, later: Self) -> Self {
        if later.reason.is_remark() && !self.reason.is_remark() {
            // What it says of alerts is still to be told; the remark is told with it.
            self.merged.push(later.id);
            self.merged.extend(later.merged);
            return Self { by: later.by, destination: later.destination, ..self };
        }
        let Self { id, since_ms, failures, fell_back, mut alerts, mut untold, mut merged, mut past, .. } = self;
        let (mut since_ms, mut failures, mut fell_back) = (since_ms.min(later.since_ms), failures, fell_back);
        if self.reason.is_remark() {
            // However long a remark waited, what is owed of alerts has all its time, and its fallback.
            (since_ms, failures, fell_back) = (later.since_ms, later.failures, later.fell_back);
        }
        for (fingerprint, Past { times, ms }) in later.past {
            let known = past.entry(fingerprint).or_default();
            (known.times, known.ms) = (known.times + times, known.ms + ms);
        }
        for (fingerprint, alert) in later.alerts {
            let Some(before) = alerts.insert(fingerprint, Arc::clone(&alert)) else { continue };
            if before.starts_ms < alert.starts_ms {
                // It ended and began anew; its end was a guess if nobody was told of it.
                let known = past.entry(fingerprint).or_default();
                known.times += 1;
                known.ms += before.ends_ms.min(alert.starts_ms) - before.starts_ms;
            }
        }
        untold.extend(later.untold);
        merged.push(later.id);
        merged.extend(later.merged);
        // What was never told as firing stays the first that is told, though it has ended since; and what nobody looks at has to be seen.
        let reason = match (self.reason, later.reason) {
            (Reason::First, _) => Reason::First,
            (Reason::Unsilenced, reason) if reason != Reason::AllResolved => Reason::Unsilenced,
            (_, reason) => reason,
        };
        Self { id, since_ms, failures, fell_back, alerts, untold, merged, past, reason, ..later }
    }
}

impl Owed {
    /// Takes over from what was owed before it and is given up: its receiver knows nothing of that.
    fn inherit(&mut self, dead: &Self) {
        if self.reason.is_remark() || dead.reason.is_remark() {
            return;
        }
        self.untold.extend(dead.untold.iter().filter(|fingerprint| self.alerts.contains_key(*fingerprint)));
        if dead.reason == Reason::First {
            self.reason = Reason::First;
        }
    }
}

/// Pause after so many failures, all of it random but for a tenth, so that those who failed together do not return together.
fn pause_ms(failures: u32, jitter: f64) -> i64 {
    let longest = PAUSE_MS.saturating_mul(1 << failures.min(20)).min(PAUSE_MS_MAX);
    let random = (longest as f64 * jitter.clamp(0.0, 1.0)).round();
    #[expect(clippy::cast_possible_truncation, reason = "it is between 0 and the longest pause")]
    let random = random as i64;
    random.max(longest / 10)
}

fn destination_of<'a>(all: &'a mut HashMap<Arc<str>, Destination>, name: &Arc<str>) -> &'a mut Destination {
    all.entry(Arc::clone(name)).or_default()
}

/// Everything that is owed.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: HashMap<Key, Entry>,
    destinations: HashMap<Arc<str>, Destination>,
}

impl Outbox {
    /// Adds what is owed, and is on disk. What waits already of the same group and integration is one with it.
    pub fn owe(&mut self, owed: Owed, rate: Rate) {
        let destination = destination_of(&mut self.destinations, &owed.destination);
        destination.rate = Some(rate);
        destination.is_of_questions = owed.reason == Reason::Scheduled;
        match self.entries.get_mut(&owed.key) {
            None => {
                destination.waiting.push_back(owed.key.clone());
                let next_ms = owed.since_ms;
                self.entries.insert(owed.key.clone(), Entry { owed, next_ms, is_under_way: false, behind: None });
            }
            Some(entry) if entry.is_under_way => {
                entry.behind = Some(match entry.behind.take() {
                    Some(before) => before.followed_by(owed),
                    None => owed,
                });
            }
            Some(entry) => {
                let before = Arc::clone(&entry.owed.destination);
                entry.owed = entry.owed.clone().followed_by(owed);
                let Owed { key, destination, since_ms, .. } = &entry.owed;
                if *destination == before {
                    return;
                }
                // The receiver was configured anew: it waits where it goes to now, and has not failed there.
                destination_of(&mut self.destinations, destination).waiting.push_back(key.clone());
                entry.next_ms = *since_ms;
                destination_of(&mut self.destinations, &before).waiting.retain(|waiting| waiting != key);
            }
        }
    }

    /// What may go out now, each marked as under way; the caller says later [what became of it](Self::ended).
    pub fn take(&mut self, now_ms: i64) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let mut room = ALL_UNDER_WAY_MAX.saturating_sub(self.under_way());
        let mut room_of_questions = QUESTIONS_UNDER_WAY_MAX.saturating_sub(self.questions_under_way());
        // Those that are asked least come first: what hangs leaves room for the others.
        for level in 0..UNDER_WAY_MAX {
            for destination in self.destinations.values_mut() {
                let is_of_questions = destination.is_of_questions;
                while room > 0
                    && destination.under_way <= level
                    && (!is_of_questions || room_of_questions > 0)
                    && let Some(attempt) = destination.next(&mut self.entries, now_ms)
                {
                    room -= 1;
                    room_of_questions -= usize::from(is_of_questions);
                    attempts.push(attempt);
                }
            }
        }
        attempts
    }

    /// Takes an answer in. `jitter` is a random number from 0 to 1.
    pub fn ended(&mut self, attempt: Attempt, verdict: &Verdict, now_ms: i64, jitter: f64) -> Ended {
        let all = match attempt {
            Attempt::One(owed) => vec![owed],
            Attempt::Summary(all) => all,
        };
        let mut ended = Ended::default();
        if let Some(destination) = all.first().and_then(|owed| self.destinations.get_mut(&owed.destination)) {
            destination.under_way = destination.under_way.saturating_sub(1);
            if let Verdict::Limited(after_ms, _) = verdict {
                destination.parked_ms = now_ms + (*after_ms).clamp(0, PARKED_MS_MAX);
            }
        }
        for owed in all {
            self.end(owed, verdict, (now_ms, jitter), &mut ended);
        }
        ended
    }

    /// Is something of alerts owed under this key, and not a remark only?
    #[must_use]
    pub fn owes_alerts(&self, key: &Key) -> bool {
        self.owes(key).is_some_and(|owed| !owed.reason.is_remark())
    }

    fn end(&mut self, mut owed: Owed, verdict: &Verdict, (now_ms, jitter): (i64, f64), ended: &mut Ended) {
        let Some(entry) = self.entries.get_mut(&owed.key) else { return };
        entry.is_under_way = false;
        let mut behind = entry.behind.take();
        let (why, next_ms) = match verdict {
            Verdict::Sent | Verdict::Refused(_) => {
                let fate = match verdict {
                    Verdict::Refused(why) => Fate::Dead(why.clone()),
                    _ => Fate::Sent,
                };
                if let (Fate::Dead(_), Some(behind)) = (&fate, &mut behind) {
                    behind.inherit(&owed);
                }
                self.go_on(&owed.key, behind);
                if let Fate::Dead(why) = &fate
                    && !owed.fell_back
                {
                    ended.fallbacks.push((owed.clone(), why.clone()));
                }
                return ended.fates.push((owed, fate));
            }
            Verdict::Failed(why) => (why, now_ms + pause_ms(owed.failures, jitter)),
            // Whoever is limited waits for the destination; it has not failed.
            Verdict::Limited(after_ms, why) => (why, now_ms + (*after_ms).clamp(0, PARKED_MS_MAX)),
        };
        if now_ms - owed.since_ms >= TRIED_MS_MAX {
            if let Some(behind) = &mut behind {
                behind.inherit(&owed);
            }
            self.go_on(&owed.key, behind);
            return ended.fates.push((owed, Fate::Dead(format!("given up after a day: {why}"))));
        }
        if matches!(verdict, Verdict::Failed(_)) {
            owed.failures += 1;
        }
        if now_ms - owed.since_ms >= FALLBACK_AFTER_MS && !owed.fell_back {
            owed.fell_back = true;
            ended.fallbacks.push((owed.clone(), why.clone()));
        }
        ended.fates.push((owed.clone(), Fate::Waits(next_ms, why.clone())));
        entry.owed = match behind {
            Some(behind) => owed.followed_by(behind),
            None => owed,
        };
        entry.next_ms = next_ms;
        let (key, destination) = (entry.owed.key.clone(), Arc::clone(&entry.owed.destination));
        self.destinations.entry(destination).or_default().waiting.push_back(key);
    }

    /// Puts what came meanwhile in the place of what has ended.
    fn go_on(&mut self, key: &Key, behind: Option<Owed>) {
        self.entries.remove(key);
        let Some(owed) = behind else { return };
        let rate = self.destinations.get(&owed.destination).and_then(|destination| destination.rate);
        self.owe(owed, rate.unwrap_or(Rate { every_ms: 0, burst: 1, takes_summaries: false }));
    }

    /// How many messages are under way.
    fn under_way(&self) -> usize {
        self.destinations.values().map(|destination| destination.under_way).sum()
    }

    /// How many of them are answers to questions.
    fn questions_under_way(&self) -> usize {
        self.destinations.values().filter(|of| of.is_of_questions).map(|of| of.under_way).sum()
    }

    /// When something may go out next, milliseconds; none if nothing waits, or all that waits does so for an answer.
    #[must_use]
    pub fn wakes_ms(&self) -> Option<i64> {
        if self.under_way() >= ALL_UNDER_WAY_MAX {
            return None;
        }
        let no_questions = self.questions_under_way() >= QUESTIONS_UNDER_WAY_MAX;
        let of = |destination: &Destination| {
            if destination.is_busy() || (destination.is_of_questions && no_questions) {
                return None;
            }
            let first = destination.waiting.iter().filter_map(|key| Some(self.entries.get(key)?.next_ms)).min()?;
            Some(first.max(destination.opens_ms()))
        };
        self.destinations.values().filter_map(of).min()
    }

    /// How much is owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is nothing owed?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is something owed under this key?
    #[must_use]
    pub fn owes(&self, key: &Key) -> Option<&Owed> {
        let entry = self.entries.get(key)?;
        Some(entry.behind.as_ref().unwrap_or(&entry.owed))
    }
}

#[cfg(test)]
mod tests;
