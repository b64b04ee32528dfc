//! Puts pieces of batches together into one batch.
//!
//! Called by the merge. Fixed-width columns are copied piece by piece; dictionaries get one sorted dictionary; nested columns go
//! through Arrow's builder for mixed sources.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, DictionaryArray, Int32Array,
        MutableArrayData, PrimitiveArray, RecordBatch, StringArray, make_array,
    },
    buffer::NullBuffer,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    },
};
use schemas::Dataset;

use crate::Result;

/// Neighbouring rows of one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub batch: usize,
    pub start: usize,
    pub len: usize,
}

/// The rows of `pieces`, `rows` of them, as one batch of [`Dataset::file_schema`].
pub(super) fn assemble(
    dataset: &Dataset,
    batches: &[RecordBatch],
    pieces: &[Piece],
    rows: usize,
) -> Result<RecordBatch> {
    let schema = dataset.file_schema();
    let column = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| {
        let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(i)).collect();
        Column { arrays, pieces, rows }.assemble(field.data_type())
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// One column of all batches.
struct Column<'a> {
    arrays: Vec<&'a ArrayRef>,
    pieces: &'a [Piece],
    rows: usize,
}

impl Column<'_> {
    fn assemble(&self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match data_type {
            DataType::Int64 => Arc::new(self.primitive::<Int64Type>()),
            DataType::Float64 => Arc::new(self.primitive::<Float64Type>()),
            DataType::Int32 => Arc::new(self.primitive::<Int32Type>()),
            DataType::Date32 => Arc::new(self.primitive::<Date32Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Arc::new(self.primitive::<TimestampMicrosecondType>().with_data_type(data_type.clone()))
            }
            DataType::Decimal128(_, _) => {
                Arc::new(self.primitive::<Decimal128Type>().with_data_type(data_type.clone()))
            }
            DataType::Dictionary(_, _) => Arc::new(self.dictionary()?),
            _ => self.nested()?,
        })
    }

    fn primitive<T: ArrowPrimitiveType>(&self) -> PrimitiveArray<T> {
        let mut out = Vec::with_capacity(self.rows);
        for Piece { batch, start, len } in self.pieces {
            out.extend_from_slice(&self.arrays[*batch].as_primitive::<T>().values()[*start..start + len]);
        }
        PrimitiveArray::new(out.into(), self.nulls())
    }

    fn nulls(&self) -> Option<NullBuffer> {
        if self.arrays.iter().all(|array| array.null_count() == 0) {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(self.rows);
        for Piece { batch, start, len } in self.pieces {
            match self.arrays[*batch].nulls() {
                None => valid.append_n(*len, true),
                Some(nulls) => valid.append_buffer(nulls.slice(*start, *len).inner()),
            }
        }
        Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
    }

    /// One sorted dictionary of the values that the pieces use: a batch's own may be that of a whole file.
    fn dictionary(&self) -> Result<DictionaryArray<Int32Type>> {
        let arrays: Vec<&DictionaryArray<Int32Type>> = self.arrays.iter().map(|array| array.as_dictionary()).collect();
        let keys_of = |piece: &Piece| &arrays[piece.batch].keys().values()[piece.start..piece.start + piece.len];
        let mut numbers: BTreeMap<&str, i32> = BTreeMap::new();
        let mut used: Vec<Vec<Option<&str>>> = arrays.iter().map(|array| vec![None; array.values().len()]).collect();
        for piece in self.pieces {
            let values = arrays[piece.batch].values().as_string::<i32>();
            let mut last = -1;
            for key in keys_of(piece).iter().filter(|key| std::mem::replace(&mut last, **key) != **key) {
                let at = usize::try_from(*key).unwrap_or(usize::MAX);
                if let Some(unused @ None) = used[piece.batch].get_mut(at) {
                    *unused = Some(values.value(at));
                    numbers.insert(values.value(at), 0);
                }
            }
        }
        for (rank, number) in (0i32..).zip(numbers.values_mut()) {
            *number = rank;
        }
        let rank = |text: &Option<&str>| text.and_then(|text| numbers.get(text)).copied().unwrap_or(0);
        let ranks: Vec<Vec<i32>> = used.iter().map(|texts| texts.iter().map(rank).collect()).collect();
        let mut keys = Vec::with_capacity(self.rows);
        for piece in self.pieces {
            let ranks = &ranks[piece.batch];
            let rank = |key: &i32| usize::try_from(*key).ok().and_then(|key| ranks.get(key)).copied().unwrap_or(0);
            keys.extend(keys_of(piece).iter().map(rank));
        }
        let values = StringArray::from_iter_values(numbers.keys());
        Ok(DictionaryArray::try_new(Int32Array::new(keys.into(), self.nulls()), Arc::new(values))?)
    }

    fn nested(&self) -> Result<ArrayRef> {
        let data: Vec<_> = self.arrays.iter().map(|array| array.to_data()).collect();
        let mut out = MutableArrayData::new(data.iter().collect(), false, self.rows);
        for Piece { batch, start, len } in self.pieces {
            out.try_extend(*batch, *start, start + len)?;
        }
        Ok(make_array(out.freeze()))
    }
}
