//! What is wrong with a query, and where.
//!
//! Made by the lexer, the parser, the type check and the evaluation of durations; the endpoints show it to whoever wrote the
//! query. Messages are those of Prometheus wherever it has one: people search for them, and tools tell errors apart by them.

use super::ast::Span;

/// A fault in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What Prometheus says after `1:5: parse error: `.
    pub message: String,
    pub at: Span,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>, at: Span) -> Self {
        Self { message: message.into(), at }
    }

    /// The line and the column, from 1. Columns are bytes, as Prometheus counts them.
    pub(crate) fn place(&self, text: &str) -> (usize, usize) {
        let before = text.as_bytes().get(..self.at.start).unwrap_or(text.as_bytes());
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        (line, before.len() - line_start + 1)
    }
}
