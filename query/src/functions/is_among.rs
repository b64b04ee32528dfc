//! `is_among(value, list)`: `value IN (…)` over a list that is found when the query runs.
//!
//! Put where a statement has `IN (SELECT …)` in the place of a value, with an aggregate of what that selects; which is no list, but NULL,
//! if there is nothing. So is what is said of NULL: nothing is in no list, and whether something is in a list with NULL in it may be unknown.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary::comparison_coercion,
    },
};

use super::{misused, value};

/// Its name.
pub(crate) const NAME: &str = "is_among";
const USAGE: &str = "value, list";

pub(super) fn is_among() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(IsAmong { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IsAmong {
    signature: Signature,
}

/// What is in a list.
#[derive(Default)]
struct Items {
    known: HashSet<ScalarValue>,
    has_null: bool,
}

impl Items {
    /// The items of a list; none if it is NULL.
    fn of(lists: &ArrayRef, row: usize) -> Result<Self> {
        let mut items = Self::default();
        if lists.is_valid(row) {
            let list = lists.as_list::<i32>().value(row);
            for at in 0..list.len() {
                if list.is_null(at) {
                    items.has_null = true;
                } else {
                    items.known.insert(ScalarValue::try_from_array(&list, at)?);
                }
            }
        }
        Ok(items)
    }

    fn has(&self, values: &ArrayRef, row: usize) -> Result<Option<bool>> {
        if self.known.is_empty() && !self.has_null {
            return Ok(Some(false));
        }
        if values.is_null(row) {
            return Ok(None);
        }
        let is_known = self.known.contains(&ScalarValue::try_from_array(values, row)?);
        Ok((is_known || !self.has_null).then_some(is_known))
    }
}

impl ScalarUDFImpl for IsAmong {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wrong = || misused(NAME, USAGE, types);
        let [of, DataType::List(item)] = types else { return Err(wrong().into()) };
        let common = match comparison_coercion(of, item.data_type()).ok_or_else(wrong)? {
            DataType::Dictionary(_, values) => *values,
            other => other,
        };
        Ok(vec![common.clone(), DataType::List(Arc::new(Field::new_list_field(common, true)))])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [of, lists] = args.args.as_slice() else { return Err(misused(NAME, USAGE, &[]).into()) };
        let is_scalar = matches!((of, lists), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let values = of.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let found: BooleanArray = match lists {
            // One list for all rows is looked at once, and never copied for each.
            ColumnarValue::Scalar(list) => {
                let items = Items::of(&list.to_array()?, 0)?;
                (0..values.len()).map(|row| items.has(&values, row)).collect::<Result<_>>()?
            }
            ColumnarValue::Array(lists) => {
                (0..values.len()).map(|row| Items::of(lists, row)?.has(&values, row)).collect::<Result<_>>()?
            }
        };
        value(Arc::new(found), is_scalar)
    }
}
