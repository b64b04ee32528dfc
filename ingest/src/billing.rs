//! Loads billing exports: files in, one append out, in which everything agrees.
//!
//! Called by the command line, the endpoints and the sources that are pulled. Crate `billing` decodes; rows of `costs` go into staged files,
//! and what follows from them (`costs_daily`, `costs_hourly`, `costs_changes`, `billing_loads`, `billing_period_changes`, `rejects`) beside
//! them into the same append, so that a load is seen wholly or not at all, whatever crashes. What a load replaces is its scope: what one
//! export says of one billing period.
//!
//! Invariants: the same delivery again is no load; one that is known to be earlier is refused; costs that another export has already are
//! loaded only to be compared; a file that cannot be read to its end loads nothing; memory is bounded whatever the size of the files, but
//! for the days, services and accounts there are. Not here: formats (`billing`).

mod archive;
mod changes;
mod check;
mod covers;
mod ledger;
mod load;
mod periods;
pub mod pull;
mod reference;
mod request;
mod retag;
mod rows;
mod sink;
mod summary;
mod uploads;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

pub use billing::{
    AzurePart, Conformance, Container, Format, KEYS_MAX, Level, Manifest, Report, TagRules, Tags, Totals, Version,
    Violation, read_manifest, tags,
};
use bytes::Bytes;
use chrono::NaiveDate;
use futures::{Stream, StreamExt as _};
use storage::{Batch, Clock, Lane, Storage};
use tokio::sync::mpsc;

pub use self::{
    archive::{Archive, Kept},
    changes::Changed,
    check::check_focus,
    covers::Covered,
    ledger::Freshness,
    periods::{Change, Status},
    reference::{Account, REFERENCE_BYTES_MAX, Replaced},
    request::{Commit, File, Input, Outcome, Period, Reading, Request, Summary, Told, ToldChange, ToldTotal},
    rows::totals,
    uploads::Uploaded,
};
use self::{
    ledger::{Ledger, LedgerFile, Loaded, refused},
    periods::{Event, Periods},
    uploads::Uploads,
};
use crate::{Error, ErrorKind, Result};

/// Chunks that wait for the disk; each is what a connection reads at once.
const CHUNKS_AHEAD: usize = 16;

/// How bills are loaded.
#[derive(Debug, Clone)]
pub struct Config {
    /// Rules by which mandatory tags are found.
    pub tags: TagRules,
    /// Folder in which delivered bytes are kept.
    pub archive_dir: PathBuf,
    /// For how long, microseconds.
    pub archive_us: i64,
    /// For how long no amount of a month that is over may change until it is final, microseconds.
    pub close_after_us: i64,
    /// Days for which bills are kept: older ones are refused.
    pub kept_days: u32,
}

/// Loads deliveries, one after the other. Cheap to clone.
#[derive(Clone)]
pub struct Loads(Arc<Inner>);

struct Inner {
    storage: Storage,
    clock: Clock,
    tags: TagRules,
    archive: Archive,
    uploads: Uploads,
    /// Days for which bills are kept.
    kept_days: u32,
    /// Who has it loads; it may be for an hour.
    turn: tokio::sync::Mutex<()>,
    /// Who has it replaces rows of a reference table.
    tables: tokio::sync::Mutex<()>,
    /// Taken for moments only.
    books: tokio::sync::Mutex<Books>,
}

/// What is known of what is loaded.
struct Books {
    ledger: Ledger,
    periods: Periods,
    /// By scope, the delivery that was last not loaded, and why.
    refusals: HashMap<String, (String, String)>,
}

impl Loads {
    /// Goes on with what is loaded already.
    ///
    /// # Errors
    /// `Corrupt` if the ledger cannot be read, `Unavailable` if the archive cannot be written.
    pub async fn open(config: Config, storage: Storage, clock: Clock) -> Result<Self> {
        let Config { tags, archive_dir, archive_us, close_after_us, kept_days } = config;
        let uploads = Uploads::open(archive_dir.join("uploads"))?;
        let archive = Archive::open(archive_dir, archive_us)?;
        let ledger = Ledger::read(&storage).await?;
        let periods = Periods::read(&storage, close_after_us).await?;
        let books = tokio::sync::Mutex::new(Books { ledger, periods, refusals: HashMap::new() });
        let turn = tokio::sync::Mutex::new(());
        Ok(Self(Arc::new(Inner {
            storage,
            clock,
            tags,
            archive,
            uploads,
            kept_days,
            turn,
            tables: Default::default(),
            books,
        })))
    }

    /// Loads a delivery; tells `watch` of each file how many bytes of it are read. Returns when it is durable and visible.
    ///
    /// # Errors
    /// `Invalid` if it is no billing export, lacks what has to be assumed, is older than what is loaded, or another export has the same
    /// costs; `Unavailable` or `Corrupt` if it cannot be read. Nothing is loaded then.
    pub async fn load(&self, request: Request, watch: impl Fn(u64) + Send + Sync + 'static) -> Result<Summary> {
        load::load(&self.0, request, Arc::new(watch)).await
    }

    /// Decodes what is loaded of a scope once more, from the bytes that were delivered.
    ///
    /// # Errors
    /// `Invalid` if nothing is loaded of the scope, or its bytes are not kept any more; else as [`load`](Self::load).
    pub async fn reprocess(&self, scope: &str, watch: impl Fn(u64) + Send + Sync + 'static) -> Result<Summary> {
        let loaded = self.newest(scope).await?;
        let reading: load::Read = serde_json::from_str(&loaded.options)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "the ledger's options cannot be read").caused_by(error))?;
        let (inner, files) = (Arc::clone(&self.0), loaded.files.clone());
        let find = move || files.into_iter().map(|file| inner.kept(file)).collect::<Result<Vec<_>>>();
        let files = load::blocking(find).await?;
        let request = Request {
            part: scope.strip_prefix(&format!("{}/", loaded.export)).map(str::to_owned),
            files: reading.over(files),
            delivery: Some(loaded.delivery),
            delivered_us: loaded.delivered_us,
            reading: reading.reading,
            export: loaded.export,
            force: true,
            dry_run: false,
        };
        self.load(request, watch).await
    }

    /// Takes out what is loaded of a scope: of an export that has another name now, or was loaded by mistake. Its bytes stay in the archive.
    ///
    /// # Errors
    /// `Invalid` if nothing is loaded of it; else as [`load`](Self::load).
    pub async fn forget(&self, scope: &str) -> Result<Summary> {
        let loaded = self.newest(scope).await?;
        let request = Request {
            part: scope.strip_prefix(&format!("{}/", loaded.export)).map(str::to_owned),
            export: loaded.export,
            delivery: Some(format!("forgotten:{}", loaded.revision)),
            force: true,
            ..Request::default()
        };
        self.load(request, |_| {}).await
    }

    async fn newest(&self, scope: &str) -> Result<Loaded> {
        let books = self.0.books.lock().await;
        books.ledger.newest(scope).cloned().ok_or_else(|| nothing_of(scope, &books.ledger))
    }

    /// Is this delivery what is loaded of a scope?
    pub(crate) async fn is_loaded(&self, scope: &str, delivery: &str) -> bool {
        self.0.books.lock().await.ledger.newest(scope).is_some_and(|loaded| loaded.delivery == delivery)
    }

    /// How far every export is.
    pub async fn freshness(&self) -> BTreeMap<String, Freshness> {
        self.0.books.lock().await.ledger.freshness()
    }

    /// Brings bytes into the archive as they come.
    ///
    /// # Errors
    /// Those of the bytes, and `Unavailable` if they cannot be written.
    pub async fn receive(&self, mut bytes: impl Stream<Item = Result<Bytes>> + Unpin) -> Result<Kept> {
        let (sender, mut chunks) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
        let inner = Arc::clone(&self.0);
        let writer = tokio::spawn(load::blocking(move || {
            let mut file = inner.archive.begin()?;
            while let Some(chunk) = chunks.blocking_recv() {
                file.push(&chunk)?;
            }
            Ok(file)
        }));
        let mut came = Ok(());
        while let Some(chunk) = bytes.next().await {
            match chunk {
                // The writer ended early only with an error, which it has.
                Ok(chunk) => {
                    if sender.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    came = Err(error);
                    break;
                }
            }
        }
        drop(sender);
        let broke = |error| Error::new(ErrorKind::Internal, "a file could not be written").caused_by(error);
        let file = writer.await.map_err(broke)??;
        came?;
        load::blocking(move || file.finish()).await
    }

    /// Keeps a file of a delivery that is loaded when all of them are there.
    ///
    /// # Errors
    /// As [`receive`](Self::receive); `Invalid` if the delivery has too many files.
    pub async fn upload(
        &self,
        of: (String, String),
        name: String,
        bytes: impl Stream<Item = Result<Bytes>> + Unpin,
    ) -> Result<Uploaded> {
        let kept = self.receive(bytes).await?;
        let inner = Arc::clone(&self.0);
        load::blocking(move || inner.uploads.add(&of.0, &of.1, &name, &kept)).await
    }

    /// What was sent of a delivery. Blocks.
    ///
    /// # Errors
    /// `Corrupt` if that cannot be read.
    pub fn uploaded(&self, export: &str, part: &str) -> Result<Vec<Uploaded>> {
        self.0.uploads.files(export, part)
    }

    /// Forgets what was sent of a delivery; was there any? Blocks.
    pub fn discard(&self, export: &str, part: &str) -> bool {
        self.0.uploads.remove(export, part)
    }

    /// Loads what was sent.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was sent stays then.
    pub async fn commit(&self, export: &str, part: &str, commit: Commit) -> Result<Summary> {
        let (inner, of, to) = (Arc::clone(&self.0), export.to_owned(), part.to_owned());
        let named = commit.files.clone();
        let find = move || {
            let sent = uploads::chosen(inner.uploads.files(&of, &to)?, named.as_ref())?;
            let path = |file: &Uploaded| inner.archive.find(&file.sha256);
            let files = sent.iter().map(|file| uploads::input(file.clone(), path(file))).collect::<Result<Vec<_>>>()?;
            Ok((sent, files))
        };
        let (sent, files) = load::blocking(find).await?;
        let dry_run = commit.dry_run;
        let summary = self.load(commit.request(export, part, files)?, |_| {}).await?;
        if !dry_run {
            let (inner, of, to) = (Arc::clone(&self.0), export.to_owned(), part.to_owned());
            load::blocking(move || inner.uploads.take(&of, &to, &sent)).await?;
        }
        Ok(summary)
    }

    /// What of its export a request replaces: what it says, or else the month of its period, or of its rows. Blocks.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn part(request: &Request) -> Result<String> {
        load::part(request)
    }

    /// Says that the bill of a month is final, whatever is known of it.
    ///
    /// # Errors
    /// `Invalid` if nothing of it is loaded or it is final already.
    pub async fn close(&self, export: &str, month: NaiveDate) -> Result<Change> {
        let mut books = self.0.books.lock().await;
        let Some(status) = books.periods.status(export, month) else {
            let of = format!("nothing is loaded of this month export={export} month={}", month.format("%Y-%m"));
            return Err(refused(of));
        };
        let now_us = self.0.clock.now_us();
        let facts = books.ledger.facts(export, month, None);
        let change = books.periods.step((export, month), Event::Close, facts, now_us);
        let change = change.ok_or_else(|| refused(format!("the month is {status} already export={export}")))?;
        self.0.write(&mut books, std::slice::from_ref(&change), now_us).await?;
        Ok(change)
    }

    /// Sums up anew what was summed up by other rules of tags, as far as it is not final; gives the scopes.
    ///
    /// # Errors
    /// As storage says.
    pub async fn retag(&self) -> Result<Vec<String>> {
        retag::retag(&self.0).await
    }

    /// What time does: months end and become final, bytes are kept no longer. Gives what became of months.
    ///
    /// # Errors
    /// `Unavailable` or `Overloaded` if it cannot be written.
    pub async fn tick(&self) -> Result<Vec<Change>> {
        let mut books = self.0.books.lock().await;
        let now_us = self.0.clock.now_us();
        let step = |(export, month): (String, NaiveDate)| {
            let facts = books.ledger.facts(&export, month, None);
            books.periods.step((&export, month), Event::Tick, facts, now_us)
        };
        let changes: Vec<Change> = books.periods.unsettled().into_iter().filter_map(step).collect();
        self.0.write(&mut books, &changes, now_us).await?;
        drop(books);
        let inner = Arc::clone(&self.0);
        load::blocking(move || {
            inner.uploads.sweep(now_us);
            inner.archive.sweep(now_us);
            Ok(())
        })
        .await?;
        Ok(changes)
    }
}

impl Inner {
    /// A file of the ledger, by its name, digest and version, from the archive, where its time begins anew. Blocks.
    fn kept(&self, (name, digest, etag): LedgerFile) -> Result<Input> {
        let path = self.archive.find(&digest).ok_or_else(|| {
            refused(format!("the file's bytes are not kept any more: deliver it again file={name} digest={digest}"))
        })?;
        let bytes = path.metadata().map_err(|error| archive::unreadable(&path, error))?.len();
        archive::touch(&path, self.clock.now_us());
        Ok(Input { etag, ..Input::kept(name, Kept { path, bytes, digest }) })
    }

    /// Writes what became of months.
    async fn write(&self, books: &mut Books, changes: &[Change], now_us: i64) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let now_us = now_us.div_euclid(1000) * 1000;
        let rows = periods::rows(changes, now_us)?;
        load::append(&self.storage, vec![Batch::append(schemas::billing_period_changes(), rows, Lane::InOrder)])
            .await?;
        books.periods.note(changes, now_us);
        Ok(())
    }
}

fn nothing_of(scope: &str, ledger: &Ledger) -> Error {
    let mut scopes: Vec<&str> = ledger.scopes().map(|(scope, _)| scope).collect();
    scopes.sort_unstable();
    scopes.truncate(20);
    refused(format!("nothing is loaded of this scope; there are: {} scope={scope}", scopes.join(", ")))
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
