//! Finds rows of the right side: all of them in memory, in the order of key and time.
//!
//! Keys and time of a row are one text of bytes whose order is theirs, so that one search finds the row, whatever the types are.

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array},
    compute::take,
    datatypes::DataType,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::{Result, exec_err, plan_err};

use super::node::Side;

/// The rows of the right side.
#[derive(Debug)]
pub(super) struct Nearest {
    batch: RecordBatch,
    places: Rows,
    /// Rows that can be met, in the order of their places.
    order: Vec<u32>,
    layout: Layout,
    side: Side,
}

/// How keys and time of a row are bytes.
#[derive(Debug)]
pub(super) struct Layout {
    converter: RowConverter,
    /// Bytes at the end that are the time.
    time_bytes: usize,
}

impl Layout {
    /// Of keys and, as the last of `types`, the time.
    pub(super) fn new(types: &[DataType]) -> Result<Self> {
        let width = types.last().and_then(DataType::primitive_width);
        let Some(width) = width else {
            return plan_err!("MATCH_CONDITION compares times or numbers");
        };
        let fields: Vec<SortField> = types.iter().cloned().map(SortField::new).collect();
        if !RowConverter::supports_fields(&fields) {
            return plan_err!("keys of an ASOF JOIN are texts, numbers or times: a map has no order");
        }
        // A value is as wide as it is, after a byte that says whether it is there.
        Ok(Self { converter: RowConverter::new(fields)?, time_bytes: 1 + width })
    }

    fn key<'a>(&self, place: &'a [u8]) -> &'a [u8] {
        &place[..place.len() - self.time_bytes]
    }
}

impl Nearest {
    /// Rows of `batch`, whose keys and times are `columns`.
    pub(super) fn new(layout: Layout, side: Side, batch: RecordBatch, columns: &[ArrayRef]) -> Result<Self> {
        let Ok(rows) = u32::try_from(batch.num_rows()) else {
            return exec_err!("right side of an ASOF JOIN has too many rows: narrow it rows={}", batch.num_rows());
        };
        let places = layout.converter.convert_columns(columns)?;
        let is_whole = whole(columns);
        let mut order: Vec<u32> = (0..rows).filter(|row| is_whole(*row as usize)).collect();
        // Stable: rows at the same place stay in their order.
        order.sort_by(|a, b| places.row(*a as usize).cmp(&places.row(*b as usize)));
        Ok(Self { batch, places, order, layout, side })
    }

    /// Bytes beside those of the batch.
    pub(super) fn bytes(&self) -> usize {
        self.places.size() + self.order.capacity() * size_of::<u32>()
    }

    /// The nearest row to each of the left ones, whose keys and times are `columns`; of a row that meets none, nulls.
    pub(super) fn to(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let places = self.layout.converter.convert_columns(columns)?;
        let is_whole = whole(columns);
        let found =
            (0..places.num_rows()).map(|row| if is_whole(row) { self.find(places.row(row).data()) } else { None });
        let found = UInt32Array::from_iter(found);
        self.batch.columns().iter().map(|column| Ok(take(column, &found, None)?)).collect()
    }

    fn find(&self, place: &[u8]) -> Option<u32> {
        let at = |row: &u32| self.places.row(*row as usize).data();
        let before = |or_at: bool| self.order.partition_point(|row| at(row) < place || (or_at && at(row) == place));
        let found = match self.side {
            Side::Before { or_at } => self.order.get(before(or_at).checked_sub(1)?),
            Side::After { or_at } => self.order.get(before(!or_at)),
        }?;
        (self.layout.key(at(found)) == self.layout.key(place)).then_some(*found)
    }
}

/// Does a row have a value in each column?
fn whole(columns: &[ArrayRef]) -> impl Fn(usize) -> bool {
    let nulls: Vec<_> = columns.iter().filter_map(|column| column.logical_nulls()).collect();
    move |row| nulls.iter().all(|nulls| nulls.is_valid(row))
}
