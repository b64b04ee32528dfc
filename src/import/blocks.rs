//! A Prometheus' data folder, a snapshot of it, or a single block, as a source.
//!
//! Called by the command. Goes through the days of all blocks, oldest first, in each day through the blocks, in each block through the
//! series: so the server gets a day's samples together, which is what it keeps together, and each series in order of time. A part is
//! a day of a block; a place in it is a series. At last comes the log (`head`). What is damaged is told and passed over. Not here: the
//! format (`ingest::tsdb`).

use std::{
    collections::HashMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use ingest::tsdb::{Block, Entry, Samples, Wal};
use serde::Deserialize;

use super::{
    Choice,
    encode::Series,
    head,
    sink::Sink,
    times::{DAY_MS, common, length, show, slices},
};

/// Characters of a block's name.
const NAME_CHARS: usize = 26;
/// Longest range of time of a block that is believed.
const DAYS_MAX: f64 = 40_000.0;

/// Blocks, oldest first.
#[derive(Debug)]
pub(super) struct Blocks {
    folders: Vec<Folder>,
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
}

impl Blocks {
    /// Finds the blocks of a folder.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let mut folders = Vec::new();
        if folder.join("meta.json").is_file() {
            folders.push(Folder::read(folder)?);
        } else {
            let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // Blocks that are being made or deleted have longer names.
                let is_block = name.len() == NAME_CHARS && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
                if is_block && path.join("meta.json").is_file() {
                    folders.push(Folder::read(&path)?);
                }
            }
        }
        let wal = folder.join("wal");
        let wal = if wal.is_dir() { Some(Wal::find(&wal)?).filter(|wal| !wal.is_empty()) } else { None };
        ensure!(
            !folders.is_empty() || wal.is_some(),
            "{} is no data folder of a Prometheus, no snapshot and no block: nothing in it has a meta.json",
            folder.display()
        );
        folders.sort_by(|a, b| (a.times_ms.start, &a.name).cmp(&(b.times_ms.start, &b.name)));
        Ok(Self { folders, wal })
    }

    /// Hands everything that was chosen to the sink.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn run(&self, choice: &Choice, sink: &mut Sink) -> Result<()> {
        let all = self.folders.iter().map(|folder| &folder.times_ms);
        let first_ms = all.clone().map(|times| times.start).min().unwrap_or_default();
        let end_ms = all.map(|times| times.end).max().unwrap_or_default();
        let times_ms = common(&(first_ms..end_ms), &choice.times_ms);
        let total: f64 = self.folders.iter().map(|folder| folder.samples_in(&choice.times_ms)).sum();
        let (mut done, mut opened) = (0.0, HashMap::new());
        for day in slices(times_ms, DAY_MS) {
            for (i, folder) in self.folders.iter().enumerate() {
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
                if let Some(block) = open(&mut opened, i, folder, (choice, &mut *sink)) {
                    block.run(&slice, from, sink, |sink, part| sink.progress.at(done + share * part, false))?;
                }
                sink.end();
                done += share;
                sink.progress.at(done, false);
            }
            // What ends with this day is not needed any more, and its list of series is large.
            opened.retain(|i, _| self.folders.get(*i).is_some_and(|folder| folder.times_ms.end > day.end));
        }
        match &self.wal {
            Some(wal) => head::run(wal, choice, sink),
            None => Ok(()),
        }
    }
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
            sink.damaged(format_args!("block {}: {error}", folder.name));
            None
        }
    };
    opened.entry(number).or_insert_with(|| open(sink)).as_mut()
}

impl Opened {
    fn choose(mut block: Block, choice: &Choice, sink: &mut Sink) -> Self {
        let all = block.index().series().to_vec();
        if choice.takes_all() {
            return Self { block, chosen: all };
        }
        let (mut entry, mut chosen) = (Entry::default(), Vec::new());
        for series in all {
            let mut labels = Vec::new();
            let read = block.entry(series, &mut entry).and_then(|()| block.index().labels(series, &entry, &mut labels));
            match read {
                Ok(()) if choice.takes(&labels) => chosen.push(series),
                Ok(()) => {}
                Err(error) => sink.damaged(error),
            }
        }
        Self { block, chosen }
    }

    /// Hands over the series from `from` on, with their samples in a range. `told` is told the share of them that is done.
    fn run(&mut self, times_ms: &Range<i64>, from: u64, sink: &mut Sink, told: impl Fn(&mut Sink, f64)) -> Result<()> {
        let (mut entry, mut samples) = (Entry::default(), Samples::default());
        let all = self.chosen.len();
        let begin = self.chosen.partition_point(|series| *series < from);
        for (i, &series) in self.chosen.iter().enumerate().skip(begin) {
            if let Err(error) = self.block.entry(series, &mut entry) {
                sink.damaged(error);
                continue;
            }
            for error in self.block.samples(series, &entry, times_ms.clone(), &mut samples) {
                sink.damaged(error);
            }
            if !samples.is_empty() {
                let mut labels = Vec::with_capacity(16);
                match self.block.index().labels(series, &entry, &mut labels) {
                    Ok(()) => {
                        sink.series(&Series { labels: &labels, samples: &samples, exemplars: &[], about: None })?;
                    }
                    Err(error) => sink.damaged(error),
                }
            }
            sink.reached(series + 1);
            if i % 256 == 0 {
                #[allow(clippy::cast_precision_loss, reason = "a share")]
                told(sink, i as f64 / all as f64);
            }
        }
        Ok(())
    }
}
