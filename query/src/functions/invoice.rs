//! `invoice_tolerance(rows, currency)`: how far an invoice may be off the sum of its rows by rounding alone.
//!
//! Spec: FOCUS 1.4, InvoiceId: the greater of a hundred of the currency's least units and half of one by the root of the number of rows.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Decimal128Array},
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{columns, is_text, misused, texts, value};

const NAME: &str = "invoice_tolerance";
const USAGE: &str = "rows, currency";
/// Digits behind the point of money, as it is stored.
const SCALE: u32 = 22;
/// Currencies that do not have two digits behind the point, by how many they have. ISO 4217.
const MINOR_UNITS: [(u32, &[&str]); 3] = [
    (
        0,
        &[
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF",
            "XOF", "XPF",
        ],
    ),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
    (4, &["CLF", "UYW"]),
];

pub(super) fn tolerance() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Tolerance { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tolerance {
    signature: Signature,
}

impl ScalarUDFImpl for Tolerance {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [rows, currency] if (rows.is_integer() || rows.is_null()) && is_text(currency) => {
                Ok(vec![DataType::Int64, DataType::Utf8View])
            }
            _ => Err(misused(NAME, USAGE, types).into()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(schemas::money())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (columns, is_scalar) = columns(&args)?;
        let [rows, currencies] = columns.as_slice() else { return Err(misused(NAME, USAGE, &[]).into()) };
        let rows = cast(rows, &DataType::Int64)?;
        let (rows, currencies) = (rows.as_primitive::<Int64Type>(), texts(currencies)?);
        // Of an invoice without rows it is that of few.
        let of = |row: usize| {
            currencies
                .is_valid(row)
                .then(|| of_rows(if rows.is_null(row) { 0 } else { rows.value(row) }, currencies.value(row)))
        };
        let found: Decimal128Array = (0..rows.len()).map(of).collect();
        value(Arc::new(found.with_data_type(schemas::money())), is_scalar)
    }
}

/// In units of 10⁻²².
fn of_rows(rows: i64, currency: &str) -> i128 {
    let is_of = |(_, currencies): &&(u32, &[&str])| currencies.iter().any(|known| known.eq_ignore_ascii_case(currency));
    let digits = MINOR_UNITS.iter().find(is_of).map_or(2, |(digits, _)| *digits);
    let unit = 10_i128.pow(SCALE - digits);
    let rows = rows.max(0);
    let root = rows.isqrt();
    let root = if root * root < rows { root + 1 } else { root };
    (100 * unit).max(i128::from(root) * unit / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_the_root_of_the_rows_and_is_never_below_a_hundred_units() {
        let unit = |digits: u32| 10_i128.pow(SCALE - digits);
        for (rows, currency, expected) in [
            (0, "USD", 100 * unit(2)),
            (40_000, "USD", 100 * unit(2)),
            // 200.0025 rounded up.
            (40_001, "EUR", 201 * unit(2) / 2),
            (1_000_000, "USD", 500 * unit(2)),
            (1, "JPY", 100 * unit(0)),
            (1_000_000, "kwd", 500 * unit(3)),
            (1, "CLF", 100 * unit(4)),
        ] {
            assert_eq!(of_rows(rows, currency), expected, "{rows} {currency}");
        }
    }
}
