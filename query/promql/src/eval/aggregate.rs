//! Aggregations that make one row of each group.
//!
//! Rows are added to the row of their group one after another, along all steps: what is read and written lies side by side.

use std::{collections::BTreeMap, ops::Range};

use hashbrown::HashMap;

use crate::{
    Error, Labels, Result,
    ast::Aggregator,
    labels::Symbol,
    number::short,
    plan::{Aggregation, Plan, Step},
    value::{ABSENT, Cell, Matrix, Row, Times, is_present},
};

use super::{
    Evaluator, labelled, metric_name, native,
    over_time::{
        Fill, Gathered,
        window::{kahan_step, quantile},
    },
    rows,
};

/// With fewer steps, rows are shared out among threads, not steps.
const STEPS_MIN: usize = 64;
/// Rows of a group, on average, from which on they need no place each.
const ROWS_OF_GROUP: usize = 4;
/// Parts of the steps for each thread: one that is held up leaves work to others, and for each part a row is looked up.
const PARTS_PER_THREAD: usize = 2;

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
        if let Some(counted) = self.count_present(aggregation, &names, times)? {
            return Ok(counted);
        }
        if let Some(folded) = self.fold_rows(aggregation, &names, times)? {
            return Ok(folded);
        }
        let matrix = self.vector(&aggregation.expr, times)?;
        let grouped = group(&matrix.rows, &names, aggregation.without);
        match (aggregation.op, param) {
            (Topk | Bottomk | Limitk | LimitRatio, Some(param)) => self.ranked(aggregation, &matrix, &grouped, &param),
            (Quantile, Some(param)) => self.quantile(aggregation, &matrix, grouped, &param),
            _ => self.folded(aggregation, &matrix, grouped),
        }
    }

    /// Counts series of which it is only known when they have samples.
    fn count_present(&mut self, aggregation: &Aggregation, names: &[Symbol], times: Times) -> Result<Option<Matrix>> {
        let Step::Instant(select) = &aggregation.expr.node else { return Ok(None) };
        let samples = &self.samples[select.want];
        let Some(present) = &samples.present else { return Ok(None) };
        let rows: Vec<Row> = samples.labels.iter().cloned().map(Row::new).collect();
        let grouped = group(&rows, names, aggregation.without);
        let mut out = self.absent(grouped.labels.into_iter().map(Row::new).collect(), times.count)?;
        // By how much the count changes from the step before, and after the last one.
        let width = times.count + 1;
        self.hold_beside(out.rows.len().saturating_mul(width))?;
        let mut changes = vec![0_i32; out.rows.len() * width];
        for (group, spans) in grouped.of.iter().zip(present) {
            for span in spans {
                let steps = select.moment.steps_in(span, times);
                changes[group * width + steps.start] += 1;
                changes[group * width + steps.end] -= 1;
            }
        }
        for (row, changes) in changes.chunks_exact(width).enumerate() {
            let mut count = 0;
            for (cell, change) in out.row_mut(row).iter_mut().zip(changes) {
                count += change;
                if count > 0 {
                    *cell = if aggregation.op == Aggregator::Group { 1.0 } else { f64::from(count) };
                }
            }
        }
        out.prune();
        Ok(Some(out))
    }

    /// Adds up rows that come from samples one by one, if there are enough steps to share them out among threads.
    fn fold_rows(&mut self, aggregation: &Aggregation, names: &[Symbol], times: Times) -> Result<Option<Matrix>> {
        use Aggregator::{Avg, Count, Group, Max, Min, Stddev, Stdvar, Sum};
        let expr = &aggregation.expr;
        if !matches!(aggregation.op, Avg | Count | Group | Max | Min | Stddev | Stdvar | Sum)
            || times.count < STEPS_MIN
            || expr.fixed
            || self.options.features.delayed_name_removal
            || self.repeats.is_worth(expr)
        {
            return Ok(None);
        }
        match expr.node {
            Step::Instant(_) => self.fold_newest(aggregation, names, times),
            Step::Call(..) => self.fold_over_time(aggregation, names, times),
            _ => Ok(None),
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
        let (before, beside) = (self.held, self.beside);
        // A text for each value, and a row for each text and row: most rows have few values.
        for row in &matrix.rows.iter().enumerate().map(|(at, row)| (at, row.labels.clone())).collect::<Vec<_>>() {
            let mut of_value: HashMap<u64, usize> = HashMap::new();
            for step in 0..matrix.steps {
                let Some(cell) = matrix.cell(row.0, step) else { continue };
                let target = match (&cell, of_value.get(&bits(&cell))) {
                    (Cell::Float(_), Some(target)) => *target,
                    _ => {
                        let text = match &cell {
                            Cell::Float(value) => crate::number::plain(*value),
                            Cell::Histogram(histogram) => histogram.to_string(),
                        };
                        let value = self.symbols.number(&text);
                        let labels = row.1.with(label, value, self.symbols);
                        let labels = group_labels(&labels, &names, aggregation.without);
                        let target = match known.get(&labels) {
                            Some(target) => *target,
                            None => {
                                // They double when they grow.
                                let cells = out.cells.len().saturating_add(matrix.steps);
                                (self.held, self.beside) = (before.saturating_add(cells), beside.saturating_add(cells));
                                self.check()?;
                                known.insert(labels.clone(), out.rows.len());
                                out.push(Row::new(labels))
                            }
                        };
                        of_value.insert(bits(&cell), target);
                        target
                    }
                };
                let count = &mut out.cells[target * matrix.steps + step];
                *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
            }
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
pub(super) fn group(rows: &[Row], names: &[Symbol], without: bool) -> Grouped {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut labels = Vec::new();
    let mut key = Vec::new();
    let mut of = Vec::with_capacity(rows.len());
    // The labels of a group are made for its first row; other rows only look their pairs up.
    let mut by_pairs: HashMap<Vec<(Symbol, Symbol)>, usize> = HashMap::new();
    for row in rows {
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

/// Rows that are added up as they are computed, a part of the steps after another: each part is one thread's, which adds the rows in
/// their order, so that threads make no difference to a sum.
pub(super) struct Folding {
    op: Aggregator,
    grouped: Grouped,
    out: Matrix,
    threads: usize,
}

impl Folding {
    /// Of these rows; `None` if their groups are so many that they take no less than the rows. Takes note of what is held meanwhile.
    pub(super) fn new(
        evaluator: &mut Evaluator<'_>,
        aggregation: &Aggregation,
        rows: &[Row],
        names: &[Symbol],
        times: Times,
    ) -> Result<Option<Self>> {
        let weight = rows.len().saturating_mul(times.count);
        let grouped = group(rows, names, aggregation.without);
        if grouped.labels.len() > rows.len() / ROWS_OF_GROUP {
            return Ok(None);
        }
        let out = evaluator.absent(grouped.labels.iter().cloned().map(Row::new).collect(), times.count)?;
        // What is kept beside each sum, and parts that are not yet in their place.
        evaluator.hold_beside(out.cells.len().saturating_mul(3))?;
        let threads = if weight < rows::CELLS_MIN { 1 } else { evaluator.options.threads.max(1) };
        Ok(Some(Self { op: aggregation.op, grouped, out, threads }))
    }

    /// Computes and adds up all rows; gives what was gathered with them.
    pub(super) fn run(&mut self, fill: &Fill<'_>) -> Vec<Gathered> {
        let steps = self.out.steps;
        let width = steps.div_ceil(self.threads * PARTS_PER_THREAD).max(STEPS_MIN / 2);
        let mut parts = Vec::new();
        for start in (0..steps).step_by(width) {
            parts.push(start..steps.min(start + width));
        }
        let (of, groups) = (&self.grouped.of, self.out.rows.len());
        let fold = |steps: Range<usize>, state: &mut Gathered| {
            let width = steps.len();
            let (mut cells, mut row_cells) = (vec![ABSENT; groups * width], vec![ABSENT; width]);
            let mut fold = Fold::new(self.op, cells.len());
            for (row, group) in of.iter().enumerate() {
                row_cells.fill(ABSENT);
                fill(row, steps.clone(), &mut row_cells, state);
                let at = group * width..(group + 1) * width;
                fold.add(&row_cells, &mut cells[at.clone()], at.start);
            }
            fold.finish(&mut cells);
            (steps, cells)
        };
        let (done, gathered) = rows::share(parts, self.threads, fold);
        for (part, cells) in done {
            for (group, cells) in cells.chunks_exact(part.len()).enumerate() {
                self.out.row_mut(group)[part.clone()].copy_from_slice(cells);
            }
        }
        gathered
    }

    pub(super) fn finish(mut self) -> Matrix {
        self.out.prune();
        self.out
    }
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
