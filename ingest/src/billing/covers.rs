//! Whose costs a load has: by issuer, billing account and month.
//!
//! Collected by loads from the rows they write. Two exports that have the same would make every total twice what it is, so the ledger
//! looks for such. Invariant: bounded; a bill of more accounts than that is of a reseller, whose accounts are others' too.

use std::collections::BTreeSet;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Date32Type, Int32Type},
};
use chrono::NaiveDate;
use hashbrown::HashSet;

/// Accounts and months of one load that are looked at.
const COVERED_MAX: usize = 10_000;

/// Whose costs, and of which month.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Covered {
    /// Who invoices.
    pub issuer: String,
    /// The account that is billed.
    pub account: String,
    /// First day of the billing month.
    pub month: NaiveDate,
}

/// Adds whose costs rows are.
pub(super) fn add(rows: &RecordBatch, covers: &mut BTreeSet<Covered>) {
    let texts = |name| rows.column_by_name(name).and_then(|column| column.as_dictionary_opt::<Int32Type>());
    let (Some(issuers), Some(accounts)) = (texts("InvoiceIssuerName"), texts("BillingAccountId")) else { return };
    let Some(months) = rows.column_by_name("x_BillingMonth").and_then(|column| column.as_primitive_opt::<Date32Type>())
    else {
        return;
    };
    let (issuer_texts, account_texts) = (issuers.values().as_string::<i32>(), accounts.values().as_string::<i32>());
    // Keys are numbers: a batch has few of them, and all rows are looked at.
    let keys: HashSet<(usize, usize, i32)> = (0..rows.num_rows())
        .filter_map(|row| {
            Some((issuers.key(row)?, accounts.key(row)?, months.is_valid(row).then(|| months.value(row))?))
        })
        .collect();
    for (issuer, account, month) in keys {
        if covers.len() == COVERED_MAX {
            return;
        }
        covers.insert(Covered {
            issuer: issuer_texts.value(issuer).to_owned(),
            account: account_texts.value(account).to_owned(),
            month: Date32Type::to_naive_date_opt(month).unwrap_or_default(),
        });
    }
}
