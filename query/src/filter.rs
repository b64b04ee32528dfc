//! Matchers as filters on table `series`.
//!
//! Called where table `series` is read for a selector; the way back, as far as there is one, is [`implied`]. What is asked of the metric's name alone and can be listed
//! becomes a list, by which files, pages and head rows are pruned; everything is asked again by one function over name and
//! labels. Labels are not asked in SQL's own words (`labels['job']`): they have no word for a missing label that is the empty
//! string, and compile a regular expression for each batch.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, MapArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        col, lit, utils::split_conjunction,
    },
};

use promql::{Matcher, NAME};

use crate::table::IN_LIST_MAX;

/// Filters that are all true of a series that is selected.
pub(crate) fn filters(matchers: &[Matcher]) -> Vec<Expr> {
    let listed = matchers.iter().filter(|matcher| matcher.label() == NAME).filter_map(Matcher::values);
    let listed = listed.filter(|values| values.len() <= IN_LIST_MAX);
    let name = |name: &str| lit(ScalarValue::Utf8View(Some(name.to_owned())));
    let mut filters: Vec<Expr> =
        listed.map(|values| col("metric").in_list(values.into_iter().map(name).collect(), false)).collect();
    let selects = ScalarUDF::new_from_impl(Selects {
        signature: Signature::any(2, Volatility::Immutable),
        matchers: matchers.into(),
    });
    filters.push(selects.call(vec![col("metric"), col("labels")]));
    filters
}

/// Matchers that are true of every series for which a filter of SQL is.
pub(crate) fn implied(filters: &[Expr]) -> Vec<Matcher> {
    filters.iter().flat_map(split_conjunction).filter_map(equal).collect()
}

/// Of `metric = 'up'` and `labels['job'] = 'node'`. A label that is the empty string is none that a selector could tell from a
/// missing one.
fn equal(filter: &Expr) -> Option<Matcher> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    let either = |label: &Expr, value: &Expr| Some((label_of(label)?, text(value).filter(|value| !value.is_empty())?));
    let (label, value) = either(left, right).or_else(|| either(right, left))?;
    Some(Matcher::equal(&label, &value))
}

/// The label that an expression is the value of.
fn label_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) if column.name == "metric" => Some(NAME.to_owned()),
        Expr::Cast(cast) => label_of(&cast.expr),
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            ("get_field", [Expr::Column(column), label]) if column.name == "labels" => text(label),
            _ => None,
        },
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str()?.map(str::to_owned),
        _ => None,
    }
}

/// Are all matchers true of a series, given its metric and labels?
#[derive(Debug, PartialEq, Eq, Hash)]
struct Selects {
    signature: Signature,
    matchers: Arc<[Matcher]>,
}

impl ScalarUDFImpl for Selects {
    fn name(&self) -> &str {
        "selects"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let [metrics, labels] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("selects takes a metric and labels".to_owned()));
        };
        let labels = labels.as_map_opt().ok_or_else(|| DataFusionError::Internal("labels are no map".to_owned()))?;
        let keep = keep(&self.matchers, metrics, labels)?;
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(keep))))
    }
}

fn keep(matchers: &[Matcher], metrics: &ArrayRef, labels: &MapArray) -> Result<Vec<bool>> {
    let metrics = cast(metrics, &DataType::Utf8View)?;
    let metrics = metrics.as_string_view();
    let (names, values) = (cast(labels.keys(), &DataType::Utf8)?, cast(labels.values(), &DataType::Utf8)?);
    let (names, values) = (names.as_string::<i32>(), values.as_string::<i32>());
    let offsets: Vec<usize> = labels.value_offsets().iter().map(|at| usize::try_from(*at).unwrap_or(0)).collect();
    let mut keep = vec![true; metrics.len()];
    for matcher in matchers {
        for (row, keep) in keep.iter_mut().enumerate().filter(|(_, keep)| **keep) {
            let value = if matcher.label() == NAME {
                metrics.value(row)
            } else {
                let found = (offsets[row]..offsets[row + 1]).find(|at| names.value(*at) == matcher.label());
                found.map_or("", |at| values.value(at))
            };
            *keep = matcher.matches(value);
        }
    }
    Ok(keep)
}
