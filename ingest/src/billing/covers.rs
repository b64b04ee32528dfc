//! Whose costs a load has: by issuer, billing account and month.
//!
//! Collected by loads from the rows they write. Two exports that have the same would make every total twice what it is, so the ledger
//! looks for such. Invariant: bounded; a bill of more accounts than that is of a reseller, whose accounts are others' too. What cannot be
//! compared is a finding.

use std::collections::BTreeSet;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Date32Type, Int32Type},
};
use chrono::NaiveDate;
use hashbrown::HashMap;

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

/// Whose costs a load has, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Covers {
    /// Those that are compared with what other exports have.
    pub all: BTreeSet<Covered>,
    /// Rows that lack an issuer or an account.
    unknown: u64,
    /// Rows of accounts beyond those that are looked at.
    beyond: u64,
}

impl Covers {
    /// Adds whose costs rows are.
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        let texts = |name| rows.column_by_name(name).and_then(|column| column.as_dictionary_opt::<Int32Type>());
        let (Some(issuers), Some(accounts)) = (texts("InvoiceIssuerName"), texts("BillingAccountId")) else { return };
        let Some(months) =
            rows.column_by_name("x_BillingMonth").and_then(|column| column.as_primitive_opt::<Date32Type>())
        else {
            return;
        };
        let (issuer_texts, account_texts) = (issuers.values().as_string::<i32>(), accounts.values().as_string::<i32>());
        // Keys are numbers: a batch has few of them, and all rows are looked at.
        let mut keys: HashMap<(usize, usize, i32), u64> = HashMap::new();
        for row in 0..rows.num_rows() {
            let month = months.is_valid(row).then(|| months.value(row));
            match (issuers.key(row), accounts.key(row), month) {
                (Some(issuer), Some(account), Some(month)) => *keys.entry((issuer, account, month)).or_default() += 1,
                _ => self.unknown += 1,
            }
        }
        for ((issuer, account, month), count) in keys {
            let covered = Covered {
                issuer: issuer_texts.value(issuer).to_owned(),
                account: account_texts.value(account).to_owned(),
                month: Date32Type::to_naive_date_opt(month).unwrap_or_default(),
            };
            if self.all.len() < COVERED_MAX {
                self.all.insert(covered);
            } else if !self.all.contains(&covered) {
                self.beyond += count;
            }
        }
    }

    /// What could not be compared: a code, and in words.
    pub(super) fn findings(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let found = |code, rows: u64, why: &str| {
            let words = format!("{code}: {rows} rows are not compared with those of other exports, because {why}");
            (rows > 0).then_some((code, words))
        };
        let beyond = format!("there are more than {COVERED_MAX} accounts and months");
        [
            found("account-unknown", self.unknown, "they lack InvoiceIssuerName or BillingAccountId"),
            found("accounts-beyond-limit", self.beyond, &beyond),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Date32Array, DictionaryArray, StringArray},
        datatypes::DataType,
    };

    use super::*;

    fn rows(accounts: impl IntoIterator<Item = Option<String>>) -> RecordBatch {
        let accounts: DictionaryArray<Int32Type> =
            arrow::compute::cast(&accounts.into_iter().collect::<StringArray>(), &schemas::dictionary())
                .map(|column| column.as_dictionary().clone())
                .unwrap();
        let issuers = StringArray::from(vec!["AWS"; accounts.len()]);
        let columns: [(&str, ArrayRef); 3] = [
            ("InvoiceIssuerName", arrow::compute::cast(&issuers, &schemas::dictionary()).unwrap()),
            ("BillingAccountId", Arc::new(accounts.clone())),
            ("x_BillingMonth", Arc::new(Date32Array::from(vec![20_000; accounts.len()]))),
        ];
        assert_eq!(columns[0].1.data_type(), &DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()));
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn what_is_not_compared_is_told() {
        let mut covers = Covers::default();
        covers.add(&rows([Some("1".to_owned()), Some("1".to_owned())]));
        assert_eq!((covers.all.len(), covers.findings().count()), (1, 0));
        covers.add(&rows([None, Some("2".to_owned())]));
        let codes = |covers: &Covers| covers.findings().map(|(code, _)| code).collect::<Vec<_>>();
        assert_eq!((covers.all.len(), codes(&covers)), (2, vec!["account-unknown"]));
        covers.add(&rows((3..=COVERED_MAX).map(|account| Some(account.to_string()))));
        assert_eq!((covers.all.len(), codes(&covers)), (COVERED_MAX, vec!["account-unknown"]));
        covers.add(&rows([Some("1".to_owned()), Some("other".to_owned()), Some("other".to_owned())]));
        assert_eq!((covers.all.len(), codes(&covers)), (COVERED_MAX, vec!["account-unknown", "accounts-beyond-limit"]));
        let words = covers.findings().last().unwrap().1;
        assert!(words.starts_with("accounts-beyond-limit: 2 rows"), "{words}");
    }
}
