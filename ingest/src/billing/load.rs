//! One load: decodes files on threads of their own, stages their rows and what follows from them, and appends it all at once.
//!
//! Called by [`Loads::load`](super::Loads::load), one at a time. Batches go from the decoders through a short queue, so whoever is slower
//! holds the other up and memory stays what it is.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
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
use billing::{Options, Reader};
use schemas::Dataset;
use storage::{Batch, Lane, Staging, Storage, Write};
use tokio::sync::mpsc;

use super::{
    File, Inner, Outcome, Request, Summary,
    changes::{self, Changes, Side},
    digest,
    ledger::{Ledger, Loaded, Standing, refused},
    rows, summary, too_large,
};
use crate::{Error, ErrorKind, Result, stored};

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// Batches that wait to be staged.
const BATCHES_AHEAD: usize = 4;
const MONTH: &str = "%Y-%m";
/// Bytes between two looks of whoever watches.
const WATCHED_BYTES: u64 = 1 << 20;

/// Is told how many more bytes are read.
pub(super) type Watch = Arc<dyn Fn(u64) + Send + Sync>;

pub(super) async fn load(inner: &Inner, ledger: &mut Ledger, request: Request, watch: Watch) -> Result<Summary> {
    let start_us = inner.clock.now_us();
    let request = Arc::new(request);
    let asked = Arc::clone(&request);
    let (mut files, part) = blocking(move || look(&asked)).await?;
    let digests = files.iter().map(|file| file.digest.as_str());
    let delivery = request.delivery.clone().unwrap_or_else(|| digest::of_delivery(digests));
    let scope = format!("{}/{part}", request.export);
    let took_ms = || (inner.clock.now_us() - start_us) / 1000;
    let revision = match ledger.standing(&scope, &delivery, request.delivered_us) {
        Standing::New(revision) => revision,
        _ if request.force || request.dry_run => ledger.next_revision(&scope),
        Standing::Same => {
            let (outcome, changes) = (Outcome::Same, Default::default());
            return Ok(Summary { scope, outcome, files, changes, took_ms: took_ms() });
        }
        Standing::Older(later_us) => {
            let time =
                |us| chrono::DateTime::from_timestamp_micros(us).map(|time| time.to_rfc3339()).unwrap_or_default();
            return Err(refused(format!(
                "what is loaded was delivered later; load it in spite of that with --force, scope={scope} delivered={} loaded={}",
                time(request.delivered_us.unwrap_or_default()),
                time(later_us)
            )));
        }
    };
    let mut sink = Sink::new(inner, &scope, request.dry_run);
    decode(&request, &scope, &mut files, watch, &mut sink).await?;
    check(&files, &request, revision)?;
    let mut changes = sink.changes().await?;
    old_sums(&inner.storage, &scope, &mut changes).await?;
    let outcome = if request.dry_run { Outcome::Read } else { Outcome::Loaded(revision) };
    let mut summary = Summary { scope, outcome, files, changes: changes.by_currency(), took_ms: took_ms() };
    if !request.dry_run {
        let now_us = inner.clock.now_us().div_euclid(1000) * 1000;
        let load = rows::Load { request: &request, summary: &summary, revision, delivery: &delivery, now_us };
        let mut batches = sink.replacements(&summary.scope).await?;
        batches.push(Batch::append(schemas::billing_loads(), load.ledger()?, Lane::InOrder));
        for (dataset, rows) in [
            (schemas::costs_changes(), changes.rows(&summary.scope, revision, now_us)?),
            (schemas::rejects(), load.rejects()?),
        ] {
            if rows.num_rows() > 0 {
                batches.push(Batch::append(dataset, rows, Lane::InOrder));
            }
        }
        append(&inner.storage, batches).await?;
        ledger.note(&summary.scope, Loaded { revision, delivery, delivered_us: request.delivered_us });
        summary.took_ms = took_ms();
    }
    Ok(summary)
}

/// The files with their digests, and the part of the export that is loaded.
fn look(request: &Request) -> Result<(Vec<File>, String)> {
    let file = |path: &PathBuf| {
        let (bytes, digest) = digest::of_file(path)?;
        Ok(File { path: path.clone(), bytes, digest, format: None, report: Default::default() })
    };
    let files = request.files.iter().map(file).collect::<Result<Vec<_>>>()?;
    let period = request.period_us.as_ref().and_then(|period| chrono::DateTime::from_timestamp_micros(period.start));
    if let Some(part) = request.part.clone().or_else(|| Some(period?.format(MONTH).to_string())) {
        return Ok((files, part));
    }
    for path in &request.files {
        let mut reader = open(path, options(request, "", path), |_| {})?;
        if let Some(rows) = reader.next_batch()? {
            return Ok((files, month(&rows)));
        }
    }
    Err(refused("no row can be read that says of which month the bill is; name it with --part"))
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

fn options(request: &Request, scope: &str, path: &Path) -> Options {
    Options {
        scope: scope.to_owned(),
        file: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        assume: request.assume.clone(),
        format: request.format,
        period_us: request.period_us.clone(),
        azure: request.azure,
    }
}

fn open(path: &Path, options: Options, watch: impl Fn(u64) + Send + 'static) -> Result<Reader> {
    let unreadable = |error: io::Error| digest::unreadable(path, error);
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let mut begin = [0; 4];
    let is_parquet = file.read(&mut begin).map_err(unreadable)? == 4 && begin == *b"PAR1";
    let file = fs::File::open(path).map_err(unreadable)?;
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

impl<F: Fn(u64)> Read for Watched<F> {
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
    let decoders: Vec<_> = (0..threads)
        .map(|_| {
            let (request, scope, watch) = (Arc::clone(request), scope.to_owned(), Arc::clone(&watch));
            let (next, sender) = (Arc::clone(&next), sender.clone());
            blocking(move || {
                let mut done = Vec::new();
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = request.files.get(nth) else { return Ok(done) };
                    let watch = Arc::clone(&watch);
                    let mut reader = open(path, options(&request, &scope, path), move |bytes| watch(bytes))?;
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
    for decoder in decoders {
        let decoded =
            decoder.await.map_err(|error| Error::new(ErrorKind::Internal, "a decoder ended early").caused_by(error))?;
        for (nth, format, report) in decoded? {
            if let Some(file) = files.get_mut(nth) {
                (file.format, file.report) = (Some(format), report);
            }
        }
    }
    Ok(())
}

/// What cannot be what anybody wants.
fn check(files: &[File], request: &Request, revision: i64) -> Result<()> {
    let rows: u64 = files.iter().map(|file| file.report.rows_delivered).sum();
    let first = files.iter().find_map(|file| Some((file, file.report.rejects.first()?)));
    if rows > 0 || request.force {
        return Ok(());
    }
    if let Some((file, reject)) = first {
        let column = reject.column.as_ref().map(|column| format!(" column={column}")).unwrap_or_default();
        return Err(refused(format!(
            "every row was refused; the first because {} file={} line={}{column}",
            reject.reason,
            file.path.display(),
            reject.line
        )));
    }
    if revision > 1 {
        return Err(refused("the delivery has no rows, and what is loaded has; replace it by nothing with --force"));
    }
    Ok(())
}

/// Sums of the load before.
async fn old_sums(storage: &Storage, scope: &str, changes: &mut Changes) -> Result<()> {
    let dataset = schemas::costs_daily();
    for file in storage.view(dataset).files.iter() {
        if file.scope(dataset) == Some(scope) {
            stored::read_file(storage, file, &changes::COLUMNS, |rows| changes.add(rows, Side::Old)).await?;
        }
    }
    Ok(())
}

async fn append(storage: &Storage, batches: Vec<Batch>) -> Result<()> {
    let bytes = |batch: &Batch| match &batch.write {
        Write::Append(rows, _) => rows.get_array_memory_size(),
        _ => 0,
    };
    let room = storage.reserve(batches.iter().map(bytes).sum()).await?;
    Ok(storage.append(room, batches).done().await?)
}

/// Where rows go.
struct Sink<'a> {
    inner: &'a Inner,
    /// Costs; none if nothing is to be loaded.
    costs: Option<Staging>,
    sums: [Sums; 2],
    changes: Changes,
}

/// Sums of one granularity.
struct Sums {
    dataset: &'static Dataset,
    summary: summary::Summary,
    staging: Option<Staging>,
}

impl<'a> Sink<'a> {
    fn new(inner: &'a Inner, scope: &str, dry_run: bool) -> Self {
        let stage = |dataset| (!dry_run).then(|| inner.storage.stage(dataset));
        let sums = [(schemas::costs_daily(), DAY_US), (schemas::costs_hourly(), HOUR_US)].map(|(dataset, step_us)| {
            Sums { dataset, summary: summary::Summary::new(dataset, step_us, scope), staging: stage(dataset) }
        });
        Self { inner, costs: stage(schemas::costs()), sums, changes: Changes::default() }
    }

    async fn add(&mut self, rows: RecordBatch) -> Result<()> {
        let (tags, tag_rules) = (self.inner.tags.of_rows(&rows)?, self.inner.tags.version());
        for sums in &mut self.sums {
            if let Some(full) = sums.summary.add(&rows, &tags, tag_rules)? {
                sums.hand_on(full, &mut self.changes).await?;
            }
        }
        if let Some(costs) = &mut self.costs {
            costs.push(rows).await?;
        }
        Ok(())
    }

    /// What the rows come to, once all are added.
    async fn changes(&mut self) -> Result<Changes> {
        for sums in &mut self.sums {
            let rest = sums.summary.take(self.inner.tags.version())?;
            sums.hand_on(rest, &mut self.changes).await?;
        }
        Ok(std::mem::take(&mut self.changes))
    }

    /// The files, in the place of those of the scope.
    async fn replacements(self, scope: &str) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        let sums = self.sums.into_iter().map(|sums| (sums.dataset, sums.staging));
        for (dataset, staging) in [(schemas::costs(), self.costs)].into_iter().chain(sums) {
            if let Some(staging) = staging {
                batches.push(Batch { dataset, write: Write::Replace(staging.finish(scope).await?) });
            }
        }
        Ok(batches)
    }
}

impl Sums {
    async fn hand_on(&mut self, rows: RecordBatch, changes: &mut Changes) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.dataset.name == schemas::costs_daily().name {
            changes.add(&rows, Side::New)?;
        }
        match &mut self.staging {
            Some(staging) => Ok(staging.push(rows).await?),
            None => Ok(()),
        }
    }
}

/// Runs work that blocks off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "a decoder panicked").caused_by(error)))
}

/// The lower half of a sum, which is all of it where sums of money are concerned.
pub(super) fn money(sum: i256) -> Result<i128> {
    sum.to_i128().filter(|sum| sum.unsigned_abs() < 10u128.pow(38)).ok_or_else(too_large)
}
