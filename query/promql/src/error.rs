//! The error of this crate, sorted by what the caller does about it.

/// Result of reading or evaluating a query.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no query: correct it.
    Invalid,
    /// The query fails on these samples or needs more than its limits allow: change it.
    Execution,
    /// It was told to stop.
    Stopped,
}

/// An error of a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// Line and column in the text, from 1; columns are bytes, as Prometheus counts them.
    pub place: Option<(usize, usize)>,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, place: None, message: message.into() }
    }

    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Execution, message)
    }
}
