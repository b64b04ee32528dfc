//! Operators between two vectors that are no set operators.
//!
//! The vectors are matched once for all steps: rows are grouped by the labels that are compared, and each pair of rows of a group is
//! computed along its steps. What Prometheus finds out step by step (two partners where one is allowed) is looked for only where a
//! group has more rows than one.

use hashbrown::HashMap;

use crate::{
    Error, Labels, Result, Symbols,
    ast::{Cardinality, Matching, Operator},
    labels::Symbol,
    notes::Notes,
    plan::Operation,
    value::{Cell, Matrix, Row, is_present},
};

use super::{Evaluator, Groups, keeps_name, math, native};

impl Evaluator<'_> {
    pub(super) fn vectors(
        &mut self,
        operation: &Operation,
        matching: &Matching,
        left: Matrix,
        right: Matrix,
    ) -> Result<Matrix> {
        let pairing = Pairing::new(matching, left, right, self.symbols);
        let fills = (matching.fill_left, matching.fill_right);
        let (fill_many, fill_one) = if pairing.swaps { (fills.1, fills.0) } else { fills };
        pairing.check_one_side(matching, fill_many.is_some() || fill_one.is_some(), self.symbols)?;

        let drops_now = operation.returns_bool && !self.options.features.delayed_name_removal;
        let mut join = Join {
            matching,
            fill_many,
            fill_one,
            drops_name: drops_now || !keeps_name(operation.op),
            operate: Operate { operation, swaps: pairing.swaps, notes: &mut self.notes },
            target: Target::new(pairing.many.steps.max(pairing.one.steps), matching),
            symbols: self.symbols,
            pairing: &pairing,
        };
        for group in 0..pairing.many_of.len() {
            join.group(group)?;
        }
        let mut matrix = join.target.matrix;
        self.hold(matrix.cells.len())?;
        matrix.prune();
        self.merge(matrix)
    }
}

/// What it takes to compute the groups one after another.
struct Join<'a> {
    matching: &'a Matching,
    /// Values for what either side lacks.
    fill_many: Option<f64>,
    fill_one: Option<f64>,
    drops_name: bool,
    operate: Operate<'a>,
    target: Target,
    symbols: &'a mut Symbols,
    pairing: &'a Pairing,
}

impl Join<'_> {
    fn group(&mut self, group: usize) -> Result<()> {
        let pairing = self.pairing;
        let (many_rows, one_rows) = (&pairing.many_of[group], &pairing.one_of[group]);
        // At which steps a row of `many` had a partner; not asked of groups with one such row.
        let is_asked = self.fill_many.is_some() || many_rows.len() > 1;
        let mut at_step = vec![false; if is_asked { self.target.matrix.steps } else { 0 }];
        for many_row in many_rows {
            for one_row in one_rows {
                self.pair(group, (*many_row, *one_row), &mut at_step)?;
            }
            if let Some(fill) = self.fill_one {
                self.fill_one(group, *many_row, fill, &mut at_step)?;
            }
        }
        let Some(fill) = self.fill_many else { return Ok(()) };
        for one_row in one_rows {
            self.fill_many(group, *one_row, fill, &at_step)?;
        }
        Ok(())
    }

    fn pair(&mut self, group: usize, (many_row, one_row): (usize, usize), at_step: &mut [bool]) -> Result<()> {
        let Pairing { many, one, .. } = self.pairing;
        let row = self.row(group, &many.rows[many_row].labels, &one.rows[one_row].labels);
        let cells = [many.row(many_row), one.row(one_row)];
        let is_plain = many.histograms.is_empty() && one.histograms.is_empty();
        if is_plain && at_step.is_empty() && self.target.is_fresh(row) {
            self.operate.floats(cells, self.target.matrix.row_mut(row));
            self.target.mark(row, cells);
            return Ok(());
        }
        for step in 0..self.target.matrix.steps {
            let (Some(many), Some(one)) = (many.cell(many_row, step), one.cell(one_row, step)) else { continue };
            self.target.put(row, step, at_step, || self.operate.cell(&many, &one))?;
        }
        Ok(())
    }

    /// Where a row has no partner on the one side.
    fn fill_one(&mut self, group: usize, many_row: usize, fill: f64, at_step: &mut [bool]) -> Result<()> {
        let Pairing { many, one, one_of, .. } = self.pairing;
        let labels = &many.rows[many_row].labels;
        let filled = match_labels(labels, self.matching, self.symbols);
        let row = self.row(group, labels, &filled);
        for step in 0..self.target.matrix.steps {
            if one_of[group].iter().any(|partner| one.has(*partner, step)) {
                continue;
            }
            let Some(many) = many.cell(many_row, step) else { continue };
            self.target.put(row, step, at_step, || self.operate.cell(&many, &Cell::Float(fill)))?;
        }
        Ok(())
    }

    /// Where a row of the one side has no partner: `at_step` says where it has.
    fn fill_many(&mut self, group: usize, one_row: usize, fill: f64, at_step: &[bool]) -> Result<()> {
        let one = &self.pairing.one;
        let labels = &one.rows[one_row].labels;
        let filled = match_labels(labels, self.matching, self.symbols);
        let row = self.row(group, &filled, labels);
        for (step, _) in at_step.iter().enumerate().filter(|(_, had_partner)| !**had_partner) {
            let Some(one) = one.cell(one_row, step) else { continue };
            self.target.put(row, step, &mut [], || self.operate.cell(&Cell::Float(fill), &one))?;
        }
        Ok(())
    }

    /// The row of the result of two rows.
    fn row(&mut self, group: usize, many: &Labels, one: &Labels) -> usize {
        let labels = result_labels(many, one, self.matching, self.drops_name, self.symbols);
        self.target.row(group, labels, self.operate.operation.returns_bool)
    }
}

/// Both sides of an operator; each group has one row of `one` at each step.
struct Pairing {
    many: Matrix,
    one: Matrix,
    swaps: bool,
    many_of: Vec<Vec<usize>>,
    one_of: Vec<Vec<usize>>,
}

impl Pairing {
    fn new(matching: &Matching, left: Matrix, right: Matrix, symbols: &mut Symbols) -> Self {
        let swaps = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swaps { (right, left) } else { (left, right) };
        let mut groups = Groups::new(matching, symbols);
        let many_groups: Vec<usize> = many.rows.iter().map(|row| groups.of(&row.labels)).collect();
        let one_groups: Vec<usize> = one.rows.iter().map(|row| groups.of(&row.labels)).collect();
        let count = groups.count();
        Self { many, one, swaps, many_of: by_group(&many_groups, count), one_of: by_group(&one_groups, count) }
    }

    fn check_one_side(&self, matching: &Matching, fills: bool, symbols: &Symbols) -> Result<()> {
        for rows in self.one_of.iter().filter(|rows| rows.len() > 1) {
            for step in 0..self.one.steps {
                let mut present = rows.iter().filter(|row| self.one.has(**row, step));
                let (Some(first), Some(second)) = (present.next(), present.next()) else { continue };
                // With nothing on the other side Prometheus does not look.
                if !fills && self.many.is_empty_at(step) {
                    continue;
                }
                let labels = |row: usize| self.one.rows[row].labels.display(symbols);
                let group = match_labels(&self.one.rows[*second].labels, matching, symbols).display(symbols);
                let side = if self.swaps { "left" } else { "right" };
                let mut both = [labels(*first), labels(*second)];
                both.sort();
                return Err(Error::execution(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}];\
                     many-to-many matching not allowed: matching labels must be unique on one side",
                    both[0], both[1]
                )));
            }
        }
        Ok(())
    }
}

/// The result of an operator on vectors, as it grows.
struct Target {
    matrix: Matrix,
    /// Rows by group and labels: in another group the same labels are no error until the end.
    known: HashMap<(usize, Labels), usize>,
    /// Cells of rows that had a partner, whether they have a value or not; of rows made by one pair, empty.
    matched: Vec<Vec<bool>>,
    is_one_to_one: bool,
}

impl Target {
    fn new(steps: usize, matching: &Matching) -> Self {
        Self {
            matrix: Matrix { steps, ..Matrix::default() },
            known: HashMap::new(),
            matched: Vec::new(),
            is_one_to_one: matching.cardinality == Cardinality::OneToOne,
        }
    }

    fn row(&mut self, group: usize, labels: Labels, drops_name: bool) -> usize {
        if let Some(row) = self.known.get(&(group, labels.clone())) {
            return *row;
        }
        let row = self.matrix.push(Row { labels: labels.clone(), drops_name });
        self.known.insert((group, labels), row);
        self.matched.push(Vec::new());
        row
    }

    fn is_fresh(&self, row: usize) -> bool {
        self.matched[row].is_empty()
    }

    /// Notes where both of a pair were.
    fn mark(&mut self, row: usize, [many, one]: [&[f64]; 2]) {
        self.matched[row] = many.iter().zip(one).map(|(many, one)| is_present(*many) && is_present(*one)).collect();
    }

    /// Puts the result of a pair into a cell, which must not have had a pair. `at_step`: the steps at which the group had one.
    fn put(
        &mut self,
        row: usize,
        step: usize,
        at_step: &mut [bool],
        result: impl FnOnce() -> Option<Option<Cell>>,
    ) -> Result<()> {
        let Some(cell) = result() else { return Ok(()) };
        if self.matched[row].is_empty() {
            self.matched[row] = vec![false; self.matrix.steps];
        }
        let group_matched = at_step.get(step).copied().unwrap_or(false);
        if self.is_one_to_one && group_matched {
            return Err(Error::execution(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        if self.matched[row][step] {
            return Err(Error::execution(if self.is_one_to_one {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "multiple matches for labels: grouping labels must ensure unique matches"
            }));
        }
        self.matched[row][step] = true;
        if let Some(at) = at_step.get_mut(step) {
            *at = true;
        }
        if let Some(cell) = cell {
            self.matrix.set(row, step, cell);
        }
        Ok(())
    }
}

/// Computes pairs.
struct Operate<'a> {
    operation: &'a Operation,
    swaps: bool,
    notes: &'a mut Notes,
}

impl Operate<'_> {
    /// Along two rows of floats.
    fn floats(&mut self, [many, one]: [&[f64]; 2], out: &mut [f64]) {
        let (op, returns_bool) = (self.operation.op, self.operation.returns_bool);
        if matches!(op, Operator::TrimLower | Operator::TrimUpper) {
            for (many, one) in many.iter().zip(one).filter(|(many, one)| is_present(**many) && is_present(**one)) {
                let _ = native::operate(op, &Cell::Float(*many), &Cell::Float(*one), self.operation.span, self.notes);
            }
            return;
        }
        let (left, right) = if self.swaps { (one, many) } else { (many, one) };
        math::along(op, returns_bool, left, right, out);
    }

    /// Of two cells: `None` if they make no pair, `Some(None)` if they do and are not kept.
    fn cell(&mut self, many: &Cell, one: &Cell) -> Option<Option<Cell>> {
        let (op, returns_bool) = (self.operation.op, self.operation.returns_bool);
        let (left, right) = if self.swaps { (one, many) } else { (many, one) };
        let is_trim = matches!(op, Operator::TrimLower | Operator::TrimUpper);
        let (result, keep) = match (left, right) {
            (Cell::Float(left), Cell::Float(right)) if !is_trim => {
                if op.is_comparison() {
                    (Cell::Float(*left), math::compare(op, *left, *right))
                } else {
                    (Cell::Float(math::operate(op, *left, *right)), true)
                }
            }
            _ => native::operate(op, left, right, self.operation.span, self.notes)?,
        };
        if returns_bool {
            return Some(Some(Cell::Float(f64::from(u8::from(keep)))));
        }
        Some(keep.then_some(result))
    }
}

/// Rows by their group.
fn by_group(groups: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); count];
    for (row, group) in groups.iter().enumerate() {
        rows[*group].push(row);
    }
    rows
}

/// The labels by which a row is matched.
fn match_labels(labels: &Labels, matching: &Matching, symbols: &Symbols) -> Labels {
    let is_listed = |name: Symbol| matching.labels.iter().any(|listed| listed == symbols.text(name));
    labels.filtered(|name| is_listed(name) == matching.on && (matching.on || !name.is_of_metric()))
}

/// Labels of the result of two rows.
fn result_labels(many: &Labels, one: &Labels, matching: &Matching, drops_name: bool, symbols: &mut Symbols) -> Labels {
    let mut labels = if drops_name { many.without_metric() } else { many.clone() };
    if matching.cardinality == Cardinality::OneToOne {
        labels =
            labels.filtered(|name| matching.labels.iter().any(|listed| listed == symbols.text(name)) == matching.on);
    }
    for name in &matching.include {
        let name = symbols.number(name);
        labels = labels.with(name, one.get(name), symbols);
    }
    labels
}
