//! What is asked for in the URL of a request.
//!
//! Invariant: what cannot be read is an error that names the parameter. Parameters of other names are left alone, as Alertmanager does.

use std::collections::HashSet;

use regex::Regex;

use super::Refused;
use crate::{Labels, Matchers, Mode, alertmanager::Plan};

/// Matchers of one request. Those of a URL are written by people or by a page that has a field for each.
const MATCHERS_MAX: usize = 100;

/// The parameters of any request; each looks at those that it has.
#[derive(Debug)]
pub(super) struct Params {
    /// What the labels of an alert, or the matchers of a silence have to be.
    pub filters: Matchers,
    receiver: Option<Regex>,
    receiver_matchers: Matchers,
    /// Alerts that nothing keeps quiet; silences that silence.
    pub active: bool,
    /// Alerts that are silenced.
    pub silenced: bool,
    /// Alerts that are inhibited.
    pub inhibited: bool,
    /// Groups that are muted.
    pub muted: bool,
    /// Silences to come.
    pub pending: bool,
    /// Silences that are over.
    pub expired: bool,
}

impl Params {
    /// Reads them.
    pub fn parse(query: Option<&str>) -> Result<Self, Refused> {
        let (mut filters, mut receiver_matchers) = (Vec::new(), Vec::new());
        let mut params = Self {
            filters: Matchers::default(),
            receiver: None,
            receiver_matchers: Matchers::default(),
            active: true,
            silenced: true,
            inhibited: true,
            muted: true,
            pending: true,
            expired: true,
        };
        // Every alert is processed when it is there.
        let mut unprocessed = true;
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let flag = match &*name {
                "filter" => {
                    filters.push(value);
                    continue;
                }
                "receiver_matchers" => {
                    receiver_matchers.push(value);
                    continue;
                }
                "receiver" => {
                    let pattern = promql::pattern::compile(&value, 1);
                    params.receiver = Some(pattern.map_err(|why| wrong("receiver", why))?);
                    continue;
                }
                "active" => &mut params.active,
                "silenced" => &mut params.silenced,
                "inhibited" => &mut params.inhibited,
                "unprocessed" => &mut unprocessed,
                "muted" => &mut params.muted,
                "pending" => &mut params.pending,
                "expired" => &mut params.expired,
                _ => continue,
            };
            *flag = yes_or_no(&name, &value)?;
        }
        params.filters = matchers("filter", &filters)?;
        params.receiver_matchers = matchers("receiver_matchers", &receiver_matchers)?;
        Ok(params)
    }

    /// Is a choice among receivers made?
    pub fn chooses_receivers(&self) -> bool {
        self.receiver.is_some() || !self.receiver_matchers.is_empty()
    }

    /// Names of the receivers that are asked for.
    pub fn receivers<'a>(&self, plan: &'a Plan) -> HashSet<&'a str> {
        let all = plan.config.receivers().filter(|receiver| {
            let labels: Labels = receiver.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let named = self.receiver.as_ref().is_none_or(|pattern| pattern.is_match(&receiver.name));
            named && self.receiver_matchers.matches(&labels)
        });
        all.map(|receiver| receiver.name.as_str()).collect()
    }
}

fn wrong(name: &str, why: impl std::fmt::Display) -> Refused {
    Refused::bad(format!("parameter `{name}`: {why}"))
}

fn matchers(name: &str, texts: &[std::borrow::Cow<'_, str>]) -> Result<Matchers, Refused> {
    if texts.len() > MATCHERS_MAX {
        return Err(wrong(name, format!("it is given too often max={MATCHERS_MAX}")));
    }
    Matchers::of_filters(texts.iter().map(|text| &**text), Mode::Fallback).map_err(|error| wrong(name, error))
}

/// Nothing is said by an empty value.
fn yes_or_no(name: &str, value: &str) -> Result<bool, Refused> {
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "t" | "1" | "yes" | "y" | "on" => Ok(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Ok(false),
        _ => Err(wrong(name, format!("`{value}` is neither true nor false"))),
    }
}
