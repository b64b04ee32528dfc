//! Decides which files to rewrite or drop: a pure function of a view's files and the time.
//!
//! Called by upkeep, again after every rewrite. Per partition: fresh files gather in runs of a two-hour window while the day lasts,
//! and become one sorted run, cut into large files, when it is over; late files gather apart until then. What comes for a day that
//! was merged is merged into the files it overlaps. A partition past its retention goes as a whole; rows whose rule is due go when
//! their day is merged, or by a rewrite of what was merged before.
//!
//! Invariants: plans share no file; rows in order are merged under the least of their `seq`, since a late row of one of their keys
//! was written after them; a run that took in late rows has the largest, as later ones were written after it.

use std::{collections::BTreeMap, sync::Arc};

use schemas::{Dataset, Partition};

use super::trim::{self, Due, TrimRule};
use crate::{DataFile, Lane, delta::action::DAY_RUN};

pub(super) const DAY_MS: i64 = 86_400_000;
/// Rows of two hours are merged together while their day lasts: twelve files a day.
const WINDOW_MS: i64 = 7_200_000;
/// How long after its end a window or a day still gets rows in the ordinary way: senders retry for some minutes.
const WINDOW_LATE_MS: i64 = 600_000;
const DAY_LATE_MS: i64 = 7_200_000;
/// Late rows of a day that was merged wait for more of them.
const REMERGE_MS: i64 = 3_600_000;
/// Files that are merged at once: a merge holds some batches and a row group of each. So many of one level in one window are merged
/// early, so that a fast stream leaves few files: each level is written once.
const FAN_IN: usize = 16;
/// Files that become a day's run at once; of more, some are merged first. Twelve windows and a few late files are the rule.
const WHOLE_FILES: usize = 24;
/// Late files of a partition that are merged while its day lasts; each costs every read of the partition a merge.
const LATE_FILES: usize = 4;
/// Bytes beyond which a window's run is left to the day.
const WINDOW_BYTES_MAX: u64 = 1 << 30;

/// What to do to some files of one partition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub work: Work,
    pub partition: Option<Arc<str>>,
    /// Oldest `seq` first.
    pub files: Vec<Arc<DataFile>>,
    /// Rules whose rows are left out.
    pub due: Option<Due>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The partition is past its retention.
    Drop,
    /// Rows of one lane into one run of this level.
    Gather(Lane, u8),
    /// All rows into one run without late ones.
    Whole,
    /// Files of a run that hold rows whose rule is due, as far as is known.
    Trim,
}

impl Work {
    /// For whoever watches.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Trim => "trim",
            Self::Gather(..) | Self::Whole => "merge",
        }
    }
}

/// When to do what.
#[derive(Debug, Clone, Copy)]
pub(super) struct When<'a> {
    pub now_ms: i64,
    pub retention_days: u32,
    /// Rules by which rows go earlier.
    pub rules: &'a [TrimRule],
    /// Asked for by hand: windows need not be over.
    pub now: bool,
}

/// Everything there is to do, the most urgent first.
pub(super) fn plans(dataset: &Dataset, files: &[Arc<DataFile>], when: When<'_>) -> Vec<Plan> {
    let mut partitions: BTreeMap<Option<Arc<str>>, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files {
        partitions.entry(file.partition.clone()).or_default().push(Arc::clone(file));
    }
    let mut plans = Vec::new();
    for (partition, mut files) in partitions {
        files.sort_by_key(|file| file.seq);
        let day = partition.as_deref().and_then(day_start_ms);
        let kept_until = day.map(|day| day + DAY_MS * (i64::from(when.retention_days) + 1));
        if kept_until.is_some_and(|until| until <= when.now_ms) {
            plans.push(Plan { work: Work::Drop, partition, files, due: None });
            continue;
        }
        // What another engine wrote in an order of its own stays as it is, and so does what it may repeat.
        if files.iter().any(|file| !file.sorted) {
            continue;
        }
        let over = day.is_some_and(|day| day + DAY_MS + DAY_LATE_MS <= when.now_ms);
        if over || day.is_none() {
            let due = day.filter(|_| over).and_then(|day| trim::due(when.rules, day, when.now_ms));
            let plan = whole(&partition, &files, over, when).or_else(|| stale(&partition, &files, due.as_ref()?.mark));
            plans.extend(plan.map(|plan| Plan { due, ..plan }));
        } else {
            plans.extend(windows(dataset, &partition, &files, when));
            plans.extend(late(&partition, &files, when));
        }
    }
    plans.sort_by_key(|plan| match plan.work {
        Work::Drop => 0,
        Work::Gather(Lane::Late, _) => 1,
        Work::Gather(Lane::InOrder, _) => 2,
        Work::Whole => 3,
        Work::Trim => 4,
    });
    plans
}

/// A partition whose rows all go into one run.
fn whole(partition: &Option<Arc<str>>, files: &[Arc<DataFile>], over: bool, when: When<'_>) -> Option<Plan> {
    let (runs, new): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| file.level == DAY_RUN);
    let oldest_ms = new.iter().map(|file| file.written_ms).min()?;
    let waited = when.now_ms - oldest_ms >= REMERGE_MS;
    let due = when.now && (new.len() > 1 || !runs.is_empty() || new.iter().any(|file| file.lane == Lane::Late))
        || over && (runs.is_empty() || waited)
        // A partition that is no day is never over.
        || !over && (new.len() >= FAN_IN || waited && new.iter().any(|file| file.lane == Lane::Late));
    if !due {
        return None;
    }
    // What a merge holds of each of its inputs bounds how many they may be.
    if new.len() > WHOLE_FILES {
        let (late, in_order): (Vec<_>, Vec<_>) = new.into_iter().partition(|file| file.lane == Lane::Late);
        let (lane, files) = if late.len() > in_order.len() { (Lane::Late, late) } else { (Lane::InOrder, in_order) };
        return Some(gather(partition, lane, files));
    }
    let touched = |run: &Arc<DataFile>| new.iter().any(|file| overlap(run, file));
    let mut files: Vec<_> = runs.into_iter().filter(touched).collect();
    files.extend(new);
    files.sort_by_key(|file| file.seq);
    Some(Plan { work: Work::Whole, partition: partition.clone(), files, due: None })
}

/// Files of a day's run that were made by other rules than are due now.
fn stale(partition: &Option<Arc<str>>, files: &[Arc<DataFile>], mark: u64) -> Option<Plan> {
    let stale = |file: &&Arc<DataFile>| file.level == DAY_RUN && file.trimmed != Some(mark);
    let files: Vec<_> = files.iter().filter(stale).cloned().collect();
    (!files.is_empty()).then(|| Plan { work: Work::Trim, partition: partition.clone(), files, due: None })
}

/// May two files hold rows of one key? By the bounds of all columns that both have.
fn overlap(a: &DataFile, b: &DataFile) -> bool {
    a.bounds.iter().all(|(column, (low, high))| {
        b.bounds.get(column).is_none_or(|(other_low, other_high)| low <= other_high && other_low <= high)
    })
}

/// Rows in order, by window.
fn windows(dataset: &Dataset, partition: &Option<Arc<str>>, files: &[Arc<DataFile>], when: When<'_>) -> Vec<Plan> {
    let mut windows: BTreeMap<Option<i64>, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.lane == Lane::InOrder && file.level < DAY_RUN) {
        windows.entry(window_end_ms(dataset, file)).or_default().push(Arc::clone(file));
    }
    let mut plans = Vec::new();
    for (end_ms, files) in windows {
        let closed = end_ms.is_some_and(|end_ms| end_ms + WINDOW_LATE_MS <= when.now_ms) || when.now;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let mut gather = |files: Vec<Arc<DataFile>>| plans.push(gather(partition, Lane::InOrder, files));
        if closed && files.len() > 1 && bytes <= WINDOW_BYTES_MAX {
            gather(files);
            continue;
        }
        let mut levels: BTreeMap<u8, Vec<Arc<DataFile>>> = BTreeMap::new();
        files.into_iter().for_each(|file| levels.entry(file.level).or_default().push(file));
        levels.into_values().filter(|files| files.len() >= FAN_IN).for_each(gather);
    }
    plans
}

/// Late rows, gathered without those they replace.
fn late(partition: &Option<Arc<str>>, files: &[Arc<DataFile>], when: When<'_>) -> Option<Plan> {
    let files: Vec<_> = files.iter().filter(|file| file.lane == Lane::Late).cloned().collect();
    let due = files.len() >= LATE_FILES || when.now && files.len() > 1;
    due.then(|| gather(partition, Lane::Late, files))
}

/// Merges files of a lane, as many of them as may be merged at once.
fn gather(partition: &Option<Arc<str>>, lane: Lane, mut files: Vec<Arc<DataFile>>) -> Plan {
    // Those that were merged least often come first; of late rows the oldest, since who comes later replaces them.
    files.sort_by_key(|file| (if lane == Lane::Late { 0 } else { file.level }, file.seq));
    files.truncate(FAN_IN);
    files.sort_by_key(|file| file.seq);
    let level = files.iter().map(|file| file.level).max().unwrap_or(0).saturating_add(1).min(DAY_RUN - 1);
    let level = if lane == Lane::Late { 1 } else { level };
    Plan { work: Work::Gather(lane, level), partition: partition.clone(), files, due: None }
}

/// End of the window in which the last row of a file lies; `None` if time does not divide the dataset.
fn window_end_ms(dataset: &Dataset, file: &DataFile) -> Option<i64> {
    if dataset.partition != Partition::DayOfTime {
        return None;
    }
    let (_, last_us) = file.times_us(dataset)?;
    Some((last_us.div_euclid(1000 * WINDOW_MS) + 1) * WINDOW_MS)
}

/// Start of the day that a partition is of, by its last column.
fn day_start_ms(partition: &str) -> Option<i64> {
    let partition = partition.rsplit('/').next()?;
    let day = chrono::NaiveDate::parse_from_str(partition, "%Y-%m-%d").ok()?;
    Some(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests;
