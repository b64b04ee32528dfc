//! Calls of functions: which one does what.

use crate::{
    Error, ErrorKind, Labels, Result,
    ast::Span,
    duration::seconds,
    functions::Signature,
    plan::{Plan, Step, implied_labels},
    value::{ABSENT, Matrix, Row, Times, Value, is_present},
};

use super::{Evaluator, math, select::Wanted};

impl Evaluator<'_> {
    pub(super) fn call(
        &mut self,
        function: &'static Signature,
        args: &[Plan],
        span: Span,
        times: Times,
    ) -> Result<Value> {
        if args.iter().any(|arg| matches!(arg.node, Step::Range(..) | Step::Subquery(_))) {
            return self.over_time(function.name, args, times).map(Value::Vector);
        }
        if let Some(of) = math::function(function.name) {
            return self.each(&args[0], times, of);
        }
        if let Some(of) = math::of_calendar(function.name) {
            return match args.first() {
                Some(arg) => self.each(arg, times, of),
                None => {
                    // Prometheus cuts to whole seconds.
                    let cells = times.iter().map(|time| of(seconds(time).trunc())).collect();
                    Ok(Value::Vector(one_row(times, cells)))
                }
            };
        }
        self.other(function.name, args, span, times)
    }

    fn other(&mut self, name: &'static str, args: &[Plan], span: Span, times: Times) -> Result<Value> {
        Ok(match name {
            "time" => Value::Scalar(times.iter().map(seconds).collect()),
            "pi" => Value::Scalar(vec![std::f64::consts::PI; times.count]),
            "max_of" | "min_of" => {
                let (left, right) = (self.scalar(&args[0], times)?, self.scalar(&args[1], times)?);
                let choose = if name == "max_of" { math::greater } else { math::lesser };
                Value::Scalar(left.into_iter().zip(right).map(|(left, right)| choose(left, right)).collect())
            }
            "vector" => {
                let cells = self.scalar(&args[0], times)?;
                Value::Vector(one_row(times, cells))
            }
            "scalar" => {
                let matrix = self.vector(&args[0], times)?;
                Value::Scalar((0..times.count).map(|step| only_float(&matrix, step)).collect())
            }
            "absent" => {
                let matrix = self.vector(&args[0], times)?;
                Value::Vector(self.absent_of(&matrix, &args[0]))
            }
            "timestamp" => self.timestamps(&args[0], times, Wanted::Time)?,
            "start_timestamp" => self.timestamps(&args[0], times, Wanted::Start)?,
            "round" => {
                let nearest = match args.get(1) {
                    Some(nearest) => self.scalar(nearest, times)?,
                    None => vec![1.0; times.count],
                };
                let round = |value: f64, step: usize| {
                    let inverse = 1.0 / nearest[step];
                    Some((value * inverse + 0.5).floor() / inverse)
                };
                self.each_step(&args[0], times, round)?
            }
            "clamp" => {
                let (least, most) = (self.scalar(&args[1], times)?, self.scalar(&args[2], times)?);
                let clamp = |value, step: usize| clamped(value, least[step], most[step]);
                self.each_step(&args[0], times, clamp)?
            }
            "clamp_min" => {
                let least = self.scalar(&args[1], times)?;
                self.each_step(&args[0], times, |value, step| clamped(value, least[step], f64::INFINITY))?
            }
            "clamp_max" => {
                let most = self.scalar(&args[1], times)?;
                self.each_step(&args[0], times, |value, step| clamped(value, f64::NEG_INFINITY, most[step]))?
            }
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort(name, args, span, times)?,
            "label_replace" => Value::Vector(self.label_replace(args, times)?),
            "label_join" => Value::Vector(self.label_join(args, times)?),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                Value::Vector(self.of_buckets(name, args, times)?)
            }
            "histogram_count" | "histogram_sum" | "histogram_avg" | "histogram_stddev" | "histogram_stdvar" => {
                self.of_histograms(name, &args[0], times)?
            }
            "info" => Value::Vector(self.info(args, span, times)?),
            _ => return Err(Error::new(ErrorKind::Execution, format!("function is not known function={name}"))),
        })
    }

    /// A function of each float; histograms are left out.
    fn each(&mut self, arg: &Plan, times: Times, of: impl Fn(f64) -> f64) -> Result<Value> {
        self.each_step(arg, times, |value, _| Some(of(value)))
    }

    fn each_step(&mut self, arg: &Plan, times: Times, of: impl Fn(f64, usize) -> Option<f64>) -> Result<Value> {
        let mut matrix = self.vector(arg, times)?;
        let steps = matrix.steps.max(1);
        for (at, value) in matrix.cells.iter_mut().enumerate() {
            if is_present(*value) {
                *value = of(*value, at % steps).unwrap_or(ABSENT);
            }
        }
        matrix.histograms = Vec::new();
        self.drop_names(&mut matrix);
        matrix.prune();
        self.merged(matrix).map(Value::Vector)
    }

    fn of_histograms(&mut self, name: &str, arg: &Plan, times: Times) -> Result<Value> {
        let mut matrix = self.vector(arg, times)?;
        matrix.cells.fill(ABSENT);
        for (cell, histogram) in matrix.cells.iter_mut().zip(&matrix.histograms) {
            let Some(histogram) = histogram else { continue };
            *cell = match name {
                "histogram_count" => histogram.count,
                "histogram_sum" => histogram.sum,
                "histogram_avg" => histogram.sum / histogram.count,
                "histogram_stddev" => histogram.stddev(),
                _ => histogram.stdvar(),
            };
        }
        matrix.histograms = Vec::new();
        self.drop_names(&mut matrix);
        matrix.prune();
        self.merged(matrix).map(Value::Vector)
    }

    fn timestamps(&mut self, arg: &Plan, times: Times, wanted: Wanted) -> Result<Value> {
        let with_starts = self.options.features.start_timestamps;
        let mut matrix = match &arg.node {
            Step::Instant(_) if wanted == Wanted::Start && !with_starts => Matrix::default(),
            Step::Instant(select) => self.newest(select, times, wanted)?,
            _ => {
                // What was computed is of the time of its step.
                let mut matrix = self.vector(arg, times)?;
                for row in 0..matrix.rows.len() {
                    for step in 0..matrix.steps {
                        let value = if wanted == Wanted::Time && matrix.has(row, step) {
                            seconds(times.get(step))
                        } else {
                            ABSENT
                        };
                        matrix.cells[row * matrix.steps + step] = value;
                    }
                }
                matrix.histograms = Vec::new();
                matrix
            }
        };
        matrix.steps = times.count;
        self.drop_names(&mut matrix);
        matrix.prune();
        self.merged(matrix).map(Value::Vector)
    }

    /// A series where no row has a sample, with the labels that the selector says.
    pub(super) fn absent_of(&mut self, matrix: &Matrix, arg: &Plan) -> Matrix {
        let cells: Vec<f64> =
            (0..matrix.steps).map(|step| if matrix.is_empty_at(step) { 1.0 } else { ABSENT }).collect();
        let matchers = match &arg.node {
            Step::Instant(select) | Step::Range(select, _) => implied_labels(&select.matchers),
            _ => Vec::new(),
        };
        let labels = Labels::of(matchers, self.symbols);
        let mut out = Matrix { rows: vec![Row::new(labels)], steps: matrix.steps, cells, histograms: Vec::new() };
        out.prune();
        out
    }
}

fn one_row(times: Times, cells: Vec<f64>) -> Matrix {
    Matrix { rows: vec![Row::new(Labels::none())], steps: times.count, cells, histograms: Vec::new() }
}

/// The float of the only row that has one at a step; NaN if there are none or several.
fn only_float(matrix: &Matrix, step: usize) -> f64 {
    let mut floats = (0..matrix.rows.len()).map(|row| matrix.row(row)[step]).filter(|value| is_present(*value));
    match (floats.next(), floats.next()) {
        (Some(value), None) => value,
        _ => f64::NAN,
    }
}

fn clamped(value: f64, least: f64, most: f64) -> Option<f64> {
    if most < least {
        return None;
    }
    Some(math::greater(least, math::lesser(most, value)))
}
