//! Puts values where a parsed statement names parameters.
//!
//! Invariant: a value is one literal of the tree, whatever its text: nothing of it is parsed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use datafusion::sql::{
    parser::Statement,
    sqlparser::{
        ast::{Expr, Value, ValueWithSpan, Visit, Visitor, VisitorMut},
        dialect::GenericDialect,
        parser::Parser,
        tokenizer::Span,
    },
};

use super::invalid;
use crate::{Error, ErrorKind, Result, statement};

/// Puts values in place of all parameters.
pub(crate) fn bind(statement: &mut Statement, values: &BTreeMap<String, Expr>) -> Result<()> {
    statement::change(statement, &mut Binds(values))
}

/// Names of all parameters.
pub(super) fn placeholders(statement: &Statement) -> BTreeSet<String> {
    let mut names = Names::default();
    if let Some(sql) = statement::asked(statement) {
        let _ = sql.visit(&mut names);
    }
    names.0
}

/// A text as a value.
pub(super) fn text(text: &str) -> Expr {
    value(Value::SingleQuotedString(text.to_owned()))
}

/// A number as a value, of its digits.
pub(super) fn number(digits: &str) -> Result<Expr> {
    // A sign is an operator in SQL.
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let number = value(Value::Number(digits.to_owned(), false));
    match sign {
        "-" => match parsed("-1")? {
            Expr::UnaryOp { op, .. } => Ok(Expr::UnaryOp { op, expr: Box::new(number) }),
            other => Err(unexpected(&other)),
        },
        _ => Ok(number),
    }
}

/// A truth as a value.
pub(super) fn boolean(is_true: bool) -> Expr {
    value(Value::Boolean(is_true))
}

/// A text as a value of a type.
pub(super) fn typed(sql_type: &'static str, written: &str) -> Result<Expr> {
    match parsed(&format!("CAST('' AS {sql_type})"))? {
        Expr::Cast { kind, data_type, array, format, .. } => {
            Ok(Expr::Cast { kind, expr: Box::new(text(written)), data_type, array, format })
        }
        other => Err(unexpected(&other)),
    }
}

/// The tree of an expression of ours.
fn parsed(ours: &str) -> Result<Expr> {
    let failed = |error| Error::new(ErrorKind::Internal, format!("a value cannot be written: {error}"));
    let dialect = GenericDialect {};
    Parser::new(&dialect).try_with_sql(ours).and_then(|mut parser| parser.parse_expr()).map_err(failed)
}

fn unexpected(expr: &Expr) -> Error {
    Error::new(ErrorKind::Internal, format!("a value is read as something else expr={expr}"))
}

fn value(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

/// The name in `$name`.
fn named(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => {
            Some(name.strip_prefix('$').unwrap_or(name))
        }
        _ => None,
    }
}

struct Binds<'a>(&'a BTreeMap<String, Expr>);

impl VisitorMut for Binds<'_> {
    type Break = Error;

    // After what is within, so that a value is not looked into.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Some(name) = named(expr) else { return ControlFlow::Continue(()) };
        match self.0.get(name) {
            Some(value) => {
                *expr = value.clone();
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(invalid(format!("a parameter has no value name={name}"))),
        }
    }
}

#[derive(Default)]
struct Names(BTreeSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.0.extend(named(expr).map(str::to_owned));
        ControlFlow::Continue(())
    }
}
