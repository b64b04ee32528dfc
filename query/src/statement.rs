//! Walks over a parsed statement, whether it is asked or explained.
//!
//! Called by all that reads or rewrites statements before they are planned. Not here: what is looked for, and which statements pass (`gate`).

use std::ops::ControlFlow;

use datafusion::sql::{
    parser::Statement,
    sqlparser::ast::{Statement as Sql, Visit, VisitMut, Visitor, VisitorMut},
};

use crate::{Error, Result};

/// What is asked, within all `EXPLAIN`; none if it is no SQL.
pub(crate) fn asked(mut statement: &Statement) -> Option<&Sql> {
    while let Statement::Explain(explain) = statement {
        statement = &explain.statement;
    }
    if let Statement::Statement(sql) = statement { Some(sql) } else { None }
}

/// The same, to be changed.
pub(crate) fn asked_mut(mut statement: &mut Statement) -> Option<&mut Sql> {
    while let Statement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    if let Statement::Statement(sql) = statement { Some(sql) } else { None }
}

/// Looks at all of what is asked.
///
/// # Errors
/// That at which `visitor` breaks off.
pub(crate) fn look(statement: &Statement, visitor: &mut impl Visitor<Break = Error>) -> Result<()> {
    asked(statement).map_or(Ok(()), |sql| done(Visit::visit(sql, visitor)))
}

/// Changes what is asked.
///
/// # Errors
/// That at which `visitor` breaks off.
pub(crate) fn change(statement: &mut Statement, visitor: &mut impl VisitorMut<Break = Error>) -> Result<()> {
    asked_mut(statement).map_or(Ok(()), |sql| done(VisitMut::visit(sql, visitor)))
}

fn done(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}
