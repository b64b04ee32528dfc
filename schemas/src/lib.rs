//! Says what every dataset looks like: columns with the sentence a user reads, sort order, identity, partition, retention.
//!
//! Called by `storage` (how to write rows), `ingest` (what to build) and `query` (what to show). A dataset is a value:
//! adding one is one file here and one line in [`all`].
//!
//! Invariants: sort columns lead with the identity key; only types that Delta Lake has; timestamps are microseconds in UTC
//! with millisecond content (finer jitter costs 30 times the space of the column).
//! Not here: any code that reads or writes rows.

mod alerts;
mod billing_loads;
mod billing_periods;
mod cost_summaries;
mod costs;
mod costs_changes;
mod dataset;
mod exemplars;
mod histograms;
mod metadata;
mod notifications;
mod page;
mod reference;
mod rejects;
mod samples;
mod series;
mod silences;

pub use alerts::alerts;
pub use billing_loads::billing_loads;
pub use billing_periods::billing_period_changes;
pub use cost_summaries::{MANDATORY_TAGS, SUMMARY_AMOUNTS, SUMMARY_COLUMNS, costs_daily, costs_hourly};
pub use costs::{costs, costs_uncounted};
pub use costs_changes::costs_changes;
pub use dataset::{
    Column, Dataset, Encoding, Partition, date, dictionary, list, money, quantity, rate, string_map, string_maps,
    timestamp,
};
pub use exemplars::exemplars;
pub use histograms::histograms;
pub use metadata::metadata;
pub use notifications::notifications;
pub use page::schemas_page;
pub use reference::{accounts, exchange_rates, invoices};
pub use rejects::rejects;
pub use samples::samples;
pub use series::series;
pub use silences::silences;

/// Every dataset of the product, in the order in which they are documented.
#[must_use]
pub fn all() -> Vec<&'static Dataset> {
    vec![
        samples(),
        series(),
        histograms(),
        exemplars(),
        metadata(),
        costs(),
        costs_daily(),
        costs_hourly(),
        costs_changes(),
        costs_uncounted(),
        billing_loads(),
        billing_period_changes(),
        invoices(),
        exchange_rates(),
        accounts(),
        rejects(),
        alerts(),
        notifications(),
        silences(),
    ]
}
