//! Copies rows to their places, column by column.
//!
//! Called by the sort. Batches are read once from front to back and written where their rows go: no copy of all rows is made first.
//! Texts and nested columns are gathered instead, in the order of their places.

use std::{
    cell::OnceCell,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, DictionaryArray, Int32Array,
        PrimitiveArray, RecordBatch, StringArray,
    },
    buffer::{Buffer, NullBuffer, ScalarBuffer},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    },
};
use hashbrown::HashMap;
use schemas::Dataset;

use super::{DROPPED, Placement};
use crate::{
    Result,
    gather::{Piece, gather},
};

/// The rows at their places.
pub(super) fn scatter(dataset: &Dataset, batches: &[&RecordBatch], placement: &Placement) -> Result<RecordBatch> {
    let scatter = Scatter { placement, rows: placement.ends.last().map_or(0, |(_, end)| *end), order: OnceCell::new() };
    let columns = dataset
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(i)).collect();
            scatter.column(field.data_type(), &arrays)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&dataset.schema), columns)?)
}

/// Has each value of a column the same size, so that it can be put at its place whatever stands before it?
pub(super) fn is_fixed(data_type: &DataType) -> bool {
    data_type.is_primitive() || matches!(data_type, DataType::Dictionary(..))
}

/// Values of a column that has none: shared, since most series never tell when they began, and eight bytes a row are a quarter of
/// a sample.
fn zeros<T: ArrowPrimitiveType>(rows: usize) -> ScalarBuffer<T::Native> {
    static ZEROS: LazyLock<Buffer> = LazyLock::new(|| vec![0u64; 256 << 10].into());
    match rows * size_of::<T::Native>() <= ZEROS.len() {
        true => ScalarBuffer::new(ZEROS.clone(), 0, rows),
        false => vec![T::default_value(); rows].into(),
    }
}

struct Scatter<'a> {
    placement: &'a Placement,
    /// Rows that have a place.
    rows: usize,
    /// Row at each place; made for the first column that needs it.
    order: OnceCell<Vec<Piece>>,
}

impl Scatter<'_> {
    fn column(&self, data_type: &DataType, arrays: &[&ArrayRef]) -> Result<ArrayRef> {
        Ok(match data_type {
            DataType::Int64 => Arc::new(self.primitive::<Int64Type>(arrays)),
            DataType::Float64 => Arc::new(self.primitive::<Float64Type>(arrays)),
            DataType::Int32 => Arc::new(self.primitive::<Int32Type>(arrays)),
            DataType::Date32 => Arc::new(self.primitive::<Date32Type>(arrays)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Arc::new(self.primitive::<TimestampMicrosecondType>(arrays).with_data_type(data_type.clone()))
            }
            DataType::Decimal128(_, _) => {
                Arc::new(self.primitive::<Decimal128Type>(arrays).with_data_type(data_type.clone()))
            }
            DataType::Dictionary(_, _) => Arc::new(self.dictionary(arrays)?),
            _ if arrays.is_empty() => arrow::array::new_empty_array(data_type),
            _ => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
                gather(
                    &arrays,
                    self.order.get_or_init(|| self.placement.pieces(arrays.iter().map(|array| array.len()))),
                )?
            }
        })
    }

    /// Places of the rows of each array.
    fn places<'a>(&'a self, arrays: &'a [&ArrayRef]) -> impl Iterator<Item = (&'a ArrayRef, &'a [u32])> {
        let mut rest = self.placement.places.as_slice();
        arrays.iter().map(move |array| {
            let (places, after) = rest.split_at(array.len());
            rest = after;
            (*array, places)
        })
    }

    fn primitive<T: ArrowPrimitiveType>(&self, arrays: &[&ArrayRef]) -> PrimitiveArray<T> {
        if arrays.iter().all(|array| array.null_count() == array.len()) {
            return PrimitiveArray::new(zeros::<T>(self.rows), Some(NullBuffer::new_null(self.rows)));
        }
        let mut out = vec![T::default_value(); self.rows];
        for (array, places) in self.places(arrays) {
            for (value, place) in array.as_primitive::<T>().values().iter().zip(places) {
                if let Some(at) = out.get_mut(*place as usize) {
                    *at = *value;
                }
            }
        }
        PrimitiveArray::new(out.into(), self.nulls(arrays))
    }

    fn nulls(&self, arrays: &[&ArrayRef]) -> Option<NullBuffer> {
        let nulls: usize = arrays.iter().map(|array| array.null_count()).sum();
        if nulls == 0 {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(self.rows);
        valid.append_n(self.rows, true);
        for (array, places) in self.places(arrays) {
            for (row, place) in places.iter().enumerate() {
                if *place != DROPPED && array.is_null(row) {
                    valid.set_bit(*place as usize, false);
                }
            }
        }
        Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
    }

    /// One sorted dictionary for all, so that keys are in the order of the values.
    fn dictionary(&self, arrays: &[&ArrayRef]) -> Result<DictionaryArray<Int32Type>> {
        let mut numbers: HashMap<&str, i32> = HashMap::new();
        for array in arrays {
            let values = array.as_dictionary::<Int32Type>().values().as_string::<i32>();
            numbers.extend(values.iter().map(|text| (text.unwrap_or_default(), 0)));
        }
        let mut values: Vec<&str> = numbers.keys().copied().collect();
        values.sort_unstable();
        for (rank, value) in (0i32..).zip(&values) {
            numbers.insert(value, rank);
        }
        let mut keys = vec![0i32; self.rows];
        for (array, places) in self.places(arrays) {
            let array = array.as_dictionary::<Int32Type>();
            let old = array.values().as_string::<i32>();
            let ranks: Vec<i32> = old.iter().map(|text| numbers[text.unwrap_or_default()]).collect();
            for (key, place) in array.keys().values().iter().zip(places) {
                if let Some(at) = keys.get_mut(*place as usize) {
                    *at = usize::try_from(*key).ok().and_then(|key| ranks.get(key)).copied().unwrap_or(0);
                }
            }
        }
        let keys = Int32Array::new(keys.into(), self.nulls(arrays));
        Ok(DictionaryArray::try_new(keys, Arc::new(StringArray::from_iter_values(values)))?)
    }
}
