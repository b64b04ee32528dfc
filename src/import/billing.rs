//! `import billing`: loads billing exports into a data folder.
//!
//! Called by the `import` command. Finds the files of each delivery (for `check focus` too), hands them to `ingest`, and says what came of them: rows, refused
//! lines, sums by currency, what changed. Not here: decoding and loading (`ingest::billing`).

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::progress::Progress;
use crate::{
    app, cli,
    config::{Config, Overrides},
    times,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use ingest::billing::{
    AzurePart, Format, Loads, Manifest, Outcome, Request, Summary, Tags, money_text, read_manifest, totals,
};
use prometheus::Registry;

pub(super) const EXAMPLES: &str = "\
Examples:
  streamgauge import billing cur-2026-10.csv.gz --export aws-main
  streamgauge import billing ./focus-exports/2026-10/ --export gcp --dry-run
  streamgauge import billing saas.csv --export saas --assume BillingCurrency=USD
  streamgauge import billing november.csv --export azure-ea --part 2026-11 --force

Each PATH is one delivery: a file, or a folder of files that belong together, of which only those are read that
its manifest names, if it has one. What it is, is found out: FOCUS 1.0 to 1.4, AWS cost and usage reports (legacy
and 2.0), Azure cost details, Google Cloud's export to BigQuery, Oracle Cloud cost reports, as CSV, JSON lines or
Parquet, text with gzip or not; and lines written by hand, with the columns date, provider, service, description,
amount, currency.

A delivery replaces what was loaded of the same part of the same export before, at once and wholly. The same
delivery again changes nothing; one that its manifest says is older is refused without --force. Sums by currency are
shown; `SELECT * FROM billing_loads` has them later, `rejects` has the lines that were refused, and
`costs_changes` what a load changed.";

/// Options of `streamgauge import billing`.
#[derive(Debug, Args)]
pub(super) struct Billing {
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
    /// Value of a column for rows that have none; may be given several times.
    #[arg(long, value_name = "COLUMN=VALUE")]
    assume: Vec<String>,
    /// Load what is loaded already, or older than what is.
    #[arg(long)]
    force: bool,
    /// Read everything, say what it is and what it would change, load nothing.
    #[arg(long)]
    dry_run: bool,
    /// Data folder, which no server may be using.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings for the data folder.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
        let overrides = Overrides { data_dir: self.data_dir.clone(), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), overrides)?;
        cli::runtime()?.block_on(load(config, requests))
    }

    fn request(&self, path: &Path) -> Result<Request> {
        let stem = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
        let stem = stem.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = stem.split('.').next().unwrap_or_default().to_owned();
        let (files, manifest) = delivery(path)?;
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
        Ok(Request {
            export,
            part: self.part.clone(),
            files,
            delivery: Some(manifest.revision).filter(|revision| !revision.is_empty()),
            delivered_us: manifest.delivered_us,
            period_us: manifest.period_us,
            format: self.provider.map(|provider| match provider {
                Provider::Aws => Format::Aws,
                Provider::Azure => Format::Azure,
                Provider::Gcp => Format::Gcp,
                Provider::Oci => Format::Oci,
                Provider::Focus => Format::Focus,
                Provider::Manual => Format::Manual,
            }),
            azure: match self.azure {
                None => manifest.azure,
                Some(Azure::Actual) => AzurePart::Actual,
                Some(Azure::ActualBesideAmortized) => AzurePart::ActualBesideAmortized,
                Some(Azure::Amortized) => AzurePart::Amortized,
            },
            assume: assume.collect::<Result<BTreeMap<_, _>>>()?,
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
        (path, entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| is_manifest(path)))
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

async fn load(config: Config, requests: Vec<Request>) -> Result<()> {
    let (storage, clock) = app::alone(config.storage, &Registry::new()).await?;
    let loads = Loads::open(storage.clone(), clock.clone(), Tags::default()).await?;
    let mut failed = 0;
    for request in requests {
        let what = request.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        let done = one(&loads, request, Progress::new(clock.clone(), "bytes")).await;
        match done {
            Ok(summary) => tell(&summary)?,
            Err(error) => {
                failed += 1;
                let _ = writeln!(io::stderr().lock(), "{what}: {error:#}");
            }
        }
    }
    storage.close().await?;
    if failed > 0 {
        bail!("not everything was loaded, see above; of what failed nothing is: failed={failed}");
    }
    Ok(())
}

/// One load, and how far it is.
async fn one(loads: &Loads, request: Request, mut progress: Progress) -> Result<Summary> {
    let bytes: u64 = request.files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    progress.of(request.files.first().map(|file| file.display().to_string()).unwrap_or_default());
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
                return done.map_err(|error| anyhow!(error));
            }
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                let read = read.load(Ordering::Relaxed);
                #[allow(clippy::cast_precision_loss, reason = "for people")]
                progress.at(read as f64 / bytes.max(1) as f64, false);
                progress.show(read);
            }
        }
    }
}

/// What came of a load, for people.
fn tell(summary: &Summary) -> Result<()> {
    let mut out = io::stdout().lock();
    let Summary { scope, outcome, files, changes, took_ms } = summary;
    let sum = |of: &dyn Fn(&ingest::billing::File) -> u64| files.iter().map(of).sum::<u64>();
    let format = files.iter().find_map(|file| file.format).map(|format| format!("{format}, ")).unwrap_or_default();
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let time = times::show_seconds(*took_ms as f64 / 1e3);
    match outcome {
        Outcome::Same => return Ok(writeln!(out, "{scope}: this delivery is loaded already; nothing changed")?),
        Outcome::Loaded(revision) => write!(out, "{scope}: loaded as revision {revision} ({format}")?,
        Outcome::Read => write!(out, "{scope}: read, nothing loaded ({format}")?,
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    writeln!(out, "{} file{}, {time})", files.len(), plural(files.len()))?;
    writeln!(
        out,
        "  rows {}, derived {}, left out {}, refused {}, rounded amounts {}",
        sum(&|file| file.report.rows_delivered),
        sum(&|file| file.report.rows_derived),
        sum(&|file| file.report.rows_left_out()),
        sum(&|file| file.report.rows_rejected),
        sum(&|file| file.report.values_rounded),
    )?;
    for ((currency, category), totals) in totals(files) {
        writeln!(
            out,
            "  {currency} {category}: {} rows, delivered {}, billed {}, effective {}",
            totals.rows,
            totals.delivered_text(),
            money_text(totals.billed),
            money_text(totals.effective),
        )?;
    }
    for (currency, (count, by)) in changes {
        let by = money_text(arrow::datatypes::i256::from_i128(*by));
        writeln!(out, "  changed: {count} sums of a day, service and account; {currency} {by} in all")?;
    }
    for file in files {
        for (code, finding) in &file.report.findings {
            writeln!(
                out,
                "  note: {code} in {} rows, first {} file={}",
                finding.rows,
                finding.first,
                file.path.display()
            )?;
        }
        for reject in file.report.rejects.iter().take(3) {
            let column = reject.column.as_ref().map(|column| format!(" column={column}")).unwrap_or_default();
            writeln!(out, "  refused: {} file={} line={}{column}", reject.reason, file.path.display(), reject.line)?;
        }
    }
    Ok(())
}
