//! `alertmanager test`: sends a sample to the receivers that an alert gets to, and says what each of them made of it.
//!
//! Called by the command line. What is sent goes the way of the server's own messages, by `glue::telling`; nothing is written down, and nobody
//! is asked twice. Invariants: a sample is a group of its own, so that it ends no incident that is real; no secret is printed.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use alerting::{
    ALERTNAME, Config, Labels,
    alerts::Alert,
    notify::{Notification, guard::Allowed},
    outbox::Verdict,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use prometheus::Registry;

use crate::{
    app,
    config::{self, Overrides},
    focus::Violated,
    glue::{
        meter::Meter,
        telling::{Teller, ready},
    },
    rules::{labels_of, parsed},
};

pub(crate) const EXAMPLES: &str = "\
Examples:
  streamgauge alertmanager test alertmanager.yml severity=critical team=payments
  streamgauge alertmanager test alertmanager.yml --receiver on-call
  streamgauge alertmanager test alertmanager.yml --config streamgauge.yaml team=payments

Sends an alert with these labels to the receivers that its routes lead to, and then its end to those that are told of ends, so that
no incident stays open. --config names the settings whose `alerting.allowed_networks` and `external_url` hold; without, public addresses
alone are told. Exit codes: 0 everybody was told; 1 somebody was not, and why.";

/// The name of a sample that has none.
const NAME: &str = "StreamgaugeTest";
/// For how long a sample would fire, milliseconds.
const FIRES_MS: i64 = 300_000;

/// Options of `streamgauge alertmanager test`.
#[derive(Debug, Args)]
pub struct Try {
    /// File in Alertmanager's grammar.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Labels of the alert, each NAME=VALUE.
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,
    /// Tell this receiver, whatever the routes say.
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// Settings of the server, YAML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Try {
    /// Tells, and prints what became of it.
    ///
    /// # Errors
    /// If a file is wrong, or somebody was not told; why is printed already.
    pub fn run(self) -> Result<()> {
        let (allowed, external_url) = outside(self.config.as_deref())?;
        let config = parsed(&self.file)?;
        let labels = labels_of(&self.labels)?;
        let labels = if labels.get(ALERTNAME).is_empty() { labels.with([(ALERTNAME, NAME)]) } else { labels };
        let env = app::env();
        let (now_ms, id) = (env.clock.now_ms(), env.random.bits());
        let samples = samples(&config, self.receiver.as_deref(), &labels, (id, &external_url, now_ms))?;
        let ready = ready(config).with_context(|| self.file.display().to_string())?;
        let meter = Meter::register(&Registry::new())?;
        let teller = Teller::new(&ready, (allowed, external_url.as_str().into()), env.clock, meter);
        let mut out = io::stdout().lock();
        let mut is_told = true;
        for sample in &samples {
            let told = teller.sample(sample, id);
            if told.is_empty() {
                writeln!(out, "{}: it has no integrations, so nobody is told", sample.receiver)?;
            }
            for (what, verdict) in told {
                is_told &= verdict == Verdict::Sent;
                writeln!(out, "{} {what}: {}", sample.receiver, said(&verdict))?;
            }
        }
        if is_told { Ok(()) } else { Err(Violated.into()) }
    }
}

/// What the settings say of the world outside.
fn outside(settings: Option<&Path>) -> Result<(Allowed, String)> {
    let config = config::Config::load(settings, Overrides::default())?;
    let url = config.alerting.external_url.unwrap_or_else(|| format!("http://{}", config.listen));
    Ok((config.alerting.allowed, url))
}

/// A sample for each receiver: of the routes of these labels, or the one that is named.
fn samples(
    config: &Config,
    named: Option<&str>,
    labels: &Labels,
    (id, external_url, now_ms): (u128, &str, i64),
) -> Result<Vec<Notification>> {
    let alert = Alert {
        labels: labels.clone(),
        annotations: [("summary", "A test of Streamgauge's notifications"), ("description", "Nothing is wrong.")]
            .into_iter()
            .collect(),
        starts_ms: now_ms,
        ends_ms: now_ms + FIRES_MS,
        generator_url: external_url.into(),
        updated_ms: now_ms,
        is_timeout: false,
        once: true,
    };
    let sample = |receiver: &str, route: &alerting::Route| {
        Notification::sample(receiver, route, alert.clone(), (id, external_url.into(), now_ms))
    };
    let Some(named) = named else {
        let routes = config.routes.matching(labels);
        return Ok(routes.into_iter().map(|route| sample(route.receiver(), route)).collect());
    };
    ensure!(
        config.receiver(named).is_some(),
        "there is no receiver {named:?}; there are {}",
        config.receivers().map(|receiver| receiver.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    let mut routes = config.routes.iter();
    let root = config.routes.iter().next().context("there is no route")?;
    let route = routes.find(|route| route.receiver() == named).unwrap_or(root);
    Ok(vec![sample(named, route)])
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Sent => "sent".to_owned(),
        Verdict::Failed(why) => format!("failed, and would be tried again: {why}"),
        Verdict::Limited(after_ms, why) => format!("asked to wait for {} s: {why}", (after_ms + 999) / 1_000),
        Verdict::Refused(why) => format!("refused: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_goes_where_its_labels_lead_and_is_a_group_of_its_own() {
        let text = "route: {receiver: all, routes: [{receiver: db, matchers: ['team=db'], group_by: [team], continue: true}, \
                    {receiver: page, matchers: ['severity=critical']}]}\n\
                    receivers: [{name: all}, {name: db}, {name: page}]";
        let config = Config::parse(text, Path::new(".")).unwrap();
        let of = |named: Option<&str>, labels: &[(&str, &str)]| {
            let labels = labels.iter().copied().collect();
            let samples = samples(&config, named, &labels, (7, "http://gauge", 1_000));
            samples.map(|all| all.iter().map(|one| one.receiver.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(of(None, &[("team", "db"), ("severity", "critical")]).unwrap(), ["db", "page"]);
        assert_eq!(of(None, &[("a", "b")]).unwrap(), ["all"]);
        assert_eq!(of(Some("page"), &[("a", "b")]).unwrap(), ["page"]);
        assert!(of(Some("pager"), &[]).unwrap_err().to_string().contains("all, db, page"));
        let labels = [("team", "db")].into_iter().collect();
        let sample = samples(&config, None, &labels, (7, "http://gauge", 1_000)).unwrap().remove(0);
        let real = config.routes.matching(&labels)[0].group_key(&sample.group_labels);
        assert_eq!(sample.group_labels, labels);
        assert!(sample.group_key.starts_with(&real) && *sample.group_key != *real, "{}", sample.group_key);
        assert!(sample.is_firing());
    }
}
