//! Rules, routing and notifiers.
//!
//! What the program asks and keeps, it asks and keeps through traits that `src/` implements: nothing here compiles DataFusion or `storage`,
//! reads a clock or starts a task.

pub mod config;
mod error;
mod inhibit;
mod interval;
mod labels;
mod matcher;
mod route;

pub use config::Config;
pub use error::{Error, ErrorKind, Result};
pub use inhibit::Inhibit;
pub use interval::Interval;
pub use labels::{ALERTNAME, Labels};
pub use matcher::{Matcher, Matchers, Mode, Op};
pub use route::{GroupBy, Route, Routes};
