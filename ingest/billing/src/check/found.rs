//! Counts violations: how many rows each rule has, and what the first of them were.
//!
//! Filled by the checker, read when a file is at its end.
//!
//! Invariants: a row counts once for a rule, however often it violates it; memory is bounded by the number of rules.

use super::{RULES, Rule, Sample, Violation};

/// Rows of a rule that are kept with their values.
const FIRST_MAX: usize = 3;
/// Characters of a value that are kept.
const VALUE_CHARS_MAX: usize = 120;

/// What was found so far, by the rule's place in [`RULES`].
#[derive(Debug)]
pub(super) struct Found {
    tallies: Vec<Tally>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    rows: u64,
    last_row: u64,
    first: Vec<Sample>,
}

/// A row: its number from 1, and the line it begins in.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub row: u64,
    pub line: u64,
}

impl Found {
    pub(super) fn new() -> Self {
        Self { tallies: vec![Tally::default(); RULES.len()] }
    }

    /// Counts a row; its value is made up only if it is among the first.
    pub(super) fn row(&mut self, rule: usize, at: At, value: impl FnOnce() -> String) {
        let Some(tally) = self.tallies.get_mut(rule) else { return };
        if tally.last_row == at.row {
            return;
        }
        (tally.rows, tally.last_row) = (tally.rows + 1, at.row);
        if tally.first.len() < FIRST_MAX {
            let value = value();
            let value =
                value.char_indices().nth(VALUE_CHARS_MAX).map_or(value.as_str(), |(end, _)| value.split_at(end).0);
            tally.first.push(Sample { line: at.line, value: value.to_owned() });
        }
    }

    /// What was found, with what headers say, which all rows have: those of musts first, and of them those of most rows.
    pub(super) fn sorted(&self, header: Vec<(usize, Vec<String>)>, rows: u64) -> Vec<Violation> {
        let all = |(rule, values): (usize, Vec<String>)| {
            let first = values.into_iter().take(FIRST_MAX).map(|value| Sample { line: 1, value }).collect();
            Some(Violation { rule: RULES.get(rule)?, rows, is_of_header: true, first })
        };
        let of_rows = RULES.iter().zip(&self.tallies).filter(|(_, tally)| tally.rows > 0);
        let of_rows = of_rows.map(|(rule, tally): (&'static Rule, _)| Violation {
            rule,
            rows: tally.rows,
            is_of_header: false,
            first: tally.first.clone(),
        });
        let mut found: Vec<_> = header.into_iter().filter_map(all).chain(of_rows).collect();
        found.sort_by_key(|violation| (violation.rule.level, std::cmp::Reverse(violation.rows), violation.rule.id));
        found
    }
}
