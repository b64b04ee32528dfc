//! Routes, inhibition rules and named intervals as they are written, with their places.
//!
//! Read by `config`; `route` and `inhibit` make of them what is asked at run time.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#route-related-settings>

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::{at, section::section, values::Span};
use crate::{Error, Interval, Matcher, Matchers, Mode, Op, Result};

section! {
    /// A node of `route`.
    pub struct RouteConfig {
        receiver: Option<Spanned<String>> = None,
        group_by: Option<Vec<Spanned<String>>> = None,
        continues("continue"): bool = false,
        equal("match"): BTreeMap<String, Option<String>> = BTreeMap::new(),
        regex("match_re"): BTreeMap<String, Spanned<String>> = BTreeMap::new(),
        matchers: Vec<Spanned<String>> = Vec::new(),
        labels: BTreeMap<String, String> = BTreeMap::new(),
        group_wait: Option<Span> = None,
        group_interval: Option<Spanned<Span>> = None,
        repeat_interval: Option<Spanned<Span>> = None,
        mute_time_intervals: Vec<Spanned<String>> = Vec::new(),
        active_time_intervals: Vec<Spanned<String>> = Vec::new(),
        routes: Vec<Spanned<RouteConfig>> = Vec::new(),
    }
}

section! {
    /// An entry of `inhibit_rules`.
    pub struct InhibitConfig {
        name: String = String::new(),
        source_equal("source_match"): BTreeMap<String, Option<String>> = BTreeMap::new(),
        source_regex("source_match_re"): BTreeMap<String, Spanned<String>> = BTreeMap::new(),
        source_matchers: Vec<Spanned<String>> = Vec::new(),
        target_equal("target_match"): BTreeMap<String, Option<String>> = BTreeMap::new(),
        target_regex("target_match_re"): BTreeMap<String, Spanned<String>> = BTreeMap::new(),
        target_matchers: Vec<Spanned<String>> = Vec::new(),
        equal: Vec<Spanned<String>> = Vec::new(),
    }
}

section! {
    /// An entry of `time_intervals`.
    pub struct NamedInterval {
        name: String = String::new(),
        time_intervals: Vec<Interval> = Vec::new(),
    }
}

section! {
    /// `tracing`: read and checked; we have tracing of our own.
    pub struct Tracing {
        client_type: String = "grpc".to_owned(),
        endpoint: String = String::new(),
        sampling_fraction: f64 = 0.0,
        insecure: bool = false,
        tls_config: super::http::TlsConfig = super::http::TlsConfig::default(),
        headers: BTreeMap<String, super::values::Secret> = BTreeMap::new(),
        compression: String = String::new(),
        timeout: Option<Span> = None,
    }
}

/// Matchers in their three ways to be written: equal values, regular expressions, and texts.
pub(crate) struct Written<'a> {
    pub(crate) equal: &'a BTreeMap<String, Option<String>>,
    pub(crate) regex: &'a BTreeMap<String, Spanned<String>>,
    pub(crate) matchers: &'a [Spanned<String>],
}

impl Written<'_> {
    /// All of them together.
    pub(crate) fn compile(&self, mode: Mode) -> Result<Matchers> {
        let mut all = Vec::new();
        for (name, value) in self.equal {
            check_classic_name(name)?;
            all.push(Matcher::new(name, Op::Equal, value.as_deref().unwrap_or_default())?);
        }
        for (name, value) in self.regex {
            let one = check_classic_name(name).and_then(|()| Matcher::new(name, Op::Regex, &value.value));
            all.push(one.map_err(|error| at(value, error))?.anchored());
        }
        for text in self.matchers {
            let some = Matchers::parse(&text.value, mode).map_err(|error| at(text, error))?;
            all.extend(some.iter().cloned());
        }
        Ok(Matchers::from(all))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.regex.is_empty() && self.matchers.is_empty()
    }
}

impl RouteConfig {
    pub(crate) fn written(&self) -> Written<'_> {
        Written { equal: &self.equal, regex: &self.regex, matchers: &self.matchers }
    }
}

impl Tracing {
    pub(super) fn check(&self) -> Result<(), String> {
        if !["grpc", "http"].contains(&self.client_type.as_str()) {
            return Err("`client_type` of `tracing` must be `grpc` or `http`".to_owned());
        }
        if self.endpoint.is_empty() {
            return Err("`tracing` needs an `endpoint`".to_owned());
        }
        if !["", "gzip"].contains(&self.compression.as_str()) {
            return Err("`compression` of `tracing` must be `gzip`".to_owned());
        }
        if self.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
            return Err("`headers` of `tracing` cannot have `authorization`".to_owned());
        }
        Ok(())
    }
}

/// The older ways to write matchers know the older names alone.
fn check_classic_name(name: &str) -> Result<()> {
    if is_classic_name(name) { Ok(()) } else { Err(Error::invalid(format!("`{name}` is no label name"))) }
}

/// Letters, digits and underscores, no digit first.
fn is_classic_name(name: &str) -> bool {
    let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    legal && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Is a text the name of a label, where UTF-8 is known or not?
pub(crate) fn is_label_name(name: &str, mode: Mode) -> bool {
    if mode == Mode::Classic { is_classic_name(name) } else { !name.is_empty() }
}
