//! Joins alerting to the rest: what it writes down goes through storage, what it asks through the engine, what it sends through HTTP and mail.
//!
//! Called by `app`, which runs it all. Not here: what a rule, a group or a notification is (`alerting`).

pub mod carrier;
pub mod forward;
pub mod heartbeat;
mod kept;
pub mod mailer;
pub mod meter;
pub mod questions;
pub mod record;
pub mod replay;
pub mod rows;
pub mod rules;
pub mod service;
pub mod telling;
pub mod world;
