//! Exact decimals: amounts of money and quantities, to the last digit.
//!
//! Registered in the session of every query. DataFusion's own arithmetic does not do for money: its `sum` wraps, its products and
//! quotients overflow at small values, its numbers with a point are floats. Why and what instead:
//! `docs/decisions/0016-decimals-are-exact.md`.
//!
//! A statement's numbers are prepared (`literals`), operators planned (`plan`) as functions over 256 bits (`arithmetic`, `convert`),
//! and `sum` and `avg` replaced (`aggregate`). Floats and integers among themselves stay DataFusion's.

mod accumulate;
mod aggregate;
mod arithmetic;
mod convert;
mod groups;
mod literals;
mod plan;
mod shape;
mod total;
mod wide;

pub(crate) use aggregate::aggregates;
pub(crate) use literals::prepare;
pub(crate) use plan::{Planner, Rule};
pub(crate) use wide::{DIGITS_MAX as MONEY_DIGITS, narrow, rescale};

#[cfg(test)]
mod tests;
