//! Takes out what was written of some series in some time.
//!
//! Called by the composition root for an administrator. Deletes go into the log under the lock of admission, so every sample
//! is admitted either before the delete, and goes with the rest, or after it, and stays, whatever was there before: the
//! same lock lets admission forget what it took out, so that a sample sent again is no repetition of one that is gone.
//!
//! Invariants: a slot's last time stays, so what is sent again takes the late lane and the in-order lane keeps its promise;
//! rows of `series` stay, since samples of the day before or behind the range may need them, and admission relies on them
//! for a day it has registered. Not here: which series (`query` finds them).

use std::{ops::Range, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringDictionaryBuilder};
use arrow::datatypes::{Int32Type, Schema};
use schemas::Dataset;
use storage::{Batch, Delete, Room, Write};

use super::{RemoteWrite, admit::Admission, series_index::NONE};
use crate::{Error, ErrorKind, Result};

/// Series of one delete. Each delete reads the files it may touch, so few large ones are better than many small ones; a
/// hundred thousand keys are some MB, and finding them holds admission up for some ten milliseconds.
const KEYS_MAX: usize = 100_000;

impl RemoteWrite {
    /// Takes out samples, histograms and exemplars of series (metric and id) in a range of time, microseconds. Returns when
    /// they are gone for every later reader and every later start. Not all at once for many series: after an error some
    /// may be gone, and calling again does the rest.
    ///
    /// # Errors
    /// `Overloaded` if there is no room in the log, `Unavailable`, `Fenced` or `Corrupt` if storage takes no writes.
    pub async fn delete(&self, mut series: Vec<(&str, i64)>, times_us: Range<i64>) -> Result<()> {
        // Sorted, a delete names few metrics and touches few files.
        series.sort_unstable();
        series.dedup();
        for keys in series.chunks(KEYS_MAX) {
            self.delete_some(keys, &times_us).await?;
        }
        Ok(())
    }

    async fn delete_some(&self, series: &[(&str, i64)], times_us: &Range<i64>) -> Result<()> {
        let storage = &self.0.storage;
        let mut deletes: Vec<(Room, Batch)> = Vec::with_capacity(3);
        for dataset in [schemas::samples(), schemas::histograms(), schemas::exemplars()] {
            let view = storage.view(dataset);
            // What was acknowledged is in the view, so there is nothing to take out.
            if view.files.is_empty() && view.head.is_empty() {
                continue;
            }
            let keys = keys(dataset, series)?;
            let room = storage.reserve(keys.get_array_memory_size()).await?;
            let write = Write::Delete(Delete { keys, start_us: times_us.start, end_us: times_us.end });
            deletes.push((room, Batch { dataset, write }));
        }
        let acks: Vec<_> = {
            let mut admission = self.0.admission.lock();
            admission.forget_last(series, times_us);
            deletes.into_iter().map(|(room, batch)| storage.append(room, vec![batch])).collect()
        };
        for ack in acks {
            ack.done().await?;
        }
        Ok(())
    }
}

impl Admission {
    /// What was written last of these series in this time, microseconds, is not there any more.
    fn forget_last(&mut self, series: &[(&str, i64)], times_us: &Range<i64>) {
        let is_gone = |ts_ms: i64| times_us.contains(&ts_ms.saturating_mul(1000));
        let mut metric: (&str, Option<u32>) = ("", None);
        for (name, series_id) in series {
            if metric.0 != *name {
                metric = (name, self.index.find_metric(name));
            }
            let at = metric.1.map_or(NONE, |metric| self.index.find(metric, *series_id));
            if let Some(slot) = self.index.slots.get_mut(at as usize) {
                slot.forget_last(is_gone);
                self.exemplars.forget_last(at, is_gone);
            }
        }
    }
}

/// Series as keys of a delete: the leading sort columns of the dataset.
fn keys(dataset: &Dataset, series: &[(&str, i64)]) -> Result<RecordBatch> {
    let fields = dataset.sort.iter().take(2).filter_map(|name| dataset.schema.field_with_name(name).ok().cloned());
    let mut metrics = StringDictionaryBuilder::<Int32Type>::new();
    for (metric, _) in series {
        metrics
            .append(metric)
            .map_err(|error| Error::new(ErrorKind::Internal, "keys cannot be built").caused_by(error))?;
    }
    let ids: Int64Array = series.iter().map(|(_, id)| *id).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(metrics.finish()), Arc::new(ids)];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
}
