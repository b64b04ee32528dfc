//! Puts pieces of arrays together into one, in memory that is made once.
//!
//! Called by the merge for all columns, and by the sort for those whose values have no fixed size. Pieces are copied one after another;
//! dictionaries get one sorted dictionary. Arrow's own builder for mixed sources has to grow for what is nested, which takes twice the
//! memory of the rows: it is left with types of which there are few.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use crate::Result;
use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, DictionaryArray, Int32Array, ListArray,
        MapArray, MutableArrayData, PrimitiveArray, RecordBatch, StringArray, StructArray, make_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit,
        TimestampMicrosecondType,
    },
    error::ArrowError,
};

/// Neighbouring rows of one array, or of one batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Piece {
    pub batch: usize,
    pub start: usize,
    pub len: usize,
}

/// The rows of `pieces` of batches of a schema as one batch.
pub(crate) fn assemble(
    schema: SchemaRef,
    batches: &[impl Borrow<RecordBatch>],
    pieces: &[Piece],
) -> Result<RecordBatch> {
    let column = |at| {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.borrow().column(at).as_ref()).collect();
        gather(&arrays, pieces)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The rows of `pieces` of arrays of one type, of which there is one at least.
pub(crate) fn gather(arrays: &[&dyn Array], pieces: &[Piece]) -> Result<ArrayRef> {
    let rows = pieces.iter().map(|piece| piece.len).sum();
    Column { arrays, pieces, rows }.gather()
}

/// One column of all batches.
struct Column<'a> {
    arrays: &'a [&'a dyn Array],
    pieces: &'a [Piece],
    rows: usize,
}

impl Column<'_> {
    fn gather(&self) -> Result<ArrayRef> {
        let Some(first) = self.arrays.first() else { return Ok(arrow::array::new_empty_array(&DataType::Null)) };
        let data_type = first.data_type();
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
            DataType::Utf8 => {
                let arrays = self.all(|array| array.as_string::<i32>());
                let (offsets, places) = self.lists(|batch| arrays[batch].value_offsets())?;
                let mut text = Vec::with_capacity(places.iter().map(|place| place.len).sum());
                for Piece { batch, start, len } in places {
                    text.extend_from_slice(&arrays[batch].value_data()[start..start + len]);
                }
                Arc::new(StringArray::try_new(offsets, text.into(), self.nulls())?)
            }
            DataType::Map(field, is_sorted) => {
                let maps: Vec<&MapArray> = self.all(|array| array.as_map());
                let (offsets, places) = self.lists(|batch| maps[batch].value_offsets())?;
                let entries: Vec<&dyn Array> = maps.iter().map(|map| map.entries() as &dyn Array).collect();
                let entries = gather(&entries, &places)?.as_struct().clone();
                Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, self.nulls(), *is_sorted)?)
            }
            DataType::List(field) => {
                let lists: Vec<&ListArray> = self.all(|array| array.as_list());
                let (offsets, places) = self.lists(|batch| lists[batch].value_offsets())?;
                let values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, gather(&values, &places)?, self.nulls())?)
            }
            DataType::Struct(fields) => {
                let structs: Vec<&StructArray> = self.all(|array| array.as_struct());
                let column = |at| {
                    let columns: Vec<&dyn Array> = structs.iter().map(|of| of.column(at).as_ref()).collect();
                    gather(&columns, self.pieces)
                };
                let columns = (0..fields.len()).map(column).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, self.nulls(), self.rows)?)
            }
            _ => {
                let data: Vec<_> = self.all(|array| array.to_data());
                let mut out = MutableArrayData::new(data.iter().collect(), false, self.rows);
                for Piece { batch, start, len } in self.pieces {
                    out.try_extend(*batch, *start, start + len)?;
                }
                make_array(out.freeze())
            }
        })
    }

    fn all<'a, T>(&'a self, of: impl Fn(&'a dyn Array) -> T) -> Vec<T> {
        self.arrays.iter().map(|array| of(*array)).collect()
    }

    /// Where the values of each row end, and where they are found; what follows on one another is one piece.
    fn lists<'a>(&self, offsets: impl Fn(usize) -> &'a [i32]) -> Result<(OffsetBuffer<i32>, Vec<Piece>)> {
        let (mut end, mut ends, mut places) = (0i32, Vec::with_capacity(self.rows + 1), Vec::<Piece>::new());
        ends.push(end);
        for Piece { batch, start, len } in self.pieces {
            let of_piece = &offsets(*batch)[*start..=start + len];
            for of_row in of_piece.windows(2) {
                let too_long = || ArrowError::OffsetOverflowError(i32::MAX as usize);
                end = end.checked_add(of_row[1] - of_row[0]).ok_or_else(too_long)?;
                ends.push(end);
            }
            #[expect(clippy::cast_sign_loss, reason = "offsets are not negative")]
            let (first, last) = (of_piece[0] as usize, of_piece[*len] as usize);
            match places.last_mut() {
                Some(before) if before.batch == *batch && before.start + before.len == first => {
                    before.len += last - first;
                }
                _ => places.push(Piece { batch: *batch, start: first, len: last - first }),
            }
        }
        Ok((OffsetBuffer::new(ends.into()), places))
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
        let mut used: Vec<Vec<Option<&str>>> = vec![Vec::new(); arrays.len()];
        for piece in self.pieces {
            let values = arrays[piece.batch].values().as_string::<i32>();
            // Most pieces of a part of the rows are of few batches.
            if used[piece.batch].is_empty() {
                used[piece.batch] = vec![None; values.len()];
            }
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
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{BooleanArray, Int32Builder, ListBuilder, MapBuilder, StringBuilder, UInt64Array},
        compute::{concat, take},
    };
    use proptest::prelude::*;

    use super::*;

    /// Keys with values, of which some are null.
    type Row = Vec<(String, Option<String>)>;

    /// Columns of rows, of which some are null: a text, a map, a list of lists, a struct, a boolean.
    fn columns(rows: &[Option<Row>]) -> Vec<ArrayRef> {
        let mut texts = StringBuilder::new();
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        let mut lists = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
        for row in rows {
            texts.append_option(row.as_ref().map(|row| row.iter().map(|pair| pair.0.as_str()).collect::<String>()));
            for (key, value) in row.iter().flatten() {
                maps.keys().append_value(key);
                maps.values().append_option(value.as_ref());
                lists.values().append(value.is_some());
                (0i32..).zip(key.chars()).for_each(|(at, _)| lists.values().values().append_value(at));
            }
            // What stands under a null is there, and is nobody's.
            maps.append(row.is_some()).unwrap();
            lists.values().append(true);
            lists.append(row.is_some());
        }
        let is_even: BooleanArray = rows.iter().map(|row| row.as_ref().map(|row| row.len() % 2 == 0)).collect();
        let texts = Arc::new(texts.finish()) as ArrayRef;
        let is_even = Arc::new(is_even) as ArrayRef;
        let field = |name, of: &ArrayRef| Arc::new(arrow::datatypes::Field::new(name, of.data_type().clone(), true));
        let structs = StructArray::from(vec![
            (field("t", &texts), Arc::clone(&texts)),
            (field("e", &is_even), Arc::clone(&is_even)),
        ]);
        vec![texts, Arc::new(maps.finish()), Arc::new(lists.finish()), Arc::new(structs), is_even]
    }

    proptest! {
        #[test]
        fn pieces_are_what_arrow_takes(
            batches in prop::collection::vec(
                prop::collection::vec(
                    prop::option::weighted(0.8, prop::collection::vec(("[a-z]{0,3}|ö", prop::option::of("[a-z]{0,4}")), 0..4)), 1..20),
                1..4),
            picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..6), 0..30),
            cut in 0usize..3,
        ) {
            // Also arrays that begin somewhere within their buffers.
            let of_batch = |rows: &Vec<_>| columns(rows).into_iter().map(|of| of.slice(cut.min(of.len()), of.len() - cut.min(of.len()))).collect();
            let batches: Vec<Vec<ArrayRef>> = batches.iter().map(of_batch).collect();
            let pieces: Vec<Piece> = picks.iter().map(|(batch, start, len)| {
                let batch = batch.index(batches.len());
                let rows = batches[batch][0].len();
                let start = if rows == 0 { 0 } else { start.index(rows) };
                Piece { batch, start, len: (*len).min(rows - start) }
            }).collect();
            let begins: Vec<usize> = batches.iter().scan(0, |at, of| { let begin = *at; *at += of[0].len(); Some(begin) }).collect();
            let rows: UInt64Array = pieces.iter().flat_map(|piece| {
                let begin = begins[piece.batch] + piece.start;
                (begin..begin + piece.len).map(|row| row as u64)
            }).collect();
            for at in 0..batches[0].len() {
                let arrays: Vec<&dyn Array> = batches.iter().map(|of| of[at].as_ref()).collect();
                let expected = take(&concat(&arrays).unwrap(), &rows, None).unwrap();
                let found = gather(&arrays, &pieces).unwrap();
                prop_assert_eq!(found.as_ref(), expected.as_ref());
                found.to_data().validate_full().unwrap();
            }
        }
    }
}
