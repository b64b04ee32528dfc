//! Rows of table `histograms` as native histograms.
//!
//! Called with what was read for a query in PromQL, for federation and for remote read. A row holds the counts of integers, each as the
//! difference to the one before, or those of floats; the evaluator knows floats alone, remote read hands on what was sent.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StructArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use promql::{BucketSpan, Buckets, Histogram, HistogramSample, IntegerHistogram, NO_START, ResetHint};

use crate::{Error, Result, table::Histograms};

/// Histograms of each of `series` series after a time, in ascending time.
pub(crate) fn histograms(rows: &Histograms, series: usize, after_ms: i64) -> Result<Vec<Vec<HistogramSample>>> {
    let mut out = vec![Vec::new(); series];
    let mut row_of_all = 0;
    for batch in &rows.batches {
        let columns = Columns::of(batch)?;
        for row in 0..batch.num_rows() {
            let sample = columns.sample(row);
            if let Some(samples) = rows.series.get(row_of_all).and_then(|number| out.get_mut(*number as usize)) {
                samples.push(sample);
            }
            row_of_all += 1;
        }
    }
    Ok(out.into_iter().map(|samples| HistogramSample::linked(samples, after_ms)).collect())
}

/// A histogram as it was sent.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    Integers(IntegerHistogram),
    Floats(Histogram),
}

impl From<Kept> for Histogram {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Integers(histogram) => histogram.into(),
            Kept::Floats(histogram) => histogram,
        }
    }
}

/// The columns of a batch.
pub(crate) struct Columns {
    times: Vec<i64>,
    starts: Option<Vec<Option<i64>>>,
    count_int: Int64Array,
    count_float: Float64Array,
    sum: Float64Array,
    schema: Int32Array,
    zero_threshold: Float64Array,
    zero_count_int: Int64Array,
    zero_count_float: Float64Array,
    negative: Side,
    positive: Side,
    custom_values: ListArray,
    reset_hint: Int32Array,
}

/// Buckets below zero, or above.
struct Side {
    spans: ListArray,
    deltas: ListArray,
    counts: ListArray,
}

impl Columns {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self> {
        let wrong = Error::wrong_columns;
        let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| wrong(name));
        let list = |name: &'static str| column(name)?.as_list_opt::<i32>().cloned().ok_or_else(|| wrong(name));
        let float =
            |name: &'static str| column(name)?.as_primitive_opt::<Float64Type>().cloned().ok_or_else(|| wrong(name));
        let integer =
            |name: &'static str| column(name)?.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong(name));
        let small =
            |name: &'static str| column(name)?.as_primitive_opt::<Int32Type>().cloned().ok_or_else(|| wrong(name));
        let times = column("ts")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong("ts"))?;
        let starts = match batch.column_by_name("start_ts") {
            None => None,
            Some(starts) => {
                let starts = cast(starts, &DataType::Int64)?;
                let starts = starts.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong("start_ts"))?;
                Some(starts.iter().map(|start| start.map(|us| us.div_euclid(1000))).collect())
            }
        };
        Ok(Self {
            times: times.values().iter().map(|us| us.div_euclid(1000)).collect(),
            starts,
            count_int: integer("count_int")?,
            count_float: float("count_float")?,
            sum: float("sum")?,
            schema: small("schema")?,
            zero_threshold: float("zero_threshold")?,
            zero_count_int: integer("zero_count_int")?,
            zero_count_float: float("zero_count_float")?,
            negative: Side {
                spans: list("negative_spans")?,
                deltas: list("negative_deltas")?,
                counts: list("negative_counts")?,
            },
            positive: Side {
                spans: list("positive_spans")?,
                deltas: list("positive_deltas")?,
                counts: list("positive_counts")?,
            },
            custom_values: list("custom_values")?,
            reset_hint: small("reset_hint")?,
        })
    }

    fn sample(&self, row: usize) -> HistogramSample {
        let start = self.starts.as_ref().and_then(|starts| starts[row]).unwrap_or(NO_START);
        HistogramSample::new(self.times[row], start, Arc::new(self.kept(row).into()))
    }

    /// When a row was taken, milliseconds.
    pub(crate) fn time_ms(&self, row: usize) -> i64 {
        self.times[row]
    }

    /// A row as it was sent.
    pub(crate) fn kept(&self, row: usize) -> Kept {
        let hint = match self.reset_hint.value(row) {
            1 => ResetHint::Reset,
            2 => ResetHint::NoReset,
            3 => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        };
        let custom_values: Arc<[f64]> = floats(&self.custom_values, row).into();
        let (schema, sum) = (self.schema.value(row), self.sum.value(row));
        let zero_threshold = self.zero_threshold.value(row);
        if self.count_int.is_valid(row) {
            Kept::Integers(IntegerHistogram {
                hint,
                schema,
                zero_threshold,
                zero_count: whole(&self.zero_count_int, row),
                count: whole(&self.count_int, row),
                sum,
                positive: (spans(&self.positive.spans, row), integers(&self.positive.deltas, row)),
                negative: (spans(&self.negative.spans, row), integers(&self.negative.deltas, row)),
                custom_values,
            })
        } else {
            let side = |side: &Side| Buckets { spans: spans(&side.spans, row), counts: floats(&side.counts, row) };
            let or_zero = |column: &Float64Array| if column.is_valid(row) { column.value(row) } else { 0.0 };
            Kept::Floats(Histogram {
                hint,
                schema,
                zero_threshold,
                zero_count: or_zero(&self.zero_count_float),
                count: or_zero(&self.count_float),
                sum,
                positive: side(&self.positive),
                negative: side(&self.negative),
                custom_values,
            })
        }
    }
}

/// A count, which is kept with the bits of an unsigned number.
fn whole(column: &Int64Array, row: usize) -> u64 {
    if column.is_valid(row) { column.value(row).cast_unsigned() } else { 0 }
}

fn floats(lists: &ListArray, row: usize) -> Vec<f64> {
    if lists.is_null(row) {
        return Vec::new();
    }
    lists.value(row).as_primitive_opt::<Float64Type>().map(|values| values.values().to_vec()).unwrap_or_default()
}

fn integers(lists: &ListArray, row: usize) -> Vec<i64> {
    if lists.is_null(row) {
        return Vec::new();
    }
    lists.value(row).as_primitive_opt::<Int64Type>().map(|values| values.values().to_vec()).unwrap_or_default()
}

fn spans(lists: &ListArray, row: usize) -> Vec<BucketSpan> {
    if lists.is_null(row) {
        return Vec::new();
    }
    let spans = lists.value(row);
    let Some(spans) = spans.as_any().downcast_ref::<StructArray>() else { return Vec::new() };
    let field =
        |name: &str| spans.column_by_name(name)?.as_primitive_opt::<Int32Type>().map(|column| column.values().to_vec());
    let (Some(offsets), Some(lengths)) = (field("offset"), field("length")) else { return Vec::new() };
    let span = |(offset, length): (i32, i32)| BucketSpan { offset, length: length.cast_unsigned() };
    offsets.into_iter().zip(lengths).map(span).collect()
}
