//! The file `alertmanager.yml`: who is notified of which alerts, how and when.
//!
//! Called at start and at reload, and by `check`. A text becomes sections (`tree`, `global`, `receiver`) in which what is missing comes
//! from `global`, then routes and inhibition rules that can be asked (`route`, `inhibit`).
//!
//! Invariants: what is accepted and refused is what Alertmanager 0.34 accepts and refuses; an error has the place of what is wrong; no
//! secret is printed, in whatever way the configuration is shown.
//! Not here: templates, and sending. Files are not read: those of secrets are read when they are used.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/>

pub mod built;
pub mod global;
pub mod http;
pub mod receiver;
mod section;
pub mod slack;
pub mod tree;
pub mod unbuilt;
pub mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use crate::{Error, ErrorKind, Inhibit, Interval, Mode, Result, Routes};
use global::Global;
use receiver::{Given, Receiver, ReceiverKind};
use section::section;
use tree::{InhibitConfig, NamedInterval, RouteConfig, Tracing, Written};

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sections, with what came from `global` in the receivers.
    file: File,
    /// Who gets what.
    pub routes: Routes,
    /// What silences what.
    pub inhibit_rules: Vec<Inhibit>,
    /// By name: at which times routes are muted or active.
    pub intervals: BTreeMap<String, Vec<Interval>>,
}

section! {
    /// The whole file.
    pub struct File {
        global: Spanned<Global> = Spanned::new(Global::default(), Location::UNKNOWN, Location::UNKNOWN),
        templates: Vec<PathBuf> = Vec::new(),
        route: Option<Spanned<RouteConfig>> = None,
        inhibit_rules: Vec<Spanned<InhibitConfig>> = Vec::new(),
        receivers: Vec<Spanned<Receiver>> = Vec::new(),
        time_intervals: Vec<Spanned<NamedInterval>> = Vec::new(),
        mute_time_intervals: Vec<Spanned<NamedInterval>> = Vec::new(),
        tracing: Option<Spanned<Tracing>> = None,
        event_recorder: BTreeMap<String, Value> = BTreeMap::new(),
    }
}

impl Config {
    /// Reads a configuration. Relative paths in it are in `base_dir`.
    ///
    /// # Errors
    /// `Invalid`: the first thing that is wrong, with its place.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self> {
        Self::parse_in(Mode::Fallback, text, base_dir)
    }

    /// The same with other grammars of matchers.
    ///
    /// # Errors
    /// `Invalid`: the first thing that is wrong, with its place.
    pub fn parse_in(mode: Mode, text: &str, base_dir: &Path) -> Result<Self> {
        let mut file = read(text)?;
        file.settle(base_dir)?;
        let intervals = file.intervals()?;
        let route = file.route.as_ref().ok_or_else(|| Error::invalid("there is no `route`"))?;
        check_root(route)?;
        let receivers: BTreeSet<&str> = file.receivers.iter().map(|receiver| &*receiver.value.name).collect();
        check_names(&route.value, &receivers, &intervals)?;
        let routes = Routes::compile(route, mode)?;
        let inhibit_rules =
            file.inhibit_rules.iter().map(|rule| Inhibit::compile(rule, mode)).collect::<Result<Vec<_>>>()?;
        Ok(Self { file, routes, inhibit_rules, intervals })
    }

    /// What holds for all receivers.
    #[must_use]
    pub fn global(&self) -> &Global {
        &self.file.global.value
    }

    /// Patterns of the files that have templates.
    #[must_use]
    pub fn templates(&self) -> &[PathBuf] {
        &self.file.templates
    }

    /// Receivers as they are in the file.
    pub fn receivers(&self) -> impl ExactSizeIterator<Item = &Receiver> {
        self.file.receivers.iter().map(|receiver| &receiver.value)
    }

    /// The receiver of a name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers().find(|receiver| receiver.name == name)
    }

    /// Integrations that alerts can get to, by routes or as a fallback, and that are not built: receiver and kind.
    #[must_use]
    pub fn unbuilt_reachable(&self) -> Vec<(&str, ReceiverKind)> {
        let mut names: BTreeSet<&str> = self.routes.iter().map(|route| route.receiver()).collect();
        // A fallback can have one of its own.
        for _ in self.receivers() {
            let fallbacks = names.iter().filter_map(|name| self.receiver(name)?.fallback.as_ref());
            let fallbacks: Vec<&str> = fallbacks.map(|name| name.value.as_str()).collect();
            names.extend(fallbacks);
        }
        let reached = self.receivers().filter(|receiver| names.contains(receiver.name.as_str()));
        let mut all: Vec<_> = reached
            .flat_map(|receiver| {
                receiver.integrations().map(|(_, integration)| (receiver.name.as_str(), integration.kind()))
            })
            .filter(|(_, kind)| !kind.is_built())
            .collect();
        all.dedup();
        all
    }

    /// The configuration as YAML, with defaults filled in and secrets as `<secret>`.
    ///
    /// # Errors
    /// `Internal`, which would be a defect.
    pub fn redacted_yaml(&self) -> Result<String> {
        let defect = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Internal, format!("the configuration cannot be shown: {error}"))
        };
        let mut shown = serde_json::to_value(&self.file).map_err(|error| defect(&error))?;
        prune(&mut shown);
        serde_saphyr::to_string(&shown).map_err(|error| defect(&error))
    }
}

impl File {
    /// Fills in what is missing, and checks each section for itself.
    fn settle(&mut self, base: &Path) -> Result<()> {
        let place = (self.global.referenced.line(), self.global.referenced.column());
        self.global.value.settle(base).map_err(|reason| {
            let error = Error::invalid(format!("`global`: {reason}"));
            error.at(place.0, place.1)
        })?;
        self.templates.iter_mut().for_each(|pattern| *pattern = base.join(&*pattern));
        if let Some(tracing) = &mut self.tracing {
            let checked = tracing.value.tls_config.settle(base).and_then(|()| tracing.value.check());
            checked.map_err(|reason| at(tracing, Error::invalid(reason)))?;
        }
        let given = Given { global: &self.global.value, base };
        let mut names = BTreeSet::new();
        for receiver in &mut self.receivers {
            let settled = receiver.value.settle(&given);
            settled.map_err(|error| if error.place.is_some() { error } else { at(receiver, error) })?;
            if !names.insert(receiver.value.name.clone()) {
                let message = format!("receiver `{}` is given twice", receiver.value.name);
                return Err(at(receiver, Error::invalid(message)));
            }
        }
        for fallback in self.receivers.iter().filter_map(|receiver| receiver.value.fallback.as_ref()) {
            if !names.contains(&fallback.value) {
                let message = format!("receiver `{}` is not defined", fallback.value);
                return Err(at(fallback, Error::invalid(message)));
            }
        }
        Ok(())
    }

    fn intervals(&self) -> Result<BTreeMap<String, Vec<Interval>>> {
        let mut all = BTreeMap::new();
        for named in self.mute_time_intervals.iter().chain(&self.time_intervals) {
            let NamedInterval { name, time_intervals } = &named.value;
            if name.is_empty() {
                return Err(at(named, Error::invalid("a time interval needs a `name`")));
            }
            if all.insert(name.clone(), time_intervals.clone()).is_some() {
                return Err(at(named, Error::invalid(format!("time interval `{name}` is given twice"))));
            }
        }
        Ok(all)
    }
}

/// The root takes every alert at any time.
fn check_root(root: &Spanned<RouteConfig>) -> Result<()> {
    let route = &root.value;
    let reason = if route.receiver.as_ref().is_none_or(|name| name.value.is_empty()) {
        "the root route needs a `receiver`"
    } else if !Written::is_empty(&route.written()) {
        "the root route cannot have matchers: it takes every alert"
    } else if !route.mute_time_intervals.is_empty() || !route.active_time_intervals.is_empty() {
        "the root route cannot be muted or active at times"
    } else if route.continues {
        "the root route cannot `continue`"
    } else {
        return Ok(());
    };
    Err(at(root, Error::invalid(reason)))
}

fn check_names(
    route: &RouteConfig,
    receivers: &BTreeSet<&str>,
    intervals: &BTreeMap<String, Vec<Interval>>,
) -> Result<()> {
    if let Some(name) = route.receiver.as_ref().filter(|name| !name.value.is_empty())
        && !receivers.contains(name.value.as_str())
    {
        return Err(at(name, Error::invalid(format!("receiver `{}` is not defined", name.value))));
    }
    for name in route.mute_time_intervals.iter().chain(&route.active_time_intervals) {
        if !intervals.contains_key(&name.value) {
            return Err(at(name, Error::invalid(format!("time interval `{}` is not defined", name.value))));
        }
    }
    route.routes.iter().try_for_each(|child| check_names(&child.value, receivers, intervals))
}

/// Gives an error the place of a value.
pub(crate) fn at<T>(value: &Spanned<T>, error: Error) -> Error {
    if error.place.is_some() || value.referenced == Location::UNKNOWN {
        return error;
    }
    error.at(value.referenced.line(), value.referenced.column())
}

fn read(text: &str) -> Result<File> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().filter(|at| *at != Location::UNKNOWN).map(|at| (at.line(), at.column()));
        let text = error.to_string();
        // The place is printed once, in front.
        let reason = text.split(" at line ").next().unwrap_or(&text).lines().next().unwrap_or_default();
        let refused = Error::invalid(reason);
        place.map_or_else(|| Error::invalid(reason), |(line, column)| refused.at(line, column))
    })
}

/// Defaults that are left out, because of the tools that read what is shown: amtool 0.25, which is what Debian has, refuses keys that are
/// newer than it is.
const NEWER: [(&str, &str); 5] = [
    ("proxy_from_environment", "false"),
    ("rocketchat_api_url", "\"https://open.rocket.chat/\""),
    ("smtp_tls_config", "{\"insecure_skip_verify\":false}"),
    ("slack_app_url", "\"https://slack.com/api/chat.postMessage\""),
    ("timeout", "\"0s\""),
];

/// Takes out what says nothing: empty texts and lists, sections without keys, defaults that are newer than some tools.
fn prune(shown: &mut Value) {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        _ => true,
    };
    match shown {
        Value::Array(all) => all.iter_mut().for_each(prune),
        Value::Object(all) => {
            all.values_mut().for_each(prune);
            // `group_by: []` means something else than no `group_by`.
            all.retain(|key, value| says_something(value) || (key == "group_by" && value.is_array()));
            let is_default =
                |json: &str, value: &Value| serde_json::from_str::<Value>(json).is_ok_and(|of| of == *value);
            all.retain(|key, value| !NEWER.iter().any(|(newer, json)| newer == key && is_default(json, value)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
