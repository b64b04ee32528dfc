//! Operators between numbers and vectors.
//!
//! Called by the evaluator. What both operands are decides who computes: numbers here, `and`, `or` and `unless` in `set`, other
//! operators between vectors in [`vectors`].

mod vectors;

use hashbrown::HashMap;

use crate::{
    Error, Labels, Result, Symbols,
    ast::{Matching, Operator},
    labels::Symbol,
    plan::Operation,
    value::{ABSENT, Cell, Matrix, Times, Value, is_present},
};

use super::{Evaluator, math, native};

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, operation: &Operation, times: Times) -> Result<Value> {
        let left = self.eval(&operation.left, times)?;
        let right = self.eval(&operation.right, times)?;
        let op = operation.op;
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                let values = left.into_iter().zip(right).map(|(left, right)| math::operate(op, left, right));
                Ok(Value::Scalar(values.collect()))
            }
            (Value::Vector(vector), Value::Scalar(scalar)) => {
                self.with_scalar(operation, vector, &scalar, false).map(Value::Vector)
            }
            (Value::Scalar(scalar), Value::Vector(vector)) => {
                self.with_scalar(operation, vector, &scalar, true).map(Value::Vector)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let Some(matching) = &operation.matching else {
                    return Err(Error::execution("vectors are not matched"));
                };
                if op.is_set() {
                    return self.set(op, matching, left, right).map(Value::Vector);
                }
                self.vectors(operation, matching, left, right).map(Value::Vector)
            }
            _ => Err(Error::execution("an operator takes numbers and vectors")),
        }
    }

    fn with_scalar(
        &mut self,
        operation: &Operation,
        mut vector: Matrix,
        scalar: &[f64],
        scalar_is_left: bool,
    ) -> Result<Matrix> {
        let (op, returns_bool) = (operation.op, operation.returns_bool);
        let steps = vector.steps.max(1);
        let is_trim = matches!(op, Operator::TrimLower | Operator::TrimUpper);
        for at in 0..vector.cells.len() {
            let (value, number) = (vector.cells[at], scalar[at % steps]);
            let (row, step) = (at / steps, at % steps);
            if is_present(value) && !is_trim {
                let (left, right) = if scalar_is_left { (number, value) } else { (value, number) };
                vector.cells[at] = if !op.is_comparison() {
                    math::operate(op, left, right)
                } else if returns_bool {
                    f64::from(u8::from(math::compare(op, left, right)))
                } else if math::compare(op, left, right) {
                    value
                } else {
                    ABSENT
                };
                continue;
            }
            let Some(cell) = vector.cell(row, step) else { continue };
            vector.cells[at] = ABSENT;
            if let Some(slot) = vector.histograms.get_mut(at) {
                *slot = None;
            }
            let number = Cell::Float(number);
            let (left, right) = if scalar_is_left { (&number, &cell) } else { (&cell, &number) };
            let Some((result, keep)) = native::operate(op, left, right, operation.span, &mut self.notes) else {
                continue;
            };
            if returns_bool {
                vector.cells[at] = f64::from(u8::from(keep));
            } else if keep {
                vector.set(row, step, if op.is_comparison() { cell } else { result });
            }
        }
        if returns_bool || !keeps_name(op) {
            self.drop_names(&mut vector);
        }
        vector.prune();
        self.merged(vector)
    }
}

/// Does the result of an operator have the name of the metric?
fn keeps_name(op: Operator) -> bool {
    op.is_comparison() || op.is_set() || matches!(op, Operator::TrimLower | Operator::TrimUpper)
}

/// Numbers for the labels by which rows are matched.
pub(super) struct Groups {
    on: bool,
    names: Vec<Symbol>,
    known: HashMap<Vec<(Symbol, Symbol)>, usize>,
}

impl Groups {
    pub(super) fn new(matching: &Matching, symbols: &mut Symbols) -> Self {
        let names = matching.labels.iter().map(|name| symbols.number(name)).collect();
        Self { on: matching.on, names, known: HashMap::new() }
    }

    /// The group of a row.
    pub(super) fn of(&mut self, labels: &Labels) -> usize {
        let is_compared = |name: Symbol| self.names.contains(&name) == self.on && (self.on || !name.is_of_metric());
        let key: Vec<_> = labels.pairs().iter().filter(|(name, _)| is_compared(*name)).copied().collect();
        let next = self.known.len();
        *self.known.entry(key).or_insert(next)
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }
}
