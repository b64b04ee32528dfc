//! What is asked of a load, and what came of it, for those who are not here: both as JSON.
//!
//! Called by the command line and the endpoints, which hand the same things over.

use std::{collections::BTreeMap, fmt, ops::Range, path::PathBuf};

use billing::{AzurePart, Format, Options, Report};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::{
    archive::Kept, changes::Changed, ledger::refused, money_text, periods::Change, rows::totals, uploads::Uploaded,
};
use crate::Result;

/// Rejected lines that are told of each file; `rejects` has more of them.
const REJECTS_TOLD_MAX: usize = 10;
/// Findings that are told of each file.
const FINDINGS_TOLD_MAX: usize = 100;

/// A delivery to be loaded.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The export it is of.
    pub export: String,
    /// What of the export it replaces, such as `2026-11`; the month of its period, or of its rows, if nothing is said.
    pub part: Option<String>,
    /// Its files, in their order.
    pub files: Vec<Input>,
    /// The provider's id of the delivery; a digest of the files without one.
    pub delivery: Option<String>,
    /// When the provider delivered it, microseconds.
    pub delivered_us: Option<i64>,
    /// How its files are read.
    pub reading: Reading,
    /// Load it, even if it is loaded or older than what is.
    pub force: bool,
    /// Read it and say what it is, and load nothing.
    pub dry_run: bool,
}

/// A file of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    /// What it is called where it is from.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// What the store it is from calls this version of it.
    pub etag: Option<String>,
    /// Its part of an Azure export, if not all files are of one.
    pub azure: Option<AzurePart>,
    /// Its size and digest, if it is in the archive.
    pub kept: Option<(u64, String)>,
}

/// What is known of files that they do not say themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// What the files are, if it is not to be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Format>,
    /// What part of an Azure export they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzurePart>,
    /// The billing period, for rows that have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Values of columns for rows that have none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub assume: BTreeMap<String, String>,
    /// Are its costs only looked at beside those of another export, and in no total?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uncounted: bool,
}

/// A stretch of time, microseconds; as JSON two times in RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Period(pub Range<i64>);

/// A period as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    start: String,
    end: String,
}

impl TryFrom<Written> for Period {
    type Error = String;

    fn try_from(Written { start, end }: Written) -> Result<Self, String> {
        let time = |text: &str| {
            let time =
                DateTime::parse_from_rfc3339(text).map_err(|error| format!("no time in RFC 3339: {text} ({error})"))?;
            Ok::<_, String>(time.timestamp_micros())
        };
        let range = time(&start)?..time(&end)?;
        if range.is_empty() { Err(format!("a period ends after it begins: {start} to {end}")) } else { Ok(Self(range)) }
    }
}

impl From<Period> for Written {
    fn from(Period(range): Period) -> Self {
        let text =
            |us| DateTime::from_timestamp_micros(us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::AutoSi, true);
        Self { start: text(range.start), end: text(range.end) }
    }
}

/// What is said of files that were sent, when they are to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commit {
    /// The provider's id of the delivery; a digest of the files without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// When the provider delivered it, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<String>,
    /// The files, in their order, with what was sent of them; all that was sent, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<Uploaded>>,
    /// How the files are read.
    pub reading: Reading,
    /// Parts of an Azure export, by names of files.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub azure: BTreeMap<String, AzurePart>,
    /// Load it, even if it is loaded or older than what is.
    pub force: bool,
    /// Read it and say what it is, and load nothing.
    pub dry_run: bool,
}

impl Commit {
    /// What is asked with a request whose files are sent, as these.
    #[must_use]
    pub fn of(request: &Request, files: Vec<Uploaded>) -> Self {
        let delivered = request.delivered_us.and_then(DateTime::from_timestamp_micros);
        Self {
            delivery: request.delivery.clone(),
            delivered_at: delivered.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            files: Some(files),
            reading: request.reading.clone(),
            azure: request.files.iter().filter_map(|file| Some((file.name.clone(), file.azure?))).collect(),
            force: request.force,
            dry_run: request.dry_run,
        }
    }

    /// The request for files that were sent.
    ///
    /// # Errors
    /// `Invalid` if nothing was sent, or there is no such time.
    pub(super) fn request(self, export: &str, part: &str, mut files: Vec<Input>) -> Result<Request> {
        if files.is_empty() {
            let path = format!("/api/v1/billing/{export}/{part}?file=NAME");
            return Err(refused(format!("no files were sent for this part: POST them to {path} first")));
        }
        for file in &mut files {
            file.azure = self.azure.get(&file.name).copied();
        }
        let time = |text: &String| {
            let time = DateTime::parse_from_rfc3339(text);
            time.map(|time| time.timestamp_micros())
                .map_err(|error| refused(format!("delivered_at is no time: {error}")))
        };
        Ok(Request {
            export: export.to_owned(),
            part: Some(part.to_owned()),
            files,
            delivery: self.delivery,
            delivered_us: self.delivered_at.as_ref().map(time).transpose()?,
            reading: self.reading,
            force: self.force,
            dry_run: self.dry_run,
        })
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// What it replaces: `x_Scope` of its rows.
    pub scope: String,
    /// What was done.
    pub outcome: Outcome,
    /// Each file, and what became of it.
    pub files: Vec<File>,
    /// What changed against the load before, by currency.
    pub changes: BTreeMap<String, Changed>,
    /// What became of its billing periods.
    pub periods: Vec<Change>,
    /// What a reader of the numbers should know beside what is known of each file: a code, and in words.
    pub findings: Vec<(&'static str, String)>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
}

/// What was done with a delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Loaded as this revision of its scope.
    Loaded(i64),
    /// It is what is loaded.
    #[default]
    Same,
    /// It was only read.
    Read,
}

/// A file of a delivery.
#[derive(Debug, Clone)]
pub struct File {
    /// What it was, as it was asked for.
    pub input: Input,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub digest: String,
    /// What it is; `None` if it was not read.
    pub format: Option<Format>,
    /// What became of its rows.
    pub report: Report,
}

impl Input {
    /// A file that is where it is from.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { name: path.display().to_string(), path, ..Self::default() }
    }

    /// A file that is kept in the archive.
    #[must_use]
    pub fn kept(name: String, kept: Kept) -> Self {
        Self { name, path: kept.path, kept: Some((kept.bytes, kept.digest)), ..Self::default() }
    }
}

impl Reading {
    /// How one file of a scope is read.
    pub(super) fn options(&self, scope: &str, input: &Input) -> Options {
        Options {
            scope: scope.to_owned(),
            file: input.name.rsplit(['/', '\\']).next().unwrap_or(&input.name).to_owned(),
            assume: self.assume.clone(),
            format: self.provider,
            period_us: self.period.as_ref().map(|Period(range)| range.clone()),
            azure: input.azure.or(self.azure).unwrap_or_default(),
        }
    }
}

/// A [`Summary`] as it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What it replaces.
    pub scope: String,
    /// Number of the load within its scope; none if nothing was loaded.
    pub revision: Option<i64>,
    /// Is it what was loaded already?
    pub is_same: bool,
    /// What the files are.
    pub format: String,
    /// How many files it has.
    pub files: usize,
    /// Rows of the files that were written.
    pub rows: u64,
    /// Rows of ours, written beside them.
    pub derived: u64,
    /// Rows that another part of the delivery has.
    pub left_out: u64,
    /// Rows that could not be written.
    pub rejects: u64,
    /// Amounts that had more digits than are kept.
    pub rounded: u64,
    /// Sums by currency and charge category.
    pub totals: Vec<ToldTotal>,
    /// What changed against the load before.
    pub changes: Vec<ToldChange>,
    /// What became of billing periods, in words.
    pub periods: Vec<String>,
    /// What a reader of the numbers should know, in words.
    pub notes: Vec<String>,
    /// The first rows that could not be written, in words.
    pub refused: Vec<String>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
}

/// Sums of a currency and charge category; amounts as text, to their last digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldTotal {
    /// Currency.
    pub currency: String,
    /// Charge category.
    pub category: String,
    /// Rows.
    pub rows: u64,
    /// Sum of the lines as the files have them.
    pub delivered: String,
    /// Sum of BilledCost.
    pub billed: String,
    /// Sum of EffectiveCost.
    pub effective: String,
}

/// What changed in a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldChange {
    /// Currency.
    pub currency: String,
    /// Sums of a day, service and account that changed.
    pub sums: usize,
    /// By how much BilledCost changed in all.
    pub by: String,
    /// Is it so much less that something may be missing?
    pub shrank: bool,
}

impl Summary {
    /// As it is told.
    #[must_use]
    pub fn told(&self) -> Told {
        let files = &self.files;
        let sum = |of: &dyn Fn(&File) -> u64| files.iter().map(of).sum::<u64>();
        let total = |((currency, category), totals): ((String, String), billing::Totals)| ToldTotal {
            currency,
            category,
            rows: totals.rows,
            delivered: totals.delivered_text(),
            billed: money_text(totals.billed),
            effective: money_text(totals.effective),
        };
        let text = |sum: i128| money_text(arrow::datatypes::i256::from_i128(sum));
        let change = |(currency, changed): (&String, &Changed)| {
            let (currency, sums) = (currency.clone(), changed.sums);
            ToldChange { currency, sums, by: text(changed.by), shrank: changed.is_less_by_far() }
        };
        Told {
            scope: self.scope.clone(),
            revision: match self.outcome {
                Outcome::Loaded(revision) => Some(revision),
                Outcome::Same | Outcome::Read => None,
            },
            is_same: self.outcome == Outcome::Same,
            format: files.iter().find_map(|file| file.format).map(|format| format.to_string()).unwrap_or_default(),
            files: files.len(),
            rows: sum(&|file| file.report.rows_delivered),
            derived: sum(&|file| file.report.rows_derived),
            left_out: sum(&|file| file.report.rows_left_out()),
            rejects: sum(&|file| file.report.rows_rejected),
            rounded: sum(&|file| file.report.values_rounded),
            totals: totals(files).into_iter().map(total).collect(),
            changes: self.changes.iter().map(change).collect(),
            periods: self.periods.iter().map(Change::to_string).collect(),
            notes: self
                .findings
                .iter()
                .map(|(_, words)| words.clone())
                .chain(files.iter().flat_map(File::notes))
                .collect(),
            refused: files.iter().flat_map(File::refused).collect(),
            took_ms: self.took_ms,
        }
    }
}

impl File {
    fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.report.findings.iter().take(FINDINGS_TOLD_MAX).map(|(code, finding)| {
            format!("{code} in {} rows, first {} file={}", finding.rows, finding.first, self.input.name)
        })
    }

    fn refused(&self) -> impl Iterator<Item = String> + '_ {
        self.report.rejects.iter().take(REJECTS_TOLD_MAX).map(|reject| {
            let column = reject.column.as_ref().map(|column| format!(" column={column}")).unwrap_or_default();
            format!("{} file={} line={}{column}", reject.reason, self.input.name, reject.line)
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} is {}: {}", self.month.format("%Y-%m"), self.export, self.status, self.reason)
    }
}
