//! Binary operators that a histogram is an operand of.

use std::sync::Arc;

use crate::{
    Histogram, ResetHint,
    ast::{Operator, Span},
    histogram::{Merged, Mismatch},
    notes::Notes,
    value::Cell,
};

use super::{ADDITION, SUBTRACTION, note_collision, note_reconciled};

/// The value of two operands, and whether it is kept, which a comparison says. `None`, with a note, if the operator makes nothing of
/// them: where one of them is a histogram, and for trimming two floats.
pub(in crate::eval) fn operate(
    op: Operator,
    left: &Cell,
    right: &Cell,
    span: Span,
    notes: &mut Notes,
) -> Option<(Cell, bool)> {
    match (left, right) {
        (Cell::Float(factor), Cell::Histogram(histogram)) if op == Operator::Mul => {
            Some((changed(histogram, |histogram| histogram.mul(*factor), true), true))
        }
        (Cell::Histogram(histogram), Cell::Float(number)) => {
            let cell = match op {
                Operator::Mul => changed(histogram, |histogram| histogram.mul(*number), true),
                Operator::Div => changed(histogram, |histogram| histogram.div(*number), true),
                Operator::TrimUpper => changed(histogram, |histogram| histogram.keep_below(*number), false),
                Operator::TrimLower => changed(histogram, |histogram| histogram.keep_above(*number), false),
                _ => return refused(op, ["histogram", "float"], span, notes),
            };
            Some((cell, true))
        }
        (Cell::Histogram(one), Cell::Histogram(other)) => match op {
            Operator::Add => merged(op, one, other, span, notes).map(|cell| (cell, true)),
            Operator::Sub => merged(op, one, other, span, notes).map(|cell| (cell, true)),
            Operator::Equal => Some((left.clone(), one.equals(other))),
            Operator::NotEqual => Some((left.clone(), !one.equals(other))),
            _ => refused(op, ["histogram", "histogram"], span, notes),
        },
        (Cell::Float(_), Cell::Histogram(_)) => refused(op, ["float", "histogram"], span, notes),
        (Cell::Float(_), Cell::Float(_)) => refused(op, ["float", "float"], span, notes),
    }
}

fn changed(histogram: &Histogram, change: impl Fn(&mut Histogram), compacts: bool) -> Cell {
    let mut histogram = histogram.clone();
    change(&mut histogram);
    if compacts {
        histogram.compact(0);
    }
    Cell::Histogram(Arc::new(histogram))
}

fn merged(op: Operator, left: &Histogram, right: &Histogram, span: Span, notes: &mut Notes) -> Option<Cell> {
    let mut histogram = left.clone();
    let (merged, operation) =
        if op == Operator::Sub { (histogram.sub(right), SUBTRACTION) } else { (histogram.add(right), ADDITION) };
    match merged {
        Ok(Merged { hint_collision: true, .. }) => {
            // Prometheus takes this warning for an error, and has no value then.
            note_collision(operation, span, notes);
            return None;
        }
        Ok(Merged { bounds_reconciled: true, .. }) => note_reconciled(operation, span, notes),
        Ok(_) => {}
        Err(Mismatch::Schemas) => {
            notes.warn(format!("incompatible bucket layout encountered for binary operator {}", op.as_str()), span);
            return None;
        }
        Err(Mismatch::Layout(reason)) => {
            notes.warn(reason, span);
            return None;
        }
    }
    if op == Operator::Sub {
        histogram.hint = ResetHint::Gauge;
    }
    histogram.compact(0);
    Some(Cell::Histogram(Arc::new(histogram)))
}

fn refused(op: Operator, [left, right]: [&str; 2], span: Span, notes: &mut Notes) -> Option<(Cell, bool)> {
    let (op, quoted) = (op.as_str(), crate::literal::quoted(op.as_str()));
    let what = "incompatible sample types encountered for binary operator";
    notes.info(format!("{what} {quoted}: {left} {op} {right}"), span);
    None
}
