//! Rows about a load: its row of the ledger, and what it refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Date32Array, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Date32Type, i256},
};
use billing::Totals;

use super::{
    Covered, File, Request, Summary, ledger,
    ledger::Loaded,
    load::{Read, money},
};
use crate::{Error, ErrorKind, Result};

/// A load that is to be written down.
pub(super) struct Load<'a> {
    pub request: &'a Request,
    pub summary: &'a Summary,
    pub revision: i64,
    pub delivery: &'a str,
    pub covers: &'a BTreeSet<Covered>,
    /// Why nothing of it is loaded, if nothing is.
    pub error: Option<&'a Error>,
    /// Billing months of which an amount changed: their first days.
    pub changed: &'a BTreeSet<i32>,
    pub now_us: i64,
}

impl Load<'_> {
    /// What the ledger knows of it.
    pub(super) fn loaded(&self, read: &Read) -> Result<Loaded> {
        let Self { request, summary, revision, delivery, covers, changed, now_us, error: _ } = self;
        let options = serde_json::to_string(read)
            .map_err(|error| Error::new(ErrorKind::Internal, "options cannot be written").caused_by(error))?;
        Ok(Loaded {
            export: request.export.clone(),
            revision: *revision,
            delivery: (*delivery).to_owned(),
            delivered_us: request.delivered_us.map(|us| us.div_euclid(1000) * 1000),
            loaded_us: *now_us,
            changed_us: changed
                .iter()
                .filter_map(|month| Some((Date32Type::to_naive_date_opt(*month)?, *now_us)))
                .collect(),
            complete_through_us: self.complete_through_us(),
            is_final: ledger::is_final(self.format(), self.sum(&|file| file.report.rows_without_invoice), covers),
            months: months(&summary.files).into_iter().filter_map(Date32Type::to_naive_date_opt).collect(),
            covers: (*covers).clone(),
            files: summary
                .files
                .iter()
                .map(|file| (file.input.name.clone(), file.digest.clone(), file.input.etag.clone()))
                .collect(),
            options,
        })
    }

    /// The row of `billing_loads`.
    pub(super) fn ledger(&self, loaded: &Loaded) -> Result<RecordBatch> {
        let files = &self.summary.files;
        let written = match self.error {
            None => self.sum(&|file| file.report.rows_delivered + file.report.rows_derived),
            Some(_) => 0,
        };
        let outcome = match self.error.map(|error| error.kind) {
            None if written > 0 => "loaded",
            None => "empty",
            Some(ErrorKind::Invalid | ErrorKind::Corrupt) => "refused",
            Some(_) => "failed",
        };
        let why = self.error.map(Error::to_string);
        let of_load = self.summary.findings.iter().map(|(code, _)| *code).chain(why.as_deref());
        let of_files = files.iter().flat_map(|file| file.report.findings.keys().copied());
        let findings: BTreeSet<&str> = of_load.chain(of_files).collect();
        let months = loaded.months.iter().map(|month| Some(Date32Type::from_naive_date(*month)));
        let changed = self.summary.changes.values().map(|changed| changed.sums as u64).sum();
        let columns: Vec<ArrayRef> = vec![
            time(vec![Some(self.now_us)]),
            text(vec![&self.summary.scope])?,
            text(vec![&loaded.export])?,
            text(vec![self.format()])?,
            int(vec![loaded.revision]),
            text(vec![&loaded.delivery])?,
            time(vec![loaded.delivered_us]),
            text(vec![outcome])?,
            int(vec![written]),
            list("months", Arc::new(months.collect::<Date32Array>()))?,
            time(vec![loaded.complete_through_us]),
            int(vec![self.sum(&|file| file.report.rows_without_invoice)]),
            int(vec![self.sum(&|file| file.report.rows_rejected)]),
            int(vec![self.sum(&|file| file.report.values_rounded)]),
            int(vec![integer(changed)]),
            list("changed_months", Arc::new(self.changed.iter().copied().map(Some).collect::<Date32Array>()))?,
            self.covers("covers")?,
            self.files("files")?,
            self.totals("totals")?,
            self.adjustments("adjustments")?,
            list("findings", Arc::new(StringArray::from_iter_values(findings)))?,
            Arc::new(StringArray::from(vec![loaded.options.as_str()])),
            int(vec![self.summary.took_ms]),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&schemas::billing_loads().schema), columns)?)
    }

    fn sum(&self, of: &dyn Fn(&File) -> u64) -> i64 {
        integer(self.summary.files.iter().map(of).sum())
    }

    fn format(&self) -> &'static str {
        self.summary.files.iter().find_map(|file| file.format).map_or("", billing::Format::name)
    }

    fn covers(&self, name: &str) -> Result<ArrayRef> {
        let text = |of: &dyn Fn(&Covered) -> &str| Arc::new(StringArray::from_iter_values(self.covers.iter().map(of)));
        let months = self.covers.iter().map(|of| Some(Date32Type::from_naive_date(of.month)));
        structs(name, vec![text(&|of| &of.issuer), text(&|of| &of.account), Arc::new(months.collect::<Date32Array>())])
    }

    /// The end of what is used, or the delivery: a fee for the month says nothing of how far usage is.
    pub(super) fn complete_through_us(&self) -> Option<i64> {
        let ends = self.summary.files.iter().filter_map(|file| file.report.used_until_us);
        let delivered_us = self.request.delivered_us.unwrap_or(self.now_us);
        ends.max().map(|end| end.min(delivered_us).div_euclid(1000) * 1000)
    }

    fn files(&self, name: &str) -> Result<ArrayRef> {
        let files = &self.summary.files;
        let column = |of: &dyn Fn(&File) -> u64| int(files.iter().map(|file| integer(of(file))).collect());
        let text = |of: &dyn Fn(&File) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(files.iter().map(of)))
        };
        structs(
            name,
            vec![
                text(&|file| file.input.name.clone()),
                column(&|file| file.bytes),
                text(&|file| file.digest.clone()),
                Arc::new(files.iter().map(|file| file.input.etag.as_deref()).collect::<StringArray>()),
                column(&|file| file.report.rows_read),
                column(&|file| file.report.rows_rejected),
            ],
        )
    }

    fn totals(&self, name: &str) -> Result<ArrayRef> {
        let totals = totals(&self.summary.files);
        let amount = |of: &dyn Fn(&Totals) -> i256| {
            let amounts = totals.values().map(|totals| money(of(totals))).collect::<Result<Vec<_>>>()?;
            Ok::<ArrayRef, Error>(Arc::new(Decimal128Array::from(amounts).with_data_type(schemas::money())))
        };
        structs(
            name,
            vec![
                Arc::new(StringArray::from_iter_values(totals.keys().map(|(currency, _)| currency))),
                Arc::new(StringArray::from_iter_values(totals.keys().map(|(_, category)| category))),
                int(totals.values().map(|totals| integer(totals.rows)).collect()),
                amount(&|totals| totals.delivered)?,
                amount(&|totals| totals.billed)?,
                amount(&|totals| totals.effective)?,
                amount(&|totals| totals.list)?,
                amount(&|totals| totals.contracted)?,
            ],
        )
    }

    fn adjustments(&self, name: &str) -> Result<ArrayRef> {
        let mut all: BTreeMap<(&str, &str), (i64, i256)> = BTreeMap::new();
        for ((code, currency), counted) in self.summary.files.iter().flat_map(|file| &file.report.adjustments) {
            let (rows, sum) = all.entry((code.code(), currency)).or_default();
            *rows += integer(counted.rows);
            *sum = sum.wrapping_add(counted.sum);
        }
        let amounts = all.values().map(|(_, sum)| money(*sum)).collect::<Result<Vec<_>>>()?;
        structs(
            name,
            vec![
                Arc::new(StringArray::from_iter_values(all.keys().map(|(code, _)| code))),
                Arc::new(StringArray::from_iter_values(all.keys().map(|(_, currency)| currency))),
                int(all.values().map(|(rows, _)| *rows).collect()),
                Arc::new(Decimal128Array::from(amounts).with_data_type(schemas::money())),
            ],
        )
    }

    /// Rows of `rejects`.
    pub(super) fn rejects(&self) -> Result<RecordBatch> {
        let rejects: Vec<_> = self
            .summary
            .files
            .iter()
            .flat_map(|file| file.report.rejects.iter().map(move |reject| (file, reject)))
            .collect();
        let source = format!("billing/{}", self.summary.scope);
        let columns: Vec<ArrayRef> = vec![
            time(vec![Some(self.now_us); rejects.len()]),
            text(vec![source.as_str(); rejects.len()])?,
            text(rejects.iter().map(|(file, _)| file.input.name.as_str()).collect())?,
            int(rejects.iter().map(|(_, reject)| integer(reject.line)).collect()),
            text(rejects.iter().map(|(_, reject)| reject.column.as_deref().unwrap_or_default()).collect())?,
            text(rejects.iter().map(|(_, reject)| reject.reason.as_str()).collect())?,
            Arc::new(StringArray::from_iter_values(rejects.iter().map(|(_, reject)| &reject.text))),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&schemas::rejects().schema), columns)?)
    }
}

/// Billing months of all files, from the one with most rows: their first days, days since the epoch.
pub(super) fn months(files: &[File]) -> Vec<i32> {
    let mut rows: BTreeMap<i32, u64> = BTreeMap::new();
    for (month, count) in files.iter().flat_map(|file| &file.report.billing_months) {
        *rows.entry(*month).or_default() += count;
    }
    let mut months: Vec<(i32, u64)> = rows.into_iter().collect();
    months.sort_by_key(|(month, rows)| (std::cmp::Reverse(*rows), *month));
    months.into_iter().map(|(month, _)| month).collect()
}

/// Sums of all files, by currency and charge category.
#[must_use]
pub fn totals(files: &[File]) -> BTreeMap<(String, String), Totals> {
    let mut all: BTreeMap<(String, String), Totals> = BTreeMap::new();
    for (group, totals) in files.iter().flat_map(|file| &file.report.totals) {
        let all = all.entry(group.clone()).or_default();
        all.rows += totals.rows;
        for (sum, of_file) in [
            (&mut all.delivered, totals.delivered),
            (&mut all.delivered_lost, totals.delivered_lost),
            (&mut all.credits, totals.credits),
            (&mut all.billed, totals.billed),
            (&mut all.effective, totals.effective),
            (&mut all.list, totals.list),
            (&mut all.contracted, totals.contracted),
        ] {
            *sum = sum.wrapping_add(of_file);
        }
    }
    all
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn int(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn time(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn text(values: Vec<impl AsRef<str>>) -> Result<ArrayRef> {
    Ok(cast(&StringArray::from_iter_values(values), &schemas::dictionary())?)
}

/// One list of the ledger's column `name`, of structs with these fields.
fn structs(name: &str, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    let field = schemas::billing_loads().schema.field_with_name(name)?;
    let DataType::List(item) = field.data_type() else { return Err(no_list(name)) };
    let DataType::Struct(fields) = item.data_type() else { return Err(no_list(name)) };
    list(name, Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

fn list(name: &str, values: ArrayRef) -> Result<ArrayRef> {
    let field = schemas::billing_loads().schema.field_with_name(name)?;
    let DataType::List(item) = field.data_type() else { return Err(no_list(name)) };
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?))
}

fn no_list(name: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("column of the ledger is no list, column={name}"))
}
