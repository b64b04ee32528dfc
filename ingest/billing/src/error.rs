//! The one error of this crate, sorted by what the caller does about it. A bad row is none: it is a reject in the report.

use std::error::Error as StdError;

/// Result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file is not one that can be read, or the options do not fit it: tell the user.
    Invalid,
    /// The file cannot be read at the moment: try again.
    Unavailable,
    /// The file is damaged: ask for it anew.
    Corrupt,
    /// A defect of ours.
    Internal,
}

/// An error of reading a billing export: its kind, what happened, and the cause.
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

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A file could not be read; gzip that ends early or has the wrong checksum is damage, not absence.
    pub(crate) fn reading(error: std::io::Error, file: &str) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::InvalidData | Io::InvalidInput | Io::UnexpectedEof => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, format!("cannot read {file}: {error}")).caused_by(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Internal, format!("rows cannot be built: {error}")).caused_by(error)
    }
}
