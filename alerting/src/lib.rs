//! The place of rules, routing and notifiers, which are not built yet.
//!
//! It stands in the workspace now so that its border does: alerting will ask and record through two traits of its own,
//! implemented in `src/`, and compile neither DataFusion nor `storage`. The tidy test holds that from the start.
