//! The `backup` command: copies all tables as they are now to a folder or a bucket, and deletes backups that the schedule does not keep.
//!
//! Called by `cli`. Works beside a running server, and without one: the data folder is only read, and not locked. Copying is
//! storage's work; here is what belongs into a copy, and which places are none for it.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use storage::{Backups, Keep, Location, Pruned, Root, Source, Tables, Taken};

use crate::{
    app, cli,
    config::{Config, Overrides},
    times,
};

pub(crate) mod progress;

use progress::{Progress, size};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  streamgauge backup --to /backup/streamgauge                     of the data folder here, beside its server
  streamgauge backup --to s3://gauge-backup/prod --config /etc/streamgauge.yaml
  streamgauge backup --to /backup/streamgauge --keep 14d,8w       two weeks of nights, two months of Sundays
  streamgauge backup --to /backup/streamgauge --verify            read what is there, and copy anew what is damaged
  streamgauge restore --from /backup/streamgauge --verify         is the newest one whole?

Every file is copied once and serves all backups that name it. All that was acknowledged before it began is in a backup: the tables,
and the write-ahead log above them. Settings, tokens and rule files are not. Keep a place for one server; a folder has to be there,
as one that is not may be a disk that is not mounted.

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
    /// Backups that stay beside those of the last day: the newest of so many days, weeks, months and years; `all` deletes none.
    #[arg(long, value_name = "SCHEDULE", default_value = "7d,4w,12m,7y", value_parser = keep)]
    keep: Kept,
    /// Read all that is there already and in this backup, and copy anew what is damaged.
    #[arg(long)]
    verify: bool,
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
        match &self.to {
            Location::Folder(folder) => check_folder(folder, &data_dir)?,
            Location::Bucket(root) => check_bucket(root, &config.storage.tables)?,
        }
        cli::runtime()?.block_on(async {
            let env = app::env();
            let source = Source::open(&config.storage, schemas::all(), &OTHERS, &env)
                .await
                .with_context(|| format!("the data folder cannot be read data_dir={}", data_dir.display()))?;
            let backups = Backups::open(&self.to, &s3, &env)?;
            let progress = Progress::new("copied", env.clock.clone());
            let taken = backups.take(&source, self.verify, &|copied| progress.show(copied)).await;
            let taken = taken.context("there is no new backup; those before are as they were")?;
            let pruned = match &self.keep.0 {
                Some(keep) => {
                    backups.prune(keep).await.context("the backup stands, but old ones could not be deleted")?
                }
                None => Pruned::default(),
            };
            self.report(&taken, &pruned)?;
            ensure!(
                taken.manifest.log.is_some(),
                "the write-ahead log could not be read: the backup stands, without the rows that are in no table yet"
            );
            Ok(())
        })
    }

    /// What it came to: for people on a terminal, else as JSON.
    fn report(&self, taken: &Taken, pruned: &Pruned) -> Result<()> {
        for path in &pruned.damaged {
            writeln!(
                io::stderr().lock(),
                "warning: {path} is damaged: that backup cannot be restored, and until the file is deleted no other is"
            )?;
        }
        let manifest = &taken.manifest;
        let waiting = manifest.log.as_ref().map(|log| &log.rows);
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
                "files_mended": taken.files_mended,
                "rows_in_log": waiting,
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
        if let Some(waiting) = waiting.filter(|waiting| !waiting.is_empty()) {
            writeln!(out, "{} rows of the write-ahead log come with them", waiting.values().sum::<u64>())?;
        }
        if taken.files_mended > 0 {
            writeln!(out, "{} files were damaged here, and were copied anew", taken.files_mended)?;
        }
        if pruned.backups + pruned.files > 0 {
            let (backups, files) = (pruned.backups, pruned.files);
            writeln!(out, "{backups} old backups deleted, {files} files of theirs ({})", size(pruned.bytes))?;
        }
        Ok(())
    }
}

/// Refuses a folder that is lost with the data folder, and warns of one that is on its disk.
fn check_folder(folder: &Path, data_dir: &Path) -> Result<()> {
    let place = fs::canonicalize(folder).with_context(|| {
        format!(
            "there is no such folder: mount its disk, or make it if it is meant to be new path={}",
            folder.display()
        )
    })?;
    // One that is not there is told of when it is opened.
    let Ok(data) = fs::canonicalize(data_dir) else { return Ok(()) };
    ensure!(
        !place.starts_with(&data),
        "backups in the data folder are lost with it: name another place data_dir={}",
        data_dir.display()
    );
    if fs::metadata(&place)?.dev() == fs::metadata(&data)?.dev() {
        writeln!(
            io::stderr().lock(),
            "warning: {} is on the disk of the data folder, and lost with it",
            folder.display()
        )?;
    }
    Ok(())
}

/// Refuses a place among the tables.
fn check_bucket(place: &Root, tables: &Tables) -> Result<()> {
    let text = |root: &Root| format!("{root}/");
    let among = |root: &&Root| text(place).starts_with(&text(root)) || text(root).starts_with(&text(place));
    if let Some(root) = std::iter::once(&tables.root).chain(tables.roots.values()).find(among) {
        anyhow::bail!("backups among the tables are lost with them: name another place tables={root}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_lost_with_the_tables_is_refused() {
        let root = |text: &str| Root::parse(text).unwrap();
        let tables = Tables { root: root("s3://gauge/prod"), ..Tables::default() };
        for place in ["s3://gauge/prod", "s3://gauge/prod/backups", "s3://gauge"] {
            assert!(check_bucket(&root(place), &tables).is_err(), "{place}");
        }
        assert!(check_bucket(&root("s3://gauge/prod-backups"), &tables).is_ok());

        let home = tempfile::tempdir().unwrap();
        let (data, place) = (home.path().join("data"), home.path().join("kept"));
        fs::create_dir_all(data.join("inside")).unwrap();
        assert!(format!("{:#}", check_folder(&place, &data).unwrap_err()).contains("mount its disk"));
        std::os::unix::fs::symlink(data.join("inside"), &place).unwrap();
        assert!(format!("{:#}", check_folder(&place, &data).unwrap_err()).contains("lost with it"));
    }
}
