//! Where in a statement what is wrong with a call's expression is.
//!
//! Called by the engine before a statement is planned: planning no longer knows where an argument was written. An expression is a text in
//! quotes, in which `''` is one quote, so a place in it is found by walking along the statement.

use std::ops::ControlFlow;

use datafusion::sql::{
    parser::Statement,
    sqlparser::{
        ast::{Expr, FunctionArg, FunctionArgExpr, TableFactor, Value, ValueWithSpan, Visitor},
        tokenizer::Location,
    },
};

use super::NAMES;
use crate::{Engine, Error, Position, Result, statement};

/// Reads the expressions of all calls of a statement, which was read of `text`.
pub(crate) fn check(engine: &Engine, statement: &Statement, text: &str) -> Result<()> {
    statement::look(statement, &mut Calls { engine, text })
}

struct Calls<'a> {
    engine: &'a Engine,
    text: &'a str,
}

impl Visitor for Calls<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, args: Some(args), .. } = table else { return ControlFlow::Continue(()) };
        let called = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str());
        let Some(called) = called.and_then(|called| NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(called)))
        else {
            return ControlFlow::Continue(());
        };
        if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan { value, span })))) =
            args.args.first()
            && let Value::SingleQuotedString(query) = value
            && let Err(error) = self.engine.parse(query)
        {
            let inner = error.position;
            let position = inner.and_then(|inner| position(self.text, span.start, inner));
            return ControlFlow::Break(error.within(called).at(position));
        }
        ControlFlow::Continue(())
    }
}

/// The place in the statement of a place in a text whose quote is at `start`; columns of the latter are bytes.
fn position(text: &str, start: Location, inner: Position) -> Option<Position> {
    let (mut line, mut column) = (1, 1);
    // Where in the text the next character is, once the quote has been passed.
    let mut at: Option<Position> = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if at.is_some_and(|at| at.line == inner.line && at.column >= inner.column) {
            return Some(Position { line, column });
        }
        if let Some(at) = &mut at {
            if char == '\n' {
                *at = Position { line: at.line + 1, column: 1 };
            } else {
                at.column += char.len_utf8() as u64;
            }
            if char == '\'' {
                // Of two quotes in the text one is meant; after a single one it has ended.
                if chars.next_if_eq(&'\'').is_none() {
                    return Some(Position { line, column });
                }
                column += 1;
            }
        } else if (line, column) == (start.line, start.column) {
            at = (char == '\'').then_some(Position { line: 1, column: 1 });
            at?;
        }
        (line, column) = if char == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_literal_is_one_in_the_statement() {
        let text = "SELECT é,\n  x FROM promql('a\nb''ü + )', 1)";
        let start = Location { line: 2, column: 17 };
        let at = |line, column| position(text, start, Position { line, column }).map(|at| (at.line, at.column));
        assert_eq!(at(1, 1), Some((2, 18)));
        assert_eq!(at(2, 1), Some((3, 1)));
        // Bytes: b, ', ü (two), space, +, space, ).
        assert_eq!(at(2, 3), Some((3, 4)));
        assert_eq!(at(2, 8), Some((3, 8)));
        // After the end: at the closing quote.
        assert_eq!(at(2, 9), Some((3, 9)));
    }
}
