//! Reads back what storage holds, without queries: files and head of a view.
//!
//! Called at start by those that go on where the tables end, and by loads that compare with what they replace.

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
    datatypes::DataType,
};
use futures::TryStreamExt as _;
use parquet::arrow::{ProjectionMask, async_reader::ParquetRecordBatchStreamBuilder};
use storage::{DataFile, Storage, StoredFile, View};

use crate::{Error, ErrorKind, Result};

/// Calls `each` with the wanted columns of a file's rows, batch by batch.
pub(crate) async fn read_file(
    storage: &Storage,
    file: &DataFile,
    columns: &[&str],
    mut each: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let reader = StoredFile::new(storage.store(), file);
    let place = |error: parquet::errors::ParquetError| {
        Error::new(ErrorKind::Corrupt, format!("stored file cannot be read path={}", file.path)).caused_by(error)
    };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(place)?;
    let projection = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let mut batches = builder.with_projection(projection).with_batch_size(8192).build().map_err(place)?;
    while let Some(batch) = batches.try_next().await.map_err(place)? {
        each(&batch)?;
    }
    Ok(())
}

/// The same with all rows of a view; only of those in memory `each` gets all columns.
pub(crate) async fn read_view(
    storage: &Storage,
    view: &View,
    columns: &[&str],
    mut each: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    for file in view.files.iter() {
        read_file(storage, file, columns, &mut each).await?;
    }
    view.head.iter().try_for_each(|rows| each(&rows.batch))
}

/// A column of stored rows, in a type.
pub(crate) fn column(batch: &RecordBatch, name: &str, data_type: &DataType) -> Result<ArrayRef> {
    let Some(column) = batch.column_by_name(name) else {
        return Err(Error::new(ErrorKind::Corrupt, format!("stored rows lack a column: column={name}")));
    };
    Ok(cast(column, data_type)?)
}
