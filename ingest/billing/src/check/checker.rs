//! Runs the rules over rows: what a header leaves of the tables, and the state that rows need of each other.
//!
//! Made by a check or a load for a header, and given each record. A row is gone through twice: its values one by one, which tells which are
//! null and what flags it has (`cells`), then the rules between them. Most of these follow from nulls and flags alone, and a file has few
//! kinds of rows in this, so what follows is worked out once for each kind.
//!
//! Invariants: memory is bounded by the tables, whatever the rows.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    Level, RECORD, Scope, Version, Violation,
    cells::{Cell, Places, Row},
    columns::{COLUMNS, Column, Facts, Nulls},
    found::{At, Found},
    header, lists,
    rows::{ROW_RULES, RowRule, Test},
    rule,
    unique::{KEYS_MAX, Unique},
    values,
};
use crate::record::{Header, Record};

/// A file that is checked.
#[derive(Debug)]
pub(crate) struct Checker {
    forced: Option<Version>,
    version: Version,
    scope: Scope,
    /// Columns of the header that the plan was made for.
    columns: usize,
    cells: Vec<Cell>,
    /// Columns that have no nulls, and for each column the place of the rule that says so.
    never_null: u128,
    given: Vec<usize>,
    /// The rules between columns.
    rules: Vec<Active>,
    /// What the rules say of rows with these flags and nulls: a file has few kinds of rows.
    shapes: HashMap<(u32, u128), Arc<Shape>>,
    /// Where each column is.
    slots: Vec<Option<usize>>,
    uniques: Vec<(&'static str, Unique)>,
    places: Places,
    found: Found,
    rows: u64,
}

/// A rule between columns that the file has.
#[derive(Clone, Copy, Debug)]
struct Active {
    place: usize,
    rule: &'static RowRule,
    /// Place in `uniques` of what it remembers.
    unique: usize,
}

/// What follows for a row from which of its columns are null and from the flags of its values.
#[derive(Debug, Default)]
struct Shape {
    /// Places of rules that it violates, and the columns they are about.
    violated: Vec<(usize, Column)>,
    /// Rules that need its values.
    open: Vec<Active>,
}

/// Kinds of rows that are known at a time: real files have some dozen, and with more than this they are found anew.
const SHAPES_MAX: usize = 4_096;

impl Checker {
    pub(crate) fn new(header: &Header, forced: Option<Version>, scope: Scope) -> Self {
        let uniques = ROW_RULES.iter().filter(|rule| matches!(rule.test, Test::One(_)));
        let mut checker = Self {
            forced,
            version: Version::V1_0,
            scope,
            columns: 0,
            cells: Vec::new(),
            never_null: 0,
            given: COLUMNS.iter().map(|facts| rule(facts.ids.given)).collect(),
            rules: Vec::new(),
            shapes: HashMap::new(),
            slots: Vec::new(),
            uniques: uniques.map(|rule| (rule.id, Unique::new(KEYS_MAX))).collect(),
            places: Places::new(),
            found: Found::new(),
            rows: 0,
        };
        checker.plan(header);
        checker
    }

    /// Takes up columns that the header did not have before.
    pub(crate) fn adapt(&mut self, header: &Header) {
        if header.names.len() != self.columns {
            self.plan(header);
        }
    }

    /// Checks a row.
    pub(crate) fn row(&mut self, record: &Record<'_>, line: u64) {
        self.rows += 1;
        let at = At { row: self.rows, line };
        let mut row = Row::new(record, at);
        for cell in &mut self.cells {
            cell.read(&mut row, &mut self.found, self.places);
        }
        let shape = self.shape(row.flags, row.nulls);
        for (place, column) in &shape.violated {
            let slots = &self.slots;
            self.found.row(*place, at, || shown(slots, *column, &[], &row));
        }
        for active in &shape.open {
            if !self.holds(active, &row) {
                let (slots, rule) = (&self.slots, active.rule);
                self.found.row(active.place, at, || shown(slots, rule.column, &rule.test.others(), &row));
            }
        }
    }

    /// Counts what is no row.
    pub(crate) fn broken(&mut self, line: u64, reason: &str) {
        self.rows += 1;
        self.found.row(rule(RECORD), At { row: self.rows, line }, || reason.to_owned());
    }

    /// The version that is checked.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// What was found so far.
    pub(crate) fn violations(&self, header: &Header) -> Vec<Violation> {
        let mut found = self.found.sorted(header::violations(header, self.version), self.rows);
        found.retain(|violation| self.is_asked(violation.rule.level));
        found
    }

    /// Rules that had too many keys.
    pub(crate) fn partly(&self) -> Vec<&'static str> {
        self.uniques.iter().filter(|(_, unique)| unique.is_full()).map(|(id, _)| *id).collect()
    }

    fn is_asked(&self, level: Level) -> bool {
        self.scope == Scope::All || level == Level::Must
    }

    fn plan(&mut self, header: &Header) {
        self.columns = header.names.len();
        let present = header::present(header);
        self.version = self.forced.unwrap_or_else(|| header::told(present));
        self.cells.clear();
        self.slots = vec![None; COLUMNS.len()];
        for (slot, name) in header.names.iter().enumerate() {
            let Some(facts) = header::column_of(name).filter(|facts| facts.level(self.version) != b'-') else {
                continue;
            };
            // Of two columns of one name the first counts, as it does in a load.
            let Some(known @ None) = self.slots.get_mut(facts.column as usize) else { continue };
            *known = Some(slot);
            self.cells.push(Cell::new(facts, slot, header.wire(slot), self.scope));
        }
        let there = self.cells.iter().fold(0, |set, cell| set | cell.column.bit());
        let is_never = |facts: &&Facts| match facts.nulls {
            Nulls::Never => true,
            Nulls::Seldom => self.scope == Scope::All,
            Nulls::Maybe => false,
        };
        self.never_null = COLUMNS.iter().filter(is_never).fold(0, |set, facts| set | facts.column.bit()) & there;
        let is_active = |rule: &&RowRule| {
            let is_there = rule.needs() & there == rule.needs();
            is_there && rule.versions & (1 << self.version as u8) != 0 && self.is_asked(rule.level)
        };
        let active = |of: &'static RowRule| {
            let unique = self.uniques.iter().position(|(id, _)| *id == of.id).unwrap_or(self.uniques.len());
            Active { place: rule(of.id), rule: of, unique }
        };
        self.rules = ROW_RULES.iter().filter(is_active).map(active).collect();
        self.shapes.clear();
    }

    /// What the rules say of rows with these flags and nulls.
    fn shape(&mut self, flags: u32, nulls: u128) -> Arc<Shape> {
        if let Some(shape) = self.shapes.get(&(flags, nulls)) {
            return Arc::clone(shape);
        }
        let mut shape = Shape::default();
        for facts in COLUMNS.iter().filter(|facts| nulls & self.never_null & facts.column.bit() != 0) {
            shape.violated.extend(self.given.get(facts.column as usize).map(|place| (*place, facts.column)));
        }
        for active in self.rules.iter().filter(|active| active.rule.when.holds(flags, nulls)) {
            let column = active.rule.column;
            let is_null = nulls & column.bit() != 0;
            let is_good = match active.rule.test {
                Test::Null => is_null,
                Test::Given => !is_null,
                Test::Is(flag) => is_null || flags & flag != 0,
                Test::IsNot(flag) => flags & flag == 0,
                _ => {
                    shape.open.push(*active);
                    continue;
                }
            };
            if !is_good {
                shape.violated.push((active.place, column));
            }
        }
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.clear();
        }
        let shape = Arc::new(shape);
        self.shapes.insert((flags, nulls), Arc::clone(&shape));
        shape
    }

    /// Does a rule hold that needs values? It does if what it compares cannot be read, which other rules say.
    fn holds(&mut self, active: &Active, row: &Row<'_>) -> bool {
        let text = |column| text_of(&self.slots, column, row);
        let column = active.rule.column;
        match active.rule.test {
            // What the shape of the row says already.
            Test::Null | Test::Given | Test::Is(_) | Test::IsNot(_) => true,
            Test::Zero => !values::is_number(text(column)) || values::is_zero(text(column)),
            Test::Product(price, quantity) => {
                values::is_product(text(column), text(price), text(quantity)).unwrap_or(true)
            }
            Test::Same(other) => values::is_same_money(text(column), text(other)).unwrap_or(true),
            Test::Before(other) => row.time(column).zip(row.time(other)).is_none_or(|(time, other)| time < other),
            Test::MonthStart => row.time(column).is_none_or(values::is_month_start),
            Test::One(other) => {
                let (key, value) = (text(column), text(other));
                self.uniques.get_mut(active.unique).is_none_or(|(_, unique)| unique.is_same(key, value))
            }
            Test::Below(other) => lists::category_of(text(column)).is_none_or(|category| category == text(other)),
        }
    }
}

/// The text of a column in a row.
fn text_of<'a>(slots: &[Option<usize>], column: Column, row: &Row<'a>) -> &'a str {
    row.record.of(slots.get(column as usize).copied().flatten())
}

/// What a row has in a column, and in others that it is compared with.
fn shown(slots: &[Option<usize>], column: Column, others: &[Column], row: &Row<'_>) -> String {
    let text = |column: Column| if row.nulls & column.bit() != 0 { "null" } else { text_of(slots, column, row) };
    let others = others.iter().map(|other| format!(" {}={}", other.name(), text(*other)));
    format!("{}{}", text(column), others.collect::<String>())
}
