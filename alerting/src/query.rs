//! What rules ask of the program, and what they get.
//!
//! `src/` implements [`Query`] and [`Sink`] over storage, `testing` over series in memory; [`Expand`] is the template engine. `group` calls
//! all three.
//! Not here: who may see what; whoever makes a `Query` has decided that.

use std::sync::Arc;

use crate::{Labels, Result, rules::Sql};

/// What a sample is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<promql::Histogram>),
}

/// A series' sample at a time that both sides know.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the metric among them.
    pub labels: Labels,
    /// What it is.
    pub value: Value,
}

/// Begins the names of labels that are none: columns of a row of SQL that templates find as `$values`, to their last digit.
pub const VALUES: &str = "__value_";

/// What a query found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// In the order of the result.
    pub samples: Vec<Sample>,
    /// What is doubtful about them.
    pub warnings: Vec<String>,
    /// How many series have a recent sample that the selector matched that matched the fewest; of SQL, how many rows of the table are
    /// recent enough. `None` if it is not known.
    pub fresh: Option<u64>,
}

/// Answers queries.
pub trait Query {
    /// A query of PromQL at a time. A scalar is one sample without labels.
    ///
    /// # Errors
    /// `Invalid` if the query fails on the data or has a result that is no vector, `Unavailable` if another try may help.
    fn instant(&mut self, query: &promql::Query, at_ms: i64) -> Result<Found>;

    /// Answers of the first of some queries of PromQL at a time, one at least, each as [`Query::instant`] has it. None selects what comes
    /// of another one; how many are answered at once is a matter of memory.
    fn instants(&mut self, queries: &[&promql::Query], at_ms: i64) -> Vec<Result<Found>> {
        queries.iter().map(|query| self.instant(query, at_ms)).collect()
    }

    /// A query of SQL at a time.
    ///
    /// # Errors
    /// As of PromQL.
    fn sql(&mut self, sql: &Sql, at_ms: i64) -> Result<Found>;
}

/// Keeps samples.
pub trait Sink {
    /// Writes samples of a time so that the next query finds them. The end of a series is a number with the bits [`promql::STALE`].
    ///
    /// # Errors
    /// Some were not written.
    fn write(&mut self, samples: &[Sample], at_ms: i64) -> Result<()>;
}

/// What a template tells about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Labels of the sample, as the query gave them.
    pub labels: &'a Labels,
    /// Its value.
    pub value: &'a Value,
    /// The time of evaluation.
    pub at_ms: i64,
    /// Labels of this program.
    pub external_labels: &'a Labels,
    /// Where this program is found.
    pub external_url: &'a str,
}

/// Asks a query that is a text, for a template.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> Result<Found>;

/// Expands templates.
pub trait Expand {
    /// The text of a template.
    ///
    /// # Errors
    /// Why it cannot be expanded; the text says so then.
    fn expand(&self, template: &str, about: &About<'_>, ask: Ask<'_>) -> Result<String>;
}

impl Value {
    /// As a number: a histogram is none, and is zero where one is wanted.
    #[must_use]
    pub fn number(&self) -> f64 {
        match self {
            Self::Float(value) => *value,
            Self::Histogram(_) => 0.0,
        }
    }

    /// Is it the end of a series?
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Float(value) if value.to_bits() == promql::STALE)
    }

    /// The end of a series.
    #[must_use]
    pub fn stale() -> Self {
        Self::Float(f64::from_bits(promql::STALE))
    }
}
