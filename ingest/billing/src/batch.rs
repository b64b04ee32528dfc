//! Collects rows as the columns of one batch.
//!
//! Filled by the sink, which has checked the rows. A column that no row of the batch fills costs nothing until the batch is built; texts
//! are compared with the one before, which they mostly are, and only then looked up.
//!
//! Invariants: a batch has the schema of `costs`; memory is bounded by rows and bytes. Not here: which row is a good one.

mod builders;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, RecordBatch, StringArray, new_null_array},
    datatypes::{DataType, Field},
};
use hashbrown::HashMap;

use self::builders::{Dictionary, Map, Numbers};
use crate::{
    columns::{Amount, Quantity, Text, Time},
    decimal::{MONEY_SCALE, QUANTITY_SCALE},
    error::{Error, ErrorKind, Result},
    row::{Adjustment, Row},
};

/// Rows of a batch, beside those derived from the last one: enough to spread the cost of a batch, few enough to stay in the cache.
pub(crate) const BATCH_ROWS: usize = 8_192;
/// Bytes of records that end a batch before it has its rows: records may have megabytes each.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// Rows as columns.
pub(crate) struct Batch {
    scope: String,
    file: String,
    rows: usize,
    bytes: usize,
    texts: Vec<Dictionary>,
    currency: Dictionary,
    origin: Dictionary,
    adjustments: Dictionary,
    months: Vec<i32>,
    amounts: Vec<Numbers<i128>>,
    quantities: Vec<Numbers<i128>>,
    delivered: Numbers<i128>,
    split: Numbers<i128>,
    times: Vec<Numbers<i64>>,
    tags: Map,
    allocated_tags: Map,
    extras: Map,
    constant: Option<Constant>,
}

impl Batch {
    pub(crate) fn new(scope: &str, file: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            file: file.to_owned(),
            rows: 0,
            bytes: 0,
            texts: Text::ALL.iter().map(|_| Dictionary::default()).collect(),
            currency: Dictionary::default(),
            origin: Dictionary::default(),
            adjustments: Dictionary::default(),
            months: Vec::new(),
            amounts: Amount::ALL.iter().map(|_| Numbers::default()).collect(),
            quantities: Quantity::ALL.iter().map(|_| Numbers::default()).collect(),
            delivered: Numbers::default(),
            split: Numbers::default(),
            times: Time::ALL.iter().map(|_| Numbers::default()).collect(),
            tags: Map::default(),
            allocated_tags: Map::default(),
            extras: Map::default(),
            constant: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Forgets what columns without a place the last row has: they will be counted anew.
    pub(crate) fn forget(&mut self) {
        self.extras.forget();
    }

    /// Is it time to build it?
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || (self.rows > 0 && self.bytes > BATCH_BYTES_MAX)
    }

    /// Counts the bytes of a record whose rows are in the batch.
    pub(crate) fn count_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Adds a row of a month, with texts for columns in which it has none.
    pub(crate) fn push(&mut self, row: &Row<'_>, currency: &str, month: i32, assumed: &[(Text, String)]) {
        let at = self.rows;
        for (column, text) in self.texts.iter_mut().zip(&row.texts) {
            if !text.is_empty() {
                column.push(at, text);
            }
        }
        for (column, text) in assumed {
            if row.text(*column).is_empty() {
                self.texts[*column as usize].push(at, text);
            }
        }
        self.currency.push(at, currency);
        self.origin.push(at, if row.is_derived { "derived" } else { "delivered" });
        if !row.adjustments.is_empty() {
            self.adjustments.push(at, &codes(&row.adjustments));
        }
        self.months.push(month);
        for (column, value) in self.amounts.iter_mut().zip(&row.amounts) {
            column.push(at, *value);
        }
        for (column, value) in self.quantities.iter_mut().zip(&row.quantities) {
            column.push(at, *value);
        }
        self.delivered.push(at, Some(row.delivered.value));
        self.split.push(at, row.split);
        for (column, value) in self.times.iter_mut().zip(&row.times) {
            column.push(at, *value);
        }
        self.tags.push(&row.tags);
        self.allocated_tags.push(&row.allocated_tags);
        self.extras.push_kept(row.kept, &row.extras);
        self.rows += 1;
    }

    /// Builds the batch, and begins a new one.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let schema = &schemas::costs().schema;
        let map = match schema.field_with_name("Tags")?.data_type() {
            DataType::Map(entries, _) => Arc::clone(entries),
            other => return Err(Error::new(ErrorKind::Internal, format!("Tags are no map: {other}"))),
        };
        let mut columns: HashMap<&str, ArrayRef> = HashMap::new();
        for (column, name) in self.texts.iter_mut().zip(Text::ALL).map(|(column, text)| (column, text.name())) {
            columns.extend(column.take(rows)?.map(|column| (name, column)));
        }
        for (column, name) in self.amounts.iter_mut().zip(Amount::ALL).map(|(column, amount)| (column, amount.name())) {
            columns.extend(column.take_decimals(rows, MONEY_SCALE)?.map(|column| (name, column)));
        }
        for (column, name) in self.quantities.iter_mut().zip(Quantity::ALL).map(|(column, of)| (column, of.name())) {
            columns.extend(column.take_decimals(rows, QUANTITY_SCALE)?.map(|column| (name, column)));
        }
        for (column, name) in self.times.iter_mut().zip(Time::ALL).map(|(column, time)| (column, time.name())) {
            columns.extend(column.take_times(rows)?.map(|column| (name, column)));
        }
        let constant = match self.constant.take() {
            Some(constant) if constant.rows == rows => constant,
            _ => Constant::new(&self.scope, &self.file, rows)?,
        };
        let constant = self.constant.insert(constant);
        columns.insert("x_Scope", Arc::clone(&constant.scope));
        columns.extend(constant.file.clone().map(|file| ("x_File", file)));
        columns.insert("x_BillingMonth", Arc::new(Date32Array::from(std::mem::take(&mut self.months))));
        for (name, column) in [
            ("BillingCurrency", self.currency.take(rows)?),
            ("x_Origin", self.origin.take(rows)?),
            ("x_Adjustments", self.adjustments.take(rows)?),
            ("x_DeliveredCost", self.delivered.take_decimals(rows, MONEY_SCALE)?),
            ("x_SplitCost", self.split.take_decimals(rows, MONEY_SCALE)?),
        ] {
            columns.extend(column.map(|column| (name, column)));
        }
        columns.insert("Tags", self.tags.take(&map)?);
        columns.insert("AllocatedTags", self.allocated_tags.take(&map)?);
        columns.insert("x_Columns", self.extras.take(&map)?);
        let fields = schema.fields().iter();
        let columns = fields.map(|field| constant.column(&mut columns, field)).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// Columns that are the same in each batch of so many rows, which all but the last have: they are built once.
struct Constant {
    rows: usize,
    scope: ArrayRef,
    file: Option<ArrayRef>,
    /// Columns of nulls, by their type.
    nulls: Vec<ArrayRef>,
}

impl Constant {
    fn new(scope: &str, file: &str, rows: usize) -> Result<Self> {
        let mut files = Dictionary::default();
        (0..rows).for_each(|row| files.push(row, file));
        let scope = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(scope, rows)));
        Ok(Self { rows, scope, file: files.take(rows)?, nulls: Vec::new() })
    }

    /// The column of a field: one that was filled, or nulls.
    fn column(&mut self, columns: &mut HashMap<&str, ArrayRef>, field: &Field) -> Result<ArrayRef> {
        match columns.remove(field.name().as_str()) {
            Some(column) => Ok(column),
            None if field.is_nullable() => Ok(self.nulls(field.data_type())),
            None => Err(Error::new(ErrorKind::Internal, format!("nobody fills column {}", field.name()))),
        }
    }

    fn nulls(&mut self, data_type: &DataType) -> ArrayRef {
        let known = self.nulls.iter().find(|nulls| nulls.data_type() == data_type).map(Arc::clone);
        known.unwrap_or_else(|| {
            let nulls = new_null_array(data_type, self.rows);
            self.nulls.push(Arc::clone(&nulls));
            nulls
        })
    }
}

/// Codes of adjustments, in their order, each once.
fn codes(adjustments: &[(Adjustment, i128)]) -> String {
    let mut codes: Vec<Adjustment> = adjustments.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes.iter().map(|code| code.code()).collect::<Vec<_>>().join(" ")
}
