//! Answers SQL over storage's views: read-only, bounded, streamed.
//!
//! Called by the composition root, which builds an [`Engine`] from a [`Catalog`] and serves [`router`]; the command line
//! uses the same engine and [`mod@format`]. A query's way: `gate` (one read-only statement) → one view per dataset,
//! fixed for the query → DataFusion plans over `table` (a dataset), `metrics` (samples with their labels) and `views` (SQL over both),
//! with `functions` of ours, joins to the nearest in time (`asof`) and PromQL as tables (`calls`) → a stream of batches under limits → `format` and `http`. Series are found by a [`Selector`] and [`Engine::series`].
//!
//! Invariants: nothing here writes; SQL reaches no file, URL or store but the tables' own; every query has a memory limit, a
//! time limit and a row limit; dropping an answer cancels its query; a query sees the samples before the series, so a sample
//! never lacks its labels.
//! Not here: what a view is (`storage`), what datasets there are (`schemas`), authentication (the binary).

mod ahead;
mod asof;
mod calls;
mod comments;
mod cut;
mod decimal;
mod engine;
mod error;
mod evaluate;
mod exemplars;
mod filter;
pub mod format;
mod functions;
mod gate;
mod http;
mod index;
mod metadata;
mod meter;
mod metrics;
mod names;
mod native;
mod parameters;
mod raw;
mod running;
pub mod saved;
mod series;
mod statement;
mod system;
mod table;
#[cfg(test)]
mod testing;
pub mod types;
mod views;

pub use ahead::ahead;
pub use billing::{TagRules, Tags};
pub use comments::comment;
pub use engine::{Answer, Catalog, Config, Engine};
pub use error::{Error, ErrorKind, Fault, Position, Result};
pub use evaluate::{Found, Loaded, PromqlConfig, When};
pub use http::{Asked, RulesAsked, check_range, duration_ms, failure, json, no_such_group, router};
pub use index::Counts;
pub use parameters::{Described, Parameter, sql_type};
pub use promql::{Features, Query, Selector, Syntax, quoted};
pub use running::Asking;
pub use series::{Series, Wanted};
pub use storage::Random;
