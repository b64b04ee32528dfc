//! `counter_increase(value) OVER (…)`: how much a counter rose among the rows of a window frame.
//!
//! The sum of the rises from each row of the frame to the next, in the order of the window; a fall is a restart, after which the counter
//! rose from zero. Values that are missing or no finite numbers, such as the markers of series that ended, are passed over. Unlike
//! `increase()` of PromQL nothing is estimated for the edges of the frame, so frames that share their edges add up.
//!
//! Invariant: NULL where a frame has fewer than two values; a difference needs two.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
        function::{PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
    physical_expr::PhysicalExpr,
};

use super::misused;

const NAME: &str = "counter_increase";

pub(super) fn counter_increase() -> Arc<WindowUDF> {
    Arc::new(WindowUDF::from(CounterIncrease { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CounterIncrease {
    signature: Signature,
}

impl WindowUDFImpl for CounterIncrease {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value] if value.is_numeric() || value.is_null() => Ok(vec![DataType::Float64]),
            _ => Err(misused(NAME, "value", types).into()),
        }
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::<Rises>::default())
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}

/// The rises of one partition, found with its first row.
#[derive(Debug, Default)]
struct Rises {
    /// Rows that have a value.
    rows: Vec<usize>,
    /// For each of them, the sum of the rises up to it.
    sums: Vec<f64>,
    known: bool,
}

impl Rises {
    fn find(&mut self, values: &ArrayRef) -> Result<()> {
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let (mut sum, mut last) = (0.0, None);
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = values.value(row);
            if !value.is_finite() {
                continue;
            }
            sum += match last {
                Some(last) if value >= last => value - last,
                Some(_) => value,
                None => 0.0,
            };
            last = Some(value);
            self.rows.push(row);
            self.sums.push(sum);
        }
        self.known = true;
        Ok(())
    }
}

impl PartitionEvaluator for Rises {
    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> Result<ScalarValue> {
        if !self.known
            // What the window is ordered by follows.
            && let Some(values) = values.first()
        {
            self.find(values)?;
        }
        let first = self.rows.partition_point(|row| *row < frame.start);
        let end = self.rows.partition_point(|row| *row < frame.end);
        let rise = (end >= first + 2).then(|| self.sums[end - 1] - self.sums[first]);
        Ok(ScalarValue::Float64(rise))
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}
