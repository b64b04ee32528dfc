//! The one error of this crate, sorted by what the caller does about it.

use std::{error::Error as StdError, fmt};

/// Result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Mends what was asked or configured.
    Invalid,
    /// Tries again later: something outside does not answer.
    Unavailable,
    /// Reports a defect of ours.
    Internal,
}

/// An error of alerting: its kind, where in a file it is if it is in one, what happened, and the cause.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// Line and column in the file, both from 1.
    pub place: Option<(u64, u64)>,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a place and a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, place: None, message: message.into(), source: None }
    }

    /// Something that was written wrongly.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The same error with its place in a file.
    #[must_use]
    pub fn at(mut self, line: u64, column: u64) -> Self {
        self.place = Some((line, column));
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, its message after what it is about.
    #[must_use]
    pub fn within(mut self, about: impl fmt::Display) -> Self {
        self.message = format!("{about}: {}", self.message);
        self
    }

    /// The same error for somebody else whom it concerns, without its cause.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { kind: self.kind, place: self.place, message: self.message.clone(), source: None }
    }

    /// What happened, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}
