//! `sum` and `avg` of decimals for one group, for frames of windows, and of distinct values.
//!
//! Made by `aggregate`. A frame that moves takes off what leaves it, exactly.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Decimal128Type, Decimal256Type, Field, UInt64Type, i256},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::Accumulator,
};
use hashbrown::HashMap;

use super::{
    aggregate::{Kind, too_large},
    total::Total,
};

/// A sum or an average.
#[derive(Debug)]
pub(super) struct Running {
    kind: Kind,
    total: Total,
    rows: u64,
}

impl Running {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, total: Total::default(), rows: 0 }
    }
}

impl Accumulator for Running {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.kind.input(&values[0])?;
        self.rows += (values.len() - values.null_count()) as u64;
        match values.as_primitive_opt::<Decimal128Type>() {
            Some(values) if values.null_count() == 0 => values.values().iter().for_each(|v| self.total.add(*v)),
            _ => each(&values, |value| self.total.add_wide(value).then_some(()).ok_or_else(|| too_large(self.kind)))?,
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.kind.input(&values[0])?;
        self.rows = self.rows.saturating_sub((values.len() - values.null_count()) as u64);
        match values.as_primitive_opt::<Decimal128Type>() {
            Some(values) if values.null_count() == 0 => values.values().iter().for_each(|v| self.total.subtract(*v)),
            _ => each(&values, |v| self.total.subtract_wide(v).then_some(()).ok_or_else(|| too_large(self.kind)))?,
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums = states[states.len() - 1].as_primitive::<Decimal256Type>();
        let counts = states[0].as_primitive_opt::<UInt64Type>();
        for row in (0..sums.len()).filter(|row| sums.is_valid(*row)) {
            if !self.total.add_wide(sums.value(row)) {
                return Err(too_large(self.kind));
            }
            self.rows += counts.map_or(1, |counts| counts.value(row));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.kind.scalar(self.total, self.rows)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let total = self.total.value().ok_or_else(|| too_large(self.kind))?;
        let sum = wide(self.kind, (self.rows > 0).then_some(total));
        Ok(if self.kind.is_average() { vec![self.rows.into(), sum] } else { vec![sum] })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The same of distinct values; how often each was met is for frames of windows.
#[derive(Debug)]
pub(super) struct Distinct {
    kind: Kind,
    values: HashMap<i256, u64>,
}

impl Distinct {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, values: HashMap::new() }
    }

    /// Type of the state: a list of values.
    pub(super) fn state(kind: Kind) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(kind.state(), true)))
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&self.kind.input(&values[0])?, |value| {
            *self.values.entry(value).or_insert(0) += 1;
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&self.kind.input(&values[0])?, |value| {
            let count = self.values.entry(value).or_insert(0);
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.values.remove(&value);
            }
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[values])?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = Total::default();
        for value in self.values.keys() {
            if !total.add_wide(*value) {
                return Err(too_large(self.kind));
            }
        }
        self.kind.scalar(total, self.values.len() as u64)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.keys().map(|v| wide(self.kind, Some(*v))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.kind.state()))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<(i256, u64)>()
    }
}

/// Calls with each value that is not null.
fn each(values: &ArrayRef, mut call: impl FnMut(i256) -> Result<()>) -> Result<()> {
    match values.as_primitive_opt::<Decimal128Type>() {
        Some(values) => values.iter().flatten().try_for_each(|v| call(i256::from_i128(v))),
        None => values.as_primitive::<Decimal256Type>().iter().flatten().try_for_each(call),
    }
}

fn wide(kind: Kind, value: Option<i256>) -> ScalarValue {
    match kind.state() {
        DataType::Decimal256(digits, scale) => ScalarValue::Decimal256(value, digits, scale),
        _ => ScalarValue::Null,
    }
}
