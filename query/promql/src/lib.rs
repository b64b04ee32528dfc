//! PromQL: as text, as a tree, and evaluated.
//!
//! Called by `query`, which shows queries, finds series for selectors and reads their samples. A text becomes words (`lexer`), a tree
//! (`parser`, into `ast`), is checked (`check`: types, arguments, matchers) and is printed again (`printer`, `json`); what is wrong
//! with it has a place (`wrong`).
//!
//! Invariants: what is accepted and refused, the texts of errors and the places of expressions are those of Prometheus 3; the size
//! and the depth of a query are bounded before anything else is done with it.
//! Not here: where samples come from; nothing here reads a file, a clock or DataFusion.
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/basics/>

mod ast;
mod check;
mod classic;
mod date;
mod duration;
mod error;
mod eval;
mod functions;
mod histogram;
mod info;
mod json;
mod kept;
mod labels;
mod lexer;
mod literal;
pub mod notation;
mod notes;
mod number;
mod parser;
pub mod pattern;
mod pinned;
mod plan;
mod printer;
mod samples;
mod selector;
mod selectors;
mod value;
mod wrong;

pub use duration::{format as format_duration, parse_duration};
pub use error::{Error, ErrorKind, Result};
pub use eval::{Answer, Columns, Control, Outcome, Point};
pub use histogram::{Buckets, CUSTOM, Histogram, IntegerHistogram, Merged, Mismatch, ResetHint, Span as BucketSpan};
pub use kept::Kept;
pub use labels::{Labels, Symbol, Symbols};
pub use lexer::Syntax;
pub use literal::quoted;
pub use number::{format_float, plain, push_float, short};
pub use plan::{Features, Options, Want};
pub use samples::{Floats, Gather, HistogramSample, NO_START, Place, STALE, Samples};
pub use selector::{Matcher, NAME, Selector};

use ast::{Expr, Span};
use plan::Plan;
use wrong::Wrong;

/// A query that was read and checked.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    expr: Expr,
}

/// A query of which it is known when it is evaluated and which samples it needs.
#[derive(Debug)]
pub struct Planned {
    text: String,
    plan: Plan,
    wants: Vec<Want>,
    /// How often each class of expressions is met.
    met: Vec<u32>,
    lag_ms: Option<i64>,
    has_subqueries: bool,
    options: Options,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, Syntax::default())
    }

    /// Reads a query that is written in another way than is usual.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn parse_with(text: &str, syntax: Syntax) -> Result<Self> {
        Ok(Self { text: text.to_owned(), expr: parse(text, syntax)? })
    }

    /// The query as `promtool` and Prometheus' `format_query` lay it out.
    #[must_use]
    pub fn pretty(&self) -> String {
        printer::pretty(&self.expr)
    }

    /// The tree as Prometheus' `parse_query` shows it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json::to_json(&self.expr)
    }

    /// Can it be evaluated at many times? Range vectors and texts cannot.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        matches!(self.expr.value_type(), ast::Type::Scalar | ast::Type::Vector)
    }

    /// The type of the result, as messages call it.
    #[must_use]
    pub fn type_text(&self) -> String {
        self.expr.value_type().to_string()
    }

    /// The query as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its selectors, in the order in which they are written.
    #[must_use]
    pub fn selectors(&self) -> Vec<Selector> {
        let mut selectors = Vec::new();
        selectors::collect(&self.expr, &mut selectors);
        selectors
    }

    /// The query with all its times fixed at a time; `None` if a function in it asks for the time of evaluation.
    #[must_use]
    pub fn pinned(&self, at_ms: i64) -> Option<String> {
        let mut expr = self.expr.clone();
        pinned::pin(&mut expr, ast::At::Time(at_ms)).then(|| expr.to_string())
    }

    /// Plans its evaluation.
    ///
    /// # Errors
    /// `Invalid`, with the place, if it needs what is switched off, or if a duration is none.
    pub fn plan(&self, options: Options) -> Result<Planned> {
        let plan::Made { plan, wants, met, lag_ms, has_subqueries } = plan::plan(&self.expr, &self.text, &options)?;
        Ok(Planned { text: self.text.clone(), plan, wants, met, lag_ms, has_subqueries, options })
    }
}

impl Planned {
    /// The samples it needs; evaluation takes them in this order.
    #[must_use]
    pub fn wants(&self) -> &[Want] {
        &self.wants
    }

    /// When it is evaluated, and how.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How long before the time of a step all samples are that its value depends on, milliseconds; negative if some are after it.
    /// `None` if a value depends on more than its time and these samples: on where the range begins or ends, or on fixed times.
    #[must_use]
    pub fn lag_ms(&self) -> Option<i64> {
        self.lag_ms
    }

    /// Is it evaluated at more times than its steps?
    #[must_use]
    pub fn has_subqueries(&self) -> bool {
        self.has_subqueries
    }

    /// Evaluates it over the samples of its wants.
    ///
    /// # Errors
    /// `Execution` if these samples have no result or it needs more than it may, `Stopped` if it was told to stop.
    pub fn evaluate(&self, samples: &[Samples], symbols: &mut Symbols, control: Control<'_>) -> Result<Answer> {
        eval::evaluate(self, samples, symbols, control)
    }
}

/// Reads a query.
fn parse(text: &str, syntax: Syntax) -> Result<Expr> {
    parser::parse(text, syntax).map_err(|Wrong { message, at }| wrong(text, message, at))
}

/// What is wrong with a query, as Prometheus tells it.
fn wrong(text: &str, message: impl Into<String>, at: Span) -> Error {
    let wrong = Wrong::new(message, at);
    let (line, column) = wrong.place(text);
    let mut error = Error::new(ErrorKind::Invalid, format!("{line}:{column}: parse error: {}", wrong.message));
    error.place = Some((line, column));
    error
}
