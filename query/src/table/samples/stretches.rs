//! Where the rows of wanted series stand among sorted rows: of a file, by its ranges; of a run of the head, by searching.
//!
//! Both walk through the rows and the wanted series at once, and take steps that double, so that few series among many rows cost a
//! few steps each, and many series cost a step or two. A run is searched anew by every query: what would be remembered of it, an id
//! and a row for each series, is as long as the run where a series has a row or two in it.

use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::common::{DataFusionError, Result};

use super::{super::ranges::Ranges, wanted::Wanted};

/// A series' number and its rows.
pub(super) type Stretch = (u32, Range<u64>);

/// Those in a file, in the order of its rows.
pub(super) fn of_file(wanted: &Wanted, ranges: &Ranges) -> Vec<Stretch> {
    let mut found = Vec::new();
    for (metric, ids, numbers) in wanted.metrics() {
        let Some((known, starts)) = ranges.of_metric(metric) else { continue };
        let mut at = 0;
        for (id, number) in ids.iter().zip(numbers) {
            at = gallop(at, known.len(), |place| known[place] < *id);
            if at == known.len() {
                break;
            }
            if known[at] == *id {
                found.push((*number, starts[at]..starts[at + 1]));
            }
        }
    }
    found
}

/// Calls `found` with each wanted series in a sorted run and its rows.
pub(super) fn in_run(
    wanted: &Wanted,
    run: &RecordBatch,
    mut found: impl FnMut(u32, Range<usize>) -> Result<()>,
) -> Result<()> {
    let wrong = || DataFusionError::Internal("head rows have no metrics and ids of series".to_owned());
    let column = |name| run.column_by_name(name).ok_or_else(wrong);
    let metrics = column("metric")?.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
    let names = metrics.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let keys = metrics.keys().values();
    let ids: &[i64] = column("series_id")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.values();
    // A key of a row without metric, which the schema does not allow, may be anything.
    let name = |row: usize| usize::try_from(keys[row]).ok().filter(|k| *k < names.len()).map_or("", |k| names.value(k));
    let mut row = 0;
    for (metric, wanted_ids, numbers) in wanted.metrics() {
        row = gallop(row, ids.len(), |row| name(row) < metric);
        if row == ids.len() {
            break;
        }
        if name(row) != metric {
            continue;
        }
        let end = gallop(row, ids.len(), |row| name(row) == metric);
        for (id, number) in wanted_ids.iter().zip(numbers) {
            row = gallop(row, end, |row| ids[row] < *id);
            if row == end {
                break;
            }
            if ids[row] == *id {
                let first = row;
                row = gallop(first, end, |row| ids[row] == *id);
                found(*number, first..row)?;
            }
        }
        row = end;
    }
    Ok(())
}

/// First of `start..end` for which `before` is false, in steps that double.
fn gallop(start: usize, end: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (start, 1);
    loop {
        if low >= end {
            return end;
        }
        let probe = (low + step - 1).min(end - 1);
        if !before(probe) {
            let (mut first, mut last) = (low, probe);
            while first < last {
                let middle = first.midpoint(last);
                if before(middle) { first = middle + 1 } else { last = middle }
            }
            return first;
        }
        low = probe + 1;
        step *= 2;
    }
}

/// The part of ascending times that lies in a range.
pub(super) fn cut(times_us: &[i64], rows: Range<usize>, range_us: &Range<i64>) -> Range<usize> {
    let times = &times_us[rows.clone()];
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return rows.start..rows.start };
    // Mostly all of it.
    let skipped = if *first >= range_us.start { 0 } else { times.partition_point(|us| *us < range_us.start) };
    let end = if *last < range_us.end { times.len() } else { times.partition_point(|us| *us < range_us.end) };
    rows.start + skipped..rows.start + end.max(skipped)
}
