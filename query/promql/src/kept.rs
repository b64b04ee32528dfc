//! Results over a range that are kept, so that the next question about some of the same steps evaluates the others alone.
//!
//! Called by whoever answers the same questions again and again. Not here: whether samples have changed meanwhile.

use hashbrown::HashMap;

use crate::{
    Columns, Labels, Symbols,
    value::{Matrix, Row, Times, is_present},
};

/// A result: rows of numbers over steps, with texts of its own.
#[derive(Debug)]
pub struct Kept {
    labels: Vec<Labels>,
    symbols: Symbols,
    times: Times,
    /// Row after row.
    cells: Vec<f64>,
}

impl Kept {
    /// A copy of a result; `None` if it holds native histograms.
    #[must_use]
    pub fn of(columns: &Columns, symbols: &Symbols) -> Option<Self> {
        if columns.has_histograms() {
            return None;
        }
        let mut own = Symbols::default();
        let labels = columns.labels.iter().map(|labels| moved(labels, symbols, &mut own)).collect();
        let mut cells = Vec::with_capacity(columns.labels.len() * columns.times.count);
        for row in 0..columns.labels.len() {
            cells.extend_from_slice(columns.row(row));
        }
        Some(Self { labels, symbols: own, times: columns.times, cells })
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes(&self.labels, self.times) + self.symbols.bytes()
    }

    /// About how many bytes the copy of a result takes.
    #[must_use]
    pub fn bytes_of(columns: &Columns) -> usize {
        bytes(&columns.labels, columns.times)
    }

    /// The first step, milliseconds.
    #[must_use]
    pub fn start_ms(&self) -> i64 {
        self.times.start
    }

    /// The last step.
    #[must_use]
    pub fn end_ms(&self) -> i64 {
        self.times.last()
    }

    /// The steps between two of them, both included, followed by a result that begins one step later and has its labels in `symbols`.
    /// `None` if it does not, or holds native histograms.
    pub fn followed_by(
        &self,
        start_ms: i64,
        until_ms: i64,
        later: Option<&Columns>,
        symbols: &mut Symbols,
    ) -> Option<Columns> {
        let step = self.times.step;
        let first = usize::try_from((start_ms - self.times.start) / step).ok()?;
        let kept = Times::range(start_ms, until_ms, step);
        if later.is_some_and(|later| later.times.start != until_ms + step || later.has_histograms()) {
            return None;
        }
        let times = Times { count: kept.count + later.map_or(0, |later| later.times.count), ..kept };
        let mut out = Matrix { steps: times.count, ..Matrix::default() };
        let mut known = HashMap::new();
        for (row, labels) in self.labels.iter().enumerate() {
            let cells = self.cells.get(row * self.times.count + first..)?.get(..kept.count)?;
            if cells.iter().any(|cell| is_present(*cell)) {
                let labels = moved(labels, &self.symbols, symbols);
                let at = out.push(Row::new(labels.clone()));
                out.row_mut(at)[..kept.count].copy_from_slice(cells);
                known.insert(labels, at);
            }
        }
        for (row, labels) in later.iter().flat_map(|later| later.labels.iter().enumerate()) {
            let at = *known.entry(labels.clone()).or_insert_with(|| out.push(Row::new(labels.clone())));
            out.row_mut(at)[kept.count..].copy_from_slice(later?.row(row));
        }
        let mut order: Vec<usize> = (0..out.rows.len()).collect();
        order.sort_by(|left, right| out.rows[*left].labels.compare(&out.rows[*right].labels, symbols));
        let labels = order.iter().map(|row| out.rows[*row].labels.clone()).collect();
        Some(Columns { labels, times, matrix: out, order })
    }
}

/// Of cells and labels, without the texts of these.
fn bytes(labels: &[Labels], times: Times) -> usize {
    let of_labels: usize = labels.iter().map(|labels| 64 + labels.pairs().len() * 16).sum();
    labels.len() * times.count * size_of::<f64>() + of_labels
}

/// The same labels with other numbers.
fn moved(labels: &Labels, from: &Symbols, to: &mut Symbols) -> Labels {
    Labels::of(labels.texts(from), to)
}
