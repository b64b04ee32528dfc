//! The `backup` command: copies all tables as they are now to a folder or a bucket, and deletes backups that the schedule does not keep.
//!
//! Called by `cli`. Works beside a running server, and without one: the data folder is only read, and not locked. Copying is
//! storage's work; here is what belongs into a copy.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use schemas::Dataset;
use serde_json::json;
use storage::{Backups, Keep, Location, Pruned, Source, Taken};

use crate::{
    app, cli,
    client::Client,
    config::{Config, Overrides},
    times,
};

pub(crate) mod progress;

use progress::{Progress, size};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  streamgauge backup --to /backup/streamgauge                     of the data folder here, beside its server
  streamgauge backup --to s3://gauge-backup/prod --config /etc/streamgauge.yaml --flush --token-env SG_ADMIN
  streamgauge backup --to /backup/streamgauge --keep 14d,8w       two weeks of nights, two months of Sundays
  streamgauge restore --from /backup/streamgauge --verify         is the newest one whole?

Every file is copied once and serves all backups that name it. Rows that are in the write-ahead log and in no file yet are not in
a backup: those of the last ten minutes at most (`storage.flush_age`). With --flush the server at --url commits them first. Keep
a place for one server, and run one backup of it at a time.

A bucket is reached as the settings say under `s3`, by whom the AWS environment says.";

/// What of the data folder is copied beside the tables: rules that were written through the API, and bills as they were delivered.
const OTHERS: [&str; 2] = ["rules", "raw"];

/// Options of `streamgauge backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Where backups are kept: a folder, or s3://bucket/prefix.
    #[arg(long, value_name = "DIR|URL", value_parser = Location::parse)]
    to: Location,
    /// Data folder, which a server may be using [default: that of the settings].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings of the server: where its tables are, and how buckets are reached.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Backups that stay: the newest of so many days, weeks, months and years; `all` deletes none.
    #[arg(long, value_name = "SCHEDULE", default_value = "7d,4w,12m,7y", value_parser = keep)]
    keep: Kept,
    /// Have the server at --url commit recent rows first.
    #[arg(long)]
    flush: bool,
    #[command(flatten)]
    client: Client,
}

/// Which backups stay; none says all.
#[derive(Debug, Clone)]
struct Kept(Option<Keep>);

fn keep(text: &str) -> Result<Kept, String> {
    if text == "all" { Ok(Kept(None)) } else { Keep::parse(text).map(|keep| Kept(Some(keep))) }
}

impl Backup {
    /// Takes a backup; how far it is on stderr, what it came to on stdout.
    ///
    /// # Errors
    /// Why there is none.
    pub fn run(self) -> Result<()> {
        let overrides = Overrides { data_dir: self.data_dir.clone(), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), overrides)?;
        let s3 = Config::buckets(self.config.as_deref())?;
        let data_dir = config.storage.data_dir.clone();
        if let Location::Folder(folder) = &self.to {
            let inside = std::path::absolute(folder)?.starts_with(std::path::absolute(&data_dir)?);
            ensure!(
                !inside,
                "backups in the data folder are lost with it: name another place data_dir={}",
                data_dir.display()
            );
        }
        if self.flush {
            let sent = self.client.post("/api/v1/admin/flush?wait=true")?.send_empty();
            self.client.answered(sent).context("recent rows could not be committed first")?;
        }
        cli::runtime()?.block_on(async {
            let env = app::env();
            let source = Source::open(&config.storage, pinned_in_order(), &OTHERS, &env)
                .await
                .with_context(|| format!("the data folder cannot be read data_dir={}", data_dir.display()))?;
            let backups = Backups::open(&self.to, &s3, &env, true)?;
            let progress = Progress::new("copied", env.clock.clone());
            let taken = backups.take(&source, &|copied| progress.show(copied)).await.context("there is no backup")?;
            let pruned = match &self.keep.0 {
                Some(keep) => {
                    backups.prune(keep).await.context("the backup stands, but old ones could not be deleted")?
                }
                None => Pruned::default(),
            };
            self.report(&taken, &pruned)
        })
    }

    /// What it came to: for people on a terminal, else as JSON.
    fn report(&self, taken: &Taken, pruned: &Pruned) -> Result<()> {
        for path in &pruned.damaged {
            writeln!(
                io::stderr().lock(),
                "warning: {path} is damaged: that backup cannot be restored; delete the file"
            )?;
        }
        let manifest = &taken.manifest;
        let (time, rows) = (times::show(manifest.taken_ms), manifest.rows());
        let mut out = io::stdout().lock();
        if !out.is_terminal() {
            let line = json!({
                "taken": time,
                "place": self.to.to_string(),
                "tables": manifest.tables.len(),
                "rows": rows,
                "bytes": manifest.bytes(),
                "files_copied": taken.files_copied,
                "bytes_copied": taken.bytes_copied,
                "rows_in_log": manifest.waiting,
                "backups_deleted": pruned.backups,
                "files_deleted": pruned.files,
                "bytes_deleted": pruned.bytes,
            });
            return Ok(writeln!(out, "{line}")?);
        }
        writeln!(
            out,
            "{time}: {} tables, {rows} rows, {}; {} files copied ({})",
            manifest.tables.len(),
            size(manifest.bytes()),
            taken.files_copied,
            size(taken.bytes_copied)
        )?;
        match &manifest.waiting {
            None => writeln!(out, "how many rows wait in the log is not known: it could not be read")?,
            Some(waiting) if waiting.is_empty() => {}
            Some(waiting) => {
                let each: Vec<_> = waiting.iter().map(|(dataset, rows)| format!("{dataset} {rows}")).collect();
                writeln!(
                    out,
                    "in the log and not in this backup, in rows: {} (--flush commits them first)",
                    each.join(", ")
                )?;
            }
        }
        if pruned.backups + pruned.files > 0 {
            let (backups, files) = (pruned.backups, pruned.files);
            writeln!(out, "{backups} old backups deleted, {files} files of theirs ({})", size(pruned.bytes))?;
        }
        Ok(())
    }
}

/// Tables in the order they are pinned. A server commits rows that others need before those others, so they are pinned after them:
/// `series` after samples. A load that the ledger knows has replaced its costs, so the ledger comes first.
fn pinned_in_order() -> Vec<&'static Dataset> {
    let place = |dataset: &&'static Dataset| match dataset.name {
        name if name == schemas::billing_loads().name => 0,
        name if name == schemas::series().name => 2,
        _ => 1,
    };
    let mut datasets = schemas::all();
    datasets.sort_by_key(place);
    datasets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_others_need_are_pinned_last_and_no_table_is_forgotten() {
        let names: Vec<&str> = pinned_in_order().iter().map(|dataset| dataset.name).collect();
        assert_eq!((names.first(), names.last()), (Some(&"billing_loads"), Some(&"series")));
        assert_eq!(names.len(), schemas::all().len());
    }
}
