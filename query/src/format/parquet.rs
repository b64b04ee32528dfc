//! An answer as one Parquet file, in parts.
//!
//! Invariant: a row group is handed on when it has [`GROUP_BYTES`] or [`GROUP_ROWS`], so that is what a long answer holds in memory.

use std::mem::take;

use ::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{Error, ErrorKind, Result};

/// Encoded bytes of a row group: some seconds of a slow network.
const GROUP_BYTES: usize = 16 << 20;
/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 17;

/// A file that is being written.
pub(super) struct ParquetFile(ArrowWriter<Vec<u8>>);

impl ParquetFile {
    /// Begins a file; gives its first bytes.
    pub(super) fn begin(schema: &SchemaRef) -> Result<(Self, Vec<u8>)> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(refused)?;
        let begun = take(writer.inner_mut());
        Ok((Self(writer), begun))
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        self.0.write(batch).map_err(refused)?;
        if self.0.in_progress_size() >= GROUP_BYTES {
            self.0.flush().map_err(refused)?;
        }
        Ok(take(self.0.inner_mut()))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().map_err(refused)
    }
}

/// Some types of SQL are none of Parquet.
fn refused(error: ParquetError) -> Error {
    Error::new(ErrorKind::Execution, format!("answer cannot be written as Parquet, cast the column to text: {error}"))
}
