//! `a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key`: to each row of `a` the one row of `b` that is nearest in time.
//!
//! What DataFusion lacks to put samples beside events, prices, or configurations that were in force. Every row of `a` comes once, with
//! nulls where `b` has no row of its key on that side. A statement's way: [`prepare`] writes the join as a `LEFT JOIN` that the planner
//! knows, with the condition marked; [`Rule`] finds the mark once types are settled, before anything optimises a join that is none, and
//! puts a [`Node`] in its place; [`PushDown`] lets conditions on `a` go on to `a`; [`Planner`] makes an operator of it (`exec`).
//!
//! Invariants: conditions on `b` are asked after rows have met, never before, because they would change which row is nearest; null keys
//! and null times meet nothing; of rows of `b` at the same time any one is taken. Spec: `ASOF JOIN` of Snowflake.

mod exec;
mod nearest;
mod node;
mod rule;

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::exec_err,
    logical_expr::{ScalarUDF, Volatility, create_udf},
    sql::{
        parser::Statement,
        sqlparser::ast::{
            BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
            Ident, JoinConstraint, JoinOperator, ObjectName, Select, TableFactor, TableWithJoins, VisitorMut,
        },
    },
};

pub(crate) use exec::Planner;
pub(crate) use rule::{PushDown, Rule};

use crate::{Error, ErrorKind, Result, statement};

/// Marks the condition until types are settled. It is called by nobody, and no name that can be written without quotes.
const MARK: &str = "asof match";

/// Writes joins that DataFusion does not know as joins with a mark.
///
/// # Errors
/// `Invalid` if keys are written in a way that leaves no place for the mark.
pub(crate) fn prepare(statement: &mut Statement) -> Result<()> {
    statement::change(statement, &mut Joins)
}

/// The function that marks.
pub(crate) fn mark() -> Arc<ScalarUDF> {
    let call = Arc::new(|_: &[_]| exec_err!("MATCH_CONDITION stands in an ASOF JOIN and nowhere else"));
    Arc::new(create_udf(MARK, vec![DataType::Boolean], DataType::Boolean, Volatility::Immutable, call))
}

struct Joins;

impl VisitorMut for Joins {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        select.from.iter_mut().try_for_each(mark_joins)
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        match table {
            TableFactor::NestedJoin { table_with_joins, .. } => mark_joins(table_with_joins),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn mark_joins(tables: &mut TableWithJoins) -> ControlFlow<Error> {
    for join in &mut tables.joins {
        let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator else { continue };
        let mark = marked(match_condition.clone());
        let on = match constraint {
            JoinConstraint::None => mark,
            JoinConstraint::On(keys) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(keys.clone()))),
                op: BinaryOperator::And,
                right: Box::new(mark),
            },
            JoinConstraint::Using(_) | JoinConstraint::Natural => {
                let message = "ASOF JOIN takes its keys from ON: write ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key";
                return ControlFlow::Break(Error::new(ErrorKind::Invalid, message));
            }
        };
        join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(on));
    }
    ControlFlow::Continue(())
}

fn marked(condition: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_quote('"', MARK)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
