//! `sum` and `avg` of decimals for many groups at once.
//!
//! Made by `aggregate`. The state that goes from one step of an aggregation to the next is the sum in 256 bits, before it an average's
//! count, so that no partition can overflow where the whole does not.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, UInt64Array},
    buffer::NullBuffer,
    datatypes::{DataType, Decimal128Type, Decimal256Type, UInt64Type, i256},
};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::{
    aggregate::{Kind, too_large},
    total::{Totals, take_first},
};

/// Sums, and for averages counts, by group.
#[derive(Debug)]
pub(super) struct Groups {
    kind: Kind,
    totals: Totals,
    /// Rows of each group; of a sum 1 where there is one, and empty while every group has one.
    counts: Vec<u64>,
}

impl Groups {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, totals: Totals::default(), counts: Vec::new() }
    }

    /// Makes room for groups, and begins to count once that is needed: an average does so always, a sum when a group may be empty.
    fn resize(&mut self, groups: usize, may_be_null: bool) {
        let before = self.totals.len();
        self.totals.resize(groups);
        let counts = self.kind.is_average() || may_be_null || !self.counts.is_empty();
        if counts {
            // Groups from before that were not counted have a row each.
            if self.counts.is_empty() && !self.kind.is_average() {
                self.counts.resize(before, 1);
            }
            self.counts.resize(groups, 0);
        }
    }

    fn add(&mut self, values: &dyn Array, groups: &[usize], keep: Option<&NullBuffer>) -> Result<()> {
        let nulls = NullBuffer::union(values.nulls(), keep).filter(|nulls| nulls.null_count() > 0);
        if let Some(values) = values.as_primitive_opt::<Decimal128Type>() {
            let (values, counts) = (values.values(), &mut self.counts);
            match nulls {
                None if counts.is_empty() => {
                    for (group, value) in groups.iter().zip(values) {
                        self.totals.add(*group, *value);
                    }
                }
                None => {
                    for (group, value) in groups.iter().zip(values) {
                        self.totals.add(*group, *value);
                        counts[*group] += 1;
                    }
                }
                Some(nulls) => {
                    for row in nulls.valid_indices() {
                        self.totals.add(groups[row], values[row]);
                        counts[groups[row]] += 1;
                    }
                }
            }
            return Ok(());
        }
        let values = values.as_primitive::<Decimal256Type>();
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| nulls.as_ref().is_none_or(|n| n.is_valid(*row)))
        {
            if !self.totals.add_wide(*group, values.value(row)) {
                return Err(too_large(self.kind));
            }
            if let Some(count) = self.counts.get_mut(*group) {
                *count += 1;
            }
        }
        Ok(())
    }

    fn nulls(counts: &[u64]) -> Option<NullBuffer> {
        counts.contains(&0).then(|| counts.iter().map(|count| *count > 0).collect())
    }

    fn emitted(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.totals.len(),
            EmitTo::First(count) => count.min(self.totals.len()),
        }
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        let values = self.kind.input(&values[0])?;
        let keep = filter.map(kept);
        self.resize(total_groups, keep.is_some() || values.null_count() > 0);
        self.add(values.as_ref(), groups, keep.as_ref())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.emitted(emit_to);
        let counts = take_first(&mut self.counts, groups);
        let nulls = Self::nulls(&counts);
        if !self.kind.is_average() && self.kind.is_narrow() {
            let values = self.totals.take_narrow(groups).filter(|values| self.kind.all_fit(values));
            let values = values.ok_or_else(|| too_large(self.kind))?;
            let array = PrimitiveArray::<Decimal128Type>::new(values.into(), nulls);
            return Ok(Arc::new(array.with_data_type(self.kind.result())));
        }
        let counts = counts.into_iter().chain(std::iter::repeat(1));
        let values = self.totals.take(groups).zip(counts).map(|(total, count)| self.kind.finish(total, count));
        self.kind.array(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.emitted(emit_to);
        let counts = take_first(&mut self.counts, groups);
        let totals: Option<Vec<i256>> = self.totals.take(groups).collect();
        let totals = totals.ok_or_else(|| too_large(self.kind))?;
        Ok(self.kind.states(totals, Self::nulls(&counts), counts))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        let sums = &states[states.len() - 1];
        self.resize(total_groups, sums.null_count() > 0);
        if !self.kind.is_average() {
            return self.add(sums.as_ref(), groups, None);
        }
        let (counts, sums) = (states[0].as_primitive::<UInt64Type>(), sums.as_primitive::<Decimal256Type>());
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| sums.is_valid(*row)) {
            if !self.totals.add_wide(*group, sums.value(row)) {
                return Err(too_large(self.kind));
            }
            self.counts[*group] += counts.value(row);
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = self.kind.input(&values[0])?;
        let nulls = NullBuffer::union(values.nulls(), filter.map(kept).as_ref());
        let counts = (0..values.len()).map(|row| u64::from(nulls.as_ref().is_none_or(|n| n.is_valid(row)))).collect();
        let totals = match values.as_primitive_opt::<Decimal128Type>() {
            Some(values) => values.values().iter().map(|v| i256::from_i128(*v)).collect(),
            None => values.as_primitive::<Decimal256Type>().values().to_vec(),
        };
        Ok(self.kind.states(totals, nulls, counts))
    }

    fn size(&self) -> usize {
        self.totals.size() + self.counts.capacity() * size_of::<u64>()
    }
}

impl Kind {
    /// The columns of a state.
    fn states(self, totals: Vec<i256>, nulls: Option<NullBuffer>, counts: Vec<u64>) -> Vec<ArrayRef> {
        let rows = totals.len();
        let sums = PrimitiveArray::<Decimal256Type>::new(totals.into(), nulls).with_data_type(self.state());
        let counts = if counts.len() == rows { counts } else { vec![1; rows] };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(2);
        if self.is_average() {
            columns.push(Arc::new(UInt64Array::from(counts)));
        }
        columns.push(Arc::new(sums));
        columns
    }

    /// Results as a column.
    fn array(self, values: impl Iterator<Item = Result<Option<i256>>>) -> Result<ArrayRef> {
        if let DataType::Decimal128(..) = self.result() {
            let values = values.map(|v| v.map(|v| v.and_then(i256::to_i128)));
            let array = values.collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
            return Ok(Arc::new(array.with_data_type(self.result())));
        }
        let array = values.collect::<Result<PrimitiveArray<Decimal256Type>>>()?;
        Ok(Arc::new(array.with_data_type(self.result())))
    }
}

/// Rows for which a filter is true.
fn kept(filter: &BooleanArray) -> NullBuffer {
    let values = NullBuffer::new(filter.values().clone());
    NullBuffer::union(Some(&values), filter.nulls()).unwrap_or(values)
}
