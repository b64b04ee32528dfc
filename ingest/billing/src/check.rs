//! Checks whether a delivered file follows FOCUS: each value as it is in the file, against a table of our own rules.
//!
//! Called for a file by [`check_focus`], and by the reader beside the load of one, which keeps the musts alone. Nothing is changed by it:
//! what a load makes of a value is up to the mapping.
//!
//! Invariants: rules are data (`columns`, `rows`) and few functions look at values; memory is bounded whatever the file; money is never a
//! float. `CHECKS.md` is generated from the rules. Not here: what a provider's own formats mean; rules that need more than the file, such
//! as the invoice. Spec: <https://focus.finops.org/focus-specification/>

mod cells;
mod checker;
mod columns;
mod features;
mod found;
mod header;
mod lists;
mod objects;
mod rows;
mod unique;
mod values;

use std::{fmt, io::Read, sync::LazyLock};

use parquet::file::reader::ChunkReader;

pub(crate) use self::checker::Checker;
pub use self::unique::KEYS_MAX;
use crate::{
    detect::{self, Container, Format},
    error::{Error, Result},
    nested::Nested,
    reader::Source,
    record::Next,
};

/// A version of FOCUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Of June 2024.
    V1_0,
    /// Of November 2024.
    V1_1,
    /// Of May 2025.
    V1_2,
    /// Of December 2025.
    V1_3,
    /// Of June 2026. Its columns are those of the draft before; its rules are those of 1.3.
    V1_4,
}

/// How strongly a rule is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A file that violates it does not conform.
    Must,
    /// Advice.
    Should,
}

/// Which rules are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    All,
    /// The musts: beside a load, where advice would be noise.
    Musts,
}

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// What findings call it.
    pub id: &'static str,
    /// Column it is about; empty if it is about all.
    pub column: &'static str,
    /// How strongly it is put.
    pub level: Level,
    /// What holds of the column.
    pub says: String,
    versions: u8,
}

/// A rule that a file violates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static Rule,
    /// Rows that violate it; all there are, if the header does.
    pub rows: u64,
    /// It is the header that violates it.
    pub is_of_header: bool,
    /// The first of them.
    pub first: Vec<Sample>,
}

/// A row that violates a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Line of the file in which it begins; in Parquet the number of the row; from 1.
    pub line: u64,
    /// What is wrong, cut if it is long.
    pub value: String,
}

/// What a check of a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conformance {
    /// Version it was checked against: the one that was asked for, or that of its columns.
    pub version: Version,
    /// How the file is written.
    pub container: Container,
    /// Rows that were checked.
    pub rows: u64,
    /// Columns of the file.
    pub columns: usize,
    /// Violations: musts first, and of them those of most rows.
    pub violations: Vec<Violation>,
    /// Conditional columns that are not there, and what a provider has to have for them to be asked for: the file does not tell.
    pub unjudged: Vec<(&'static str, &'static str)>,
    /// Rules about the whole file that were checked for the first [`KEYS_MAX`] values alone.
    pub partly: Vec<&'static str>,
}

/// Checks a file of text, compressed with gzip or not, against a version, or that of its columns.
///
/// # Errors
/// `Invalid` if it is no FOCUS at all, else that it cannot be read.
pub fn check_focus(input: impl Read + Send + 'static, file: &str, version: Option<Version>) -> Result<Conformance> {
    check(Source::open(input, file)?, file, version)
}

/// Checks a Parquet file.
///
/// # Errors
/// As [`check_focus`].
pub fn check_focus_parquet(
    input: impl ChunkReader + 'static,
    file: &str,
    version: Option<Version>,
) -> Result<Conformance> {
    check(Source::Parquet(Nested::open(input, file)?), file, version)
}

/// All rules.
#[must_use]
pub fn focus_rules() -> &'static [Rule] {
    &RULES
}

fn check(mut source: Source, file: &str, version: Option<Version>) -> Result<Conformance> {
    if header::present(source.header()) == 0 {
        return Err(Error::invalid(format!("{file} is no FOCUS: none of its columns is one of FOCUS")));
    }
    if let Some(other) = detect::format(source.header(), file).ok().filter(|format| *format != Format::Focus) {
        return Err(Error::invalid(format!("{file} is no FOCUS: its columns are those of {other}")));
    }
    let mut checker = Checker::new(source.header(), version, Scope::All);
    loop {
        match source.next()? {
            Next::End => break,
            Next::Broken { line, reason } => checker.broken(line, &reason),
            Next::Record { line } => {
                checker.adapt(source.header());
                match source.record() {
                    Some(record) => checker.row(&record, line),
                    None => checker.broken(line, "no UTF-8"),
                }
            }
        }
    }
    let (version, header) = (checker.version(), source.header());
    Ok(Conformance {
        version,
        container: source.container(),
        rows: checker.rows(),
        columns: header.names.len(),
        violations: checker.violations(header),
        unjudged: header::unjudged(header::present(header), version),
        partly: checker.partly(),
    })
}

impl Version {
    /// All there are, the oldest first.
    pub const ALL: [Self; 5] = [Self::V1_0, Self::V1_1, Self::V1_2, Self::V1_3, Self::V1_4];

    /// The version of a name such as `1.2`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    /// Its name, such as `1.2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["1.0", "1.1", "1.2", "1.3", "1.4"][self as usize]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        })
    }
}

impl Rule {
    /// Is it one of a version?
    #[must_use]
    pub fn is_of(&self, version: Version) -> bool {
        self.versions & (1 << version as u8) != 0
    }
}

impl Conformance {
    /// Violations of a level.
    pub fn of(&self, level: Level) -> impl Iterator<Item = &Violation> {
        self.violations.iter().filter(move |violation| violation.rule.level == level)
    }

    /// Does the file violate no must?
    #[must_use]
    pub fn is_conforming(&self) -> bool {
        self.of(Level::Must).next().is_none()
    }
}

const RECORD: &str = "focus-record";
const NULL_PLACEHOLDER: &str = "focus-null-placeholder";
const NULL_EMPTY: &str = "focus-null-empty";
const NULL_QUOTED: &str = "focus-null-quoted";
const NAME_SPELLED: &str = "focus-column-name";
const NAME_KNOWN: &str = "focus-column-known";
const NAME_ONCE: &str = "focus-column-once";
const CUSTOM_NAME: &str = "focus-custom-name";
const CUSTOM_LAST: &str = "focus-custom-last";

/// Rules that are about no column of their own.
const GENERAL: [(&str, Level, &str); 9] = [
    (RECORD, Level::Must, "each row is text in UTF-8 with as many fields as the header has"),
    (NULL_PLACEHOLDER, Level::Must, "null is null, and no text that stands for it, such as `NULL`, `N/A` or blanks"),
    (NULL_EMPTY, Level::Must, "null is null, and no text of no characters (where files have types)"),
    (NULL_QUOTED, Level::Should, "null is an empty field without quotes (in CSV)"),
    (NAME_SPELLED, Level::Must, "columns of FOCUS are spelled as FOCUS does"),
    (NAME_KNOWN, Level::Must, "columns that this version of FOCUS does not have begin with `x_`"),
    (NAME_ONCE, Level::Must, "no column is there twice"),
    (
        CUSTOM_NAME,
        Level::Should,
        "custom columns go on in Pascal case, with letters and digits alone, up to 50 characters",
    ),
    (CUSTOM_LAST, Level::Should, "custom columns come after those of FOCUS"),
];

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let general =
        GENERAL.map(|(id, level, says)| Rule { id, column: "", level, says: says.to_owned(), versions: 0b1_1111 });
    let of_rows = rows::ROW_RULES.iter().map(|rule| Rule {
        id: rule.id,
        column: rule.column.name(),
        level: rule.level,
        says: rule.says(),
        versions: rule.versions(),
    });
    general.into_iter().chain(columns::COLUMNS.iter().flat_map(columns::Facts::rules)).chain(of_rows).collect()
});

/// Place of a rule; behind all of them if there is none such.
fn rule(id: &str) -> usize {
    RULES.iter().position(|rule| rule.id == id).unwrap_or(RULES.len())
}

#[cfg(test)]
mod tests;
