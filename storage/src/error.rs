//! The one error of this crate, sorted by what the caller does about it.

use std::error::Error as StdError;

use parking_lot::Mutex;

/// Result of a storage call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's fault: do not retry.
    Invalid,
    /// Too much at once: retry later, slower.
    Overloaded,
    /// Disk or object store is not answering, or the server is stopping: retry.
    Unavailable,
    /// Another process writes this table: stop writing.
    Fenced,
    /// Data on disk is not what was written: stop, and look.
    Corrupt,
    /// A defect of ours.
    Internal,
}

/// An error of storage: its kind, what happened, and the cause.
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

    /// The message and every cause below it, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut out = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries tell the cause in the message as well.
            if !out.contains(&text) {
                out.push_str(": ");
                out.push_str(&text);
            }
            cause = error.source();
        }
        out.replace('\n', " ")
    }
}

/// Why storage takes no more writes, once it does not; shared by the log and the writers. The first reason stays.
#[derive(Debug, Default)]
pub(crate) struct Failure(Mutex<Option<(ErrorKind, String)>>);

impl Failure {
    pub(crate) fn set(&self, error: &Error) {
        self.0.lock().get_or_insert_with(|| (error.kind, error.chain()));
    }

    /// The reason, if there is one.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.0.lock() {
            Some((kind, reason)) => Err(Error::new(*kind, reason.clone())),
            None => Ok(()),
        }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        Self::new(ErrorKind::Unavailable, "object store call failed").caused_by(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Internal, "arrow kernel failed").caused_by(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::new(ErrorKind::Corrupt, "parquet file cannot be read or written").caused_by(error)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Unavailable, "disk call failed").caused_by(error)
    }
}
