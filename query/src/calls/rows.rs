//! Rows of an answer, batch by batch.
//!
//! Labels are written once for each series of a batch and then taken for each of its rows. The answer, and with it the memory it has taken
//! of the pool, is held until its last batch is gone.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Float64Array, MapBuilder, MapFieldNames, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
        TimestampMicrosecondArray, UInt32Array,
    },
    compute::take,
    datatypes::{DataType, Field, SchemaRef},
};
use promql::{Columns, Labels, Outcome, Point, Samples};

use super::{COLUMNS, Call};
use crate::{Error, ErrorKind, Found, Result};

/// Batches of an answer.
pub(super) struct Rows {
    call: Arc<Call>,
    /// Which columns of the call.
    columns: Vec<usize>,
    schema: SchemaRef,
    found: Found,
    rows_max: usize,
    /// The next series, and how many of its samples are written.
    series: usize,
    written: usize,
}

/// Rows of a batch that is being made.
#[derive(Default)]
struct Batch {
    times_us: Vec<i64>,
    values: Vec<f64>,
    /// Which of `series` each row is of.
    places: Vec<u32>,
    /// Which of the answer.
    series: Vec<usize>,
}

impl Rows {
    pub(super) fn new(call: Arc<Call>, columns: Vec<usize>, schema: SchemaRef, found: Found, rows_max: usize) -> Self {
        Self { call, columns, schema, found, rows_max, series: 0, written: 0 }
    }

    fn series_count(&self) -> usize {
        match &self.found.result {
            Outcome::Scalar(_) => 1,
            Outcome::String(_) => 0,
            Outcome::Vector(columns) | Outcome::Matrix(columns) => columns.labels.len(),
            Outcome::Raw(samples) => samples.labels.len(),
        }
    }

    fn labels(&self, series: usize) -> Option<&Labels> {
        match &self.found.result {
            Outcome::Scalar(_) | Outcome::String(_) => None,
            Outcome::Vector(columns) | Outcome::Matrix(columns) => columns.labels.get(series),
            Outcome::Raw(samples) => samples.labels.get(series),
        }
    }

    /// Adds samples of the next series that are not written yet, as many as there is room for.
    fn add(&mut self, batch: &mut Batch) -> Result<()> {
        let room = self.rows_max - batch.values.len();
        let before = batch.values.len();
        match &self.found.result {
            Outcome::Scalar(value) => batch.push(self.call.when.start_ms, *value),
            Outcome::String(_) => {}
            Outcome::Vector(columns) | Outcome::Matrix(columns) => {
                batch.add_points(columns, self.series, self.written, room)?;
            }
            Outcome::Raw(samples) => batch.add_samples(samples, self.series, self.written, room)?,
        }
        let added = batch.values.len() - before;
        // A series that has no more is told by the room it leaves.
        let is_over = added < room || matches!(self.found.result, Outcome::Scalar(_));
        if added > 0 {
            let place = u32::try_from(batch.series.len()).unwrap_or(u32::MAX);
            batch.places.resize(batch.values.len(), place);
            batch.series.push(self.series);
        }
        (self.series, self.written) = if is_over { (self.series + 1, 0) } else { (self.series, self.written + added) };
        Ok(())
    }

    fn finish(&self, batch: Batch) -> Result<RecordBatch> {
        let rows = batch.values.len();
        let places = UInt32Array::from(batch.places);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(batch.times_us).with_timezone("UTC"));
        let values: ArrayRef = Arc::new(Float64Array::from(batch.values));
        let column = |at: &usize| -> Result<ArrayRef> {
            Ok(match at {
                0 => Arc::clone(&times),
                1 => Arc::clone(&values),
                2 => take(&self.maps(&batch.series)?, &places, None)?,
                at => take(&self.texts(&batch.series, at - COLUMNS.len()), &places, None)?,
            })
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// The labels of some series.
    fn maps(&self, series: &[usize]) -> Result<ArrayRef> {
        let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
            .with_values_field(Field::new("value", DataType::Utf8, false));
        for series in series {
            for (name, value) in self.labels(*series).into_iter().flat_map(|labels| labels.texts(&self.found.symbols)) {
                maps.keys().append_value(name);
                maps.values().append_value(value);
            }
            maps.append(true)?;
        }
        Ok(Arc::new(maps.finish()))
    }

    /// The values of a label of some series.
    fn texts(&self, series: &[usize], label: usize) -> ArrayRef {
        let name = self.call.labels.get(label).map(String::as_str);
        let value = |series: &usize| {
            let mut pairs = self.labels(*series)?.texts(&self.found.symbols);
            pairs.find(|(known, _)| Some(*known) == name).map(|(_, value)| value)
        };
        Arc::new(series.iter().map(value).collect::<StringArray>())
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = Batch::default();
        while self.series < self.series_count() && batch.values.len() < self.rows_max {
            if let Err(error) = self.add(&mut batch) {
                self.series = self.series_count();
                return Some(Err(error));
            }
        }
        (!batch.values.is_empty()).then(|| self.finish(batch))
    }
}

impl Batch {
    fn push(&mut self, time_ms: i64, value: f64) {
        self.times_us.push(time_ms.saturating_mul(1000));
        self.values.push(value);
    }

    fn add_points(&mut self, columns: &Columns, series: usize, written: usize, room: usize) -> Result<()> {
        for (time_ms, point) in columns.points(series).skip(written).take(room) {
            match point {
                Point::Float(value) => self.push(time_ms, value),
                Point::Histogram(_) => return Err(no_number()),
            }
        }
        Ok(())
    }

    fn add_samples(&mut self, samples: &Samples, series: usize, written: usize, room: usize) -> Result<()> {
        if samples.histograms.get(series).is_some_and(|histograms| !histograms.is_empty()) {
            return Err(no_number());
        }
        let (times, values) = samples.floats_of(series);
        for (time_ms, value) in times.iter().zip(values).skip(written).take(room) {
            self.push(*time_ms, *value);
        }
        Ok(())
    }
}

/// A native histogram is no number, and leaving it out would be a wrong answer.
fn no_number() -> Error {
    let message = "the answer has native histograms, which are no numbers; \
                   apply histogram_quantile, histogram_avg, histogram_count or histogram_sum to them";
    Error::new(ErrorKind::Execution, message)
}
