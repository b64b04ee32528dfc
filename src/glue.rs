//! Joins alerting to the rest: what it writes down goes through storage, what it asks through the engine.
//!
//! Called by `app`, which runs it all. Not here: what a rule, a group or a notification is (`alerting`).

pub mod record;
