//! Silences: alerts that are not told for a while, because somebody said so.
//!
//! Asked by the dispatcher for each alert; changed through the API, which writes a change down before it [counts](Silences::put).
//! Invariants: what a silence silences does not change under its id: a change that is more than that is another silence, and the old one
//! ends; whoever silences is named; one that would silence everything, or for too long, is refused.
//! Spec: Alertmanager's API v2, `/silences`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ALERTNAME, Error, Labels, Result,
    matcher::{Matcher, Matchers, Op},
};

/// Name of alerts that say that a silence ends soon.
pub const REMINDER: &str = "SilenceEnds";
/// Their label that has the silence's id.
pub const REMINDER_OF: &str = "silence";

/// A silence. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// What it silences: alerts that satisfy all of them.
    pub matchers: Matchers,
    /// From when on.
    pub starts_ms: i64,
    /// Until when, and without it.
    pub ends_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
    /// Who silences.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// A condition as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Label.
    pub name: String,
    /// Value or regular expression.
    pub value: String,
    /// Is the value a regular expression?
    pub is_regex: bool,
    /// Is it to match? So it is, if nothing is said.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Condition {
    /// A matcher, as JSON has it.
    #[must_use]
    pub fn of(matcher: &Matcher) -> Self {
        let (is_regex, is_equal) = match matcher.op() {
            Op::Equal => (false, true),
            Op::NotEqual => (false, false),
            Op::Regex => (true, true),
            Op::NotRegex => (true, false),
        };
        Self { name: matcher.name().to_owned(), value: matcher.value().to_owned(), is_regex, is_equal }
    }

    /// The matcher.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or the expression is none.
    pub fn matcher(&self) -> Result<Matcher> {
        let op = match (self.is_regex, self.is_equal) {
            (false, true) => Op::Equal,
            (false, false) => Op::NotEqual,
            (true, true) => Op::Regex,
            (true, false) => Op::NotRegex,
        };
        Matcher::new(&self.name, op, &self.value)
    }
}

/// Where a silence is in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It silences.
    Active,
    /// It will.
    Pending,
    /// It did.
    Expired,
}

impl Silence {
    /// Where it is in its time.
    #[must_use]
    pub fn state(&self, now_ms: i64) -> State {
        if now_ms >= self.ends_ms {
            State::Expired
        } else if now_ms < self.starts_ms {
            State::Pending
        } else {
            State::Active
        }
    }

    /// Does it silence an alert of these labels, in its time? Not what reminds of it.
    #[must_use]
    pub fn silences(&self, labels: &Labels) -> bool {
        self.matchers.matches(labels) && !(labels.get(ALERTNAME) == REMINDER && labels.get(REMINDER_OF) == self.id)
    }

    /// May it become another one under its id?
    fn may_become(&self, next: &Self, now_ms: i64) -> bool {
        let same_matchers = self.matchers == next.matchers;
        // Some who change a silence know when it begins to the second.
        let same_start = self.starts_ms.div_euclid(1_000) == next.starts_ms.div_euclid(1_000);
        match self.state(now_ms) {
            State::Active => same_matchers && same_start && next.ends_ms >= now_ms,
            State::Pending => same_matchers && next.starts_ms >= now_ms,
            State::Expired => false,
        }
    }
}

/// How much a silence may silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time, milliseconds.
    pub duration_ms_max: i64,
    /// Silences there may be that have not ended.
    pub silences_max: usize,
    /// Bytes of matchers, author and comment together.
    pub bytes_max: usize,
    /// Alerts that a new one may silence at once; any number if none is said.
    pub alerts_max: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        // What is silenced for more than a year is a rule that nobody needs.
        Self { duration_ms_max: 366 * 86_400_000, silences_max: 10_000, bytes_max: 64 << 10, alerts_max: None }
    }
}

/// All silences, those that ended not long ago among them.
#[derive(Debug, Default)]
pub struct Silences {
    all: BTreeMap<String, Arc<Silence>>,
    limits: Limits,
}

impl Silences {
    /// With those that are known.
    #[must_use]
    pub fn new(limits: Limits, known: impl IntoIterator<Item = Silence>) -> Self {
        let mut all = Self { all: BTreeMap::new(), limits };
        known.into_iter().for_each(|silence| all.put(silence));
        all
    }

    /// What has to be written down so that a silence becomes as asked; the last one is it. A new one has no id, and gets `id`.
    ///
    /// # Errors
    /// `Invalid` if it silences nothing, everything, or for too long, or nobody is named; `None` inside if there is none of its id.
    pub fn change(&self, mut asked: Silence, id: String, now_ms: i64) -> Result<Option<Vec<Silence>>> {
        let known = match asked.id.is_empty() {
            true => None,
            false => match self.all.get(&asked.id) {
                Some(known) => Some(known),
                None => return Ok(None),
            },
        };
        asked.updated_ms = now_ms;
        let is_update = known.is_some_and(|known| known.may_become(&asked, now_ms));
        if !is_update {
            asked.starts_ms = asked.starts_ms.max(now_ms);
        }
        self.check(&asked, now_ms)?;
        if is_update {
            return Ok(Some(vec![asked]));
        }
        let open = self.all.values().filter(|silence| silence.state(now_ms) != State::Expired).count();
        if open >= self.limits.silences_max {
            return Err(Error::invalid(format!(
                "there are as many silences as may be; expire some silences_max={}",
                self.limits.silences_max
            )));
        }
        let before = known.filter(|known| known.state(now_ms) != State::Expired).map(|known| ended(known, now_ms));
        let new = Silence { id, ..asked };
        Ok(Some(before.into_iter().chain([new]).collect()))
    }

    fn check(&self, silence: &Silence, now_ms: i64) -> Result<()> {
        let Silence { matchers, starts_ms, ends_ms, created_by, comment, .. } = silence;
        if matchers.iter().all(|matcher| matcher.matches_value("")) {
            return Err(Error::invalid("a silence needs a matcher that does not match what has no labels"));
        }
        // `alertname=~".+"` is no choice, whatever it is called.
        let chooses = |matcher: &Matcher| match matcher.op() {
            Op::Equal => !matcher.value().is_empty(),
            Op::NotEqual | Op::NotRegex => false,
            Op::Regex => !matcher.matches_value("\u{1}streamgauge\u{1}"),
        };
        if !matchers.iter().any(chooses) {
            return Err(Error::invalid(
                "a silence of everything is refused: name what is silenced, such as alertname=\"DiskFull\"",
            ));
        }
        if created_by.trim().is_empty() {
            return Err(Error::invalid("a silence needs to say who silences: createdBy"));
        }
        if ends_ms <= starts_ms {
            return Err(Error::invalid("a silence starts before it ends: look at startsAt and endsAt"));
        }
        if *ends_ms < now_ms {
            return Err(Error::invalid("a silence that has ended silences nothing: look at endsAt"));
        }
        if ends_ms - starts_ms > self.limits.duration_ms_max {
            let hours = self.limits.duration_ms_max / 3_600_000;
            return Err(Error::invalid(format!(
                "a silence lasts at most {hours} h here; silence it again when it ends"
            )));
        }
        let bytes: usize = matchers.iter().map(|matcher| matcher.name().len() + matcher.value().len()).sum();
        if bytes + created_by.len() + comment.len() > self.limits.bytes_max {
            return Err(Error::invalid(format!("a silence this large is refused bytes_max={}", self.limits.bytes_max)));
        }
        Ok(())
    }

    /// Refuses a silence that is about more alerts than one may be.
    ///
    /// # Errors
    /// `Invalid` if it is.
    pub fn check_breadth<'a>(&self, silence: &Silence, firing: impl Iterator<Item = &'a Labels>) -> Result<()> {
        let Some(alerts_max) = self.limits.alerts_max else { return Ok(()) };
        let count = firing.filter(|labels| silence.silences(labels)).count();
        if count <= alerts_max {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "this silences {count} alerts that fire now, which is more than one silence may; name more of what is silenced \
             alerts_max={alerts_max}"
        )))
    }

    /// The silence of an id as it is when it ends now, or as it is if it has ended; `None` if there is none.
    #[must_use]
    pub fn expire(&self, id: &str, now_ms: i64) -> Option<Silence> {
        let silence = self.all.get(id)?;
        let has_ended = silence.state(now_ms) == State::Expired;
        Some(if has_ended { Silence::clone(silence) } else { ended(silence, now_ms) })
    }

    /// Takes in a silence that is written down.
    pub fn put(&mut self, silence: Silence) {
        self.all.insert(silence.id.clone(), Arc::new(silence));
    }

    /// The silence of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Silence>> {
        self.all.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.all.values()
    }

    /// Ids of those that silence an alert now.
    #[must_use]
    pub fn silencing(&self, labels: &Labels, now_ms: i64) -> Vec<String> {
        let all = self.all.values().filter(|silence| silence.state(now_ms) == State::Active);
        all.filter(|silence| silence.silences(labels)).map(|silence| silence.id.clone()).collect()
    }

    /// Forgets those that ended before a time.
    pub fn sweep(&mut self, before_ms: i64) {
        self.all.retain(|_, silence| silence.ends_ms > before_ms);
    }
}

/// A silence that ends now; what has not begun never does.
fn ended(silence: &Silence, now_ms: i64) -> Silence {
    Silence { starts_ms: silence.starts_ms.min(now_ms), ends_ms: now_ms, updated_ms: now_ms, ..silence.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Mode;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_000 * HOUR;

    fn silence(id: &str, matchers: &str, hours: std::ops::Range<i64>) -> Silence {
        Silence {
            id: id.to_owned(),
            matchers: Matchers::parse(matchers, Mode::Fallback).unwrap(),
            starts_ms: NOW + hours.start * HOUR,
            ends_ms: NOW + hours.end * HOUR,
            updated_ms: 0,
            created_by: "ann".to_owned(),
            comment: String::new(),
        }
    }

    fn ids(changes: &[Silence]) -> Vec<&str> {
        changes.iter().map(|silence| silence.id.as_str()).collect()
    }

    #[test]
    fn a_silence_silences_what_it_matches_in_its_time() {
        let all = [silence("1", "alertname=a", 0..2), silence("2", "alertname=~a.*,env!=dev", 1..3)];
        let silences = Silences::new(Limits::default(), all);
        let labels = |name, env| [("alertname", name), ("env", env)].into_iter().collect::<Labels>();
        assert_eq!(silences.silencing(&labels("a", "prod"), NOW), ["1"]);
        assert_eq!(silences.silencing(&labels("a", "prod"), NOW + HOUR), ["1", "2"]);
        assert_eq!(silences.silencing(&labels("a", "dev"), NOW + 2 * HOUR), [""; 0]);
        assert_eq!(silences.silencing(&labels("ab", ""), NOW + 2 * HOUR), ["2"]);
    }

    #[test]
    fn only_its_end_and_comment_change_under_an_id() {
        let mut silences = Silences::new(Limits::default(), [silence("1", "alertname=a", -1..2)]);
        let longer = silence("1", "alertname=a", -1..5);
        let changes = silences.change(longer, "new".into(), NOW).unwrap().unwrap();
        assert_eq!((ids(&changes), changes[0].ends_ms), (vec!["1"], NOW + 5 * HOUR));
        // Some who change it know its begin to the second.
        let to_the_second = |ms| Silence { starts_ms: NOW - HOUR + ms, ..silence("1", "alertname=a", -1..5) };
        let ids_of = |asked| ids(&silences.change(asked, "new".into(), NOW).unwrap().unwrap()).join(" ");
        assert_eq!((ids_of(to_the_second(999)), ids_of(to_the_second(1_000))), ("1".to_owned(), "1 new".to_owned()));
        let other = silence("1", "alertname=b", -1..5);
        let changes = silences.change(other, "new".into(), NOW).unwrap().unwrap();
        assert_eq!(ids(&changes), ["1", "new"]);
        assert_eq!((changes[0].ends_ms, changes[1].starts_ms), (NOW, NOW), "the old one ends, the new one begins now");
        changes.into_iter().for_each(|change| silences.put(change));
        assert_eq!(silences.get("1").unwrap().state(NOW), State::Expired);
        // What has expired is not revived, but followed by another one.
        let changes = silences.change(silence("1", "alertname=a", -1..2), "third".into(), NOW).unwrap().unwrap();
        assert_eq!(ids(&changes), ["third"]);
        assert!(silences.change(silence("9", "alertname=a", 0..1), "x".into(), NOW).unwrap().is_none());
    }

    #[test]
    fn what_silences_too_much_is_refused() {
        let silences = Silences::default();
        let refused = |silence: Silence| silences.change(silence, "x".into(), NOW).unwrap_err().message().to_owned();
        for matchers in ["alertname=~\".*\"", "alertname=\"\"", "a!=b"] {
            assert!(refused(silence("", matchers, 0..1)).contains("does not match what has no labels"), "{matchers}");
        }
        for matchers in
            ["alertname=~\".+\"", "alertname!=\"\"", "a=~\".+\",b!=c", "a=~\".+\",b!~\"c\"", "alertname!~\"|zzz\""]
        {
            assert!(refused(silence("", matchers, 0..1)).contains("of everything is refused"), "{matchers}");
        }
        assert!(refused(silence("", "a=b", 0..9_000)).contains("lasts at most 8784 h"));
        assert!(refused(silence("", "a=b", 0..0)).contains("starts before it ends"));
        assert!(refused(silence("", "a=b", -3..-2)).contains("starts before it ends"));
        assert!(refused(Silence { created_by: " ".into(), ..silence("", "a=b", 0..1) }).contains("createdBy"));
        assert!(refused(Silence { comment: "x".repeat(70_000), ..silence("", "a=b", 0..1) }).contains("bytes_max"));
        let full = Silences::new(Limits { silences_max: 1, ..Limits::default() }, [silence("1", "a=b", 0..1)]);
        assert!(full.change(silence("", "a=b", 0..1), "x".into(), NOW).is_err());
        assert!(silences.change(silence("", "alertname=~\"Disk.*\"", 0..1), "x".into(), NOW).is_ok());
    }

    #[test]
    fn an_expired_silence_is_kept_for_a_while() {
        let mut silences = Silences::new(Limits::default(), [silence("1", "a=b", 1..2)]);
        let ended = silences.expire("1", NOW).unwrap();
        assert_eq!((ended.starts_ms, ended.ends_ms), (NOW, NOW));
        silences.put(ended.clone());
        assert_eq!(silences.expire("1", NOW + HOUR), Some(ended), "it ended when it ended");
        assert_eq!(silences.expire("2", NOW), None);
        silences.sweep(NOW - 1);
        assert_eq!(silences.iter().count(), 1);
        silences.sweep(NOW);
        assert_eq!(silences.iter().count(), 0);
    }

    #[test]
    fn conditions_are_matchers_as_json() {
        for (text, json) in [
            ("a=b", r#"{"name":"a","value":"b","isRegex":false,"isEqual":true}"#),
            ("a!~b", r#"{"name":"a","value":"b","isRegex":true,"isEqual":false}"#),
        ] {
            let matcher = Matcher::parse(text, Mode::Fallback).unwrap();
            assert_eq!(serde_json::to_string(&Condition::of(&matcher)).unwrap(), json);
            assert_eq!(serde_json::from_str::<Condition>(json).unwrap().matcher().unwrap(), matcher);
        }
        let old: Condition = serde_json::from_str(r#"{"name":"a","value":"b","isRegex":false}"#).unwrap();
        assert_eq!(old.matcher().unwrap().op(), Op::Equal);
    }
}
