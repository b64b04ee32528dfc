//! `check rules`, `check alertmanager`, `test rules` and `alertmanager routes`: what promtool and amtool do with files, over the same code that
//! the server runs. What rules would have done is asked in `replay`.
//!
//! Called by the command line. Exit codes are those of promtool: 0 all is right, 1 something is not.

pub mod replay;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use alerting::{
    Config, Labels,
    rules::{Group, Options, parse},
    testing,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::{
    client::{Access, Client},
    focus::Violated,
    glue::{rows::OfTests, telling},
    http::rules::Lateness,
};

pub(crate) const CHECK_EXAMPLES: &str = "\
Examples:
  streamgauge check rules rules/*.yaml                  errors come as file:line:column: group, rule: reason
  streamgauge check rules --ignore-unknown-fields a.yml
  streamgauge check rules --url http://127.0.0.1:4090 a.yml   do its samples come in time for these rules?

Reads files in Prometheus' grammar: groups, expressions, durations, templates. A rule may have `sql` in the place of `expr`: \
`value` is then the column of its value (the last that is a number if none is said), `labels` a list of columns, `table` and \
`max_age` say when there is no data. Exit codes: 0 all are right; 1 one is not.";

pub(crate) const TEST_EXAMPLES: &str = "\
Examples:
  streamgauge test rules rules/tests/*.yaml             the files that promtool runs
  streamgauge test rules --run 'disk' --diff disk_test.yaml
  streamgauge test rules --junit report.xml *_test.yaml

Exit codes: 0 all tests pass; 1 one fails, or a file cannot be read.";

pub(crate) const ROUTES_EXAMPLES: &str = "\
Examples:
  streamgauge alertmanager routes alertmanager.yml severity=critical team=payments

Prints the receivers that an alert with these labels gets to, as `amtool config routes test` does.";

/// Options of `streamgauge check rules`.
#[derive(Debug, Args)]
pub struct CheckRules {
    /// Files with rules.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Pass over fields that are not known.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Ask this server how late its samples come, and note where rules do not wait for them.
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// Options of `streamgauge check alertmanager`.
#[derive(Debug, Args)]
pub struct CheckAlertmanager {
    /// Files in Alertmanager's grammar.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Options of `streamgauge test rules`.
#[derive(Debug, Args)]
pub struct TestRules {
    /// Files with tests.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only tests whose name matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    run: Option<String>,
    /// Show what differs as lines with - and +.
    #[arg(long)]
    diff: bool,
    /// Write a report for build servers.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Show all samples of each test.
    #[arg(long)]
    debug: bool,
    /// Pass over fields that are not known.
    #[arg(long)]
    ignore_unknown_fields: bool,
}

/// Options of `streamgauge alertmanager routes`.
#[derive(Debug, Args)]
pub struct Routes {
    /// File in Alertmanager's grammar.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Labels of an alert, each NAME=VALUE.
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,
}

impl CheckRules {
    /// Checks all files, whatever the others are.
    ///
    /// # Errors
    /// If one is wrong; why is told already.
    pub fn run(self) -> Result<()> {
        let lateness = self.url.map(|url| lateness(&Client::new(url, self.access))).transpose()?;
        let mut out = io::stdout().lock();
        let mut is_right = true;
        for file in &self.files {
            writeln!(out, "Checking {}", file.display())?;
            let options =
                Options { ignores_unknown_fields: self.ignore_unknown_fields, template: &alerting::template::check };
            let text = fs::read_to_string(file).with_context(|| file.display().to_string());
            match text.map(|text| parse(&text, &options)) {
                Ok(Ok(groups)) => {
                    let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
                    writeln!(out, "  SUCCESS: {rules} rules found\n")?;
                    let hasty = |group: &Group| lateness.as_ref().and_then(|lateness| hasty(group, lateness));
                    for note in groups.iter().flat_map(twice).chain(groups.iter().filter_map(hasty)) {
                        writeln!(out, "  NOTE: {note}\n")?;
                    }
                }
                Ok(Err(errors)) => {
                    is_right = false;
                    writeln!(out, "  FAILED:")?;
                    errors.iter().try_for_each(|error| writeln!(out, "{}:{error}", file.display()))?;
                    writeln!(out)?;
                }
                Err(error) => {
                    is_right = false;
                    writeln!(out, "  FAILED: {error:#}\n")?;
                }
            }
        }
        if is_right { Ok(()) } else { Err(Violated.into()) }
    }
}

/// Rules of a group with the same name and labels: legal, and mostly a mistake.
fn twice(group: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    for (rule, ordinal) in group.rules.iter().zip(group.ordinals()) {
        if ordinal > 0 {
            let (line, column) = rule.place;
            notes.push(format!(
                "{line}:{column}: group {:?} has another rule {:?} with the same labels",
                group.name,
                rule.name()
            ));
        }
    }
    notes
}

/// How late samples of a server come.
fn lateness(client: &Client) -> Result<Lateness> {
    #[derive(Deserialize)]
    struct Answer {
        data: Lateness,
    }
    let body = client.answered(client.get("/api/v1/status/lateness")?.call())?;
    let text = body.into_with_config().limit(1 << 20).read_to_string().context("the answer broke off")?;
    let Answer { data } = serde_json::from_str(&text).context("no answer of ours")?;
    if data.suggested_offset_ms.is_none() {
        eprintln!("too few samples came lately to tell how late they come: samples={}", data.samples);
    }
    Ok(data)
}

/// Is a group evaluated before nearly all samples of its time are there?
fn hasty(group: &Group, lateness: &Lateness) -> Option<String> {
    let offset_ms = group.query_offset_ms.unwrap_or(lateness.query_offset_ms);
    // An evaluation is not so exact that less than a second or two would matter.
    let suggested_ms = lateness.suggested_offset_ms.filter(|suggested_ms| *suggested_ms > offset_ms.max(1_000))?;
    // What comes within the bound below is known; the rest comes later than that.
    let (bound_ms, count) =
        lateness.within.iter().rfind(|(bound_ms, _)| *bound_ms < suggested_ms).copied().unwrap_or((0, 0));
    let late = lateness.samples.saturating_sub(count);
    let (line, column) = group.place;
    Some(format!(
        "{line}:{column}: group {:?} is evaluated {} behind the clock, and {late} of the last {} samples came more than {} after \
         their time: it finds their series a sample older than others. `query_offset: {}` waits for 99 of 100",
        group.name,
        promql::format_duration(offset_ms),
        lateness.samples,
        promql::format_duration(bound_ms),
        promql::format_duration(suggested_ms)
    ))
}

impl CheckAlertmanager {
    /// Checks all files, whatever the others are.
    ///
    /// # Errors
    /// If one is wrong; why is told already.
    pub fn run(self) -> Result<()> {
        let mut out = io::stdout().lock();
        let mut is_right = true;
        for file in &self.files {
            write!(out, "Checking '{}'  ", file.display())?;
            match parsed(file) {
                Ok(config) => {
                    writeln!(out, "SUCCESS\nFound:")?;
                    writeln!(out, " - {} routes", config.routes.iter().len())?;
                    writeln!(out, " - {} inhibit rules", config.inhibit_rules.len())?;
                    writeln!(out, " - {} receivers", config.receivers().len())?;
                    writeln!(out, " - {} templates", config.templates().len())?;
                    for (receiver, kind) in config.unbuilt_reachable() {
                        writeln!(out, " ! receiver {receiver:?} has {}, which cannot be told yet", kind.name())?;
                    }
                    if config.unbuilt_reachable().is_empty()
                        && let Err(error) = telling::ready(config)
                    {
                        is_right = false;
                        writeln!(out, " FAILED: {error:#}")?;
                    }
                }
                Err(error) => {
                    is_right = false;
                    writeln!(out, "FAILED: {error:#}")?;
                }
            }
            writeln!(out)?;
        }
        if is_right { Ok(()) } else { Err(Violated.into()) }
    }
}

/// A file in Alertmanager's grammar.
pub(crate) fn parsed(file: &Path) -> Result<Config> {
    let text = crate::config::read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    Config::parse(&text, folder).map_err(|error| anyhow::anyhow!("{}:{error}", file.display()))
}

impl TestRules {
    /// Runs the tests of all files.
    ///
    /// # Errors
    /// If one fails; why is told already.
    pub fn run(self) -> Result<()> {
        let run = self.run.as_deref().map(|text| promql::pattern::compile(&format!(".*(?:{text}).*"), 1)).transpose();
        let run = run.map_err(|reason| anyhow::anyhow!("--run: {reason}"))?;
        let rows = OfTests::new()?;
        let options = testing::Options {
            run,
            diff: self.diff,
            ignores_unknown_fields: self.ignore_unknown_fields,
            debug: self.debug,
            lookback_ms: 300_000,
            features: promql::Features::default(),
            template: &alerting::template::check,
            expand: &alerting::template::Templates,
            rows: Some(&rows),
        };
        let mut out = io::stdout().lock();
        let mut reports = Vec::new();
        for file in &self.files {
            writeln!(out, "Unit Testing:  {}", file.display())?;
            let report = testing::run(file, &options);
            report.warnings.iter().try_for_each(|warning| writeln!(out, "  WARNING: {warning}"))?;
            for test in &report.tests {
                if !test.debug.is_empty() {
                    writeln!(out, "{}", test.debug)?;
                }
            }
            if report.is_ok() {
                writeln!(out, "  SUCCESS\n")?;
            } else {
                writeln!(out, "  FAILED:")?;
                report.errors.iter().try_for_each(|error| writeln!(out, "    {error}"))?;
                for test in report.tests.iter().filter(|test| !test.failures.is_empty()) {
                    writeln!(out, "    {} ({}:{})", test.name, file.display(), test.line)?;
                    for failure in &test.failures {
                        writeln!(out, "      {}", failure.replace('\n', "\n      "))?;
                    }
                }
                writeln!(out)?;
            }
            reports.push(report);
        }
        if let Some(path) = &self.junit {
            fs::write(path, testing::junit(&reports)).with_context(|| path.display().to_string())?;
        }
        if reports.iter().all(testing::Report::is_ok) { Ok(()) } else { Err(Violated.into()) }
    }
}

impl Routes {
    /// Prints the receivers of an alert.
    ///
    /// # Errors
    /// If the file is wrong, or a label is none.
    pub fn run(self) -> Result<()> {
        let config = parsed(&self.file)?;
        let labels = labels_of(&self.labels)?;
        writeln!(io::stdout(), "{}", config.routes.receivers(&labels).join(","))?;
        Ok(())
    }
}

/// Labels as they are given on the command line.
pub(crate) fn labels_of(given: &[String]) -> Result<Labels> {
    let mut labels = Vec::new();
    for label in given {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        ensure!(!name.is_empty(), "a label is NAME=VALUE: {label:?}");
        labels.push((name, value));
    }
    Ok(labels.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_does_not_wait_for_its_samples_is_told_what_would() {
        let text = "groups: [{name: a, rules: []}, {name: b, query_offset: 1m, rules: []}, {name: c, query_offset: 0s, rules: []}]";
        let groups =
            parse(text, &Options { ignores_unknown_fields: false, template: &alerting::template::check }).unwrap();
        let notes = |lateness: &Lateness| groups.iter().map(|group| hasty(group, lateness)).collect::<Vec<_>>();
        let late = Lateness {
            samples: 2_000,
            within: vec![(1_000, 0), (5_000, 1_500), (10_000, 1_990)],
            suggested_offset_ms: Some(10_000),
            query_offset_ms: 0,
        };
        let found = notes(&late);
        let note = found[0].as_deref().unwrap();
        assert!(
            note.contains("500 of the last 2000 samples came more than 5s") && note.contains("`query_offset: 10s`"),
            "{note}"
        );
        assert!(found[1].is_none() && found[2].is_some());
        // A server that waits by itself; one of which nothing is known.
        let waits = notes(&Lateness { query_offset_ms: 30_000, ..late.clone() });
        assert!(waits[0].is_none() && waits[2].is_some());
        assert!(notes(&Lateness { suggested_offset_ms: None, ..late }).iter().all(Option::is_none));
    }
}
