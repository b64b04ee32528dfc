//! Rules, routing and notifiers.
//!
//! What it asks, keeps and sends, it does so through traits that `src/` implements: nothing here compiles DataFusion or `storage`, reads a
//! clock or opens a connection.

pub mod alertmanager;
pub mod alerts;
pub mod dedup;
pub mod dispatch;
mod error;
mod labels;
pub mod matcher;
pub mod notify;
pub mod outbox;
pub mod rows;
pub mod silence;

pub use error::{Error, ErrorKind, Result};
pub use labels::{ALERTNAME, Labels};
