//! Turns what senders send into rows and hands them to `storage`.
//!
//! Called by the composition root, which merges the routers; hands [`storage::Batch`]es to [`storage::Storage`].
//!
//! Invariants: a decoder returns rows and rejects, so a bad row never costs its neighbours; every body, count and queue has
//! a limit that is checked before memory is taken; nothing is acknowledged before storage says that it is durable.
//! Not here: keeping rows (`storage`), asking for them (`query`), authentication (the composition root).

pub mod billing;
mod error;
pub mod openmetrics;
pub mod protobuf;
pub mod remote_read;
pub mod remote_write;
pub mod samples;
mod stored;
pub mod tsdb;

pub use error::{Error, ErrorKind, Result};
