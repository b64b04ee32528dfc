//! Scenarios of alerts and of who is told of them: what upstream's acceptance tests check, as data.
//!
//! Read from `tests/data/acceptance` by those who play them: in this crate with a clock that jumps, and in the program's tests against
//! `alertmanager` and `streamgauge serve` at the same time. Times are units after the beginning; how long a unit is, and when the
//! beginning was, says a [`Clock`]. Not here: who is asked, and how time passes.

#![allow(dead_code, reason = "those who play scenarios each use a part")]

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

/// How much earlier a message may come than it is expected, in units: clocks are read one after the other.
const EARLY: f64 = 0.1;
/// How much later, where a scenario says nothing else.
const LATE: f64 = 0.75;
/// How far apart two times may be that depend on when somebody was asked, in units.
pub const NEAR: f64 = 0.3;
/// A scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// `alertmanager.yml`, in which `{hook}` is where receivers are, `{folder}` where files are, and `3u` are three units.
    pub config: String,
    /// Files beside it.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// What is done.
    pub steps: Vec<Step>,
    /// What receivers have at the end, and nothing else.
    pub told: Vec<Told>,
    /// When it ends, if not some time after the last message.
    pub ends: Option<f64>,
    /// What Debian's Alertmanager does that we do not.
    pub alertmanager: Option<Otherwise>,
    /// Does it take what this crate has not, such as templates?
    #[serde(default)]
    pub needs_program: bool,
}

/// A stated difference.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otherwise {
    /// The reason for it.
    pub why: String,
    /// What its receivers have; without it it cannot play the scenario at all.
    pub told: Option<Vec<Told>>,
}

/// Something that is done at a time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    pub at: f64,
    /// To one of the two only.
    pub only: Option<Side>,
    /// Alerts are posted.
    pub post: Vec<Alert>,
    /// A silence is made, or changed.
    pub silence: Option<Silence>,
    /// A silence is ended, by its name.
    pub expire: Option<String>,
    /// Something is asked, and answered with so many elements.
    pub ask: Option<String>,
    pub count: Option<usize>,
    /// Anything else is asked, and answered with a status.
    pub send: Option<Asked>,
    /// The file becomes another one, and is read again.
    pub reload: Option<String>,
    /// A receiver cannot be told from now on, or can again.
    pub down: Option<String>,
    pub up: Option<String>,
    /// The next messages are answered with 429, or not in time.
    pub limited: usize,
    pub slow: usize,
    /// The process is killed and started again.
    pub kill: bool,
}

/// Ours, or Alertmanager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Ours,
    Theirs,
}

/// An alert that is posted or told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its labels.
    pub of: BTreeMap<String, String>,
    /// Since when it fires; told of none, since it was posted.
    pub since: Option<f64>,
    /// When it ends; told of one, it has ended.
    pub till: Option<f64>,
    /// Its annotation `note`.
    #[serde(default)]
    pub note: String,
}

/// A silence.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// What it is called from now on.
    pub name: String,
    /// The one that it changes, by its name.
    pub id: Option<String>,
    /// Such as `alertname=~.+`.
    pub matchers: Vec<String>,
    pub from: f64,
    pub till: f64,
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub body: Value,
    pub status: u16,
}

/// A message that is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// From when on it may come.
    pub at: f64,
    /// Until when, if not shortly after.
    pub until: Option<f64>,
    /// To whom: the path of the receiver.
    pub to: String,
    /// Alerts in it, in this order; of what is no webhook's, nothing is said.
    pub alerts: Option<Vec<Alert>>,
}

/// A message that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When, in units.
    pub at: f64,
    pub to: String,
    pub body: Value,
}

/// When the beginning was, and how long a unit is, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub begin_ms: i64,
    pub unit_ms: i64,
}

/// The scenarios of a file.
pub fn read(text: &str) -> Vec<Scenario> {
    let all: Vec<Scenario> = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(!all.is_empty());
    all
}

impl Scenario {
    /// When nothing is waited for any more.
    pub fn ends(&self) -> f64 {
        let theirs = self.alertmanager.iter().flat_map(|otherwise| otherwise.told.iter().flatten());
        let told = self.told.iter().chain(theirs).map(|told| told.until.unwrap_or(told.at));
        let steps = self.steps.iter().map(|step| step.at);
        self.ends.unwrap_or_else(|| told.chain(steps).fold(0.0, f64::max) + 0.9)
    }
}

impl Clock {
    /// Milliseconds of some units.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "scenarios are short")]
    pub fn ms(self, units: f64) -> i64 {
        self.begin_ms + (units * self.unit_ms as f64).round() as i64
    }

    /// Units of a time in milliseconds.
    #[allow(clippy::cast_precision_loss, reason = "scenarios are short")]
    pub fn units(self, ms: i64) -> f64 {
        (ms - self.begin_ms) as f64 / self.unit_ms as f64
    }

    /// A time as the API has it.
    pub fn time(self, units: f64) -> String {
        let time = DateTime::from_timestamp_millis(self.ms(units)).expect("a time");
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// A configuration with its addresses and times.
    pub fn config(self, text: &str, hook: &str, folder: &str) -> String {
        let units = Regex::new(r"\b(\d+)u\b").expect("a regular expression");
        let ms =
            |found: &regex::Captures<'_>| format!("{}ms", found[1].parse::<i64>().expect("few units") * self.unit_ms);
        units.replace_all(text, ms).replace("{hook}", hook).replace("{folder}", folder)
    }

    /// Units of a time as the API has it; none of what is no time.
    pub fn of(self, value: &Value) -> Option<f64> {
        let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
        Some(self.units(time.timestamp_millis()))
    }
}

impl Step {
    /// What to ask of the API: method, path, body. `ids` are those of silences, by name.
    pub fn request(&self, clock: Clock, ids: &BTreeMap<String, String>) -> Option<(String, String, Value)> {
        let asked = |method: &str, path: &str, body: Value| Some((method.to_owned(), path.to_owned(), body));
        let named =
            |path: &str| ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
        if !self.post.is_empty() {
            return asked("POST", "/api/v2/alerts", self.post.iter().map(|alert| alert.json(clock)).collect());
        }
        if let Some(silence) = &self.silence {
            return asked("POST", "/api/v2/silences", silence.json(clock, ids));
        }
        if let Some(name) = &self.expire {
            return asked("DELETE", &named(&format!("/api/v2/silence/{{{name}}}")), Value::Null);
        }
        if let Some(Asked { method, path, body, .. }) = &self.send {
            return asked(method, &named(path), body.clone());
        }
        asked("GET", &named(self.ask.as_deref()?), Value::Null)
    }

    /// The status that its request has.
    pub fn status(&self) -> u16 {
        self.send.as_ref().map_or(200, |asked| asked.status)
    }

    /// What is wrong with an answer, if something is.
    pub fn wrong(&self, status: u16, answer: &Value) -> Option<String> {
        let count = self.count.filter(|count| answer.as_array().is_none_or(|all| all.len() != *count));
        let what = || self.ask.clone().unwrap_or_else(|| format!("{:?}", self.send));
        match count {
            _ if status != self.status() => {
                Some(format!("{} instead of {}: {}: {answer}", status, self.status(), what()))
            }
            Some(count) => Some(format!("not {count} elements: {}: {answer}", what())),
            None => None,
        }
    }
}

impl Alert {
    fn json(&self, clock: Clock) -> Value {
        let mut alert = json!({ "labels": self.of });
        let mut set = |name: &str, units: Option<f64>| {
            if let Some(units) = units {
                alert[name] = clock.time(units).into();
            }
        };
        set("startsAt", self.since);
        set("endsAt", self.till);
        if !self.note.is_empty() {
            alert["annotations"] = json!({ "note": self.note });
        }
        alert
    }

    /// Is this what a webhook's message says?
    fn is(&self, told: &Value, clock: Clock) -> bool {
        let near = |expected: Option<f64>, field: &str| match (expected, clock.of(&told[field])) {
            (Some(expected), Some(units)) => (expected - units).abs() <= NEAR,
            (expected, _) => expected.is_none(),
        };
        let status = if self.till.is_some() { "resolved" } else { "firing" };
        let notes = if self.note.is_empty() { json!({}) } else { json!({ "note": self.note }) };
        told["status"] == status
            && told["labels"] == json!(self.of)
            && told["annotations"] == notes
            && near(self.since, "startsAt")
            && near(self.till, "endsAt")
    }
}

impl Silence {
    fn json(&self, clock: Clock, ids: &BTreeMap<String, String>) -> Value {
        let matchers = self.matchers.iter().map(|text| {
            let at = text.find(['=', '!']).expect("an operator");
            let op = if text[at + 1..].starts_with(['=', '~']) { &text[at..at + 2] } else { "=" };
            json!({
                "name": text[..at], "value": text[at + op.len()..],
                "isRegex": op.ends_with('~'), "isEqual": op.starts_with('='),
            })
        });
        let mut silence = json!({
            "matchers": matchers.collect::<Vec<_>>(), "startsAt": clock.time(self.from), "endsAt": clock.time(self.till),
            "createdBy": "ann", "comment": self.name,
        });
        if let Some(name) = &self.id {
            silence["id"] = ids.get(name).map_or("", String::as_str).into();
        }
        silence
    }
}

impl Told {
    fn is(&self, seen: &Seen, clock: Clock) -> bool {
        let until = self.until.unwrap_or(self.at + LATE);
        let is_in_time = (self.at - EARLY..=until).contains(&seen.at);
        let says = |alerts: &Vec<Alert>| {
            let told = seen.body["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_firing = told.iter().any(|alert| alert["status"] == "firing");
            alerts.len() == told.len()
                && alerts.iter().zip(told).all(|(alert, told)| alert.is(told, clock))
                && (seen.body["status"] == "firing") == is_firing
        };
        self.to == seen.to && is_in_time && self.alerts.as_ref().is_none_or(says)
    }
}

/// Which message is which of those that are expected; what did not come, and what came and was not expected.
pub fn matched(expected: &[Told], seen: &[Seen], clock: Clock) -> Result<Vec<Seen>, String> {
    let mut left: Vec<&Seen> = seen.iter().collect();
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for told in expected {
        match left.iter().position(|seen| told.is(seen, clock)) {
            Some(at) => found.push(left.remove(at).clone()),
            None => missing.push(format!("  did not come: {told:?}")),
        }
    }
    let left = left.iter().map(|seen| format!("  came: {:.2} {} {}", seen.at, seen.to, seen.body));
    let wrong: Vec<String> = missing.into_iter().chain(left).collect();
    if wrong.is_empty() { Ok(found) } else { Err(wrong.join("\n")) }
}
