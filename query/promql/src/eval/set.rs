//! `and`, `or` and `unless`.

use crate::{
    Result,
    ast::{Matching, Operator},
    value::Matrix,
};

use super::{Evaluator, binary::Groups};

impl Evaluator<'_> {
    pub(super) fn set(&mut self, op: Operator, matching: &Matching, left: Matrix, right: Matrix) -> Result<Matrix> {
        let mut groups = Groups::new(matching, self.symbols);
        let mut groups_of = |side: &Matrix| side.rows.iter().map(|row| groups.of(&row.labels)).collect();
        let (of_left, of_right): (Vec<usize>, Vec<usize>) = (groups_of(&left), groups_of(&right));
        let steps = left.steps.max(right.steps);
        if op == Operator::Or {
            let present = present(&left, &of_left, groups.count());
            return self.or(left, &right, &of_right, &present);
        }
        let present = present(&right, &of_right, groups.count());
        let mut out = left;
        for (row, group) in of_left.into_iter().enumerate() {
            for step in 0..steps {
                let has_partner = present[group * steps + step];
                if has_partner != (op == Operator::And) {
                    out.clear(row, step);
                }
            }
        }
        out.prune();
        self.merge(out)
    }

    /// The left side, and of the right one what is at steps at which no row of its group is `present` on the left.
    fn or(&mut self, left: Matrix, right: &Matrix, of_right: &[usize], present: &[bool]) -> Result<Matrix> {
        let steps = left.steps.max(right.steps);
        let mut out = left;
        self.hold(right.cells.len())?;
        for (row, group) in of_right.iter().enumerate() {
            let to = out.push(right.rows[row].clone());
            for step in (0..steps).filter(|step| !present[group * steps + step]) {
                if let Some(cell) = right.cell(row, step) {
                    out.set(to, step, cell);
                }
            }
        }
        out.prune();
        self.merge(out)
    }
}

/// By group and step: has any row a sample?
fn present(matrix: &Matrix, groups: &[usize], count: usize) -> Vec<bool> {
    let mut present = vec![false; count * matrix.steps];
    for (row, group) in groups.iter().enumerate() {
        for step in 0..matrix.steps {
            present[group * matrix.steps + step] |= matrix.has(row, step);
        }
    }
    present
}
