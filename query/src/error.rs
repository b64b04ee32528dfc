//! The one error of this crate, sorted by what the caller does about it, and how DataFusion's errors become it.

mod fault;

use std::{error::Error as StdError, sync::Arc};

use datafusion::common::DataFusionError;

pub use fault::Fault;

/// Result of a query.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is not a query we answer: correct it.
    Invalid,
    /// The query fails on these rows or needs more than its limits allow: change it.
    Execution,
    /// The query took too long: narrow it, or allow more time.
    Timeout,
    /// Somebody ended the query.
    Canceled,
    /// Too many queries at once: retry later.
    Overloaded,
    /// Disk or object store is not answering: retry.
    Unavailable,
    /// A defect of ours, or damaged data.
    Internal,
}

/// Where in the text an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// An error of a query: its kind, what is wrong, what happened, where in the text, and the cause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// What is wrong, if that is known.
    pub fault: Option<Fault>,
    /// Where in the text, if that is known.
    pub position: Option<Position>,
    message: String,
    #[source]
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What a table has is not what it should have.
    pub(crate) fn wrong_columns(what: &str) -> Self {
        Self::new(ErrorKind::Internal, format!("rows lack a column column={what}"))
    }

    /// An error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, fault: None, position: None, message: message.into(), source: None }
    }

    /// The same error, saying what is wrong.
    #[must_use]
    pub fn of(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// The same error, of a part of the query that is named; a place in that part is none in the text.
    pub(crate) fn within(mut self, part: &str) -> Self {
        self.message = format!("{part}: {}", self.message);
        self.at(None)
    }

    /// The same error with its place in the text.
    #[must_use]
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<promql::Error> for Error {
    fn from(error: promql::Error) -> Self {
        let kind = match error.kind {
            promql::ErrorKind::Invalid => ErrorKind::Invalid,
            promql::ErrorKind::Execution => ErrorKind::Execution,
            promql::ErrorKind::Stopped => ErrorKind::Timeout,
        };
        let position = error.place.map(|(line, column)| Position { line: line as u64, column: column as u64 });
        Self { position, ..Self::new(kind, error.to_string()) }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let root = error.find_root();
        if let DataFusionError::External(inner) = root
            && let Some(ours) = inner.downcast_ref::<Self>()
        {
            return ours.clone();
        }
        let kind = kind(root);
        let message = match root {
            // DataFusion's own text goes on with a list of its parts, which nobody can act on.
            DataFusionError::ResourcesExhausted(_) => {
                "query needs more memory than all queries may take together; narrow it or raise `memory`".to_owned()
            }
            DataFusionError::SQL(parser, _) => format!("not valid SQL: {parser}"),
            // What is wrong stands below the pattern.
            DataFusionError::External(inner) if fault::is_pattern(inner.as_ref()) => {
                let text = inner.to_string();
                let why = text.lines().last().unwrap_or_default();
                format!("not a regular expression: {}", why.trim_start_matches("error: "))
            }
            // What happened, not which optimizer rule was at work when it did.
            _ => first_line(&root.strip_backtrace()).to_owned(),
        };
        let position = error
            .diagnostic()
            .and_then(|d| d.span)
            .map(|span| Position { line: span.start.line, column: span.start.column });
        let position = position.or_else(|| position_in(&message));
        Self { kind, fault: fault::of(root), position, message, source: Some(Arc::new(error)) }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

fn kind(root: &DataFusionError) -> ErrorKind {
    match root {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => ErrorKind::Invalid,
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) | DataFusionError::ResourcesExhausted(_) => {
            ErrorKind::Execution
        }
        // Patterns may be in rows.
        DataFusionError::External(error) if fault::is_pattern(error.as_ref()) => ErrorKind::Execution,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::ParquetError(error) if from_store(error.as_ref()) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// Did a Parquet error begin in the object store? A store that does not answer is no damage.
fn from_store(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<object_store::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The parser states places only in words: `… at Line: 1, Column: 8`.
fn position_in(message: &str) -> Option<Position> {
    let (_, place) = message.rsplit_once("Line: ")?;
    let (line, rest) = place.split_once(", Column: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Position { line: line.parse().ok()?, column: digits.parse().ok()? })
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}
