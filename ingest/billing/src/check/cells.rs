//! Looks at the values of a row one by one: which are null, and what do the others say?
//!
//! Called by the checker for each row. Neighbouring rows mostly have the same texts, so what was found of the last one is kept beside each
//! column.
//!
//! Invariants: a text that stands for null is one finding, and null for all other rules.

use super::{
    NULL_EMPTY, NULL_PLACEHOLDER, NULL_QUOTED, Scope,
    columns::{Column, Facts, Kind},
    found::{At, Found},
    lists::{self, Keys, Value},
    objects::{self, Known},
    rule, values,
};
use crate::record::{Record, Wire};

/// A column of FOCUS that the file has.
#[derive(Debug)]
pub(super) struct Cell {
    slot: usize,
    pub column: Column,
    /// Place of the rule that says how its values look.
    format: usize,
    look: Look,
    /// The text of the last row, and what was found of it.
    last: String,
    found: Looked,
}

/// How values of a column are looked at.
#[derive(Debug)]
enum Look {
    Nothing,
    Number,
    Price,
    /// A time, its place in [`TIMES`]; where the container has times, there is no text to look at.
    Time {
        place: usize,
        is_typed: bool,
    },
    Currency {
        may_be_virtual: bool,
    },
    Values(&'static [Value]),
    Subcategory,
    Unit,
    Pairs(Known),
    Elements(&'static Keys, Known),
}

/// What was found of a value.
#[derive(Clone, Copy, Debug, Default)]
struct Looked {
    is_good: bool,
    flags: u32,
    us: Option<i64>,
}

/// Places of the rules that hold for every column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    placeholder: usize,
    empty: usize,
    quoted: usize,
}

/// A row whose values were looked at.
pub(super) struct Row<'a> {
    pub record: &'a Record<'a>,
    pub at: At,
    pub flags: u32,
    pub nulls: u128,
    times: [Option<i64>; TIMES.len()],
}

/// Columns of times, in the order of [`Row::times`].
const TIMES: [Column; 4] =
    [Column::BillingPeriodStart, Column::BillingPeriodEnd, Column::ChargePeriodStart, Column::ChargePeriodEnd];

impl Cell {
    pub(super) fn new(facts: &'static Facts, slot: usize, wire: u8, scope: Scope) -> Self {
        let look = match facts.kind {
            Kind::Text => Look::Nothing,
            Kind::Number => Look::Number,
            Kind::Price => Look::Price,
            Kind::Time => {
                let place = TIMES.iter().position(|time| *time == facts.column).unwrap_or(TIMES.len());
                Look::Time { place, is_typed: wire & Wire::TIME != 0 }
            }
            Kind::Currency => Look::Currency { may_be_virtual: false },
            Kind::AnyCurrency => Look::Currency { may_be_virtual: true },
            Kind::Values(values) => Look::Values(values),
            Kind::Subcategory => Look::Subcategory,
            // How units are written is advice.
            Kind::Unit if scope == Scope::Musts => Look::Nothing,
            Kind::Unit => Look::Unit,
            // Maps and lists of Parquet come as JSON that we wrote.
            Kind::Pairs if wire & Wire::OTHER != 0 => Look::Nothing,
            Kind::Pairs => Look::Pairs(Known::new()),
            Kind::Elements(keys) => Look::Elements(keys, Known::new()),
        };
        let found = Looked { is_good: true, ..Looked::default() };
        Self { slot, column: facts.column, format: rule(facts.ids.format), look, last: String::new(), found }
    }

    /// Looks at the value of a row.
    pub(super) fn read(&mut self, row: &mut Row<'_>, found: &mut Found, places: Places) {
        let record = row.record;
        if record.is_empty(self.slot) {
            row.nulls |= self.column.bit();
            self.forget();
            if record.is_empty_text(self.slot) {
                // Whoever quotes all fields of CSV has no other null.
                let place = if record.is_quoted(self.slot) { places.quoted } else { places.empty };
                found.row(place, row.at, || self.column.name().to_owned());
            }
            return;
        }
        let text = record.get(self.slot);
        let is_known = self.last == text;
        if !is_known && values::is_placeholder(text) {
            row.nulls |= self.column.bit();
            self.forget();
            found.row(places.placeholder, row.at, || format!("{}={text}", self.column.name()));
            return;
        }
        let is_good = if is_known { self.found.is_good } else { self.look(text) };
        row.flags |= self.found.flags;
        if let Look::Time { place, .. } = self.look
            && let Some(time) = row.times.get_mut(place)
        {
            *time = self.found.us;
        }
        if !is_good {
            found.row(self.format, row.at, || text.to_owned());
        }
    }

    /// Null has no time and no flags.
    fn forget(&mut self) {
        if !self.last.is_empty() {
            self.last.clear();
            self.found = Looked::default();
        }
    }

    fn look(&mut self, text: &str) -> bool {
        match &mut self.look {
            Look::Nothing => return true,
            Look::Number => return values::is_number(text),
            Look::Price => return values::is_number(text) && !values::is_negative(text),
            Look::Pairs(known) => return known.recall(text, objects::is_flat),
            Look::Elements(keys, known) => return known.recall(text, |text| objects::has_elements(text, keys)),
            _ => {}
        }
        self.found = self.look_anew(text);
        self.last.clear();
        self.last.push_str(text);
        self.found.is_good
    }

    fn look_anew(&self, text: &str) -> Looked {
        let judged = |is_good| Looked { is_good, ..Looked::default() };
        match &self.look {
            Look::Time { is_typed, .. } => {
                let (us, is_exact) = values::moment(text);
                Looked { is_good: is_exact || *is_typed, us, flags: 0 }
            }
            Look::Currency { may_be_virtual } => judged(values::is_currency(text, *may_be_virtual)),
            Look::Values(values) => {
                let known = values.iter().find(|(value, _)| *value == text);
                Looked { is_good: known.is_some(), flags: known.map_or(0, |(_, flag)| *flag), us: None }
            }
            Look::Subcategory => judged(lists::category_of(text).is_some()),
            Look::Unit => judged(values::is_unit(text)),
            _ => judged(true),
        }
    }
}

impl Places {
    pub(super) fn new() -> Self {
        Self { placeholder: rule(NULL_PLACEHOLDER), empty: rule(NULL_EMPTY), quoted: rule(NULL_QUOTED) }
    }
}

impl<'a> Row<'a> {
    pub(super) fn new(record: &'a Record<'a>, at: At) -> Self {
        Self { record, at, flags: 0, nulls: 0, times: [None; TIMES.len()] }
    }

    /// The time in a column, microseconds since the epoch; none if there is none that can be read.
    pub(super) fn time(&self, column: Column) -> Option<i64> {
        TIMES.iter().zip(&self.times).find(|(time, _)| **time == column).and_then(|(_, us)| *us)
    }
}
