//! Views written in SQL: what people ask of costs, under names of its own.
//!
//! Called by the engine, once per query. A view is a value: a name, a sentence, and a text in `views/`, whose first lines say what its
//! columns mean. It is planned as if its text stood where its name does, with the same session, so filters and columns reach the tables
//! behind it.
//!
//! Invariants: a view is planned when it is asked for, so a query that names none pays nothing; a view reads tables of one cut, that of
//! its query. Not here: what is no table of ours cannot be read by a view either (`gate` checks its text like any other).

mod spread;
mod tables;

pub(crate) use tables::{CATALOG, SCHEMA, Tables};

/// A view.
#[derive(Debug)]
pub(crate) struct View {
    /// Name of the table that it is in SQL.
    pub name: &'static str,
    /// What a row is, in one sentence.
    pub about: &'static str,
    /// Its text. Lines at its begin, `-- column: sentence`, say what its columns are.
    pub sql: &'static str,
}

impl View {
    /// What is said of a column: by its name, by the end of its name, or of all that nothing else is said of.
    pub(crate) fn meaning(&self, column: &str) -> Option<&'static str> {
        let said = || self.sql.lines().map_while(|line| line.strip_prefix("-- ")?.split_once(": "));
        let exact = said().find(|(name, _)| *name == column);
        let ends = || said().find(|(name, _)| name.strip_prefix('*').is_some_and(|end| column.ends_with(end)));
        exact.or_else(ends).map(|(_, sentence)| sentence)
    }
}

/// Every view, in the order in which they are documented.
pub(crate) static VIEWS: [View; 9] = [
    View {
        name: "costs_as_incurred",
        about: "Costs by the month in which they arose: a correction is in the month of the charge that it corrects.",
        sql: include_str!("views/costs_as_incurred.sql"),
    },
    View {
        name: "costs_as_invoiced",
        about: "Costs by the month in which they are billed: a correction is in the month of its invoice.",
        sql: include_str!("views/costs_as_invoiced.sql"),
    },
    View {
        name: "costs_spread",
        about: "`costs`, with charges for more than a day cut at midnight UTC, so that a year's fee is in each of its days.",
        sql: include_str!("views/costs_spread.sql"),
    },
    View {
        name: "savings",
        about: "What negotiated prices and commitments saved against list prices, of a billed month, account and service.",
        sql: include_str!("views/savings.sql"),
    },
    View {
        name: "commitments",
        about: "What was used of a commitment in a billed month, and what of its services commitments cover.",
        sql: include_str!("views/commitments.sql"),
    },
    View {
        name: "untagged",
        about: "What lacks a mandatory tag, of a billed month, account and service; once for each tag.",
        sql: include_str!("views/untagged.sql"),
    },
    View {
        name: "billing_periods",
        about: "How far the bill of a month is, and what is loaded of it, by export and currency.",
        sql: include_str!("views/billing_periods.sql"),
    },
    View {
        name: "billing_freshness",
        about: "How old what is loaded of an export is.",
        sql: include_str!("views/billing_freshness.sql"),
    },
    View {
        name: "invoice_reconciliation",
        about: "An invoice against the costs that are on it.",
        sql: include_str!("views/invoice_reconciliation.sql"),
    },
];

#[cfg(test)]
mod tests;
