//! Builds the rows of each dataset from what was admitted.
//!
//! Called by [`Admission`](super::Admission) while it holds the order of requests, so a float sample costs five pushes and
//! nothing else. Invariants: values keep their bits, NaN payloads included; each batch has its dataset's schema.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{
        ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, PrimitiveArray, RecordBatch,
        StringArray, StructArray, TimestampMicrosecondArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Date32Type, Int32Type},
    error::ArrowError,
};
use schemas::Dataset;

use super::{
    decoded::{Buckets, Histogram, Side},
    relabel::Pair,
};
use crate::samples::Count;

type Result<T> = std::result::Result<T, ArrowError>;

/// Dictionary values of the metric columns of one request.
pub(crate) fn metric_names(names: &[Arc<str>]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(names))
}

fn dictionary(keys: Vec<i32>, values: &ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), Arc::clone(values))?))
}

fn timestamps(us: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(us).with_timezone("UTC"))
}

/// Start times in milliseconds, 0 for none.
fn start_timestamps(ms: impl ExactSizeIterator<Item = i64>) -> ArrayRef {
    let us: TimestampMicrosecondArray = ms.map(|ms| (ms != 0).then(|| ms.checked_mul(1000)).flatten()).collect();
    Arc::new(us.with_timezone("UTC"))
}

/// A column of nulls. Its values are shared by all requests of the usual size: most series never tell when they began.
fn no_timestamps(rows: usize) -> ArrayRef {
    static ZEROS: LazyLock<Buffer> = LazyLock::new(|| vec![0i64; 16 << 10].into());
    let values = match rows * size_of::<i64>() <= ZEROS.len() {
        true => ScalarBuffer::new(ZEROS.clone(), 0, rows),
        false => vec![0; rows].into(),
    };
    Arc::new(TimestampMicrosecondArray::new(values, Some(NullBuffer::new_null(rows))).with_timezone("UTC"))
}

fn int64(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

/// Maps of pairs.
fn string_maps<'a, T: AsRef<str> + 'a>(maps: impl Iterator<Item = &'a [(T, T)]> + Clone) -> Result<ArrayRef> {
    let texts = |map: &'a [(T, T)]| map.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
    Ok(Arc::new(schemas::string_maps(maps.map(texts))?))
}

/// Columns of `samples` as they grow.
#[derive(Default)]
pub(crate) struct SampleColumns {
    metric: Vec<i32>,
    series_id: Vec<i64>,
    ts_us: Vec<i64>,
    value_bits: Vec<u64>,
    start_ms: Vec<i64>,
    started: bool,
}

impl SampleColumns {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            metric: Vec::with_capacity(rows),
            series_id: Vec::with_capacity(rows),
            ts_us: Vec::with_capacity(rows),
            value_bits: Vec::with_capacity(rows),
            start_ms: Vec::with_capacity(rows),
            started: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ts_us.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, metric: i32, series_id: i64, sample: &super::decoded::Sample) {
        self.metric.push(metric);
        self.series_id.push(series_id);
        // Within the window of accepted times, far from overflow.
        self.ts_us.push(sample.ts_ms * 1000);
        self.value_bits.push(sample.bits);
        self.start_ms.push(sample.start_ms);
        self.started |= sample.start_ms != 0;
    }

    pub(crate) fn finish(self, metrics: &ArrayRef) -> Result<RecordBatch> {
        let rows = self.len();
        let start_ts = if self.started { start_timestamps(self.start_ms.into_iter()) } else { no_timestamps(rows) };
        // Reinterpreted, not converted: an f64 in between might quieten a signalling NaN on some machine.
        let values = ScalarBuffer::<f64>::new(Buffer::from_vec(self.value_bits), 0, rows);
        let columns = vec![
            dictionary(self.metric, metrics)?,
            int64(self.series_id),
            timestamps(self.ts_us),
            Arc::new(Float64Array::new(values, None)) as ArrayRef,
            start_ts,
        ];
        RecordBatch::try_new(Arc::clone(&schemas::samples().schema), columns)
    }
}

/// A row of `series`.
pub(crate) struct SeriesRow<'a> {
    pub(crate) day: i32,
    pub(crate) metric: i32,
    pub(crate) series_id: i64,
    pub(crate) labels: Vec<Pair<'a>>,
    pub(crate) first_ms: i64,
}

pub(crate) fn series(rows: &[SeriesRow<'_>], metrics: &ArrayRef) -> Result<RecordBatch> {
    let columns = vec![
        Arc::new(rows.iter().map(|row| Some(row.day)).collect::<PrimitiveArray<Date32Type>>()) as ArrayRef,
        dictionary(rows.iter().map(|row| row.metric).collect(), metrics)?,
        int64(rows.iter().map(|row| row.series_id).collect()),
        string_maps(rows.iter().map(|row| row.labels.as_slice()))?,
        timestamps(rows.iter().map(|row| row.first_ms * 1000).collect()),
    ];
    RecordBatch::try_new(Arc::clone(&schemas::series().schema), columns)
}

/// A row of `exemplars`.
pub(crate) struct ExemplarRow<'a> {
    pub(crate) metric: i32,
    pub(crate) series_id: i64,
    pub(crate) ts_ms: i64,
    pub(crate) hash: i64,
    pub(crate) value: f64,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
}

pub(crate) fn exemplars(rows: &[ExemplarRow<'_>], metrics: &ArrayRef) -> Result<RecordBatch> {
    let columns = vec![
        dictionary(rows.iter().map(|row| row.metric).collect(), metrics)?,
        int64(rows.iter().map(|row| row.series_id).collect()),
        timestamps(rows.iter().map(|row| row.ts_ms * 1000).collect()),
        int64(rows.iter().map(|row| row.hash).collect()),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value))) as ArrayRef,
        string_maps(rows.iter().map(|row| row.labels.as_slice()))?,
    ];
    RecordBatch::try_new(Arc::clone(&schemas::exemplars().schema), columns)
}

/// A row of `metadata`.
pub(crate) struct MetadataRow<'a> {
    pub(crate) metric: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) unit: &'a str,
    pub(crate) help: &'a str,
    pub(crate) seen_us: i64,
}

pub(crate) fn metadata(rows: &[MetadataRow<'_>]) -> Result<RecordBatch> {
    let text = |column: fn(&MetadataRow<'_>) -> String| -> ArrayRef {
        let values: Vec<String> = rows.iter().map(column).collect();
        Arc::new(values.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())
    };
    let columns = vec![
        text(|row| row.metric.to_string()),
        text(|row| row.kind.to_owned()),
        text(|row| row.unit.to_owned()),
        text(|row| row.help.to_owned()),
        timestamps(rows.iter().map(|row| row.seen_us).collect()),
    ];
    RecordBatch::try_new(Arc::clone(&schemas::metadata().schema), columns)
}

/// A row of `histograms`: whose it is, and the histogram.
pub(crate) struct HistogramRow<'a> {
    pub(crate) metric: i32,
    pub(crate) series_id: i64,
    pub(crate) histogram: &'a Histogram,
}

pub(crate) fn histograms(rows: &[HistogramRow<'_>], buckets: &Buckets, metrics: &ArrayRef) -> Result<RecordBatch> {
    let dataset = schemas::histograms();
    let of = |pick: fn(&Histogram) -> Count| {
        let ints: Int64Array = rows.iter().map(|row| int(pick(row.histogram))).collect();
        let floats: Float64Array = rows.iter().map(|row| float(pick(row.histogram))).collect();
        (Arc::new(ints) as ArrayRef, Arc::new(floats) as ArrayRef)
    };
    let (count_int, count_float) = of(|h| h.count);
    let (zero_int, zero_float) = of(|h| h.zero_count);
    let side = |name: &str, pick: fn(&Histogram) -> Side| -> Result<[ArrayRef; 3]> {
        let sides: Vec<Side> = rows.iter().map(|row| pick(row.histogram)).collect();
        Ok([
            spans(dataset, &format!("{name}_spans"), &sides, buckets)?,
            list(dataset, &format!("{name}_deltas"), sides.iter().map(|s| &buckets.deltas[s.deltas.range()]), |v| {
                int64(v)
            })?,
            floats(dataset, &format!("{name}_counts"), sides.iter().map(|s| &buckets.floats[s.counts.range()]))?,
        ])
    };
    let [negative_spans, negative_deltas, negative_counts] = side("negative", |h| h.negative)?;
    let [positive_spans, positive_deltas, positive_counts] = side("positive", |h| h.positive)?;
    let each = || rows.iter().map(|row| row.histogram);
    let columns = vec![
        dictionary(rows.iter().map(|row| row.metric).collect(), metrics)?,
        int64(rows.iter().map(|row| row.series_id).collect()),
        timestamps(each().map(|h| h.ts_ms * 1000).collect()),
        count_int,
        count_float,
        Arc::new(Float64Array::new(
            ScalarBuffer::new(Buffer::from_vec(each().map(|h| h.sum_bits).collect()), 0, rows.len()),
            None,
        )),
        Arc::new(Int32Array::from_iter_values(each().map(|h| h.schema))),
        Arc::new(Float64Array::from_iter_values(each().map(|h| h.zero_threshold))),
        zero_int,
        zero_float,
        negative_spans,
        negative_deltas,
        negative_counts,
        positive_spans,
        positive_deltas,
        positive_counts,
        floats(dataset, "custom_values", each().map(|h| &buckets.floats[h.custom_values.range()]))?,
        Arc::new(Int32Array::from_iter_values(each().map(|h| h.reset_hint as i32))),
        start_timestamps(each().map(|h| h.start_ms)),
    ];
    RecordBatch::try_new(Arc::clone(&dataset.schema), columns)
}

fn int(count: Count) -> Option<i64> {
    match count {
        // Checked to fit when the histogram was.
        Count::Int(count) => i64::try_from(count).ok(),
        Count::Float(_) => None,
    }
}

fn float(count: Count) -> Option<f64> {
    match count {
        Count::Int(_) => None,
        Count::Float(count) => Some(count),
    }
}

fn floats<'a>(dataset: &Dataset, column: &str, items: impl Iterator<Item = &'a [f64]> + Clone) -> Result<ArrayRef> {
    list(dataset, column, items, |values| Arc::new(Float64Array::from(values)))
}

/// A list column: the items of each row, one after the other.
fn list<'a, T: Copy + 'a>(
    dataset: &Dataset,
    column: &str,
    items: impl Iterator<Item = &'a [T]> + Clone,
    array: impl FnOnce(Vec<T>) -> ArrayRef,
) -> Result<ArrayRef> {
    let field = dataset.schema.field_with_name(column)?;
    let DataType::List(item) = field.data_type() else {
        return Err(ArrowError::SchemaError(format!("column is no list: column={column}")));
    };
    let offsets = OffsetBuffer::from_lengths(items.clone().map(<[T]>::len));
    let values = array(items.flatten().copied().collect());
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?))
}

fn spans(dataset: &Dataset, column: &str, sides: &[Side], buckets: &Buckets) -> Result<ArrayRef> {
    let field = dataset.schema.field_with_name(column)?;
    let DataType::List(item) = field.data_type() else {
        return Err(ArrowError::SchemaError(format!("column is no list: column={column}")));
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(ArrowError::SchemaError(format!("column is no list of structs: column={column}")));
    };
    let all = || sides.iter().flat_map(|side| &buckets.spans[side.spans.range()]);
    let offset = Int32Array::from_iter_values(all().map(|span| span.0));
    // A length is at most the number of buckets in the request, which was checked.
    let length = Int32Array::from_iter_values(all().map(|span| i32::try_from(span.1).unwrap_or(i32::MAX)));
    let values = StructArray::try_new(fields.clone(), vec![Arc::new(offset), Arc::new(length)], None)?;
    let offsets = OffsetBuffer::from_lengths(sides.iter().map(|side| side.spans.len()));
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(values), None)?))
}
