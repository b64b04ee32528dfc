//! Spans and counts as one run of cells, and back.
//!
//! Everything that changes which buckets a histogram has goes through here: coarser schemas, sums of two sides, removal of empty
//! buckets. A cell carries the compensation of a Kahan sum beside its count; where there is none it is zero. No layout makes this
//! panic: counts beyond the spans are not seen, and neither are spans beyond the counts.

use super::{Buckets, Span, float};

/// A bucket before anything is known of its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) index: i32,
    pub(super) count: f64,
    pub(super) compensation: f64,
}

/// How a count is added to another of the same bucket.
pub(super) type Join = fn(&mut Cell, Cell);

pub(super) fn join_plainly(cell: &mut Cell, other: Cell) {
    cell.count += other.count;
}

pub(super) fn join_compensated(cell: &mut Cell, other: Cell) {
    (cell.count, cell.compensation) = float::kahan_step(other.count, cell.count, cell.compensation);
    if other.compensation != 0.0 {
        (cell.count, cell.compensation) = float::kahan_step(other.compensation, cell.count, cell.compensation);
    }
}

impl Buckets {
    /// The buckets by ascending index, without compensation.
    pub(super) fn cells(&self) -> impl Iterator<Item = Cell> {
        self.cells_compensated(&[])
    }

    pub(super) fn cells_compensated(&self, compensation: &[f64]) -> impl Iterator<Item = Cell> {
        let compensation = compensation.iter().copied().chain(std::iter::repeat(0.0));
        let counts = self.counts.iter().zip(compensation);
        self.indexes().zip(counts).map(|(index, (&count, compensation))| Cell { index, count, compensation })
    }

    /// The buckets by descending index.
    pub(super) fn cells_reversed(&self) -> impl Iterator<Item = Cell> {
        let mut end = self.spans.iter().fold(0_i32, |end, span| end_of(start_of(end, *span), *span));
        let indexes = self.spans.iter().rev().flat_map(move |span| {
            let start = end.wrapping_sub_unsigned(span.length);
            end = start.wrapping_sub(span.offset);
            (0..span.length).rev().map(move |place| start.wrapping_add_unsigned(place))
        });
        let counts = self.counts.iter().rev();
        indexes.zip(counts).map(|(index, &count)| Cell { index, count, compensation: 0.0 })
    }

    fn indexes(&self) -> impl Iterator<Item = i32> {
        let mut end = 0;
        self.spans.iter().flat_map(move |span| {
            let start = start_of(end, *span);
            end = end_of(start, *span);
            (0..span.length).map(move |place| start.wrapping_add_unsigned(place))
        })
    }

    /// What the layout lacks, if anything: later spans begin after the one before, indexes fit, and each has a count.
    pub(super) fn check_layout(&self) -> Result<(), String> {
        let (mut needed, mut end) = (0_u64, 0_i64);
        for (at, span) in self.spans.iter().enumerate() {
            let (number, offset) = (at + 1, span.offset);
            if at > 0 && offset < 0 {
                return Err(negative_offset(number, offset));
            }
            let out_of_range = "histogram has a span whose bucket index is out of range";
            if at == 0 && offset == i32::MIN {
                return Err(format!("span number {number} starts at bucket index {offset}: {out_of_range}"));
            }
            needed += u64::from(span.length);
            end += i64::from(offset) + i64::from(span.length);
            if end - 1 > i64::from(i32::MAX) {
                return Err(format!("span number {number} ends at bucket index {}: {out_of_range}", end - 1));
            }
        }
        self.check_length(needed)
    }

    pub(super) fn check_length(&self, needed: u64) -> Result<(), String> {
        let reason = "histogram spans specify different number of buckets than provided";
        match self.counts.len() {
            length if u64::try_from(length) == Ok(needed) => Ok(()),
            length => Err(format!("spans need {needed} buckets, have {length} buckets: {reason}")),
        }
    }

    /// The same observations with 2^`shift` buckets in one.
    pub(super) fn coarser(&self, shift: u32) -> Buckets {
        coarse(self.cells(), shift, join_plainly).collect::<Layout>().buckets
    }

    /// Removes empty buckets, except within gaps of at most `empty_max`, which get all of theirs. `compensation` follows; a bucket
    /// that has some is not empty.
    pub(super) fn compact(&mut self, compensation: Option<&mut Vec<f64>>, empty_max: usize) {
        let distant = |span: &Span| usize::try_from(span.offset).is_ok_and(|offset| offset > empty_max);
        let compact = self.counts.iter().all(|count| *count != 0.0)
            && self.spans.iter().all(|span| span.length > 0)
            && self.spans.iter().skip(1).all(distant);
        if compact {
            return;
        }
        let mut layout = Layout::default();
        let counted = |cell: &Cell| cell.count != 0.0 || cell.compensation != 0.0;
        for cell in self.cells_compensated(compensation.as_deref().map_or(&[], Vec::as_slice)).filter(counted) {
            layout.bridge(cell.index, empty_max);
            layout.push(cell);
        }
        *self = layout.buckets;
        if let Some(compensation) = compensation {
            *compensation = layout.compensation;
        }
    }
}

pub(super) fn negative_offset(number: usize, offset: i32) -> String {
    format!("span number {number} with offset {offset}: histogram has a span whose offset is negative")
}

fn start_of(end: i32, span: Span) -> i32 {
    end.wrapping_add(span.offset)
}

fn end_of(start: i32, span: Span) -> i32 {
    start.wrapping_add_unsigned(span.length)
}

/// The cells of a schema that is coarser by `shift`.
pub(super) fn coarse(cells: impl Iterator<Item = Cell>, shift: u32, join: Join) -> impl Iterator<Item = Cell> {
    let coarser = move |cell: Cell| Cell { index: coarse_index(cell.index, shift), ..cell };
    let mut cells = cells.map(coarser).peekable();
    std::iter::from_fn(move || {
        let mut joined = cells.next()?;
        while let Some(cell) = cells.next_if(|cell| cell.index == joined.index) {
            join(&mut joined, cell);
        }
        Some(joined)
    })
}

fn coarse_index(index: i32, shift: u32) -> i32 {
    (index.wrapping_sub(1) >> shift.min(31)).wrapping_add(1)
}

/// By how much the finer of two schemas has to become coarser.
pub(super) fn shift_between(fine: i32, coarse: i32) -> u32 {
    u32::try_from(i64::from(fine) - i64::from(coarse)).unwrap_or(0)
}

/// The buckets of two sides of the same schema as one side.
pub(super) fn merge(
    ours: impl Iterator<Item = Cell>,
    theirs: impl Iterator<Item = Cell>,
    join: Join,
) -> (Buckets, Vec<f64>) {
    let (mut ours, mut theirs) = (ours.peekable(), theirs.peekable());
    let mut layout = Layout::default();
    while let Some(at) = ours.peek().map(|cell| cell.index) {
        while let Some(before) = theirs.next_if(|cell| cell.index < at) {
            layout.push(before);
        }
        if let Some(mut cell) = ours.next() {
            if let Some(same) = theirs.next_if(|cell| cell.index == at) {
                join(&mut cell, same);
            }
            layout.push(cell);
        }
    }
    layout.extend(theirs);
    (layout.buckets, layout.compensation)
}

/// Buckets while they are written, and their compensation.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) buckets: Buckets,
    pub(super) compensation: Vec<f64>,
    /// The index after the last.
    end: i32,
}

impl Layout {
    pub(super) fn push(&mut self, cell: Cell) {
        let offset = cell.index.wrapping_sub(self.end);
        match self.buckets.spans.last_mut() {
            Some(span) if offset == 0 => span.length += 1,
            _ => self.buckets.spans.push(Span { offset, length: 1 }),
        }
        self.end = cell.index.wrapping_add(1);
        self.buckets.counts.push(cell.count);
        self.compensation.push(cell.compensation);
    }

    /// Empty buckets up to an index, unless that is more than `empty_max` of them.
    fn bridge(&mut self, index: i32, empty_max: usize) {
        let gap = usize::try_from(i64::from(index) - i64::from(self.end)).unwrap_or(0);
        if !self.buckets.spans.is_empty() && gap <= empty_max {
            for index in self.end..index {
                self.push(Cell { index, count: 0.0, compensation: 0.0 });
            }
        }
    }
}

impl Extend<Cell> for Layout {
    fn extend<T: IntoIterator<Item = Cell>>(&mut self, cells: T) {
        cells.into_iter().for_each(|cell| self.push(cell));
    }
}

impl FromIterator<Cell> for Layout {
    fn from_iter<T: IntoIterator<Item = Cell>>(cells: T) -> Self {
        let mut layout = Self::default();
        layout.extend(cells);
        layout
    }
}
