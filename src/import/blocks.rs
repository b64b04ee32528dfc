//! A Prometheus' data folder, a snapshot of it, or a single block, as a source.
//!
//! Called by the command. Goes through the days of all blocks, oldest first, in each day through the blocks, in each block through the
//! series: so the server gets a day's samples together, which is what it keeps together, and each series in order of time. A part is
//! a day of a block; a place in it is a series. At last comes the log (`head`). What is damaged is told and passed over.
//!
//! The folder may be that of a server that runs: it makes blocks of what is in the log, merges blocks, and deletes both. So the folder
//! is looked through again after the blocks, and after a file of the log that was not there any more, until nothing in it is new. Not
//! here: the format (`ingest::tsdb`).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use ingest::{
    samples::Samples,
    tsdb::{self, Block, Entry, Wal},
};
use serde::Deserialize;

use super::{Choice, encode::Series, head, sink::Sink};
use crate::times::{DAY_MS, common, length, show, slices};

/// Characters of a block's name.
const NAME_CHARS: usize = 26;
/// Longest range of time of a block that is believed.
const DAYS_MAX: f64 = 40_000.0;
/// How often a folder is looked through at most. A server makes a block every two hours, and merges as often.
const LOOKS_MAX: usize = 100;

/// A folder with blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    folder: PathBuf,
}

/// What is in a folder.
#[derive(Default)]
struct Found {
    /// Blocks, oldest first.
    folders: Vec<Folder>,
    /// Folders of blocks that are not described, and why.
    faults: Vec<(PathBuf, anyhow::Error)>,
    /// The log of what is in no block yet; a snapshot has none.
    wal: Option<Wal>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    name: String,
    times_ms: Range<i64>,
    samples: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    ulid: String,
    min_time: i64,
    max_time: i64,
    version: u32,
    #[serde(default)]
    stats: Stats,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    num_samples: u64,
}

/// A block being read, and its series that were chosen.
struct Opened {
    block: Block,
    chosen: Vec<u64>,
    /// No series was left out when they were chosen.
    whole: bool,
}

impl Blocks {
    /// Looks whether a folder has blocks or a log.
    ///
    /// # Errors
    /// If it has none.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let found = Found::of(folder)?;
        ensure!(
            !found.folders.is_empty() || !found.faults.is_empty() || found.wal.is_some(),
            "{} is no data folder of a Prometheus, no snapshot and no block: nothing in it has a meta.json",
            folder.display()
        );
        Ok(Self { folder: folder.to_owned() })
    }

    /// Hands everything that was chosen to the sink.
    ///
    /// # Errors
    /// If the folder cannot be read; those of the sink.
    pub(super) fn run(&self, choice: &Choice, sink: &mut Sink) -> Result<()> {
        run_found(|| Found::of(&self.folder), choice, sink)
    }
}

/// Hands over what is found, and what is found then, until that is nothing new.
fn run_found(mut look: impl FnMut() -> Result<Found>, choice: &Choice, sink: &mut Sink) -> Result<()> {
    let mut seen = HashSet::new();
    for _ in 0..LOOKS_MAX {
        let Found { mut folders, faults, wal } = look()?;
        for (path, fault) in faults {
            if seen.insert(path) {
                sink.damaged(format_args!("{fault:#}"));
            }
        }
        folders.retain(|folder| seen.insert(folder.path.clone()));
        if !folders.is_empty() {
            run_blocks(&folders, choice, sink)?;
            continue;
        }
        // What was cut off this log before it was listed is in a block, and all blocks are done.
        match wal.map(|wal| head::run(&wal, choice, sink)).transpose()? {
            None | Some(head::Ended::Whole) => return Ok(()),
            Some(head::Ended::Vanished) => sink.progress.note("a file of the log was deleted: looked for again"),
        }
    }
    sink.damaged("the log of the last hours: the folder changes all the time");
    Ok(())
}

impl Found {
    /// Looks through a folder: for the log first, so that what is cut off it meanwhile is in a block that is found.
    fn of(folder: &Path) -> Result<Self> {
        let mut found = Self { wal: log(&folder.join("wal"))?, ..Self::default() };
        if folder.join("meta.json").is_file() {
            found.folders.push(Folder::read(folder)?);
            return Ok(found);
        }
        let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Blocks that are being made or deleted have longer names.
            let is_block = name.len() == NAME_CHARS && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_block && path.join("meta.json").is_file() {
                match Folder::read(&path) {
                    Ok(folder) => found.folders.push(folder),
                    Err(_) if !path.exists() => {}
                    Err(fault) => found.faults.push((path, fault)),
                }
            }
        }
        found.folders.sort_by(|a, b| (a.times_ms.start, &a.name).cmp(&(b.times_ms.start, &b.name)));
        Ok(found)
    }
}

/// The log in a folder, if there is one.
fn log(folder: &Path) -> Result<Option<Wal>> {
    let mut looks = 0..LOOKS_MAX;
    while folder.is_dir() {
        match Wal::find(folder) {
            // A checkpoint was replaced while we looked.
            Err(error) if tsdb::has_vanished(&error) && looks.next().is_some() => {}
            found => return Ok(Some(found?).filter(|wal| !wal.is_empty())),
        }
    }
    Ok(None)
}

/// Hands what was chosen of blocks to the sink, by days.
fn run_blocks(folders: &[Folder], choice: &Choice, sink: &mut Sink) -> Result<()> {
    let total: f64 = folders.iter().map(|folder| folder.samples_in(&choice.times_ms)).sum();
    let (mut done, mut opened) = (0.0, HashMap::new());
    for day in days(folders, &choice.times_ms) {
        for (i, folder) in folders.iter().enumerate() {
            let slice = common(&folder.times_ms, &day);
            if slice.is_empty() {
                continue;
            }
            let share = folder.samples_in(&slice) / total.max(1.0);
            sink.progress.of(format!("{} of block {}", show(slice.start), folder.name));
            let part = format!("{}/{}", folder.name, slice.start);
            let Some(from) = sink.begin(&part) else {
                done += share;
                sink.progress.at(done, true);
                continue;
            };
            match open(&mut opened, i, folder, (choice, &mut *sink)) {
                Some(block) => block.run((folder, &slice), from, sink, |sink, part| {
                    sink.progress.at(done + share * part, false);
                })?,
                None => sink.incomplete(),
            }
            sink.end();
            done += share;
            sink.progress.at(done, false);
        }
        // What ends with this day is not needed any more, and its list of series is large.
        opened.retain(|i, _| folders.get(*i).is_some_and(|folder| folder.times_ms.end > day.end));
    }
    Ok(())
}

/// The days that blocks have something of, in a range. Blocks that lie far from each other have few, whatever is between them.
fn days(folders: &[Folder], times_ms: &Range<i64>) -> Vec<Range<i64>> {
    let mut days = BTreeSet::new();
    for folder in folders {
        days.extend(slices(common(&folder.times_ms, times_ms), DAY_MS).map(|slice| slice.start.div_euclid(DAY_MS)));
    }
    let range = |day: i64| day.saturating_mul(DAY_MS)..day.saturating_add(1).saturating_mul(DAY_MS);
    days.into_iter().map(|day| common(&range(day), times_ms)).collect()
}

impl Folder {
    fn read(path: &Path) -> Result<Self> {
        let file = path.join("meta.json");
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let meta: Meta =
            serde_json::from_str(&text).with_context(|| format!("{} describes no block", file.display()))?;
        ensure!(meta.version == 1, "{} has a version that is not known: version={}", file.display(), meta.version);
        let times_ms = meta.min_time..meta.max_time;
        // Also so that no damage makes us go through the days of an eon.
        let believed = !times_ms.is_empty() && length(&times_ms) <= DAYS_MAX * length(&(0..DAY_MS));
        ensure!(believed, "{} has a range of time that cannot be", file.display());
        #[allow(clippy::cast_precision_loss, reason = "for shares only")]
        let samples = meta.stats.num_samples as f64;
        Ok(Self { path: path.to_owned(), name: meta.ulid, times_ms, samples })
    }

    /// Is the block still there? A server that runs deletes what it has merged, and what it was merged into is new.
    fn is_there(&self, sink: &mut Sink) -> bool {
        let gone = fs::metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if gone {
            sink.progress.note(format_args!("block {} was deleted: looked for what it was merged into", self.name));
        }
        !gone
    }

    /// About how many samples it has in a range.
    fn samples_in(&self, times_ms: &Range<i64>) -> f64 {
        self.samples * length(&common(&self.times_ms, times_ms)) / length(&self.times_ms).max(1.0)
    }
}

/// Opens a block unless it is, and chooses its series. `None` if it is damaged, which is told once.
fn open<'a>(
    opened: &'a mut HashMap<usize, Option<Opened>>,
    number: usize,
    folder: &Folder,
    (choice, sink): (&Choice, &mut Sink),
) -> Option<&'a mut Opened> {
    let open = |sink: &mut Sink| match Block::open(&folder.path) {
        Ok(block) => Some(Opened::choose(block, choice, sink)),
        Err(error) => {
            if folder.is_there(sink) {
                sink.damaged(format_args!("block {}: {error}", folder.name));
            }
            None
        }
    };
    opened.entry(number).or_insert_with(|| open(sink)).as_mut()
}

impl Opened {
    fn choose(mut block: Block, choice: &Choice, sink: &mut Sink) -> Self {
        let all = block.index().series().to_vec();
        if choice.takes_all() {
            return Self { block, chosen: all, whole: true };
        }
        let (mut entry, mut chosen, mut whole) = (Entry::default(), Vec::new(), true);
        for series in all {
            let mut labels = Vec::new();
            let read = block.entry(series, &mut entry).and_then(|()| block.index().labels(series, &entry, &mut labels));
            match read {
                Ok(()) if choice.takes(&labels) => chosen.push(series),
                Ok(()) => {}
                Err(error) => {
                    whole = false;
                    sink.damaged(error);
                }
            }
        }
        Self { block, chosen, whole }
    }

    /// Hands over the series from `from` on, with their samples in a range. `told` is told the share of them that is done.
    fn run(
        &mut self,
        (folder, times_ms): (&Folder, &Range<i64>),
        from: u64,
        sink: &mut Sink,
        told: impl Fn(&mut Sink, f64),
    ) -> Result<()> {
        if !self.whole {
            sink.incomplete();
        }
        let (mut entry, mut samples) = (Entry::default(), Samples::default());
        let all = self.chosen.len();
        let begin = self.chosen.partition_point(|series| *series < from);
        for (i, &series) in self.chosen.iter().enumerate().skip(begin) {
            let mut faults = match self.block.entry(series, &mut entry) {
                Ok(()) => self.block.samples(series, &entry, times_ms.clone(), &mut samples),
                Err(error) => {
                    samples.clear();
                    vec![error]
                }
            };
            // Its files are looked for when they are needed.
            if !faults.is_empty() && !folder.is_there(sink) {
                sink.incomplete();
                return Ok(());
            }
            if !samples.is_empty() {
                let mut labels = Vec::with_capacity(16);
                match self.block.index().labels(series, &entry, &mut labels) {
                    Ok(()) => {
                        sink.series(&Series { labels: &labels, samples: &samples, exemplars: &[], about: None })?;
                    }
                    Err(error) => faults.push(error),
                }
            }
            faults.into_iter().for_each(|fault| sink.damaged(fault));
            sink.reached(series + 1);
            if i % 256 == 0 {
                #[allow(clippy::cast_precision_loss, reason = "a share")]
                told(sink, i as f64 / all as f64);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
