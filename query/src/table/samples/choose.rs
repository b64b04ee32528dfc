//! Which files and head rows can hold rows that are wanted, in the order in which they were written.
//!
//! Works on what is in memory: partitions, bounds of time and metric, first and last metric of a run. Nothing is opened.
//!
//! Invariant: what is left out holds no row that is wanted; of two sources the later one holds the rows written later.

use std::{ops::Range, sync::Arc};

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use schemas::Partition;
use storage::{Bound, DataFile, Lane, Rows, View};

use super::{
    super::{DAY_US, day_text},
    wanted::Wanted,
};

/// Where rows are.
pub(super) enum Source {
    File(Arc<DataFile>),
    /// A sorted run, or batches that were written one after another with nothing between.
    Head(Vec<Arc<Rows>>),
}

/// Where all rows are that are wanted.
pub(super) struct Sources {
    /// With their ranks.
    pub oldest_first: Vec<(u32, Source)>,
    /// May a row of one replace a row of another?
    pub may_replace: bool,
}

/// Those of a view.
pub(super) fn sources(view: &View, wanted: &Wanted, times_us: &Range<i64>) -> Sources {
    let mut found: Vec<((i64, usize), Source)> = Vec::new();
    let mut may_replace = false;
    if times_us.is_empty() || wanted.len() == 0 {
        return Sources { oldest_first: Vec::new(), may_replace };
    }
    let days = Days::of(times_us);
    for file in view.files.iter() {
        if has_times(view, file, &days, times_us) && has_metrics(file, wanted) {
            may_replace |= file.lane == Lane::Late;
            found.push(((file.seq, 0), Source::File(Arc::clone(file))));
        }
    }
    // Head rows of one `seq` stand in the order in which they came, above a file of that `seq`.
    for (nth, rows) in (1..).zip(&view.head) {
        if run_has_metrics(rows, wanted) {
            may_replace |= rows.lane == Lane::Late;
            found.push(((rows.seq, nth), Source::Head(vec![Arc::clone(rows)])));
        }
    }
    found.sort_by_key(|(order, _)| *order);
    let mut sources: Vec<Source> = Vec::with_capacity(found.len());
    for (_, source) in found {
        match (sources.last_mut(), source) {
            (Some(Source::Head(last)), Source::Head(next)) if is_unsorted(last) && is_unsorted(&next) => {
                last.extend(next);
            }
            (_, source) => sources.push(source),
        }
    }
    Sources { oldest_first: (0..).zip(sources).collect(), may_replace }
}

fn is_unsorted(rows: &[Arc<Rows>]) -> bool {
    rows.iter().all(|rows| !rows.sorted)
}

/// Days of a range as partitions name them, both inclusive; none if they cannot be compared as text.
struct Days(Option<(String, String)>);

impl Days {
    fn of(times_us: &Range<i64>) -> Self {
        // Of years with four digits.
        const LEAST: i64 = -719_162;
        const GREATEST: i64 = 2_932_896;
        let day = |us: i64| day_text(us.div_euclid(DAY_US).clamp(LEAST, GREATEST));
        Self(day(times_us.start).zip(day(times_us.end.saturating_sub(1))))
    }

    fn may_hold(&self, partition: &str) -> bool {
        let Some((first, last)) = &self.0 else { return true };
        partition.len() != first.len() || (first.as_str()..=last.as_str()).contains(&partition)
    }
}

fn has_times(view: &View, file: &DataFile, days: &Days, times_us: &Range<i64>) -> bool {
    if view.dataset.partition == Partition::DayOfTime
        && file.partition.as_deref().is_some_and(|partition| !days.may_hold(partition))
    {
        return false;
    }
    file.times_us(view.dataset).is_none_or(|(least, greatest)| least < times_us.end && greatest >= times_us.start)
}

fn has_metrics(file: &DataFile, wanted: &Wanted) -> bool {
    match file.bounds.get("metric") {
        Some((Bound::Text(least), Bound::Text(greatest))) => wanted.any_between(least, greatest),
        _ => true,
    }
}

fn run_has_metrics(rows: &Rows, wanted: &Wanted) -> bool {
    let count = rows.batch.num_rows();
    if count == 0 {
        return false;
    }
    let ends = rows.batch.column_by_name("metric").filter(|_| rows.sorted).and_then(|column| {
        let metrics = column.as_dictionary_opt::<Int32Type>()?;
        let names = metrics.values().as_string_opt::<i32>()?;
        Some((names.value(metrics.key(0)?), names.value(metrics.key(count - 1)?)))
    });
    ends.is_none_or(|(least, greatest)| wanted.any_between(least, greatest))
}
