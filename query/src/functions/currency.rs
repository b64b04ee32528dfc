//! `convert_currency(amount, from, to, billing_period_start)` and `rate_is_provisional(from, to, billing_period_start)`.
//!
//! The rates of dataset `exchange_rates` are read once for a query. A month has the rate that was imported for it. Until it is closed for
//! every export that has it, and while no later month has a rate, the newest earlier one stands in for it, which `rate_is_provisional`
//! tells: the bill of one provider is final days before that of another, and a query over both must not fail in between.
//!
//! Invariants: a rate that is not known is an error, never 1 and never one over the rate of the other direction; amounts are computed
//! exactly and rounded once, half to even, to the digits of money.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, RecordBatch, StringViewArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Decimal128Type, Decimal256Type, i256},
};
use chrono::Datelike;
use datafusion::{
    common::Result as DataFusionResult,
    execution::SessionState,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    physical_plan::{collect, execute_stream},
};
use futures::StreamExt;

use super::{columns, is_text, is_time, misused, texts, value};
use crate::{
    Error, ErrorKind, Result,
    decimal::{MONEY_DIGITS, narrow, rescale},
    engine::logical,
    gate,
};

/// Names of the functions.
pub(super) const NAMES: [&str; 2] = ["convert_currency", "rate_is_provisional"];
const USAGES: [&str; 2] = ["amount, from, to, BillingPeriodStart", "from, to, BillingPeriodStart"];
/// Rates that a query may hold: 170 currencies against ten others for forty years are 816,000.
const RATES_MAX: usize = 1_000_000;
const MONEY_SCALE: i8 = 22;
const RATE_SCALE: i8 = 9;

/// Of two rates of one pair and month, the one that was loaded last counts.
const RATES: &str = "SELECT Month, FromCurrency, ToCurrency, Rate FROM exchange_rates ORDER BY loaded_at, source";
/// Months that no rate may stand in for: closed, as it is now, for each export that has them.
const CLOSED: &str = "SELECT BillingMonth FROM (SELECT BillingMonth, status, row_number() OVER \
    (PARTITION BY export, BillingMonth ORDER BY changed_at DESC) AS place FROM billing_period_changes) \
    WHERE place = 1 GROUP BY BillingMonth HAVING bool_and(status = 'Closed')";

/// Exchange rates as one query sees them.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// By pair and first day of the month, in units of 10⁻⁹.
    pairs: HashMap<(String, String), BTreeMap<i32, i128>>,
    closed: HashSet<i32>,
}

/// A rate, and whether it is one of an earlier month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    value: i128,
    is_provisional: bool,
}

impl Rates {
    /// Reads the rates of a session's tables.
    pub(super) async fn read(state: &SessionState) -> Result<Self> {
        let mut rates = Self::default();
        let plan = state.create_physical_plan(&logical(state, gate::check(RATES)?).await?).await?;
        let mut stream = execute_stream(plan, state.task_ctx())?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            if rows > RATES_MAX {
                let message = format!("there are too many exchange rates for a query rates_max={RATES_MAX}");
                return Err(Error::new(ErrorKind::Execution, message));
            }
            rates.add(&batch)?;
        }
        let plan = state.create_physical_plan(&logical(state, gate::check(CLOSED)?).await?).await?;
        for batch in collect(plan, state.task_ctx()).await? {
            rates.closed.extend(batch.column(0).as_primitive::<Date32Type>().iter().flatten());
        }
        Ok(rates)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| Error::wrong_columns(name));
        let months = column("Month")?.as_primitive::<Date32Type>();
        let (from, to) = (texts(column("FromCurrency")?)?, texts(column("ToCurrency")?)?);
        let values = column("Rate")?.as_primitive::<Decimal128Type>();
        for row in 0..batch.num_rows() {
            let pair = (from.value(row).to_ascii_uppercase(), to.value(row).to_ascii_uppercase());
            self.pairs.entry(pair).or_default().insert(month(months.value(row)), values.value(row));
        }
        Ok(())
    }

    /// The rate of a pair for the bills of a month.
    fn find(&self, from: &str, to: &str, day: i32) -> Result<Rate> {
        let (from, to, month) = (from.to_ascii_uppercase(), to.to_ascii_uppercase(), month(day));
        if from == to {
            return Ok(Rate { value: 10_i128.pow(RATE_SCALE.unsigned_abs().into()), is_provisional: false });
        }
        let pair = (from, to);
        let rates = self.pairs.get(&pair);
        if let Some(value) = rates.and_then(|rates| rates.get(&month)) {
            return Ok(Rate { value: *value, is_provisional: false });
        }
        let newest = rates.and_then(BTreeMap::last_key_value);
        let (from, to) = pair;
        let lacks = |why: &str| {
            let month =
                Date32Type::to_naive_date_opt(month).map_or_else(String::new, |day| day.format("%Y-%m").to_string());
            let message = format!(
                "there is no exchange rate{why}: load it with `streamgauge import rates FILE` from={from} to={to} month={month}"
            );
            Err(Error::new(ErrorKind::Execution, message))
        };
        match newest {
            Some((last, value)) if *last < month && !self.closed.contains(&month) => {
                Ok(Rate { value: *value, is_provisional: true })
            }
            Some((last, _)) if *last < month => lacks(" for a month that is closed"),
            Some(_) => lacks(" for this month, though there are later ones"),
            None if self.pairs.contains_key(&(to.clone(), from.clone())) => {
                lacks(" for this direction, only for the other one")
            }
            None => lacks(""),
        }
    }
}

/// The functions over some rates, or stand-ins that only say what their results are.
pub(super) fn functions(rates: Option<&Arc<Rates>>) -> impl Iterator<Item = Arc<ScalarUDF>> {
    [Kind::Convert, Kind::IsProvisional]
        .map(|kind| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::from(Currency { kind, rates: rates.map(Arc::clone), signature }))
        })
        .into_iter()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Convert,
    IsProvisional,
}

#[derive(Debug)]
struct Currency {
    kind: Kind,
    rates: Option<Arc<Rates>>,
    signature: Signature,
}

impl PartialEq for Currency {
    fn eq(&self, other: &Self) -> bool {
        // Rates are those of one query, wherever two functions are compared.
        self.kind == other.kind && self.rates.is_some() == other.rates.is_some()
    }
}

impl Eq for Currency {}

impl hash::Hash for Currency {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for Currency {
    fn name(&self) -> &'static str {
        NAMES[self.kind as usize]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let wrong = || misused(self.name(), USAGES[self.kind as usize], types).into();
        let amount = match (self.kind, types.first()) {
            (Kind::IsProvisional, _) => None,
            (Kind::Convert, Some(amount)) if amount.is_decimal() => Some(amount.clone()),
            (Kind::Convert, Some(amount)) if amount.is_integer() => Some(DataType::Decimal128(20, 0)),
            (Kind::Convert, Some(amount)) if amount.is_null() => Some(schemas::money()),
            _ => return Err(wrong()),
        };
        match &types[usize::from(amount.is_some())..] {
            [from, to, start] if is_text(from) && is_text(to) && is_time(start) => {
                let others = [DataType::Utf8View, DataType::Utf8View, DataType::Date32];
                Ok(amount.into_iter().chain(others).collect())
            }
            _ => Err(wrong()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.kind {
            Kind::Convert => schemas::money(),
            Kind::IsProvisional => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let (mut columns, is_scalar) = columns(&args)?;
        let wrong = || Error::new(ErrorKind::Internal, "exchange rates are asked for, and none were read");
        let rates = self.rates.as_ref().ok_or_else(wrong)?;
        let amounts = (self.kind == Kind::Convert && !columns.is_empty()).then(|| columns.remove(0));
        let [from, to, days] = columns.as_slice() else {
            return Err(misused(self.name(), USAGES[self.kind as usize], &[]).into());
        };
        let found = rates_of(rates, &texts(from)?, &texts(to)?, &cast(days, &DataType::Date32)?, amounts.as_ref())?;
        match amounts {
            Some(amounts) => value(Arc::new(converted(&amounts, &found)?), is_scalar),
            None => {
                let provisional: BooleanArray = found.iter().map(|rate| rate.map(|rate| rate.is_provisional)).collect();
                value(Arc::new(provisional), is_scalar)
            }
        }
    }
}

/// The rate of each row that has all it takes.
fn rates_of(
    rates: &Rates,
    from: &StringViewArray,
    to: &StringViewArray,
    days: &ArrayRef,
    amounts: Option<&ArrayRef>,
) -> Result<Vec<Option<Rate>>> {
    let days = days.as_primitive::<Date32Type>();
    let mut known: HashMap<(&str, &str, i32), Rate> = HashMap::new();
    let mut found = Vec::with_capacity(days.len());
    for row in 0..days.len() {
        let has_all = from.is_valid(row) && to.is_valid(row) && days.is_valid(row);
        if !has_all || amounts.is_some_and(|amounts| amounts.is_null(row)) {
            found.push(None);
            continue;
        }
        let key = (from.value(row), to.value(row), days.value(row));
        let rate = match known.get(&key) {
            Some(rate) => *rate,
            None => {
                let rate = rates.find(key.0, key.1, key.2)?;
                known.insert(key, rate);
                rate
            }
        };
        found.push(Some(rate));
    }
    Ok(found)
}

fn converted(amounts: &ArrayRef, rates: &[Option<Rate>]) -> Result<Decimal128Array> {
    let too_large = || Error::new(ErrorKind::Execution, "an amount has too many digits to be converted");
    let (scale, amounts): (i8, Vec<Option<i256>>) = match amounts.data_type() {
        DataType::Decimal256(_, scale) => (*scale, amounts.as_primitive::<Decimal256Type>().iter().collect()),
        DataType::Decimal128(_, scale) => {
            (*scale, amounts.as_primitive::<Decimal128Type>().iter().map(|v| v.map(i256::from_i128)).collect())
        }
        _ => return Err(Error::new(ErrorKind::Internal, "an amount that is no decimal cannot be converted")),
    };
    let of = |(amount, rate): (Option<i256>, &Option<Rate>)| {
        let (Some(amount), Some(rate)) = (amount, rate) else { return Ok(None) };
        let product = amount.checked_mul(i256::from_i128(rate.value));
        let value = product.and_then(|product| rescale(product, scale.saturating_add(RATE_SCALE), MONEY_SCALE));
        value.and_then(|value| narrow(value, MONEY_DIGITS)).map(Some).ok_or_else(too_large)
    };
    let values = amounts.into_iter().zip(rates).map(of).collect::<Result<Decimal128Array>>()?;
    Ok(values.with_data_type(schemas::money()))
}

/// First day of the month of a day.
fn month(day: i32) -> i32 {
    let back = Date32Type::to_naive_date_opt(day).map_or(0, |date| date.day0());
    day.saturating_sub(i32::try_from(back).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> i32 {
        Date32Type::from_naive_date(text.parse().unwrap())
    }

    fn rates() -> Rates {
        let pair = |from: &str, to: &str, months: &[(&str, i128)]| {
            let months = months.iter().map(|(month, rate)| (day(month), *rate)).collect();
            ((from.to_owned(), to.to_owned()), months)
        };
        Rates {
            pairs: HashMap::from([
                pair("USD", "EUR", &[("2026-07-01", 900_000_000), ("2026-09-01", 925_000_000)]),
                pair("GBP", "USD", &[("2026-09-01", 1_300_000_000)]),
            ]),
            closed: HashSet::from([day("2026-10-01")]),
        }
    }

    #[test]
    fn an_open_month_after_all_rates_takes_the_newest_and_says_so() {
        let rates = rates();
        let find =
            |from: &str, to: &str, text: &str| rates.find(from, to, day(text)).map(|r| (r.value, r.is_provisional));
        assert_eq!(find("USD", "EUR", "2026-07-31").unwrap(), (900_000_000, false));
        assert_eq!(find("usd", "eur", "2026-11-15").unwrap(), (925_000_000, true));
        assert_eq!(find("USD", "USD", "1999-01-01").unwrap(), (1_000_000_000, false));
        for (from, to, text, why) in [
            ("USD", "EUR", "2026-10-02", "closed"),
            ("USD", "EUR", "2026-08-02", "later ones"),
            ("USD", "EUR", "2026-06-30", "later ones"),
            ("USD", "GBP", "2026-09-01", "only for the other one"),
            ("USD", "CHF", "2026-09-01", "import rates FILE` from=USD to=CHF month=2026-09"),
        ] {
            let error = find(from, to, text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("streamgauge import rates FILE"), "{error}");
        }
    }
}
