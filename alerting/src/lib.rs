//! Rules, routing and notifiers.
//!
//! What the program asks and keeps, it asks and keeps through traits that `src/` implements: nothing here compiles DataFusion or `storage`,
//! reads a clock or starts a task.

pub mod alert;
mod error;
pub mod group;
mod labels;
pub mod query;
pub mod rules;
pub mod testing;
mod yaml;

pub use error::{Error, ErrorKind, Result};
pub use labels::{ALERTNAME, Labels};
