//! Sums costs up anew when the rules of tags have changed, as far as months are not final.
//!
//! Called at start, and by commands that work on a folder. Rules are applied when rows are read; `costs_daily` and `costs_hourly` are
//! summed up by them, so they say by which version, and are made again from `costs`. What was reported of a month that is final stays.
//! Invariant: costs are not touched; both tables of a scope change in one moment.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Date32Type, Field, Schema},
};
use chrono::NaiveDate;
use schemas::{MANDATORY_TAGS, SUMMARY_AMOUNTS, SUMMARY_COLUMNS};
use storage::{Batch, Bound, DataFile, Write};

use super::{Inner, Status, Tags, ledger::Loaded, load, sink::Sums};
use crate::{Error, ErrorKind, Result, stored};

/// Sums scopes up by the rules in force; gives those that were not.
pub(super) async fn retag(inner: &Inner) -> Result<Vec<String>> {
    let daily = schemas::costs_daily();
    let tags = inner.tags.now();
    let version = tags.version();
    let is_other = |file: &DataFile| {
        let same = Bound::Int(version);
        file.bounds.get("x_TagRules").is_none_or(|(least, most)| *least != same || *most != same)
    };
    let books = inner.books.lock().await;
    let is_final = |export: &str, month: &NaiveDate| books.periods.status(export, *month) == Some(Status::Closed);
    let view = inner.storage.view(daily);
    let due = |(scope, loaded): (&str, &Loaded)| {
        let stands = !loaded.months.is_empty() && loaded.months.iter().all(|month| is_final(&loaded.export, month));
        let mut files = view.files.iter().filter(|file| file.scope(daily) == Some(scope));
        (!stands && files.any(|file| is_other(file))).then(|| scope.to_owned())
    };
    let due: Vec<String> = books.ledger.scopes().filter_map(due).collect();
    drop(books);
    for scope in &due {
        // Loads have their turn between two scopes; what they sum up is summed up by these rules already.
        let _turn = inner.turn.lock().await;
        sum_up(inner, &tags, scope).await?;
    }
    Ok(due)
}

async fn sum_up(inner: &Inner, rules: &Tags, scope: &str) -> Result<()> {
    let costs = schemas::costs();
    let mut sums = Sums::both(scope, |dataset| Some(inner.storage.stage(dataset)));
    let view = inner.storage.view(costs);
    let names: Vec<&str> = names().collect();
    for file in view.files.iter().filter(|file| file.scope(costs) == Some(scope)) {
        let month = month(file)?;
        // A merged file is large: it is summed up as it is read, and only full sums wait until they can be staged.
        let mut full = Vec::new();
        stored::read_file(&inner.storage, file, &names, |rows| {
            let rows = as_costs(rows, month)?;
            let tags = rules.of_rows(&rows)?;
            for (at, sums) in sums.iter_mut().enumerate() {
                full.extend(sums.fold(&rows, &tags, rules.version())?.map(|full| (at, full)));
            }
            Ok(())
        })
        .await?;
        for (at, rows) in full {
            if let Some(sums) = sums.get_mut(at) {
                sums.hand_on(rows).await?;
            }
        }
    }
    let mut replacements = Vec::new();
    for sums in sums {
        let (dataset, staging) = sums.finish(rules.version()).await?;
        if let Some(staging) = staging {
            replacements.push(Batch { dataset, write: Write::Replace(staging.finish(scope).await?) });
        }
    }
    load::append(&inner.storage, replacements).await
}

/// Columns of `costs` that sums are made of; the month is in the partition's name.
fn names() -> impl Iterator<Item = &'static str> {
    let columns = SUMMARY_COLUMNS.into_iter().take(SUMMARY_COLUMNS.len() - MANDATORY_TAGS);
    ["ChargePeriodStart", "Tags"].into_iter().chain(columns).chain(SUMMARY_AMOUNTS)
}

/// Rows of a file with the types that rows of `costs` have.
fn as_costs(rows: &RecordBatch, month: i32) -> Result<RecordBatch> {
    let costs = &schemas::costs().schema;
    let mut fields = vec![Field::new("x_BillingMonth", DataType::Date32, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Date32Array::from(vec![month; rows.num_rows()]))];
    for name in names() {
        let field = costs.field_with_name(name)?;
        columns.push(cast(&stored::column(rows, name, field.data_type())?, field.data_type())?);
        fields.push(field.clone());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The billing month of a file's rows, which its partition says.
pub(super) fn month(file: &DataFile) -> Result<i32> {
    let text = file.partition.as_deref().and_then(|partition| partition.rsplit('/').next()).unwrap_or_default();
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d");
    let bad = |error| {
        Error::new(ErrorKind::Corrupt, format!("a file's partition has no month path={}", file.path)).caused_by(error)
    };
    day.map(Date32Type::from_naive_date).map_err(bad)
}
