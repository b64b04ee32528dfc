//! Tables that people keep beside their bills: accounts, exchange rates, invoices. CSV in, the rows of one source replaced.
//!
//! Called by the command line and the endpoints. Columns are found by their names, whatever their case and separators. Invariants: all
//! rows of a file or none: half a table of rates is worse than the old one; the first things that are wrong are told with their lines.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Date32Type, TimeUnit},
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveTime};
use schemas::{Column, Dataset};
use storage::{Batch, Write};

use super::{Loads, ledger::refused, load};
use crate::{Error, ErrorKind, Result};

/// Bytes of a file. Half a million accounts fit.
pub const REFERENCE_BYTES_MAX: usize = 64 << 20;
/// Faults that are told.
const FAULTS_MAX: usize = 10;

/// Names that columns go by, beside their own.
const ALIASES: [(&str, &[&str]); 13] = [
    ("SubAccountId", &["id", "account", "accountid", "subscriptionid", "projectid"]),
    ("Name", &["accountname", "subaccountname"]),
    ("Path", &["organisationalpath", "organizationalpath", "ou"]),
    ("ValidFrom", &["from"]),
    ("ValidUntil", &["until", "validto", "to"]),
    ("Month", &["billingmonth", "billingperiodstart", "period"]),
    ("FromCurrency", &["from", "base"]),
    ("ToCurrency", &["to", "quote", "target"]),
    ("InvoiceId", &["invoice", "invoicenumber", "number"]),
    ("InvoiceIssuerName", &["issuer", "invoiceissuer", "provider"]),
    ("BillingAccountId", &["billingaccount", "account"]),
    ("BillingCurrency", &["currency"]),
    ("BilledCost", &["amount", "total", "invoicedamount"]),
];

/// Source of rows that the settings have.
const SETTINGS: &str = "settings";

/// Who an account belongs to, for a time, as the settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Account, subscription or project.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Its place in the organisation.
    pub path: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub environment: Option<String>,
    /// From when on, microseconds, inclusive.
    pub from_us: Option<i64>,
    /// Until when, microseconds, exclusive.
    pub until_us: Option<i64>,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Replaced {
    /// Rows that are there now.
    pub rows: usize,
    /// Columns of the file that are not used.
    pub ignored: Vec<String>,
}

/// A table of that name, if there is one.
fn table(name: &str) -> Option<&'static Dataset> {
    [schemas::accounts(), schemas::exchange_rates(), schemas::invoices()]
        .into_iter()
        .find(|dataset| dataset.name == name)
}

impl Loads {
    /// Replaces the rows that a source has in a reference table, by those of a CSV file. Returns when that is durable and visible.
    ///
    /// # Errors
    /// `Invalid` if there is no such table, or the file is not right, with the first lines that are not; else as storage says.
    pub async fn replace(&self, name: &str, source: &str, csv: Bytes) -> Result<Replaced> {
        let Some(dataset) = table(name) else {
            return Err(refused(format!(
                "no such table; there are accounts, exchange_rates and invoices table={name}"
            )));
        };
        if source == SETTINGS {
            return Err(refused(
                "this source is what the settings say (`billing.accounts`): give another one source=settings",
            ));
        }
        if source.is_empty() || csv.len() > REFERENCE_BYTES_MAX {
            return Err(refused(format!("a source has a name, and at most {REFERENCE_BYTES_MAX} bytes")));
        }
        let now_us = self.now_us();
        let of = source.to_owned();
        let (rows, ignored) = load::blocking(move || read(dataset, &of, &csv, now_us)).await?;
        let count = rows.num_rows();
        self.put(dataset, source, rows).await?;
        Ok(Replaced { rows: count, ignored })
    }

    /// Puts the settings' accounts in the place of those that they had; does nothing if there are none and were none.
    ///
    /// # Errors
    /// As storage says.
    pub async fn settle(&self, accounts: &[Account]) -> Result<()> {
        let dataset = schemas::accounts();
        let view = self.0.storage.view(dataset);
        if accounts.is_empty() && !view.files.iter().any(|file| file.scope(dataset) == Some(SETTINGS)) {
            return Ok(());
        }
        let text = |of: &dyn Fn(&Account) -> Option<&str>| {
            cast(&accounts.iter().map(of).collect::<StringArray>(), &schemas::dictionary())
        };
        let time = |of: &dyn Fn(&Account) -> Option<i64>| -> ArrayRef {
            Arc::new(accounts.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![SETTINGS; accounts.len()])),
            text(&|account| Some(&account.id))?,
            text(&|account| account.name.as_deref())?,
            text(&|account| account.path.as_deref())?,
            text(&|account| account.owner.as_deref())?,
            text(&|account| account.environment.as_deref())?,
            time(&|account| account.from_us),
            time(&|account| account.until_us),
            time(&|_| Some(self.now_us())),
        ];
        self.put(dataset, SETTINGS, RecordBatch::try_new(Arc::clone(&dataset.schema), columns)?).await
    }

    fn now_us(&self) -> i64 {
        self.0.clock.now_us().div_euclid(1000) * 1000
    }

    /// Puts rows in the place of those of their source.
    async fn put(&self, dataset: &'static Dataset, source: &str, rows: RecordBatch) -> Result<()> {
        // One after the other: two files of one source must not mix.
        let _turn = self.0.tables.lock().await;
        let mut staging = self.0.storage.stage(dataset);
        if rows.num_rows() > 0 {
            staging.push(rows).await?;
        }
        let replacement = staging.finish(source).await?;
        load::append(&self.0.storage, vec![Batch { dataset, write: Write::Replace(replacement) }]).await
    }
}

/// Rows of a file, and its columns that are not used.
fn read(dataset: &'static Dataset, source: &str, text: &[u8], now_us: i64) -> Result<(RecordBatch, Vec<String>)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let header = reader.headers().map_err(|error| refused(format!("the header cannot be read: {error}")))?.clone();
    let slots = slots(dataset, &header)?;
    let own = own(dataset);
    let mut cells: Vec<Vec<Option<Cell>>> = own.iter().map(|_| Vec::new()).collect();
    let (mut faults, mut count) = (Vec::new(), 0);
    for record in reader.records() {
        let line = record.as_ref().ok().and_then(|record| record.position()).map_or(0, csv::Position::line);
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                faults.push(error.to_string());
                break;
            }
        };
        count += 1;
        for ((column, slot), cells) in own.iter().zip(&slots).zip(&mut cells) {
            let text = slot.and_then(|slot| record.get(slot)).unwrap_or_default();
            match Cell::read(column, text) {
                Ok(cell) => cells.push(cell),
                Err(reason) => faults.push(format!("line {line}, {}: {reason}", column.name)),
            }
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if !faults.is_empty() {
        return Err(refused(format!("nothing is replaced; {}", faults.join("; "))));
    }
    let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![source; count]))];
    for (column, cells) in own.iter().zip(cells) {
        columns.push(array(column, cells)?);
    }
    columns.push(Arc::new(TimestampMicrosecondArray::from(vec![now_us; count]).with_timezone("UTC")));
    let ignored = header.iter().enumerate().filter(|(slot, _)| !slots.contains(&Some(*slot)));
    let ignored = ignored.map(|(_, name)| name.to_owned()).collect();
    Ok((RecordBatch::try_new(Arc::clone(&dataset.schema), columns)?, ignored))
}

/// Columns that a file has: all but the source and the time of the load.
fn own(dataset: &'static Dataset) -> &'static [Column] {
    let columns = dataset.columns.as_slice();
    columns.get(1..columns.len() - 1).unwrap_or_default()
}

/// Where the file has each column.
fn slots(dataset: &'static Dataset, header: &csv::StringRecord) -> Result<Vec<Option<usize>>> {
    let names: Vec<String> = header.iter().map(normal).collect();
    let slot = |column: &Column| {
        let aliases = ALIASES.iter().filter(|(name, _)| *name == column.name).flat_map(|(_, aliases)| *aliases);
        let mut known = std::iter::once(normal(column.name)).chain(aliases.map(|alias| (*alias).to_owned()));
        let found = known.find_map(|known| names.iter().position(|name| *name == known));
        if found.is_some() || column.nullable {
            return Ok(found);
        }
        let needed: Vec<&str> =
            own(dataset).iter().filter(|column| !column.nullable).map(|column| column.name).collect();
        Err(refused(format!(
            "the file has no column {}; {} needs {} and may have others",
            column.name,
            dataset.name,
            needed.join(", ")
        )))
    };
    own(dataset).iter().map(slot).collect()
}

/// A name without what makes no difference.
fn normal(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A value of a row.
enum Cell {
    Text(String),
    Day(i32),
    Time(i64),
    Decimal(i128),
}

impl Cell {
    fn read(column: &Column, text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return if column.nullable { Ok(None) } else { Err("it is empty".to_owned()) };
        }
        let day = |text: &str| {
            let first = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d");
            first.or_else(|_| NaiveDate::parse_from_str(text.get(..10).unwrap_or(text), "%Y-%m-%d"))
        };
        Ok(Some(match &column.data_type {
            DataType::Date32 => {
                let day = day(text).map_err(|_| format!("no month: write it as 2026-11 value={text}"))?;
                Self::Day(Date32Type::from_naive_date(chrono::Datelike::with_day(&day, 1).unwrap_or(day)))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let time = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
                let time =
                    time.or_else(|_| day(text).map(|day| day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()));
                Self::Time(time.map_err(|_| format!("no time: write it as 2026-11-30 value={text}"))?)
            }
            DataType::Decimal128(precision, scale) => {
                let scale = u32::from(scale.unsigned_abs());
                let parsed = billing::decimal::parse(text, scale).map_err(|reason| format!("{reason} value={text}"))?;
                if parsed.lost != 0 || parsed.value.unsigned_abs() >= 10_u128.pow(u32::from(*precision)) {
                    return Err(format!("it has more digits than are kept, {scale} of them decimals value={text}"));
                }
                if column.data_type == schemas::rate() && parsed.value <= 0 {
                    return Err(format!("a rate is more than zero value={text}"));
                }
                Self::Decimal(parsed.value)
            }
            _ if column.name.ends_with("Currency") => {
                let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
                if !is_code {
                    return Err(format!("no currency of ISO 4217, such as EUR value={text}"));
                }
                Self::Text(text.to_ascii_uppercase())
            }
            _ => Self::Text(text.to_owned()),
        }))
    }
}

fn array(column: &Column, cells: Vec<Option<Cell>>) -> Result<ArrayRef> {
    let defect =
        || Error::new(ErrorKind::Internal, format!("a reference table has a column of no type column={}", column.name));
    Ok(match &column.data_type {
        DataType::Date32 => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Some(Cell::Day(day)) => Some(*day),
                    _ => None,
                })
                .collect::<Date32Array>(),
        ),
        DataType::Timestamp(..) => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Some(Cell::Time(us)) => Some(*us),
                    _ => None,
                })
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        DataType::Decimal128(..) => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Some(Cell::Decimal(value)) => Some(*value),
                    _ => None,
                })
                .collect::<Decimal128Array>()
                .with_data_type(column.data_type.clone()),
        ),
        DataType::Dictionary(..) => cast(
            &cells
                .iter()
                .map(|cell| match cell {
                    Some(Cell::Text(text)) => Some(text.as_str()),
                    _ => None,
                })
                .collect::<StringArray>(),
            &column.data_type,
        )?,
        _ => return Err(defect()),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};

    use super::*;

    #[test]
    fn columns_are_found_by_any_of_their_names_and_values_are_exact() {
        let csv =
            "\u{feff}month, from ,To Currency,RATE,comment\n2026-11,usd,EUR,0.923456789,ECB\n2026-12-01,GBP,EUR,1.2,\n";
        let (rows, ignored) = read(schemas::exchange_rates(), "ecb", csv.as_bytes(), 7).unwrap();
        assert_eq!((rows.num_rows(), ignored), (2, vec!["comment".to_owned()]));
        let rates: Vec<i128> = rows["Rate"].as_primitive::<arrow::datatypes::Decimal128Type>().values().to_vec();
        assert_eq!(rates, [923_456_789, 1_200_000_000]);
        let from = cast(&rows["FromCurrency"], &DataType::Utf8).unwrap();
        assert_eq!(from.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["USD", "GBP"]);
        let accounts =
            "id,name,owner,environment,valid_from\n0012,Payments,Ana,prod,\n0012,Payments,Bo,prod,2026-03-01\n";
        let (rows, _) = read(schemas::accounts(), "org", accounts.as_bytes(), 7).unwrap();
        assert_eq!((rows["ValidFrom"].null_count(), rows["Path"].null_count()), (1, 2));
        let ids = cast(&rows["SubAccountId"], &DataType::Utf8).unwrap();
        assert_eq!(ids.as_string::<i32>().value(0), "0012", "an id is text");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_nothing_is_replaced() {
        let told = |dataset, csv: &str| read(dataset, "x", csv.as_bytes(), 7).unwrap_err().to_string();
        let rates = told(schemas::exchange_rates(), "month,from,to,rate\n2026-11,USD,EUR,0\nlately,USD,Euro,1,\n");
        assert!(rates.contains("line 2, Rate: a rate is more than zero"), "{rates}");
        let rates = told(schemas::exchange_rates(), "month,from,to,rate\nlately,USD,Euro,0.1234567891\n");
        for part in ["line 2, Month: no month", "ToCurrency: no currency", "Rate: it has more digits"] {
            assert!(rates.contains(part), "{rates}");
        }
        let invoices = told(schemas::invoices(), "InvoiceId,amount\n1,2\n");
        assert!(
            invoices.contains("no column BillingCurrency; invoices needs InvoiceId, BillingCurrency, BilledCost"),
            "{invoices}"
        );
    }
}
