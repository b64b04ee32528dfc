//! `import billing`: loads billing exports, by a running server or into a data folder.
//!
//! Called by the `import` command. Finds the files of each delivery (for `check focus` too), hands them to `ingest`, and says what came of them: rows, refused
//! lines, sums by currency, what changed. Not here: decoding and loading (`ingest::billing`).

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use ingest::billing::{
    AzurePart, Commit, Format, Input, Loads, Manifest, Period, Reading, Request, Told, Uploaded, read_manifest,
};
use ureq::SendBody;

use super::progress::Progress;
use crate::{
    app,
    books::{Books, encoded},
    times,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  streamgauge import billing cur-2026-10.csv.gz --export aws-main
  streamgauge import billing ./focus-exports/2026-10/ --export gcp --dry-run
  streamgauge import billing ./actual/ --amortized ./amortized/ --export azure-ea
  streamgauge import billing saas.csv --export saas --assume BillingCurrency=USD
  streamgauge import billing november.csv --export azure-ea --part 2026-11 --force
  streamgauge import billing cur-2026-10.csv.gz --export aws-main --data-dir ./streamgauge-data

Each PATH is one delivery: a file, or a folder of files that belong together, of which only those are read that
its manifest names, if it has one. What it is, is found out: FOCUS 1.0 to 1.4, AWS cost and usage reports (legacy
and 2.0), Azure cost details, Google Cloud's export to BigQuery, Oracle Cloud cost reports, as CSV, JSON lines or
Parquet, text with gzip or not; and lines written by hand, with the columns date, provider, service, description,
amount, currency, and, for what recurs, every (month, quarter, year) and until.

A delivery replaces what was loaded of the same part of the same export before, at once and wholly. The same
delivery again changes nothing; one that its manifest says is older is refused without --force. Sums by currency are
shown; `SELECT * FROM billing_loads` has them later, `rejects` has the lines that were refused, and
`costs_changes` what a load changed. Delivered bytes are kept; `streamgauge billing reprocess` decodes them again.

The server that runs here does it, or the one that --url names, or, with --data-dir, this command itself.";

/// Options of `streamgauge import billing`.
#[derive(Debug, Args)]
pub struct Billing {
    /// Files and folders, a delivery each.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Name of the export, which tells it from others [default: the name of the file or folder].
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    /// What of the export is replaced, such as 2026-11 [default: the month of its period, or of its rows].
    #[arg(long, value_name = "PART")]
    part: Option<String>,
    /// What the files are [default: found out].
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Which costs an Azure export has [default: found out].
    #[arg(long, value_enum)]
    azure: Option<Azure>,
    /// Amortized costs of the Azure export and period whose actual costs PATH has; both are one delivery.
    #[arg(long, value_name = "PATH", conflicts_with = "azure")]
    amortized: Option<PathBuf>,
    /// Value of a column for rows that have none; may be given several times.
    #[arg(long, value_name = "COLUMN=VALUE")]
    assume: Vec<String>,
    /// Load what is loaded already, or older than what is.
    #[arg(long)]
    force: bool,
    /// Read everything, say what it is and what it would change, load nothing.
    #[arg(long)]
    dry_run: bool,
    /// Load it to compare it with another export that has the same costs; it is in no total.
    #[arg(long)]
    uncounted: bool,
    #[command(flatten)]
    books: Books,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Provider {
    Aws,
    Azure,
    Gcp,
    Oci,
    Focus,
    Manual,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Azure {
    /// Actual costs alone: EffectiveCost stays empty.
    Actual,
    /// Actual costs beside amortized ones: purchases and refunds of commitments alone are taken.
    ActualBesideAmortized,
    /// Amortized costs.
    Amortized,
}

impl Billing {
    pub(super) fn run(&self) -> Result<()> {
        let requests = self.paths.iter().map(|path| self.request(path)).collect::<Result<Vec<_>>>()?;
        let mut failed = 0;
        let mut each = |request: &Request, done: Result<Told>| -> Result<()> {
            match done {
                Ok(told) => tell(&told),
                Err(error) => {
                    failed += 1;
                    let what = request.files.first().map(|file| file.name.as_str()).unwrap_or_default();
                    Ok(writeln!(io::stderr().lock(), "{what}: {error:#}")?)
                }
            }
        };
        if self.books.are_in_folder() {
            self.books.in_folder(async |loads, clock| {
                for request in &requests {
                    each(request, load(&loads, request.clone(), Progress::new(clock.clone(), "bytes")).await)?;
                }
                Ok(())
            })?;
        } else {
            for request in &requests {
                each(request, send(&self.books, request, Progress::new(app::env().clock, "bytes")))?;
            }
        }
        if failed > 0 {
            bail!("not everything was loaded, see above; of what failed nothing is: failed={failed}");
        }
        Ok(())
    }

    fn request(&self, path: &Path) -> Result<Request> {
        let stem = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
        let stem = stem.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = stem.split('.').next().unwrap_or_default().to_owned();
        let (files, manifest) = delivery(path)?;
        let mut files: Vec<Input> = files.into_iter().map(Input::at).collect();
        let (mut deliveries, mut delivered_us) = (vec![manifest.revision], manifest.delivered_us);
        if let Some(amortized) = &self.amortized {
            ensure!(self.paths.len() == 1, "--amortized belongs to one PATH of actual costs");
            let (others, other) = delivery(amortized)?;
            let of = |azure: AzurePart| move |file: Input| Input { azure: Some(azure), ..file };
            let actual = files.into_iter().map(of(AzurePart::ActualBesideAmortized));
            files = actual.chain(others.into_iter().map(Input::at).map(of(AzurePart::Amortized))).collect();
            deliveries.push(other.revision);
            delivered_us = delivered_us.max(other.delivered_us);
        }
        let named = Some(manifest.export).filter(|export| !export.is_empty());
        let export = self.export.clone().or(named).unwrap_or(stem);
        ensure!(
            !export.is_empty() && !export.contains('/'),
            "an export needs a name without a slash: give it with --export export={export}"
        );
        let assume = self.assume.iter().map(|text| {
            let (name, value) = text.split_once('=').with_context(|| format!("--assume {text} is not COLUMN=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        let reading = Reading {
            provider: self.provider.map(|provider| match provider {
                Provider::Aws => Format::Aws,
                Provider::Azure => Format::Azure,
                Provider::Gcp => Format::Gcp,
                Provider::Oci => Format::Oci,
                Provider::Focus => Format::Focus,
                Provider::Manual => Format::Manual,
            }),
            azure: match self.azure {
                None => Some(manifest.azure).filter(|part| *part != AzurePart::Unknown),
                Some(Azure::Actual) => Some(AzurePart::Actual),
                Some(Azure::ActualBesideAmortized) => Some(AzurePart::ActualBesideAmortized),
                Some(Azure::Amortized) => Some(AzurePart::Amortized),
            },
            period: manifest.period_us.map(Period),
            assume: assume.collect::<Result<BTreeMap<_, _>>>()?,
            uncounted: self.uncounted,
        };
        Ok(Request {
            export,
            part: self.part.clone(),
            files,
            delivery: deliveries.iter().all(|revision| !revision.is_empty()).then(|| deliveries.join("+")),
            delivered_us,
            reading,
            force: self.force,
            dry_run: self.dry_run,
        })
    }
}

/// The files of a delivery: those that its manifest names, or all there are.
///
/// # Errors
/// If there are none, or they are not those that the manifest names.
pub(crate) fn delivery(path: &Path) -> Result<(Vec<PathBuf>, Manifest)> {
    let is_manifest = |path: &Path| path.to_string_lossy().to_lowercase().ends_with("manifest.json");
    if path.is_file() && !is_manifest(path) {
        return Ok((vec![path.to_owned()], Manifest::default()));
    }
    let (folder, manifest) = if path.is_file() {
        (path.parent().unwrap_or(path), Some(path.to_owned()))
    } else {
        let entries = fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let mut manifests = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_manifest(path));
        let manifest = manifests.next();
        ensure!(manifests.next().is_none(), "{} has several manifests: name the one that is meant", path.display());
        (path, manifest)
    };
    let Some(manifest) = manifest else { return Ok((files(folder)?, Manifest::default())) };
    let json = fs::read(&manifest).with_context(|| format!("{} cannot be read", manifest.display()))?;
    let of = read_manifest(&json).with_context(|| format!("{} is no manifest of ours", manifest.display()))?;
    let mut found = Vec::new();
    for file in &of.files {
        // A key of the bucket; the folder may be anywhere above the file.
        let parts: Vec<&str> = file.name.split('/').filter(|part| !matches!(*part, "" | "..")).collect();
        let path = (0..parts.len()).map(|from| folder.join(parts[from..].join("/"))).find(|path| path.is_file());
        let path = path.with_context(|| {
            format!("{} names a file that is not here; is the delivery whole? file={}", manifest.display(), file.name)
        })?;
        let bytes = path.metadata()?.len();
        if let Some(wanted) = file.bytes.filter(|wanted| *wanted != bytes) {
            bail!("{} has {bytes} bytes instead of {wanted}: the delivery is not whole", path.display());
        }
        found.push(path);
    }
    ensure!(!found.is_empty(), "{} names no files", manifest.display());
    Ok((found, of))
}

/// The files of a folder, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ends = [".csv", ".csv.gz", ".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz"];
        if path.is_file() && !name.ends_with("manifest.json") && ends.iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{} has no files of CSV, JSON lines or Parquet", path.display());
    Ok(files)
}

/// One load in a data folder, and how far it is.
async fn load(loads: &Loads, request: Request, mut progress: Progress) -> Result<Told> {
    let bytes = begin(&request, &mut progress);
    let read = Arc::new(AtomicU64::new(0));
    let watch = {
        let read = Arc::clone(&read);
        move |bytes| {
            read.fetch_add(bytes, Ordering::Relaxed);
        }
    };
    let load = loads.load(request, watch);
    tokio::pin!(load);
    loop {
        tokio::select! {
            done = &mut load => {
                progress.end();
                return done.map(|summary| summary.told()).map_err(|error| anyhow!(error));
            }
            () = tokio::time::sleep(Duration::from_millis(200)) => at(&mut progress, read.load(Ordering::Relaxed), bytes),
        }
    }
}

/// The same by a server: sends the files, and has them loaded.
fn send(books: &Books, request: &Request, mut progress: Progress) -> Result<Told> {
    let part = Loads::part(request)?;
    let bytes = begin(request, &mut progress);
    let (mut sent, mut files) = (0, Vec::new());
    for file in &request.files {
        let opened = fs::File::open(&file.path).with_context(|| format!("{} cannot be read", file.name))?;
        let mut body = Sent { file: opened, sent: &mut sent, bytes, progress: &mut progress };
        let query = format!("?file={}", encoded(&[&file.name]));
        let uploaded: Uploaded = books.post(&[&request.export, &part], &query, SendBody::from_reader(&mut body))?;
        files.push(uploaded);
    }
    progress.end();
    let commit = serde_json::to_string(&Commit::of(request, files))?;
    books.post(&[&request.export, &part, "commit"], "", commit)
}

/// A file that is sent, and how far it is.
struct Sent<'a> {
    file: fs::File,
    sent: &'a mut u64,
    bytes: u64,
    progress: &'a mut Progress,
}

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        *self.sent += read as u64;
        at(self.progress, *self.sent, self.bytes);
        Ok(read)
    }
}

/// Begins to show how far a request is; gives how many bytes it has.
fn begin(request: &Request, progress: &mut Progress) -> u64 {
    progress.of(request.files.first().map(|file| file.name.clone()).unwrap_or_default());
    request.files.iter().filter_map(|file| Some(file.path.metadata().ok()?.len())).sum()
}

fn at(progress: &mut Progress, done: u64, bytes: u64) {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    progress.at(done as f64 / bytes.max(1) as f64, false);
    progress.show(done);
}

/// What came of a load, for people.
///
/// # Errors
/// If nobody can be told.
pub fn tell(told: &Told) -> Result<()> {
    let mut out = io::stdout().lock();
    let scope = &told.scope;
    if told.is_same {
        return Ok(writeln!(out, "{scope}: this delivery is loaded already; nothing changed")?);
    }
    match told.revision {
        Some(revision) => write!(out, "{scope}: loaded as revision {revision}")?,
        None => write!(out, "{scope}: read, nothing loaded")?,
    }
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let time = times::show_seconds(told.took_ms as f64 / 1e3);
    let plural = if told.files == 1 { "" } else { "s" };
    writeln!(out, " ({}, {} file{plural}, {time})", told.format, told.files)?;
    writeln!(
        out,
        "  rows {}, derived {}, left out {}, refused {}, rounded amounts {}",
        told.rows, told.derived, told.left_out, told.rejects, told.rounded,
    )?;
    for total in &told.totals {
        writeln!(
            out,
            "  {} {}: {} rows, delivered {}, billed {}, effective {}",
            total.currency, total.category, total.rows, total.delivered, total.billed, total.effective,
        )?;
    }
    for change in &told.changes {
        let (sums, by) = (change.sums, &change.by);
        writeln!(out, "  changed: {sums} sums of a day, service and account; {} {by} in all", change.currency)?;
    }
    for period in &told.periods {
        writeln!(out, "  period: {period}")?;
    }
    for note in &told.notes {
        writeln!(out, "  note: {note}")?;
    }
    for refused in &told.refused {
        writeln!(out, "  refused: {refused}")?;
    }
    Ok(())
}
