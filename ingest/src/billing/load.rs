//! One load: decodes files on threads of their own, stages their rows and what follows from them, and appends it all at once.
//!
//! Called by [`Loads::load`](super::Loads::load), one at a time. Batches go from the decoders through a short queue, so whoever is slower
//! holds the other up and memory stays what it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Date32Type, i256},
};
use billing::{AzurePart, Format, Options, Reader, Report};
use chrono::{DateTime, NaiveDate};
use schemas::Dataset;
use serde::{Deserialize, Serialize};
use storage::{Batch, Lane, Storage, Write};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    Books, Covered, File, Inner, Input, Outcome, Reading, Request, Summary, archive,
    changes::{self, Changes, Side},
    ledger::{Loaded, Standing, refused},
    periods::{self, Change, Event},
    retag, rows,
    sink::Sink,
    too_large,
};
use crate::{Error, ErrorKind, Result, stored};

const DAY_US: i64 = 86_400_000_000;
/// Batches that wait to be staged.
const BATCHES_AHEAD: usize = 4;
/// Scopes of which the last refusal is known, so that the same one is written down once.
const REFUSALS_MAX: usize = 10_000;
const MONTH: &str = "%Y-%m";
/// A new revision may have one reject for so many rows; with more, a changed format is more likely than bad lines.
const REJECTED_SHARE: u64 = 20;
/// Bytes of rejected rows of one load, which are one record of the log.
const REJECTS_BYTES_MAX: usize = 16 << 20;
/// Bytes between two looks of whoever watches.
const WATCHED_BYTES: u64 = 1 << 20;

/// Is told how many more bytes are read.
pub(super) type Watch = Arc<dyn Fn(u64) + Send + Sync>;

/// How files were read, as the ledger keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Read {
    pub reading: Reading,
    /// Of each file, its part of an Azure export.
    azure: Vec<Option<AzurePart>>,
}

impl Read {
    fn of(request: &Request) -> Self {
        Self { reading: request.reading.clone(), azure: request.files.iter().map(|file| file.azure).collect() }
    }

    /// Files with their parts.
    pub(super) fn over(&self, files: Vec<Input>) -> Vec<Input> {
        let azure = self.azure.iter().copied().chain(std::iter::repeat(None));
        files.into_iter().zip(azure).map(|(file, azure)| Input { azure, ..file }).collect()
    }
}

pub(super) async fn load(inner: &Arc<Inner>, request: Request, watch: Watch) -> Result<Summary> {
    if request.export.is_empty() || request.export.contains('/') {
        return Err(refused(format!("an export is named by a word without a slash export={:?}", request.export)));
    }
    // Loads of one scope must not overtake each other, and two at once would share the memory of one.
    let _turn = inner.turn.lock().await;
    let (start_us, request) = (inner.clock.now_us(), Arc::new(request));
    let mut attempt = Attempt::default();
    let done = attempt.load(inner, &request, watch).await;
    attempt.summary.took_ms = (inner.clock.now_us() - start_us) / 1000;
    let Err(error) = done else { return Ok(attempt.summary) };
    if !attempt.summary.scope.is_empty() && !request.dry_run {
        // Who asked is told why in any case.
        if let Err(lost) = attempt.note(inner, &request, &error).await {
            warn!(%lost, scope = attempt.summary.scope, "the ledger lacks a delivery that is not loaded");
        }
    }
    Err(error)
}

/// A load while it goes on.
#[derive(Default)]
struct Attempt {
    /// What is known of it.
    summary: Summary,
    delivery: String,
}

impl Attempt {
    async fn load(&mut self, inner: &Arc<Inner>, request: &Arc<Request>, watch: Watch) -> Result<()> {
        let summary = &mut self.summary;
        if let Some((delivery, part)) = request.delivery.as_ref().zip(part_of_period(request)) {
            // What is told by names alone costs no look at the files.
            summary.scope = format!("{}/{part}", request.export);
            self.delivery.clone_from(delivery);
            if revision(inner, request, &summary.scope, delivery).await?.is_none() {
                return Ok(());
            }
        }
        let (asked, keeper) = (Arc::clone(request), Arc::clone(inner));
        let (files, part) = blocking(move || look(&keeper, &asked)).await?;
        let digests = files.iter().map(|file| file.digest.as_str());
        self.delivery = request.delivery.clone().unwrap_or_else(|| archive::of_delivery(digests));
        (summary.scope, summary.files) = (format!("{}/{part}", request.export), files);
        let Some(revision) = revision(inner, request, &summary.scope, &self.delivery).await? else { return Ok(()) };
        let mut sink = Sink::new(inner, &summary.scope, request);
        decode(request, &summary.scope, &mut summary.files, watch, &mut sink).await?;
        check(inner, &summary.files, request, revision)?;
        let covers = std::mem::take(&mut sink.covers);
        let mut changes = sink.changes().await?;
        old_sums(&inner.storage, &summary.scope, &mut changes).await?;
        summary.changes = changes.by_currency();
        summary.findings = Changes::findings(&summary.changes).chain(covers.findings()).collect();
        summary.outcome = if request.dry_run { Outcome::Read } else { Outcome::Loaded(revision) };
        // From here on the books stand still; what is left takes as long as a commit.
        let mut books = inner.books.lock().await;
        if let Some((other, of)) = books.ledger.rival(&request.export, &covers.all) {
            return Err(twice(&request.export, other, of));
        }
        if request.dry_run {
            return Ok(());
        }
        let (now_us, changed) = (now_us(inner), changes.months());
        let load = rows::Load {
            request,
            summary,
            revision,
            delivery: &self.delivery,
            covers: &covers.all,
            error: None,
            changed: &changed,
            now_us,
        };
        let loaded = load.loaded(&Read::of(request))?;
        let months = step(&books, &summary.scope, &loaded, now_us);
        let mut batches = sink.replacements(&summary.scope).await?;
        add(
            &mut batches,
            [
                (schemas::billing_loads(), load.ledger(&loaded)?),
                (schemas::billing_period_changes(), periods::rows(&months, now_us)?),
                (schemas::costs_changes(), changes.rows(&summary.scope, revision, now_us)?),
                (schemas::rejects(), load.rejects()?),
            ],
        );
        append(&inner.storage, batches).await?;
        books.ledger.note(&summary.scope, loaded);
        books.periods.note(&months, now_us);
        summary.periods = months;
        Ok(())
    }

    /// Writes into the ledger that nothing was loaded, and why; once for the same delivery and reason.
    async fn note(&self, inner: &Inner, request: &Request, error: &Error) -> Result<()> {
        let (summary, told) = (&self.summary, (self.delivery.clone(), error.to_string()));
        let mut books = inner.books.lock().await;
        if books.refusals.get(&summary.scope) == Some(&told) {
            return Ok(());
        }
        let load = rows::Load {
            request,
            summary,
            revision: 0,
            delivery: &told.0,
            covers: &BTreeSet::new(),
            error: Some(error),
            changed: &BTreeSet::new(),
            now_us: now_us(inner),
        };
        let loaded = load.loaded(&Read::of(request))?;
        let mut batches = Vec::new();
        add(&mut batches, [(schemas::billing_loads(), load.ledger(&loaded)?), (schemas::rejects(), load.rejects()?)]);
        append(&inner.storage, batches).await?;
        if books.refusals.len() >= REFUSALS_MAX {
            books.refusals.clear();
        }
        books.refusals.insert(summary.scope.clone(), told);
        Ok(())
    }
}

/// Adds rows to what is appended.
fn add(batches: &mut Vec<Batch>, rows: impl IntoIterator<Item = (&'static Dataset, RecordBatch)>) {
    for (dataset, rows) in rows.into_iter().filter(|(_, rows)| rows.num_rows() > 0) {
        batches.push(Batch::append(dataset, rows, Lane::InOrder));
    }
}

/// Now, as the ledger writes it: microseconds, whole milliseconds.
fn now_us(inner: &Inner) -> i64 {
    inner.clock.now_us().div_euclid(1000) * 1000
}

/// The revision that a delivery is to be loaded as; none if it is loaded already.
async fn revision(inner: &Inner, request: &Request, scope: &str, delivery: &str) -> Result<Option<i64>> {
    let ledger = &inner.books.lock().await.ledger;
    match ledger.standing(scope, delivery, request.delivered_us) {
        Standing::New(revision) => Ok(Some(revision)),
        _ if request.force || request.dry_run => Ok(Some(ledger.next_revision(scope))),
        Standing::Same => Ok(None),
        Standing::Older(later_us) => Err(older(scope, request.delivered_us, later_us)),
    }
}

/// What becomes of the months of a load: those that it has, and those that it has not any more.
fn step(books: &Books, scope: &str, loaded: &Loaded, now_us: i64) -> Vec<Change> {
    let months: BTreeSet<NaiveDate> = loaded.months.iter().chain(loaded.changed_us.keys()).copied().collect();
    let change = |month: NaiveDate| {
        let facts = books.ledger.facts(&loaded.export, month, Some((scope, loaded)));
        let event = Event::Load { changed: loaded.changed_us.contains_key(&month) };
        books.periods.step((&loaded.export, month), event, facts, now_us)
    };
    months.into_iter().filter_map(change).collect()
}

fn older(scope: &str, delivered_us: Option<i64>, later_us: i64) -> Error {
    let time = |us| DateTime::from_timestamp_micros(us).map(|time| time.to_rfc3339()).unwrap_or_default();
    refused(format!(
        "what is loaded was delivered later; load it in spite of that with --force, scope={scope} delivered={} loaded={}",
        time(delivered_us.unwrap_or_default()),
        time(later_us)
    ))
}

fn twice(export: &str, other: &str, of: &Covered) -> Error {
    refused(format!(
        "exports {export} and {other} have costs of the same account and month, which would count twice: leave one out, or load it to          compare only (`counted: false` in the settings, --uncounted here) issuer={} account={} month={}",
        of.issuer,
        of.account,
        of.month.format(MONTH)
    ))
}

/// What is replaced, as far as it is known without the files.
fn part_of_period(request: &Request) -> Option<String> {
    request.part.clone().or_else(|| {
        let period = &request.reading.period.as_ref()?.0;
        Some(DateTime::from_timestamp_micros(period.start)?.format(MONTH).to_string())
    })
}

/// What of its export a request replaces. Blocks.
///
/// # Errors
/// As [`Loads::load`](super::Loads::load).
pub(super) fn part(request: &Request) -> Result<String> {
    if let Some(part) = part_of_period(request) {
        return Ok(part);
    }
    if let Some(format) = request.reading.provider.filter(|format| adds_up(*format)) {
        return piece(request, format);
    }
    for input in &request.files {
        let mut reader = open(input, request.reading.options("", input), |_| {})?;
        let format = reader.delivery().format;
        if adds_up(format) {
            return piece(request, format);
        }
        if let Some(rows) = reader.next_batch()? {
            return Ok(month(&rows));
        }
    }
    Err(refused("no row can be read that says of which month the bill is; name it with --part"))
}

/// Does a provider deliver piece by piece, so that a file of a month is not all of it?
fn adds_up(format: Format) -> bool {
    matches!(format, Format::Gcp | Format::Oci)
}

/// What a piece replaces: what was delivered under the same name.
fn piece(request: &Request, format: Format) -> Result<String> {
    let names: Vec<&str> = request.files.iter().map(|file| file.name.as_str()).collect();
    let parts =
        |name: &str| name.split(['/', '\\']).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut name = parts(names.first().copied().unwrap_or_default());
    if names.len() > 1 {
        // Of several files, their folder.
        name.pop();
    }
    let stem = name.pop().map(|last| last.split('.').next().unwrap_or_default().to_owned());
    stem.filter(|stem| !stem.is_empty()).ok_or_else(|| {
        refused(format!("{format} is delivered piece by piece: say with --part which piece this is, such as its day"))
    })
}

/// The files, kept unless they are only read, and the part of the export that is loaded.
fn look(inner: &Inner, request: &Request) -> Result<(Vec<File>, String)> {
    let part = part(request)?;
    let file = |input: &Input| {
        let kept = match (&input.kept, request.dry_run) {
            (Some((bytes, digest)), _) => {
                archive::Kept { path: input.path.clone(), bytes: *bytes, digest: digest.clone() }
            }
            (None, true) => archive::look(&input.path)?,
            (None, false) => inner.archive.keep(&input.path)?,
        };
        let archive::Kept { path, bytes, digest } = kept;
        Ok(File { input: Input { path, ..input.clone() }, bytes, digest, format: None, report: Default::default() })
    };
    let files: Vec<File> = request.files.iter().map(file).collect::<Result<_>>()?;
    let mut digests = HashSet::new();
    if let Some(twice) = files.iter().find(|file| !digests.insert(file.digest.as_str())) {
        return Err(refused(format!("two files are the same, and would count twice file={}", twice.input.name)));
    }
    Ok((files, part))
}

/// The billing month that most rows are of, such as `2026-11`.
fn month(rows: &RecordBatch) -> String {
    let mut months = BTreeMap::<i32, usize>::new();
    if let Some(column) = rows.column_by_name("x_BillingMonth") {
        column.as_primitive::<Date32Type>().values().iter().for_each(|month| *months.entry(*month).or_default() += 1);
    }
    let most = months.into_iter().max_by_key(|(_, rows)| *rows).map_or(0, |(month, _)| month);
    Date32Type::to_naive_date_opt(most).map(|day| day.format(MONTH).to_string()).unwrap_or_default()
}

fn open(input: &Input, options: Options, watch: impl Fn(u64) + Send + 'static) -> Result<Reader> {
    let (file, is_parquet) = archive::open(&input.path, &input.name)?;
    Ok(if is_parquet {
        Reader::open_parquet(file, options)?
    } else {
        Reader::open(Watched { file, watch, bytes: 0 }, options)?
    })
}

/// A file that tells how much of it is read.
struct Watched<F> {
    file: fs::File,
    watch: F,
    bytes: u64,
}

impl<F: Fn(u64)> io::Read for Watched<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes >= WATCHED_BYTES || read == 0 {
            (self.watch)(std::mem::take(&mut self.bytes));
        }
        Ok(read)
    }
}

/// Decodes all files, as many at once as there are processors, and hands their rows on.
async fn decode(
    request: &Arc<Request>,
    scope: &str,
    files: &mut [File],
    watch: Watch,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let next = Arc::new(AtomicUsize::new(0));
    let threads = available_parallelism().map_or(1, usize::from).min(files.len());
    let inputs: Arc<[Input]> = files.iter().map(|file| file.input.clone()).collect();
    let decoders: Vec<_> = (0..threads)
        .map(|_| {
            let (request, scope, watch) = (Arc::clone(request), scope.to_owned(), Arc::clone(&watch));
            let (next, sender, inputs) = (Arc::clone(&next), sender.clone(), Arc::clone(&inputs));
            blocking(move || {
                let mut done = Vec::new();
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(input) = inputs.get(nth) else { return Ok(done) };
                    let watch = Arc::clone(&watch);
                    let options = request.reading.options(&scope, input);
                    let mut reader = open(input, options, move |bytes| watch(bytes))?;
                    while let Some(rows) = reader.next_batch()? {
                        // Whoever receives stops at an error, which is told there.
                        if sender.blocking_send(rows).is_err() {
                            return Ok(done);
                        }
                    }
                    done.push((nth, reader.delivery().format, reader.report()));
                }
            })
        })
        .map(tokio::spawn)
        .collect();
    drop(sender);
    while let Some(rows) = batches.recv().await {
        sink.add(rows).await?;
    }
    let mut room = REJECTS_BYTES_MAX;
    for decoder in decoders {
        let decoded =
            decoder.await.map_err(|error| Error::new(ErrorKind::Internal, "a decoder ended early").caused_by(error))?;
        for (nth, format, mut report) in decoded? {
            // All are counted; the table has as many as there is room for.
            report.rejects.retain(|reject| {
                let fits = room.checked_sub(reject.text.len() + reject.reason.len());
                room = fits.unwrap_or(room);
                fits.is_some()
            });
            if let Some(file) = files.get_mut(nth) {
                (file.format, file.report) = (Some(format), report);
            }
        }
    }
    Ok(())
}

/// What cannot be what anybody wants.
fn check(inner: &Inner, files: &[File], request: &Request, revision: i64) -> Result<()> {
    // What is older would be dropped at once, and nobody told.
    let kept_from = inner.clock.now_us().div_euclid(DAY_US) - i64::from(inner.kept_days);
    let months = rows::months(files).into_iter();
    if let Some(old) = months.filter_map(Date32Type::to_naive_date_opt).find(|month| days(*month) < kept_from) {
        return Err(refused(format!(
            "bills are kept for {} days, and this one has costs of {}: raise `storage.retention.costs`",
            inner.kept_days,
            old.format(MONTH)
        )));
    }
    let sum = |of: fn(&Report) -> u64| files.iter().map(|file| of(&file.report)).sum::<u64>();
    let (delivered, rejected) = (sum(|report| report.rows_delivered), sum(|report| report.rows_rejected));
    if request.force {
        return Ok(());
    }
    let first = files.iter().find_map(|file| Some((file, file.report.rejects.first()?)));
    let because = first.map_or_else(String::new, |(file, reject)| {
        let column = reject.column.as_ref().map(|column| format!(" column={column}")).unwrap_or_default();
        format!("; the first because {} file={} line={}{column}", reject.reason, file.input.name, reject.line)
    });
    if delivered == 0 && rejected > 0 {
        return Err(refused(format!("every row was refused{because}")));
    }
    if delivered == 0 && revision > 1 {
        return Err(refused("the delivery has no rows, and what is loaded has; replace it by nothing with --force"));
    }
    if revision > 1 && rejected > delivered / REJECTED_SHARE {
        return Err(refused(format!(
            "{rejected} of {} rows were refused: what is loaded stays, until it is replaced by the rest with --force{because}",
            rejected + delivered
        )));
    }
    Ok(())
}

/// A day, since the epoch.
fn days(day: NaiveDate) -> i64 {
    i64::from(Date32Type::from_naive_date(day))
}

/// Sums of the load before.
async fn old_sums(storage: &Storage, scope: &str, changes: &mut Changes) -> Result<()> {
    let dataset = schemas::costs_daily();
    for file in storage.view(dataset).files.iter() {
        if file.scope(dataset) == Some(scope) {
            let month = Some(retag::month(file)?);
            stored::read_file(storage, file, &changes::COLUMNS, |rows| changes.add(rows, Side::Old, month)).await?;
        }
    }
    Ok(())
}

pub(super) async fn append(storage: &Storage, batches: Vec<Batch>) -> Result<()> {
    let bytes = |batch: &Batch| match &batch.write {
        Write::Append(rows, _) => rows.get_array_memory_size(),
        _ => 0,
    };
    let room = storage.reserve(batches.iter().map(bytes).sum()).await?;
    Ok(storage.append(room, batches).done().await?)
}

/// Runs work that blocks off the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "a decoder panicked").caused_by(error)))
}

/// The lower half of a sum, which is all of it where sums of money are concerned.
pub(super) fn money(sum: i256) -> Result<i128> {
    sum.to_i128().filter(|sum| sum.unsigned_abs() < 10u128.pow(38)).ok_or_else(too_large)
}
