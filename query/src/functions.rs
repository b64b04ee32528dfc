//! Functions of ours in SQL, most of them for costs, and some for times and counters.
//!
//! Registered in every session by the engine. `mandatory_tag` sticks to the rules of tags that are in force when its query begins;
//! `convert_currency` and `rate_is_provisional` to the rates of the query's cut, which are read only if the statement names one of them.
//!
//! Invariants: money is exact; what is not known is an error, never a guess. Not here: arithmetic (`decimal`).

mod counter_increase;
mod currency;
mod date_trunc;
mod invoice;
pub(crate) mod is_among;
mod stretches;
mod tags;
mod time_bucket;

use std::{ops::ControlFlow, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{Result as DataFusionResult, ScalarValue},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, WindowUDF},
    sql::{
        parser::Statement,
        sqlparser::ast::{Expr, Visit, Visitor},
    },
};

pub(crate) use tags::mandatory_tag;

use crate::{Error, ErrorKind, Fault, Result, statement};

/// Functions that are the same in every query, and stand-ins for those that need a query's tables.
pub(crate) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [date_trunc::date_trunc(), invoice::tolerance(), is_among::is_among(), time_bucket::time_bucket()]
        .into_iter()
        .chain(currency::functions(None))
}

/// Window functions of ours.
pub(crate) fn windows() -> impl Iterator<Item = Arc<WindowUDF>> {
    std::iter::once(counter_increase::counter_increase())
}

/// A session for a statement whose functions need tables; none if it needs no other.
pub(crate) async fn bind(state: &SessionState, statement: &Statement) -> Result<Option<SessionState>> {
    let Some(sql) = statement::asked(statement) else { return Ok(None) };
    if sql.visit(&mut NamesRates).is_continue() {
        return Ok(None);
    }
    let rates = Arc::new(currency::Rates::read(state).await?);
    let mut state = state.clone();
    for function in currency::functions(Some(&rates)) {
        state.register_udf(function)?;
    }
    Ok(Some(state))
}

/// Breaks off at the first function that needs exchange rates.
struct NamesRates;

impl Visitor for NamesRates {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.0.last().and_then(|part| part.as_ident());
        match name.is_some_and(|name| currency::NAMES.iter().any(|known| known.eq_ignore_ascii_case(&name.value))) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Arguments as columns of one length; and whether all are single values, as then is the result.
fn columns(args: &ScalarFunctionArgs) -> DataFusionResult<(Vec<ArrayRef>, bool)> {
    let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { args.number_rows };
    let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DataFusionResult<_>>()?;
    Ok((columns, is_scalar))
}

fn value(column: ArrayRef, is_scalar: bool) -> DataFusionResult<ColumnarValue> {
    match is_scalar {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?)),
        false => Ok(ColumnarValue::Array(column)),
    }
}

/// Texts of a column, a value for each row.
fn texts(column: &ArrayRef) -> DataFusionResult<arrow::array::StringViewArray> {
    Ok(cast(column, &DataType::Utf8View)?.as_string_view().clone())
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null => true,
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    }
}

fn is_time(data_type: &DataType) -> bool {
    data_type.is_null() || data_type.is_temporal() || is_text(data_type)
}

/// An error about arguments of a function.
fn misused(function: &str, usage: &str, types: &[DataType]) -> Error {
    let types: Vec<String> = types.iter().map(crate::format::type_name).collect();
    let message = format!("{function} takes other arguments: write {function}({usage}) types={}", types.join(", "));
    Error::new(ErrorKind::Invalid, message).of(Fault::UnknownFunction)
}

#[cfg(test)]
mod tests;
