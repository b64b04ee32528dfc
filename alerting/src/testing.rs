//! Tests that users write for their rules: the files of `promtool test rules`, with our fields beside.
//!
//! The command line calls [`run`] with a file; `file` reads it, `series` reads the notation of series, `store` keeps and
//! queries them in memory, `unit` runs one test, `report` says what differs.
//!
//! A test goes from its start to its last `eval_time` in steps of `evaluation_interval`: at each, samples up to then are there, and all groups
//! are evaluated, whatever their own interval is. An alert is looked at in the last evaluation that is not after its `eval_time`, and only
//! firing alerts count; expressions are asked after all evaluations. A rule that fails ends its test.
//!
//! Ours is `input_rows`, rows of tables for rules with `sql`, which whoever calls evaluates ([`Rows`]).
//! Invariant: what is expected is compared exactly, as sets; with `fuzzy_compare`, numbers may differ in their last bit.
//! Not here: the template engine and SQL, which come as arguments.
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>

mod file;
mod junit;
mod report;
mod series;
mod store;
#[cfg(test)]
mod tests;
mod unit;

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::{
    Error, Result, glob,
    query::{Expand, Found},
    rules::{self, Group, Sql, TemplateCheck},
};

pub use junit::junit;
pub use series::{Point, Values, read_labels, read_values};
pub use store::Store;

pub use crate::memory::Settings;

/// Largest file of tests that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Rows of a table, as they are written: columns with texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the table is called.
    pub name: String,
    /// Each a list of columns with values; null is `None`.
    pub rows: Vec<Vec<(String, Option<String>)>>,
}

/// Answers the SQL of rules over rows in memory.
pub trait Rows {
    /// What a query finds at a time.
    ///
    /// # Errors
    /// The query fails.
    fn sql(&self, tables: &[Table], sql: &Sql, at_ms: i64) -> Result<Found>;
}

/// How tests are run.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a template engine shows nothing")]
pub struct Options<'a> {
    /// Only tests whose name matches.
    pub run: Option<Regex>,
    /// Are differences shown as lines with `-` and `+`, and not as two lists?
    pub diff: bool,
    /// Are fields that are not known passed over, in tests and rules?
    pub ignores_unknown_fields: bool,
    /// Are all samples told?
    pub debug: bool,
    /// How old a sample may be to be a series' value; five minutes in Prometheus.
    pub lookback_ms: i64,
    /// What PromQL may use.
    pub features: promql::Features,
    /// Checks templates.
    pub template: TemplateCheck<'a>,
    /// Expands them.
    pub expand: &'a dyn Expand,
    /// Answers SQL, if rules ask it.
    pub rows: Option<&'a dyn Rows>,
}

/// What came of a file of tests.
#[derive(Debug, Default)]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// Why it cannot be run: it or a file of rules cannot be read. Each as `file:line:column: reason`.
    pub errors: Vec<String>,
    /// What is doubtful: a pattern of rule files that no file matches.
    pub warnings: Vec<String>,
    /// Of each test that was run.
    pub tests: Vec<Tested>,
}

/// What came of one test.
#[derive(Debug, Default)]
pub struct Tested {
    /// Its name, or which it is.
    pub name: String,
    /// The line where it begins.
    pub line: u64,
    /// What was not as expected.
    pub failures: Vec<String>,
    /// What there was, if that was asked for.
    pub debug: String,
}

impl Report {
    /// Is all as expected?
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty() && self.tests.iter().all(|test| test.failures.is_empty())
    }
}

/// Runs the tests of a file.
#[must_use]
pub fn run(path: &Path, options: &Options<'_>) -> Report {
    let mut report = Report { file: path.to_owned(), ..Report::default() };
    let file = read_text(path).and_then(|text| {
        let file = file::read(&text, options.ignores_unknown_fields);
        file.map_err(|error| format!("{}:{error}", path.display()))
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            report.errors.push(error);
            return report;
        }
    };
    let groups = groups(&file, options, &mut report);
    if !report.errors.is_empty() {
        return report;
    }
    for (at, test) in file.tests.iter().enumerate() {
        if options.run.as_ref().is_some_and(|regex| !regex.is_match(&test.name)) {
            continue;
        }
        let name = if test.name.is_empty() { format!("test {}", at + 1) } else { test.name.clone() };
        let (failures, debug) = unit::run(&file, test, &groups, options);
        report.tests.push(Tested { name, line: test.place.0, failures, debug });
    }
    report
}

fn read_text(path: &Path) -> Result<String, String> {
    let read = || {
        let size = fs::metadata(path)?.len();
        if size > FILE_BYTES_MAX {
            let message = format!("file is too large; split it: bytes={size} max={FILE_BYTES_MAX}");
            return Err(std::io::Error::other(message));
        }
        fs::read_to_string(path)
    };
    read().map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// The groups of all files of rules, in the order of evaluation.
fn groups(file: &file::File, options: &Options<'_>, report: &mut Report) -> Vec<Group> {
    let Report { file: path, errors, warnings, .. } = report;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut groups = Vec::new();
    for (pattern, (line, column)) in &file.rule_files {
        let place = |message: String| format!("{}:{line}:{column}: {message}", path.display());
        let paths = match glob::files(folder, pattern) {
            Ok(paths) => paths,
            Err(error) => {
                errors.push(place(format!("`{pattern}` cannot be looked for: {error}")));
                continue;
            }
        };
        if paths.is_empty() {
            warnings.push(place(format!("no file matches `{pattern}`; patterns are relative to the file of tests")));
        }
        for rules in paths {
            let read_options =
                rules::Options { ignores_unknown_fields: options.ignores_unknown_fields, template: options.template };
            let told = |error: &Error| format!("{}:{error}", rules.display());
            match read_text(&rules).map(|text| rules::parse(&text, &read_options)) {
                Ok(Ok(read)) => groups.extend(read),
                Ok(Err(wrong)) => errors.extend(wrong.iter().map(told)),
                Err(error) => errors.push(error),
            }
        }
    }
    groups.sort_by_key(|group| file.order.iter().position(|name| *name == group.name).unwrap_or(0));
    groups
}
