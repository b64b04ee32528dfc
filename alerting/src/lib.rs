//! Rules, routing and notifiers.
//!
//! What the program asks and keeps, it asks and keeps through traits that `src/` implements: nothing here compiles DataFusion or `storage`,
//! reads a clock or starts a task.

mod error;
mod labels;
pub mod template;

pub use error::{Error, ErrorKind, Result};
pub use labels::{ALERTNAME, Labels};
