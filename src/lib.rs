//! Streamgauge's binary as a library, so that tests can reach its parts: settings, access, HTTP, and what runs them.
//!
//! Start reading at [`cli`] (what can be asked), then [`app`] (what runs and how it stops), [`http`] (what is answered),
//! [`config`], [`auth`], [`tls`].
//!
//! Invariant: this crate knows every other one and none knows it. Not here: anything about datasets, tables or queries.

mod address;
pub mod app;
pub mod auth;
pub mod backup;
pub mod billing;
mod books;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod flight_sql;
pub mod focus;
pub mod folder;
pub mod glue;
pub mod http;
pub mod import;
pub mod incident;
pub mod postgres;
pub mod promql;
pub mod receivers;
pub mod reload;
pub mod restore;
pub mod retention;
pub mod rules;
pub mod sql;
pub mod telemetry;
mod times;
pub mod tls;
pub mod upkeep;
