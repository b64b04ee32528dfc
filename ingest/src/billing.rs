//! Loads billing exports: files in, one append out, in which everything agrees.
//!
//! Called by the command line. Crate `billing` decodes; rows of `costs` go into staged files, and what follows
//! from them (`costs_daily`, `costs_hourly`, `costs_changes`, `billing_loads`, `rejects`) beside them into the same append, so that a load
//! is seen wholly or not at all, whatever crashes. What a load replaces is its scope: what one export says of one billing period.
//!
//! Invariants: the same delivery again is no load; one that its manifest says is earlier is refused; a file that cannot be read to its end loads nothing; memory is
//! bounded whatever the size of the files, but for the days, services and accounts there are. Not here: formats (`billing`), where files come from.

mod changes;
mod check;
mod digest;
mod ledger;
mod load;
mod rows;
mod summary;
pub mod tags;

use std::{collections::BTreeMap, ops::Range, path::PathBuf, sync::Arc};

pub use billing::{
    AzurePart, Conformance, Container, Format, KEYS_MAX, Level, Manifest, Report, Totals, Version, Violation,
    read_manifest,
};
use storage::{Clock, Storage};

use self::ledger::Ledger;
pub use self::{check::check_focus, rows::totals, tags::Tags};
use crate::{Error, ErrorKind, Result};

/// A delivery to be loaded.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The export it is of.
    pub export: String,
    /// What of the export it replaces, such as `2026-11`; the month of its period, or of its rows, if nothing is said.
    pub part: Option<String>,
    /// Its files, in their order.
    pub files: Vec<PathBuf>,
    /// The provider's id of the delivery; a digest of the files without one.
    pub delivery: Option<String>,
    /// When the provider delivered it, microseconds.
    pub delivered_us: Option<i64>,
    /// The billing period, microseconds, for rows that have none.
    pub period_us: Option<Range<i64>>,
    /// What the files are, if it is not to be found out.
    pub format: Option<Format>,
    /// What part of an Azure export it is.
    pub azure: AzurePart,
    /// Values of columns for rows that have none.
    pub assume: BTreeMap<String, String>,
    /// Load it, even if it is loaded or older than what is.
    pub force: bool,
    /// Read it and say what it is, and load nothing.
    pub dry_run: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What it replaces: `x_Scope` of its rows.
    pub scope: String,
    /// What was done.
    pub outcome: Outcome,
    /// Each file, and what became of it.
    pub files: Vec<File>,
    /// BilledCost by currency that changed against the load before: so many days, services and accounts; by how much, in units of 10⁻²².
    pub changes: BTreeMap<String, (usize, i128)>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
}

/// What was done with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Loaded as this revision of its scope.
    Loaded(i64),
    /// It is what is loaded.
    Same,
    /// It was only read.
    Read,
}

/// A file of a delivery.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub digest: String,
    /// What it is; `None` if it was not read.
    pub format: Option<Format>,
    /// What became of its rows.
    pub report: Report,
}

/// Loads deliveries, one after the other. Cheap to clone.
#[derive(Clone)]
pub struct Loads(Arc<Inner>);

struct Inner {
    storage: Storage,
    clock: Clock,
    tags: Tags,
    ledger: tokio::sync::Mutex<Ledger>,
}

impl Loads {
    /// Goes on with what is loaded already.
    ///
    /// # Errors
    /// `Corrupt` if the ledger cannot be read.
    pub async fn open(storage: Storage, clock: Clock, tags: Tags) -> Result<Self> {
        let ledger = tokio::sync::Mutex::new(Ledger::read(&storage).await?);
        Ok(Self(Arc::new(Inner { storage, clock, tags, ledger })))
    }

    /// Loads a delivery; tells `watch` of each file how many bytes of it are read. Returns when it is durable and visible.
    ///
    /// # Errors
    /// `Invalid` if it is no billing export, lacks what has to be assumed, or is older than what is loaded; `Unavailable` or `Corrupt` if it
    /// cannot be read. Nothing is loaded then.
    pub async fn load(&self, request: Request, watch: impl Fn(u64) + Send + Sync + 'static) -> Result<Summary> {
        // Loads of one scope must not overtake each other, and two at once would share the memory of one.
        let mut ledger = self.0.ledger.lock().await;
        load::load(&self.0, &mut ledger, request, Arc::new(watch)).await
    }
}

/// A sum of money as text, in units of 10⁻²².
#[must_use]
pub fn money_text(sum: arrow::datatypes::i256) -> String {
    billing::decimal::text(sum, billing::decimal::MONEY_SCALE)
}

fn too_large() -> Error {
    Error::new(ErrorKind::Invalid, "a sum of costs has more than 16 digits before the decimal point")
}

impl From<billing::Error> for Error {
    fn from(error: billing::Error) -> Self {
        let kind = match error.kind {
            billing::ErrorKind::Invalid => ErrorKind::Invalid,
            billing::ErrorKind::Unavailable => ErrorKind::Unavailable,
            billing::ErrorKind::Corrupt => ErrorKind::Corrupt,
            billing::ErrorKind::Internal => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string()).caused_by(error)
    }
}
