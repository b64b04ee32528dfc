//! Rules, routing and notifiers.
//!
//! What it asks, keeps and sends, it does so through traits that `src/` implements: nothing here compiles DataFusion or `storage`, reads a
//! clock or opens a connection.

pub mod alert;
pub mod alertmanager;
pub mod alerts;
pub mod config;
mod daily;
pub mod dedup;
pub mod dispatch;
mod error;
pub mod forward;
pub mod glob;
pub mod group;
pub mod http;
pub mod incident;
pub mod inhibit;
mod interval;
mod labels;
pub mod matcher;
pub mod memory;
pub mod notify;
pub mod outbox;
pub mod pulse;
pub mod query;
pub mod replay;
mod route;
pub mod rows;
pub mod rules;
pub mod schedule;
pub mod silence;
pub mod template;
pub mod testing;
pub mod watch;
mod yaml;

pub use config::Config;
pub use daily::Daily;
pub use error::{Error, ErrorKind, Result};
pub use inhibit::Inhibit;
pub use interval::Interval;
pub use labels::{ALERTNAME, Labels};
pub use matcher::{Matcher, Matchers, Mode, Op};
pub use route::{GroupBy, Route, Routes};
