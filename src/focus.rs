//! `check focus`: says whether delivered files follow FOCUS, and where they do not.
//!
//! Called by the `check` command. Prints for people, or a line of JSON for each file. Not here: the rules and their checks (crate
//! `billing`), and exit codes, which are `main`'s.

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};
use clap::Args;
use ingest::billing::{Conformance, Container, KEYS_MAX, Level, Version, Violation, check_focus};
use serde_json::{Value, json};

use crate::import::billing::delivery;

pub(crate) const EXAMPLES: &str = "\
Examples:
  streamgauge check focus focus-2026-10.csv.gz          which rules does it violate, and where?
  streamgauge check focus ./focus-exports/2026-10/      every file of a delivery
  streamgauge check focus --version 1.2 focus.parquet   by the rules of this version
  streamgauge check focus --json focus.csv | jq -r '.violations[] | select(.level == \"MUST\") | .rule'

Each PATH is a file, or a folder of files that belong together, of which only those are read that its manifest names, if it
has one: CSV, JSON lines or Parquet, text with gzip or not. Nothing is loaded and nothing is changed.

The version is that of the youngest column, unless --version says it. Each violated rule is shown with how many rows violate
it and the first of them: the line of the file (in Parquet the number of the row) and what is there. MUST rules come first;
SHOULD rules are advice. What a file does not tell, such as whether the provider has tags, is not judged, and said.
All rules are listed in ingest/billing/CHECKS.md. Loads of FOCUS check the MUST rules too: see `findings` in billing_loads.

Exit codes: 0 no MUST rule is violated; 1 one is; 2 a file cannot be read, or is no FOCUS.";

/// Options of `streamgauge check focus`.
#[derive(Debug, Args)]
pub struct Focus {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Version of FOCUS, such as 1.2 [default: that of the columns].
    #[arg(long, value_name = "VERSION", value_parser = version)]
    version: Option<Version>,
    /// Print a line of JSON for each file.
    #[arg(long)]
    json: bool,
}

/// A file violates what it must not; it is told already.
#[derive(Debug)]
pub struct Violated;

/// A file could not be checked; why is told already.
#[derive(Debug)]
pub struct Unchecked;

impl fmt::Display for Violated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rules of FOCUS are violated")
    }
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not every file could be checked")
    }
}

impl std::error::Error for Violated {}
impl std::error::Error for Unchecked {}

fn version(text: &str) -> Result<Version, String> {
    let known = || format!("no version of FOCUS: there are {}", Version::ALL.map(Version::name).join(", "));
    Version::named(text).ok_or_else(known)
}

impl Focus {
    /// Checks all files, whatever the others are.
    ///
    /// # Errors
    /// [`Unchecked`], else [`Violated`]; or that nothing can be printed.
    pub fn run(&self) -> Result<()> {
        let (mut is_unchecked, mut is_violated) = (false, false);
        let mut out = io::stdout().lock();
        for path in &self.paths {
            let files = match delivery(path) {
                Ok((files, _)) => files,
                Err(error) => {
                    is_unchecked = true;
                    self.tell_error(&mut out, path, &error)?;
                    continue;
                }
            };
            for file in files {
                match check_focus(&file, self.version) {
                    Ok(found) => {
                        is_violated |= !found.is_conforming();
                        self.tell(&mut out, &file, &found)?;
                    }
                    Err(error) => {
                        is_unchecked = true;
                        self.tell_error(&mut out, &file, &anyhow!(error))?;
                    }
                }
            }
        }
        match (is_unchecked, is_violated) {
            (true, _) => Err(Unchecked.into()),
            (false, true) => Err(Violated.into()),
            (false, false) => Ok(()),
        }
    }

    fn tell_error(&self, out: &mut impl Write, path: &Path, error: &anyhow::Error) -> Result<()> {
        if self.json {
            let line = json!({"file": path.display().to_string(), "error": format!("{error:#}")});
            return Ok(writeln!(out, "{line}")?);
        }
        // Nobody listens to stderr: then there is nothing to be done about it.
        let _ = writeln!(io::stderr().lock(), "streamgauge: {}: {error:#}", path.display());
        Ok(())
    }

    fn tell(&self, out: &mut impl Write, path: &Path, found: &Conformance) -> Result<()> {
        if self.json {
            return Ok(writeln!(out, "{}", json(path, found, self.version.is_some()))?);
        }
        let told = if self.version.is_some() { "as asked" } else { "by its columns" };
        let (file, container) = (path.display(), container(found.container));
        writeln!(
            out,
            "{file}: FOCUS {} ({told}), {container}, {} columns, {} rows",
            found.version, found.columns, found.rows
        )?;
        for violation in &found.violations {
            show(out, violation)?;
        }
        if !found.unjudged.is_empty() {
            let columns = found.unjudged.iter().map(|(column, needs)| format!("{column} ({needs})"));
            let columns = columns.collect::<Vec<_>>().join(", ");
            writeln!(out, "  not judged: absent, and needed only if the provider has what is in brackets: {columns}")?;
        }
        for rule in &found.partly {
            writeln!(out, "  not judged: {rule}, for values behind the first {}", KEYS_MAX)?;
        }
        let count = |level| found.of(level).count();
        let (musts, shoulds) = (count(Level::Must), count(Level::Should));
        let verdict = if musts == 0 { "conforms to" } else { "does not conform to" };
        writeln!(out, "{file}: {verdict} FOCUS {}: violates {musts} MUST and {shoulds} SHOULD rules", found.version)?;
        Ok(())
    }
}

/// A violated rule, for people.
fn show(out: &mut impl Write, violation: &Violation) -> Result<()> {
    let Violation { rule, rows, is_of_header, first } = violation;
    let rows = match (is_of_header, rows) {
        (true, _) => "header".to_owned(),
        (false, 1) => "1 row".to_owned(),
        (false, rows) => format!("{rows} rows"),
    };
    let level = rule.level.to_string();
    let column = if rule.column.is_empty() { String::new() } else { format!("{} ", rule.column) };
    writeln!(out, "  {level:<6}  {}, {rows}: {column}{}", rule.id, rule.says)?;
    for first in first {
        writeln!(out, "            line {}: {}", first.line, first.value)?;
    }
    Ok(())
}

/// What was found, for machines.
fn json(path: &Path, found: &Conformance, is_asked: bool) -> Value {
    let violations = found.violations.iter().map(|Violation { rule, rows, is_of_header, first }| {
        let first = first.iter().map(|first| json!({"line": first.line, "value": first.value}));
        json!({
            "rule": rule.id,
            "level": rule.level.to_string(),
            "column": rule.column,
            "says": rule.says,
            "header": is_of_header,
            "rows": rows,
            "first": first.collect::<Vec<_>>(),
        })
    });
    let unjudged = found.unjudged.iter().map(|(column, needs)| json!({"column": column, "needs": needs}));
    json!({
        "file": path.display().to_string(),
        "version": found.version.name(),
        "version_is_asked": is_asked,
        "container": container(found.container),
        "columns": found.columns,
        "rows": found.rows,
        "conforms": found.is_conforming(),
        "violations": violations.collect::<Vec<_>>(),
        "not_judged": unjudged.collect::<Vec<_>>(),
        "judged_in_part": found.partly,
    })
}

fn container(of: Container) -> &'static str {
    match of {
        Container::Csv => "CSV",
        Container::JsonLines => "JSON lines",
        Container::Parquet => "Parquet",
    }
}
