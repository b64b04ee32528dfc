//! What is loaded of each scope, as `billing_loads` has it.
//!
//! Read at start, and kept by the loads after it. Answers whether a delivery is new, loaded already, or older than what is loaded.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};
use storage::Storage;

use crate::{Error, ErrorKind, Result, stored};

/// The newest load of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loaded {
    pub revision: i64,
    pub delivery: String,
    pub delivered_us: Option<i64>,
}

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

/// Newest loads by scope.
#[derive(Debug, Default)]
pub(super) struct Ledger(HashMap<String, Loaded>);

const COLUMNS: [&str; 4] = ["scope", "revision", "delivery", "delivered_at"];

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
        let column = |name: &str, data_type: &DataType| stored::column(rows, name, data_type);
        let (scopes, deliveries) = (column("scope", &DataType::Utf8)?, column("delivery", &DataType::Utf8)?);
        let (scopes, deliveries) = (scopes.as_string::<i32>(), deliveries.as_string::<i32>());
        let revisions = column("revision", &DataType::Int64)?;
        let revisions = revisions.as_primitive::<Int64Type>();
        let delivered = column("delivered_at", &schemas::timestamp())?;
        let delivered = delivered.as_primitive::<TimestampMicrosecondType>();
        for row in 0..rows.num_rows() {
            let delivered_us = delivered.is_valid(row).then(|| delivered.value(row));
            let delivery = deliveries.value(row).to_owned();
            self.note(scopes.value(row), Loaded { revision: revisions.value(row), delivery, delivered_us });
        }
        Ok(())
    }

    /// Notes a load, unless a later one is known.
    pub(super) fn note(&mut self, scope: &str, loaded: Loaded) {
        let newest = self.0.entry(scope.to_owned()).or_insert_with(|| loaded.clone());
        if newest.revision < loaded.revision {
            *newest = loaded;
        }
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
}

/// What is asked for cannot be loaded; says why.
pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(revision: i64, delivery: &str, delivered_us: Option<i64>) -> Loaded {
        Loaded { revision, delivery: delivery.to_owned(), delivered_us }
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
}
