//! Aggregations that make one row of each group.
//!
//! Rows are added to the row of their group one after another, along all steps: what is read and written lies side by side.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::{
    Error, Labels, Result,
    ast::Aggregator,
    labels::Symbol,
    plan::{Aggregation, Plan},
    printer::short,
    value::{ABSENT, Cell, Matrix, Row, Times, is_present},
};

use super::{
    Evaluator, labelled, metric_name, native,
    over_time::window::{kahan_step, quantile},
};

/// Rows by group.
pub(super) struct Grouped {
    /// Labels of each group.
    pub labels: Vec<Labels>,
    /// Group of each row.
    pub of: Vec<usize>,
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, aggregation: &Aggregation, times: Times) -> Result<Matrix> {
        use Aggregator::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        let names: Vec<Symbol> = aggregation.labels.iter().map(|name| self.symbols.number(name)).collect();
        if aggregation.op == CountValues {
            return self.count_values(aggregation, names, times);
        }
        let param = aggregation.param.as_ref().map(|param| self.scalar(param, times)).transpose()?;
        let matrix = self.vector(&aggregation.expr, times)?;
        let grouped = group(&matrix, &names, aggregation.without);
        match (aggregation.op, param) {
            (Topk | Bottomk | Limitk | LimitRatio, Some(param)) => self.ranked(aggregation, &matrix, &grouped, &param),
            (Quantile, Some(param)) => self.quantile(aggregation, &matrix, grouped, &param),
            _ => self.folded(aggregation, &matrix, grouped),
        }
    }

    fn folded(&mut self, aggregation: &Aggregation, matrix: &Matrix, grouped: Grouped) -> Result<Matrix> {
        let steps = matrix.steps;
        let rows = grouped.labels.into_iter().map(Row::new).collect();
        let mut out = self.absent(rows, steps)?;
        let op = aggregation.op;
        // Floats of a cell with a histogram in its group may make no result: such cells are set afterwards.
        let mut fold = Fold::new(op, out.cells.len());
        for (row, group) in grouped.of.iter().enumerate() {
            let at = group * steps..(group + 1) * steps;
            fold.add(matrix.row(row), &mut out.cells[at.clone()], at.start);
            out.rows[*group].drops_name |= matrix.rows[row].drops_name;
        }
        fold.finish(&mut out.cells);
        if !matrix.histograms.is_empty() {
            self.fold_histograms(aggregation, matrix, &grouped.of, &mut out);
        }
        out.prune();
        Ok(out)
    }

    fn fold_histograms(&mut self, aggregation: &Aggregation, matrix: &Matrix, groups: &[usize], out: &mut Matrix) {
        let (op, span, steps) = (aggregation.op, aggregation.expr.span, matrix.steps);
        let mut cells: BTreeMap<(usize, usize), ()> = BTreeMap::new();
        for (row, group) in groups.iter().enumerate() {
            for step in (0..steps).filter(|step| matrix.histogram(row, *step).is_some()) {
                cells.insert((*group, step), ());
            }
        }
        if cells.is_empty() {
            return;
        }
        match op {
            Aggregator::Count | Aggregator::Group => {
                for (row, group) in groups.iter().enumerate() {
                    for step in (0..steps).filter(|step| matrix.histogram(row, *step).is_some()) {
                        let cell = &mut out.cells[group * steps + step];
                        *cell = match (op, is_present(*cell)) {
                            (Aggregator::Count, true) => *cell + 1.0,
                            _ => 1.0,
                        };
                    }
                }
            }
            Aggregator::Sum | Aggregator::Avg => {
                let members = members(groups, out.rows.len());
                for (group, step) in cells.into_keys() {
                    let mut total = native::Total::new(op == Aggregator::Avg);
                    for row in &members[group] {
                        if let Some(cell) = matrix.cell(*row, step) {
                            let name = metric_name(&matrix.rows[*row].labels, self.symbols);
                            total.add(&cell, name, span, &mut self.notes);
                        }
                    }
                    out.clear(group, step);
                    if let Some(cell) = total.finish(span, &mut self.notes) {
                        out.set(group, step, cell);
                    }
                }
            }
            _ => self.notes.info(format!("ignored histogram in {} aggregation", op.as_str()), span),
        }
    }

    fn quantile(
        &mut self,
        aggregation: &Aggregation,
        matrix: &Matrix,
        grouped: Grouped,
        param: &[f64],
    ) -> Result<Matrix> {
        self.note_quantiles(param, aggregation.param.as_ref());
        let members = members(&grouped.of, grouped.labels.len());
        let rows = grouped.labels.into_iter().map(Row::new).collect();
        let mut out = self.absent(rows, matrix.steps)?;
        let mut values = Vec::new();
        for (group, rows) in members.iter().enumerate() {
            out.rows[group].drops_name = rows.iter().any(|row| matrix.rows[*row].drops_name);
            for (step, q) in param.iter().enumerate() {
                values.clear();
                values.extend(rows.iter().map(|row| matrix.row(*row)[step]).filter(|value| is_present(*value)));
                if !values.is_empty() {
                    out.row_mut(group)[step] = quantile(*q, &mut values);
                }
            }
        }
        if matrix.histograms.iter().any(Option::is_some) {
            self.notes.info("ignored histogram in quantile aggregation", aggregation.expr.span);
        }
        out.prune();
        Ok(out)
    }

    fn note_quantiles(&mut self, param: &[f64], plan: Option<&Plan>) {
        let span = plan.map(|plan| plan.span).unwrap_or_default();
        let mut warn = |value: f64| {
            self.notes.warn(format!("quantile value should be between 0 and 1, got {}", short(value)), span);
        };
        if param.iter().any(|value| value.is_nan()) {
            warn(f64::NAN);
        }
        let most = param.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = param.iter().copied().fold(f64::INFINITY, f64::min);
        if most > 1.0 {
            warn(most);
        }
        if least < 0.0 {
            warn(least);
        }
    }

    fn count_values(&mut self, aggregation: &Aggregation, mut names: Vec<Symbol>, times: Times) -> Result<Matrix> {
        let params = aggregation.param.as_slice();
        let label = labelled::text(params, 0);
        if label.is_empty() {
            return Err(Error::execution("invalid label name \"\""));
        }
        let label = self.symbols.number(label);
        if !aggregation.without {
            names.push(label);
        }
        let matrix = self.vector(&aggregation.expr, times)?;
        let mut out = Matrix { steps: matrix.steps, ..Matrix::default() };
        let mut known: HashMap<Labels, usize> = HashMap::new();
        // A text for each value, and a row for each text and row: most rows have few values.
        for row in &matrix.rows.iter().enumerate().map(|(at, row)| (at, row.labels.clone())).collect::<Vec<_>>() {
            let mut of_value: HashMap<u64, usize> = HashMap::new();
            for step in 0..matrix.steps {
                let Some(cell) = matrix.cell(row.0, step) else { continue };
                let target = match (&cell, of_value.get(&bits(&cell))) {
                    (Cell::Float(_), Some(target)) => *target,
                    _ => {
                        let text = match &cell {
                            Cell::Float(value) => crate::printer::plain(*value),
                            Cell::Histogram(histogram) => histogram.to_string(),
                        };
                        let value = self.symbols.number(&text);
                        let labels = row.1.with(label, value, self.symbols);
                        let labels = group_labels(&labels, &names, aggregation.without);
                        let target = *known.entry(labels.clone()).or_insert_with(|| out.push(Row::new(labels)));
                        of_value.insert(bits(&cell), target);
                        target
                    }
                };
                let count = &mut out.cells[target * matrix.steps + step];
                *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
            }
            self.held = self.held.max(out.cells.len());
            self.check()?;
        }
        Ok(out)
    }
}

fn bits(cell: &Cell) -> u64 {
    match cell {
        Cell::Float(value) => value.to_bits(),
        Cell::Histogram(_) => 0,
    }
}

/// The group of each row: by the labels listed, or by all but those.
pub(super) fn group(matrix: &Matrix, names: &[Symbol], without: bool) -> Grouped {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut labels = Vec::new();
    let mut key = Vec::new();
    let mut of = Vec::with_capacity(matrix.rows.len());
    // The labels of a group are made for its first row; other rows only look their pairs up.
    let mut by_pairs: HashMap<Vec<(Symbol, Symbol)>, usize> = HashMap::new();
    for row in &matrix.rows {
        key.clear();
        key.extend(row.labels.pairs().iter().filter(|(name, _)| is_grouped(*name, names, without)).copied());
        let group = match by_pairs.get(&key) {
            Some(group) => *group,
            None => {
                let of_group = group_labels(&row.labels, names, without);
                let group = *known.entry(of_group.clone()).or_insert_with(|| {
                    labels.push(of_group);
                    labels.len() - 1
                });
                by_pairs.insert(key.clone(), group);
                group
            }
        };
        of.push(group);
    }
    Grouped { labels, of }
}

fn is_grouped(name: Symbol, names: &[Symbol], without: bool) -> bool {
    if without { !names.contains(&name) && !name.is_of_metric() } else { names.contains(&name) }
}

fn group_labels(labels: &Labels, names: &[Symbol], without: bool) -> Labels {
    labels.filtered(|name| is_grouped(name, names, without))
}

/// The rows of each group.
pub(super) fn members(groups: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); count];
    for (row, group) in groups.iter().enumerate() {
        members[*group].push(row);
    }
    members
}

/// Adds rows of floats up. What each aggregation keeps beside its result stands in `lost` and `counts`, a number for each cell.
struct Fold {
    op: Aggregator,
    /// What rounding took away from sums; of deviations, the mean so far.
    lost: Vec<f64>,
    counts: Vec<f64>,
    /// Cells of means whose sums are too large a number, with the mean so far.
    means: HashMap<usize, f64>,
}

impl Fold {
    fn new(op: Aggregator, cells: usize) -> Self {
        use Aggregator::{Avg, Stddev, Stdvar, Sum};
        let keeps_lost = matches!(op, Sum | Avg | Stddev | Stdvar);
        let keeps_counts = matches!(op, Avg | Stddev | Stdvar);
        Self {
            op,
            lost: vec![0.0; if keeps_lost { cells } else { 0 }],
            counts: vec![0.0; if keeps_counts { cells } else { 0 }],
            means: HashMap::new(),
        }
    }

    /// Adds a row to that of its group, whose cells begin at `start`.
    fn add(&mut self, row: &[f64], out: &mut [f64], start: usize) {
        match self.op {
            Aggregator::Sum => {
                let lost = &mut self.lost[start..start + out.len()];
                for ((value, sum), lost) in row.iter().zip(out).zip(lost) {
                    if is_present(*value) {
                        if is_present(*sum) {
                            (*sum, *lost) = kahan_step(*value, *sum, *lost);
                        } else {
                            *sum = *value;
                        }
                    }
                }
            }
            Aggregator::Avg => {
                for (at, (value, sum)) in row.iter().zip(out).enumerate().filter(|(_, (value, _))| is_present(**value))
                {
                    self.average(start + at, *value, sum);
                }
            }
            Aggregator::Min | Aggregator::Max => {
                let is_max = self.op == Aggregator::Max;
                for (value, best) in row.iter().zip(out).filter(|(value, _)| is_present(**value)) {
                    let is_better = if is_max { *value > *best } else { *value < *best };
                    // An absent cell holds a NaN, which gives way too.
                    if best.is_nan() || is_better {
                        *best = *value;
                    }
                }
            }
            Aggregator::Count => {
                for (_, count) in row.iter().zip(out).filter(|(value, _)| is_present(**value)) {
                    *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
                }
            }
            Aggregator::Group => {
                for (_, cell) in row.iter().zip(out).filter(|(value, _)| is_present(**value)) {
                    *cell = 1.0;
                }
            }
            _ => {
                for (at, (value, squares)) in
                    row.iter().zip(out).enumerate().filter(|(_, (value, _))| is_present(**value))
                {
                    self.deviation(start + at, *value, squares);
                }
            }
        }
    }

    fn average(&mut self, at: usize, value: f64, sum: &mut f64) {
        let (count, lost) = (&mut self.counts[at], &mut self.lost[at]);
        *count += 1.0;
        if !is_present(*sum) {
            *sum = value;
            return;
        }
        if !self.means.contains_key(&at) {
            let (next, next_lost) = kahan_step(value, *sum, *lost);
            if !next.is_infinite() {
                (*sum, *lost) = (next, next_lost);
                return;
            }
            self.means.insert(at, *sum / (*count - 1.0));
            *lost /= *count - 1.0;
        }
        if let Some(mean) = self.means.get_mut(&at) {
            let share = (*count - 1.0) / *count;
            (*mean, *lost) = kahan_step(value / *count, share * *mean, share * *lost);
        }
    }

    fn deviation(&mut self, at: usize, value: f64, squares: &mut f64) {
        let (count, mean) = (&mut self.counts[at], &mut self.lost[at]);
        *count += 1.0;
        if !is_present(*squares) {
            *mean = value;
            *squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - *mean;
        *mean += delta / *count;
        *squares += delta * (value - *mean);
    }

    fn finish(self, cells: &mut [f64]) {
        for (at, cell) in cells.iter_mut().enumerate().filter(|(_, cell)| is_present(**cell)) {
            *cell = match self.op {
                Aggregator::Sum => *cell + self.lost[at],
                Aggregator::Avg => match self.means.get(&at) {
                    Some(mean) => mean + self.lost[at],
                    None => *cell / self.counts[at] + self.lost[at] / self.counts[at],
                },
                Aggregator::Stddev => (*cell / self.counts[at]).sqrt(),
                Aggregator::Stdvar => *cell / self.counts[at],
                _ => *cell,
            };
            debug_assert!(cell.to_bits() != ABSENT.to_bits());
        }
    }
}
