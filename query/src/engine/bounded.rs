//! The rows of a query in SQL, under its limits of time and rows.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{common::DataFusionError, physical_plan::RecordBatchStream};
use futures::{FutureExt, Stream};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    Engine,
    run::{Work, defect},
    timed_out,
};
use crate::{
    Error, ErrorKind, Fault, Result,
    meter::Count,
    running::{Run, killed},
};

/// A query's rows under its limits.
pub(super) struct Bounded {
    /// `None` once it has ended, so that its memory is free before the client has read the last bytes.
    pub(super) work: Option<Work>,
    pub(super) schema: SchemaRef,
    pub(super) deadline: Pin<Box<Sleep>>,
    pub(super) rows: usize,
    pub(super) rows_max: usize,
    pub(super) timeout_ms: u64,
    pub(super) count: Count,
    /// `None` once it has ended.
    pub(super) run: Option<Run>,
    pub(super) killed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The threads live as long as someone reads.
    pub(super) _engine: Engine,
}

impl Bounded {
    fn check(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        self.rows += batch.num_rows();
        if self.rows > self.rows_max {
            let message = "answer has too many rows; add LIMIT, aggregate, or raise `sql.rows_max`";
            let message = format!("{message} rows_max={}", self.rows_max);
            return Err(Error::new(ErrorKind::Execution, message).of(Fault::TooLarge));
        }
        self.count.rows(batch.num_rows());
        self.run.iter().for_each(|run| run.add_samples(batch.num_rows()));
        Ok(batch)
    }

    fn end(&mut self, result: Result<(), ErrorKind>) {
        self.work = None;
        self.run = None;
        self.count.end(result);
    }
}

impl RecordBatchStream for Bounded {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Stream for Bounded {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(work) = &mut this.work else { return Poll::Ready(None) };
        let polled = match this.deadline.poll_unpin(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(timed_out(this.timeout_ms)))),
            Poll::Pending if this.killed.poll_unpin(cx).is_ready() => Poll::Ready(Some(Err(killed()))),
            // Closed without an end: the work was cut off, and what came is not the answer.
            Poll::Pending => work.batches.poll_recv(cx).map(|item| item.unwrap_or_else(|| Err(defect())).transpose()),
        };
        let item = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(item) => item.map(|batch| batch.and_then(|batch| this.check(batch))),
        };
        match &item {
            Some(Ok(_)) => {}
            Some(Err(error)) => this.end(Err(error.kind)),
            None => this.end(Ok(())),
        }
        Poll::Ready(item.map(|batch| batch.map_err(DataFusionError::from)))
    }
}
