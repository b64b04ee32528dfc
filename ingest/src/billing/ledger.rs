//! What is loaded of each scope, as `billing_loads` has it.
//!
//! Read at start, and kept by the loads after it. Answers whether a delivery is new, loaded already, or older than what is loaded; which
//! other export has the same costs; and how far an export is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType},
};
use chrono::NaiveDate;
use storage::Storage;

use super::{Covered, periods::Facts};
use crate::{Error, ErrorKind, Result, stored};

/// The newest load of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub export: String,
    pub revision: i64,
    pub delivery: String,
    pub delivered_us: Option<i64>,
    pub loaded_us: i64,
    /// When a load of the scope last changed an amount of a month.
    pub changed_us: BTreeMap<NaiveDate, i64>,
    pub complete_through_us: Option<i64>,
    /// Do all rows have their invoice? None if the provider's rows do not tell.
    pub is_final: Option<bool>,
    /// Billing months of its rows.
    pub months: Vec<NaiveDate>,
    /// Whose costs it has; none if it is not counted.
    pub covers: BTreeSet<Covered>,
    /// Files, and how they were read, for whoever reads them again.
    pub files: Vec<LedgerFile>,
    pub options: String,
}

/// A file by its name, its digest, and its version where it is from.
pub(super) type LedgerFile = (String, String, Option<String>);

/// How a delivery stands to what is loaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be loaded as this revision.
    New(i64),
    /// It is what is loaded.
    Same,
    /// What is loaded was delivered later, at this time, microseconds.
    Older(i64),
}

/// How far an export is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freshness {
    /// When its newest delivery was delivered, or loaded if nobody knows, microseconds.
    pub delivered_us: i64,
    /// Until when its costs are there, microseconds.
    pub complete_through_us: Option<i64>,
    /// Scopes there are.
    pub scopes: i64,
}

/// Newest loads by scope.
#[derive(Debug, Default)]
pub(super) struct Ledger(HashMap<String, Loaded>);

/// Who writes the number of an invoice before it is issued.
const EARLY: [&str; 2] = ["Google", "Oracle"];

const COLUMNS: [&str; 14] = [
    "loaded_at",
    "scope",
    "export",
    "format",
    "revision",
    "delivery",
    "delivered_at",
    "months",
    "complete_through",
    "without_invoice",
    "changed_months",
    "covers",
    "files",
    "options",
];

impl Ledger {
    /// Reads the ledger of a storage.
    ///
    /// # Errors
    /// `Corrupt` if its files cannot be read.
    pub(super) async fn read(storage: &Storage) -> Result<Self> {
        let mut ledger = Self::default();
        stored::read_view(storage, &storage.view(schemas::billing_loads()), &COLUMNS, |rows| ledger.take(rows)).await?;
        Ok(ledger)
    }

    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = Rows(rows);
        let [scopes, exports, formats] = ["scope", "export", "format"].map(|name| rows.texts(name));
        let [deliveries, options] = ["delivery", "options"].map(|name| rows.texts(name));
        let (scopes, exports, formats, deliveries, options) = (scopes?, exports?, formats?, deliveries?, options?);
        let [loaded, delivered, through] =
            ["loaded_at", "delivered_at", "complete_through"].map(|name| rows.times(name));
        let (loaded, delivered, through) = (loaded?, delivered?, through?);
        let [revisions, without] = ["revision", "without_invoice"].map(|name| rows.counts(name));
        let (revisions, without) = (revisions?, without?);
        // Nothing of the rest was loaded.
        for row in (0..rows.0.num_rows()).filter(|row| revisions(*row) > Some(0)) {
            let loaded_us = loaded(row).unwrap_or_default();
            let text = |texts: &ArrayRef| texts.as_string::<i32>().value(row).to_owned();
            let changed = rows.months("changed_months", row)?;
            let covers = rows.covers(row)?;
            self.note(
                &text(&scopes),
                Loaded {
                    export: text(&exports),
                    revision: revisions(row).unwrap_or_default(),
                    delivery: text(&deliveries),
                    delivered_us: delivered(row),
                    loaded_us,
                    changed_us: changed.into_iter().map(|month| (month, loaded_us)).collect(),
                    complete_through_us: through(row),
                    is_final: is_final(&text(&formats), without(row).unwrap_or_default(), &covers),
                    months: rows.months("months", row)?,
                    covers,
                    files: rows.files(row)?,
                    options: text(&options),
                },
            );
        }
        Ok(())
    }

    /// Notes a load, unless a later one is known.
    pub(super) fn note(&mut self, scope: &str, mut loaded: Loaded) {
        let Some(newest) = self.0.get_mut(scope) else {
            self.0.insert(scope.to_owned(), loaded);
            return;
        };
        if newest.revision < loaded.revision {
            std::mem::swap(newest, &mut loaded);
        }
        for (month, us) in loaded.changed_us {
            let latest = newest.changed_us.entry(month).or_default();
            *latest = us.max(*latest);
        }
    }

    /// The newest load of a scope.
    pub(super) fn newest(&self, scope: &str) -> Option<&Loaded> {
        self.0.get(scope)
    }

    /// All scopes with their newest loads.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (&str, &Loaded)> {
        self.0.iter().map(|(scope, loaded)| (scope.as_str(), loaded))
    }

    /// How a delivery stands to what is loaded of its scope.
    pub(super) fn standing(&self, scope: &str, delivery: &str, delivered_us: Option<i64>) -> Standing {
        let Some(loaded) = self.0.get(scope) else { return Standing::New(1) };
        if loaded.delivery == delivery {
            return Standing::Same;
        }
        match loaded.delivered_us.filter(|loaded| delivered_us.is_some_and(|delivered| delivered < *loaded)) {
            Some(later) => Standing::Older(later),
            None => Standing::New(loaded.revision + 1),
        }
    }

    /// The revision that a load has that is asked for in any case.
    pub(super) fn next_revision(&self, scope: &str) -> i64 {
        self.0.get(scope).map_or(1, |loaded| loaded.revision + 1)
    }

    /// What is known of a month of an export; of one scope perhaps by a load that is not noted yet.
    pub(super) fn facts(&self, export: &str, month: NaiveDate, new: Option<(&str, &Loaded)>) -> Facts {
        let has_it = |loaded: &&Loaded| loaded.export == export && loaded.months.contains(&month);
        let stands = self.scopes().filter(|(scope, _)| new.is_none_or(|(replaced, _)| replaced != *scope));
        let finals = stands.map(|(_, loaded)| loaded).chain(new.map(|(_, loaded)| loaded)).filter(has_it);
        let is_final = finals
            .map(|loaded| loaded.is_final)
            .reduce(|one, other| one.zip(other).map(|(one, other)| one && other))
            .flatten();
        // What a load that is replaced changed, was a change all the same.
        let all = self.0.values().chain(new.map(|(_, loaded)| loaded)).filter(|loaded| loaded.export == export);
        Facts {
            is_final,
            changed_us: all.filter_map(|loaded| loaded.changed_us.get(&month).copied()).max().unwrap_or_default(),
        }
    }

    /// Another export that has the same costs as one, and whose they are.
    pub(super) fn rival<'a>(&'a self, export: &str, covers: &'a BTreeSet<Covered>) -> Option<(&'a str, &'a Covered)> {
        let others = self.0.values().filter(|loaded| loaded.export != export);
        let mut both = others.flat_map(|loaded| loaded.covers.intersection(covers).map(move |of| (loaded, of)));
        both.next().map(|(loaded, of)| (loaded.export.as_str(), of))
    }

    /// How far every export is.
    pub(super) fn freshness(&self) -> BTreeMap<String, Freshness> {
        let mut all: BTreeMap<String, Freshness> = BTreeMap::new();
        for loaded in self.0.values() {
            let of = all.entry(loaded.export.clone()).or_default();
            of.delivered_us = of.delivered_us.max(loaded.delivered_us.unwrap_or(loaded.loaded_us));
            of.complete_through_us = of.complete_through_us.max(loaded.complete_through_us);
            of.scopes += 1;
        }
        all
    }
}

/// Do all rows have their invoice? Those of Google Cloud, Oracle Cloud and by hand have one from the begin or never, in FOCUS too.
pub(super) fn is_final(format: &str, rows_without_invoice: i64, covers: &BTreeSet<Covered>) -> Option<bool> {
    let is_early = covers.iter().any(|of| EARLY.iter().any(|issuer| of.issuer.contains(issuer)));
    (matches!(format, "focus" | "aws" | "azure") && !is_early).then_some(rows_without_invoice == 0)
}

/// Rows of the ledger.
struct Rows<'a>(&'a RecordBatch);

impl Rows<'_> {
    fn texts(&self, name: &str) -> Result<ArrayRef> {
        stored::column(self.0, name, &DataType::Utf8)
    }

    fn times(&self, name: &str) -> Result<impl Fn(usize) -> Option<i64> + use<>> {
        let column = stored::column(self.0, name, &schemas::timestamp())?;
        let times = column.as_primitive::<TimestampMicrosecondType>().clone();
        Ok(move |row: usize| times.is_valid(row).then(|| times.value(row)))
    }

    fn counts(&self, name: &str) -> Result<impl Fn(usize) -> Option<i64> + use<>> {
        let column = stored::column(self.0, name, &DataType::Int64)?;
        let counts = column.as_primitive::<Int64Type>().clone();
        Ok(move |row: usize| counts.is_valid(row).then(|| counts.value(row)))
    }

    /// The items of a list of a row, and its fields if they are structs.
    fn list(&self, name: &str, row: usize) -> Result<ArrayRef> {
        let list = self.0.column_by_name(name).and_then(|column| column.as_list_opt::<i32>());
        let lacks = || Error::new(ErrorKind::Corrupt, format!("the ledger's column is no list: column={name}"));
        Ok(list.ok_or_else(lacks)?.value(row))
    }

    fn months(&self, name: &str, row: usize) -> Result<Vec<NaiveDate>> {
        let months = arrow::compute::cast(&self.list(name, row)?, &schemas::date())?;
        Ok(months
            .as_primitive::<Date32Type>()
            .values()
            .iter()
            .filter_map(|day| Date32Type::to_naive_date_opt(*day))
            .collect())
    }

    fn covers(&self, row: usize) -> Result<BTreeSet<Covered>> {
        let items = self.list("covers", row)?;
        let [issuers, accounts] = ["issuer", "account"].map(|field| field_texts(&items, field));
        let (issuers, accounts) = (issuers?, accounts?);
        let months = arrow::compute::cast(&field(&items, "month")?, &schemas::date())?;
        let months = months.as_primitive::<Date32Type>();
        let covered = |at: usize| Covered {
            issuer: issuers.as_string::<i32>().value(at).to_owned(),
            account: accounts.as_string::<i32>().value(at).to_owned(),
            month: Date32Type::to_naive_date_opt(months.value(at)).unwrap_or_default(),
        };
        Ok((0..items.len()).map(covered).collect())
    }

    fn files(&self, row: usize) -> Result<Vec<LedgerFile>> {
        let items = self.list("files", row)?;
        let [names, digests, etags] = ["path", "digest", "etag"].map(|field| field_texts(&items, field));
        let (names, digests, etags) = (names?, digests?, etags?);
        let text = |texts: &ArrayRef, at: usize| texts.as_string::<i32>().value(at).to_owned();
        let file = |at| (text(&names, at), text(&digests, at), etags.is_valid(at).then(|| text(&etags, at)));
        Ok((0..items.len()).map(file).collect())
    }
}

fn field(items: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let column = items.as_struct_opt().and_then(|items| items.column_by_name(name));
    let lacks = || Error::new(ErrorKind::Corrupt, format!("a list of the ledger lacks a field: field={name}"));
    column.cloned().ok_or_else(lacks)
}

fn field_texts(items: &ArrayRef, name: &str) -> Result<ArrayRef> {
    Ok(arrow::compute::cast(&field(items, name)?, &DataType::Utf8)?)
}

/// What is asked for cannot be loaded; says why.
pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(revision: i64, delivery: &str, delivered_us: Option<i64>) -> Loaded {
        Loaded { revision, delivery: delivery.to_owned(), delivered_us, ..Loaded::default() }
    }

    #[test]
    fn a_delivery_is_new_the_same_or_older() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.standing("a", "x", None), Standing::New(1));
        ledger.note("a", loaded(1, "x", Some(10)));
        ledger.note("a", loaded(2, "y", Some(20)));
        ledger.note("a", loaded(1, "x", Some(10)));
        assert_eq!(ledger.standing("a", "y", Some(20)), Standing::Same);
        assert_eq!(ledger.standing("a", "x", Some(10)), Standing::Older(20));
        assert_eq!(ledger.standing("a", "z", Some(20)), Standing::New(3), "what came at the same time is another");
        assert_eq!(ledger.standing("a", "z", None), Standing::New(3), "nobody knows when it was delivered");
        assert_eq!(ledger.next_revision("a"), 3);
        assert_eq!(ledger.next_revision("b"), 1);
    }

    #[test]
    fn what_two_exports_both_have_is_found() {
        let covered = |account: &str| Covered {
            issuer: "AWS".to_owned(),
            account: account.to_owned(),
            month: NaiveDate::from_ymd_opt(2026, 11, 1).unwrap(),
        };
        let mut ledger = Ledger::default();
        let covers = BTreeSet::from([covered("1"), covered("2")]);
        ledger.note("one/2026-11", Loaded { export: "one".to_owned(), covers, ..loaded(1, "x", None) });
        let covers = BTreeSet::from([covered("2"), covered("3")]);
        assert_eq!(ledger.rival("two", &covers), Some(("one", &covered("2"))));
        assert_eq!(ledger.rival("one", &covers), None, "an export is no rival of itself");
        assert_eq!(ledger.rival("two", &BTreeSet::from([covered("3")])), None);
    }

    #[test]
    fn a_month_is_as_final_as_all_of_its_scopes() {
        let month = NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
        let part = |is_final, changed_us| Loaded {
            export: "e".to_owned(),
            months: vec![month],
            is_final,
            changed_us: BTreeMap::from([(month, changed_us)]),
            ..loaded(1, "x", None)
        };
        let mut ledger = Ledger::default();
        ledger.note("e/a", part(Some(true), 5));
        assert_eq!(ledger.facts("e", month, None), Facts { is_final: Some(true), changed_us: 5 });
        ledger.note("e/b", part(Some(false), 9));
        assert_eq!(ledger.facts("e", month, None), Facts { is_final: Some(false), changed_us: 9 });
        let new = part(Some(true), 20);
        let facts = Facts { is_final: Some(true), changed_us: 20 };
        assert_eq!(ledger.facts("e", month, Some(("e/b", &new))), facts, "what is replaced is final no more or less");
        let other = NaiveDate::from_ymd_opt(2026, 10, 1).unwrap();
        assert_eq!(
            ledger.facts("e", other, None),
            Facts { is_final: None, changed_us: 0 },
            "of another month nothing is known"
        );
        ledger.note("e/a", Loaded { revision: 2, ..part(None, 0) });
        assert_eq!(ledger.facts("e", month, None), Facts { is_final: None, changed_us: 9 });
    }
}
