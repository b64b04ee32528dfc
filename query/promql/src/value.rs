//! Values while a query is evaluated: columns of steps.
//!
//! A vector over the steps of a query is a matrix of cells, a row for each series and a column for each step; most operations go along
//! rows. A cell without a sample holds the staleness marker, which is no value a query can compute.
//!
//! Invariants: `cells` has `rows.len() * steps` entries, and so have `histograms` if there are any; a cell has a histogram or a float,
//! never both.

use std::{ops::Range, sync::Arc};

use crate::{Histogram, Labels, samples::STALE};

/// What a cell without a sample holds.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE);

/// The times at which an expression is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Times {
    /// Milliseconds.
    pub start: i64,
    /// Milliseconds, positive.
    pub step: i64,
    pub count: usize,
}

/// Labels of a row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub labels: Labels,
    /// Does the name go when the query has been evaluated?
    pub drops_name: bool,
}

/// Series over steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrix {
    pub rows: Vec<Row>,
    pub steps: usize,
    pub cells: Vec<f64>,
    /// Empty if no cell has one.
    pub histograms: Vec<Option<Arc<Histogram>>>,
}

/// Value of an expression.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// One number for each step.
    Scalar(Vec<f64>),
    String(String),
    Vector(Matrix),
}

/// What is in a cell.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Value {
    /// About how many numbers it takes the room of.
    pub(crate) fn cells(&self) -> usize {
        match self {
            Self::Scalar(values) => values.len(),
            Self::String(text) => text.len(),
            Self::Vector(matrix) => matrix.cells.len() + matrix.histograms.len(),
        }
    }
}

impl Times {
    /// One moment.
    pub(crate) fn at(start: i64) -> Self {
        Self { start, step: 1, count: 1 }
    }

    /// From `start` to `end`, both included; none if `end` is before `start`.
    pub(crate) fn range(start: i64, end: i64, step: i64) -> Self {
        let count = if end < start {
            0
        } else {
            usize::try_from(end.abs_diff(start) / step.unsigned_abs()).unwrap_or(usize::MAX - 1) + 1
        };
        Self { start, step, count }
    }

    pub(crate) fn get(self, at: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(at).unwrap_or(i64::MAX)))
    }

    /// Some of the steps, one after another.
    pub(crate) fn part(self, steps: &Range<usize>) -> Self {
        Self { start: self.get(steps.start), count: steps.len(), ..self }
    }

    pub(crate) fn last(self) -> i64 {
        self.get(self.count.saturating_sub(1))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |at| self.get(at))
    }
}

impl Row {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels, drops_name: false }
    }
}

impl Matrix {
    /// Rows without samples.
    pub(crate) fn absent(rows: Vec<Row>, steps: usize) -> Self {
        let cells = vec![ABSENT; rows.len() * steps];
        Self { rows, steps, cells, histograms: Vec::new() }
    }

    pub(crate) fn row(&self, at: usize) -> &[f64] {
        &self.cells[at * self.steps..(at + 1) * self.steps]
    }

    pub(crate) fn row_mut(&mut self, at: usize) -> &mut [f64] {
        &mut self.cells[at * self.steps..(at + 1) * self.steps]
    }

    /// Histograms of a row; empty if there are none in the matrix.
    pub(crate) fn row_histograms(&self, at: usize) -> &[Option<Arc<Histogram>>] {
        self.histograms.get(at * self.steps..(at + 1) * self.steps).unwrap_or_default()
    }

    pub(crate) fn histogram(&self, row: usize, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(row * self.steps + step)?.as_ref()
    }

    /// Is there a float or a histogram?
    pub(crate) fn has(&self, row: usize, step: usize) -> bool {
        is_present(self.cells[row * self.steps + step]) || self.histogram(row, step).is_some()
    }

    pub(crate) fn cell(&self, row: usize, step: usize) -> Option<Cell> {
        let value = self.cells[row * self.steps + step];
        if is_present(value) {
            return Some(Cell::Float(value));
        }
        self.histogram(row, step).cloned().map(Cell::Histogram)
    }

    pub(crate) fn set(&mut self, row: usize, step: usize, cell: Cell) {
        let at = row * self.steps + step;
        match cell {
            Cell::Float(value) => self.cells[at] = value,
            Cell::Histogram(histogram) => {
                if self.histograms.is_empty() {
                    self.histograms = vec![None; self.cells.len()];
                }
                self.histograms[at] = Some(histogram);
            }
        }
    }

    /// Takes the sample of a cell away.
    pub(crate) fn clear(&mut self, row: usize, step: usize) {
        let at = row * self.steps + step;
        self.cells[at] = ABSENT;
        if let Some(histogram) = self.histograms.get_mut(at) {
            *histogram = None;
        }
    }

    /// Adds a row without samples; gives its number.
    pub(crate) fn push(&mut self, row: Row) -> usize {
        self.rows.push(row);
        self.cells.resize(self.rows.len() * self.steps, ABSENT);
        if !self.histograms.is_empty() {
            self.histograms.resize(self.cells.len(), None);
        }
        self.rows.len() - 1
    }

    /// Has any row of a step a sample?
    pub(crate) fn is_empty_at(&self, step: usize) -> bool {
        (0..self.rows.len()).all(|row| !self.has(row, step))
    }

    /// Leaves out rows without samples.
    pub(crate) fn prune(&mut self) {
        let has_histograms = !self.histograms.is_empty();
        let is_kept = |row: usize| {
            self.row(row).iter().any(|value| is_present(*value))
                || (has_histograms && self.row_histograms(row).iter().any(Option::is_some))
        };
        let kept: Vec<bool> = (0..self.rows.len()).map(is_kept).collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let (steps, mut to) = (self.steps, 0);
        for from in (0..kept.len()).filter(|row| kept[*row]) {
            self.rows.swap(to, from);
            self.cells.copy_within(from * steps..(from + 1) * steps, to * steps);
            if has_histograms {
                for step in 0..steps {
                    self.histograms.swap(to * steps + step, from * steps + step);
                }
            }
            to += 1;
        }
        self.rows.truncate(to);
        self.cells.truncate(to * steps);
        self.histograms.truncate(to * steps);
    }

    /// The rows in another order.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        let mut out = Self { steps: self.steps, ..Self::default() };
        for row in order {
            out.rows.push(self.rows[*row].clone());
            out.cells.extend_from_slice(self.row(*row));
            out.histograms.extend_from_slice(self.row_histograms(*row));
        }
        out
    }

    /// The only step, shown at each of `steps`.
    pub(crate) fn broadcast(self, steps: usize) -> Self {
        let cells = self.cells.iter().flat_map(|value| std::iter::repeat_n(*value, steps)).collect();
        let histograms = self.histograms.iter().flat_map(|one| std::iter::repeat_n(one.clone(), steps)).collect();
        Self { rows: self.rows, steps, cells, histograms }
    }
}

/// Is there a float in a cell?
pub(crate) fn is_present(value: f64) -> bool {
    value.to_bits() != STALE
}
