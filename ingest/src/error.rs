//! The one error of this crate, sorted by what the caller does about it.

use std::error::Error as StdError;

pub use storage::ErrorKind;

/// Result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of ingest: its kind, what happened, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller does about it.
    pub kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        Self::new(error.kind, error.chain())
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Internal, "rows cannot be built").caused_by(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::new(ErrorKind::Corrupt, "a stored file cannot be read").caused_by(error)
    }
}

impl From<prometheus::Error> for Error {
    fn from(error: prometheus::Error) -> Self {
        Self::new(ErrorKind::Internal, "a metric cannot be registered").caused_by(error)
    }
}
