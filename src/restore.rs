//! The `restore` command: makes a data folder, with its tables in it or in a bucket, of the newest backup that is whole; or only says
//! which one is.
//!
//! Called by `cli`. Writes into an empty place and over nothing. Reading and writing is storage's work.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use storage::{Backups, Env, Location, Manifest, Restored, Target, Wish};

use crate::{
    app,
    backup::progress::{Progress, size},
    cli,
    config::Config,
    times,
};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  streamgauge restore --from /backup/streamgauge --to /var/lib/streamgauge --verify
  streamgauge restore --from s3://gauge-backup/prod --config /etc/streamgauge.yaml --to /var/lib/streamgauge --at 2026-11-27T12:00:00Z
  streamgauge restore --from /backup/streamgauge --to s3://gauge/prod --data-dir /var/lib/streamgauge
  streamgauge restore --from /backup/streamgauge --verify         read all of the newest one, write nothing
  streamgauge restore --from /backup/streamgauge --list

A backup of which a file is missing or damaged is passed over for the one before, and the file is named. Every file is checked as it
is written; --verify reads back what was written, too. Without --to it exits 1 if the newest backup is not whole. What was in the
write-ahead log comes back when the server starts. A restore that fails leaves nothing; one that is killed leaves a folder that no
server opens.

A bucket is reached as the settings say under `s3`, by whom the AWS environment says.";

/// Options of `streamgauge restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where backups are kept: a folder, or s3://bucket/prefix.
    #[arg(long, value_name = "DIR|URL", value_parser = Location::parse)]
    from: Location,
    /// An empty place: a folder that becomes the data folder, or s3://bucket/prefix for the tables.
    #[arg(long, value_name = "DIR|URL", value_parser = Location::parse, required_unless_present_any = ["verify", "list"])]
    to: Option<Location>,
    /// The data folder beside tables in a bucket, for the log, rules and delivered bills; empty as well.
    #[arg(long, value_name = "DIR", requires = "to")]
    data_dir: Option<PathBuf>,
    /// The newest backup of this time or before, RFC 3339 or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = until)]
    at: Option<i64>,
    /// Read everything back; without --to: read the newest backup and write nothing.
    #[arg(long)]
    verify: bool,
    /// Last resort, if no backup is whole: restore the newest without the files that are missing or damaged. Exits 1, and names them.
    #[arg(long, requires = "to")]
    leave_out_damaged: bool,
    /// List backups.
    #[arg(long, conflicts_with_all = ["to", "verify", "at"])]
    list: bool,
    /// Settings: how buckets are reached.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The end of the second that is meant, as times are shown in seconds.
fn until(text: &str) -> Result<i64, String> {
    times::parse(text).map(|ms| ms.div_euclid(1000).saturating_mul(1000).saturating_add(999))
}

impl Restore {
    /// Restores; how far it is and warnings on stderr, what it came to on stdout.
    ///
    /// # Errors
    /// Why nothing was restored.
    pub fn run(self) -> Result<()> {
        cli::runtime()?.block_on(self.act(&app::env()))
    }

    async fn act(&self, env: &Env) -> Result<()> {
        let s3 = Config::buckets(self.config.as_deref())?;
        let backups = Backups::open(&self.from, &s3, env)?;
        if self.list {
            return list(&backups).await;
        }
        let Some(to) = &self.to else {
            let progress = Progress::new("read", env.clock.clone());
            let verified = backups.verify(self.at, &schemas::all(), &|copied| progress.show(copied)).await?;
            warn(&verified)?;
            report(&verified, "whole")?;
            if let Some(passed) = verified.passed.first() {
                bail!(
                    "the newest backup is not whole, {} is: {}; `backup --verify` makes one that is, as long as the server has the file",
                    times::show(verified.manifest.taken_ms),
                    passed.why
                );
            }
            return Ok(());
        };
        let (data_dir, bucket) = match (to, &self.data_dir) {
            (Location::Folder(folder), None) => (folder.clone(), None),
            (Location::Bucket(root), Some(data_dir)) => (data_dir.clone(), Some(root.clone())),
            (Location::Folder(folder), Some(data_dir)) => {
                bail!("{} becomes the data folder: leave out --data-dir {}", folder.display(), data_dir.display())
            }
            (Location::Bucket(root), None) => {
                bail!("a server over {root} needs a data folder, for its log and rules: say where with --data-dir")
            }
        };
        let target = Target::open(data_dir.clone(), bucket, &s3, env).await?;
        let progress = Progress::new("restored", env.clock.clone());
        let wish = Wish { at_ms: self.at, thorough: self.verify, leave_out: self.leave_out_damaged };
        let restored = backups.restore(wish, (&target, &schemas::all()), &|copied| progress.show(copied)).await?;
        warn(&restored)?;
        report(&restored, "restored")?;
        tell_start(&data_dir, to, &restored.manifest)?;
        match restored.left_out.len() {
            0 => Ok(()),
            lost => {
                bail!("{lost} files were missing or damaged, and what was in them is lost: it is restored without them")
            }
        }
    }
}

/// How a server is started on it, for people.
fn tell_start(data_dir: &Path, to: &Location, manifest: &Manifest) -> Result<()> {
    let tables = match to {
        Location::Folder(_) => String::new(),
        Location::Bucket(root) => format!(" with `data: {root}` in its settings"),
    };
    let tenant = match manifest.tenant.as_str() {
        "default" => String::new(),
        tenant => format!(", and `tenant: {tenant}` in its settings"),
    };
    let mut told = io::stderr().lock();
    writeln!(told, "start it: streamgauge serve --data-dir {}{tables}{tenant}", data_dir.display())?;
    Ok(writeln!(
        told,
        "rows that came after {} are not in it; senders may send them again",
        times::show(manifest.taken_ms)
    )?)
}

/// What was passed over.
fn warn(restored: &Restored) -> Result<()> {
    let mut told = io::stderr().lock();
    for passed in &restored.passed {
        writeln!(told, "warning: the backup of {} is not whole: {}", times::show(passed.taken_ms), passed.why)?;
    }
    restored.left_out.iter().try_for_each(|path| writeln!(told, "left out: {path}"))?;
    Ok(())
}

/// Tables with their rows: for people on a terminal, else as JSON.
fn report(restored: &Restored, what: &str) -> Result<()> {
    let manifest = &restored.manifest;
    let taken = times::show(manifest.taken_ms);
    let newest = |us: Option<i64>| us.map(|us| times::show(us.div_euclid(1000)));
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        let table = |table: &storage::TableCopy| {
            json!({"dataset": table.dataset, "version": table.version, "rows": table.rows, "files": table.files.len(),
                   "newest": newest(table.newest_us)})
        };
        let passed = |passed: &storage::Passed| json!({"taken": times::show(passed.taken_ms), "why": passed.why});
        let line = json!({
            "outcome": what,
            "taken": taken,
            "rows": manifest.rows(),
            "bytes": manifest.bytes(),
            "rows_in_log": manifest.log.as_ref().map(|log| &log.rows),
            "left_out": restored.left_out,
            "tables": manifest.tables.iter().map(table).collect::<Vec<_>>(),
            "files_beside": manifest.others.len(),
            "passed_over": restored.passed.iter().map(passed).collect::<Vec<_>>(),
        });
        return Ok(writeln!(out, "{line}")?);
    }
    for table in &manifest.tables {
        let newest = newest(table.newest_us).unwrap_or_default();
        writeln!(out, "{:<24} {:>14} rows {:>6} files  {newest}", table.dataset, table.rows, table.files.len())?;
    }
    writeln!(out, "{what}: the backup of {taken}, {} rows, {}", manifest.rows(), size(manifest.bytes()))?;
    Ok(())
}

async fn list(backups: &Backups) -> Result<()> {
    let mut out = io::stdout().lock();
    for backup in backups.list().await? {
        let taken = times::show(backup.taken_ms);
        match backup.manifest {
            Some(manifest) => {
                let (rows, bytes) = (manifest.rows(), size(manifest.bytes()));
                writeln!(out, "{taken}  {rows:>16} rows  {bytes:>12}  streamgauge {}", manifest.program)?;
            }
            None => writeln!(out, "{taken}  its manifest is damaged")?,
        }
    }
    Ok(())
}
