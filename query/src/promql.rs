//! PromQL as text and as a tree.
//!
//! Called by the endpoints that format a query and show its tree. A text becomes words (`lexer`), a tree (`parser`, into `ast`), is
//! checked (`check`: types, arguments, matchers) and is printed again (`printer`, `json`); what is wrong with it has a place (`wrong`).
//!
//! Invariants: what is accepted and refused, the texts of errors and the places of expressions are those of Prometheus 3; the size
//! and the depth of a query are bounded before anything else is done with it.
//! Not here: evaluation.
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/basics/>

mod ast;
mod check;
mod duration;
mod functions;
mod json;
mod lexer;
mod literal;
mod parser;
mod printer;
mod wrong;

pub(crate) use ast::{Expr, Extent, Instant, Node, Shift};
pub(crate) use json::to_json;
pub(crate) use printer::pretty;

use ast::Span;
use wrong::Wrong;

use crate::{Error, ErrorKind, Position, Result};

/// Reads a query.
///
/// # Errors
/// `Invalid`, with the place.
pub(crate) fn parse(text: &str) -> Result<Expr> {
    parser::parse(text).map_err(|Wrong { message, at }| wrong(text, message, at))
}

/// What is wrong with a query, as Prometheus tells it.
pub(crate) fn wrong(text: &str, message: impl Into<String>, at: Span) -> Error {
    let wrong = Wrong::new(message, at);
    let (line, column) = wrong.place(text);
    let position = Position { line: line as u64, column: column as u64 };
    Error::new(ErrorKind::Invalid, format!("{line}:{column}: parse error: {}", wrong.message)).at(Some(position))
}
