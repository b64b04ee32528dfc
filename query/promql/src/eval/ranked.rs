//! Aggregations that choose rows: `topk`, `bottomk`, `limitk` and `limit_ratio`.

use std::cmp::Ordering;

use crate::{
    Error, Result,
    ast::Aggregator,
    number::short,
    plan::Aggregation,
    value::{Matrix, Row, is_present},
};

use super::{
    Evaluator,
    aggregate::{Grouped, members},
    over_time::window::count,
};

impl Evaluator<'_> {
    pub(super) fn ranked(
        &mut self,
        aggregation: &Aggregation,
        matrix: &Matrix,
        grouped: &Grouped,
        param: &[f64],
    ) -> Result<Matrix> {
        let op = aggregation.op;
        let nothing = Matrix { steps: matrix.steps, ..Matrix::default() };
        if !self.check_param(aggregation, param)? {
            return Ok(nothing);
        }
        let members = members(&grouped.of, grouped.labels.len());
        let mut order: Vec<usize> = Vec::new();
        let mut out = self.absent(
            matrix.rows.iter().map(|row| Row { labels: row.labels.clone(), drops_name: row.drops_name }).collect(),
            matrix.steps,
        )?;
        let offsets = if op == Aggregator::LimitRatio { self.sample_offsets(matrix) } else { Vec::new() };
        let is_by_value = matches!(op, Aggregator::Topk | Aggregator::Bottomk);
        if is_by_value && matrix.histograms.iter().any(Option::is_some) {
            self.notes.info(format!("ignored histogram in {} aggregation", op.as_str()), aggregation.span);
        }
        let mut chosen: Vec<usize> = Vec::new();
        for rows in &members {
            for step in 0..matrix.steps {
                let param = param[step];
                chosen.clear();
                if is_by_value {
                    chosen.extend(rows.iter().filter(|row| is_present(matrix.row(**row)[step])));
                    best(
                        &mut chosen,
                        limit(param, matrix.rows.len()),
                        |row| matrix.row(row)[step],
                        op == Aggregator::Topk,
                    );
                } else if op == Aggregator::Limitk {
                    let present = rows.iter().filter(|row| matrix.has(**row, step));
                    chosen.extend(present.take(limit(param, matrix.rows.len())));
                } else {
                    chosen
                        .extend(rows.iter().filter(|row| matrix.has(**row, step) && is_sampled(param, offsets[**row])));
                }
                for row in &chosen {
                    if let Some(cell) = matrix.cell(*row, step) {
                        out.set(*row, step, cell);
                    }
                }
                if self.is_instant {
                    order.extend(&chosen);
                }
            }
        }
        if self.is_instant && matrix.steps == 1 {
            return Ok(out.reordered(&order));
        }
        out.prune();
        Ok(out)
    }

    /// Refuses parameters that are no numbers of rows, or no shares of them; false if nothing is chosen at any step.
    fn check_param(&mut self, aggregation: &Aggregation, param: &[f64]) -> Result<bool> {
        let most = param.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = param.iter().copied().fold(f64::INFINITY, f64::min);
        let has_nan = param.iter().any(|value| value.is_nan());
        if aggregation.op != Aggregator::LimitRatio {
            if most < 1.0 && !(has_nan && most == f64::NEG_INFINITY) {
                return Ok(false);
            }
            if has_nan {
                return Err(Error::execution("Parameter value is NaN"));
            }
            #[expect(clippy::cast_precision_loss, reason = "the bounds Prometheus compares with")]
            let bounds = (i64::MIN as f64, i64::MAX as f64);
            if least <= bounds.0 {
                return Err(Error::execution(format!("Scalar value {} underflows int64", short(least))));
            }
            if most >= bounds.1 {
                return Err(Error::execution(format!("Scalar value {} overflows int64", short(most))));
            }
            return Ok(true);
        }
        if most == 0.0 && least == 0.0 && !has_nan {
            return Ok(false);
        }
        if has_nan {
            return Err(Error::execution("Ratio value is NaN"));
        }
        let span = aggregation.param.as_ref().map(|param| param.span).unwrap_or_default();
        for (beyond, value, cap) in [(most > 1.0, most, 1.0), (least < -1.0, least, -1.0)] {
            if beyond {
                let text =
                    format!("ratio value should be between -1 and 1, got {}, capping to {}", short(value), short(cap));
                self.notes.warn(text, span);
            }
        }
        Ok(true)
    }

    /// Where each row is between 0 and 1, by its labels: the same labels are always at the same place.
    fn sample_offsets(&self, matrix: &Matrix) -> Vec<f64> {
        let offset = |row: &Row| {
            let mut bytes = Vec::new();
            for (name, value) in row.labels.texts(self.symbols) {
                push_sized(&mut bytes, name);
                push_sized(&mut bytes, value);
            }
            hash_share(xxhash_rust::xxh64::xxh64(&bytes, 0))
        };
        matrix.rows.iter().map(offset).collect()
    }
}

/// A text after its length, as Prometheus has labels in memory and hashes them.
fn push_sized(bytes: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) if length < u8::MAX => bytes.push(length),
        _ => {
            bytes.push(u8::MAX);
            bytes.extend_from_slice(text.len().to_le_bytes().get(..3).unwrap_or_default());
        }
    }
    bytes.extend_from_slice(text.as_bytes());
}

#[expect(clippy::cast_precision_loss, reason = "a share of all hashes")]
fn hash_share(hash: u64) -> f64 {
    hash as f64 / u64::MAX as f64
}

fn is_sampled(ratio: f64, offset: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// How many rows are chosen.
fn limit(param: f64, rows: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was checked, and is bounded by the rows"
    )]
    let limit = param.min(count(rows)).max(0.0) as usize;
    limit
}

/// Keeps the rows of the greatest or the least values, the best first; NaN is the worst either way.
fn best(rows: &mut Vec<usize>, limit: usize, value: impl Fn(usize) -> f64, greatest: bool) {
    let order = |left: &usize, right: &usize| {
        let (left, right) = (value(*left), value(*right));
        match (left.is_nan(), right.is_nan()) {
            (false, false) if greatest => right.partial_cmp(&left).unwrap_or(Ordering::Equal),
            (false, false) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
            (left, right) => left.cmp(&right),
        }
    };
    if limit == 0 {
        rows.clear();
        return;
    }
    if limit < rows.len() {
        // Of equal values the first rows stay.
        rows.select_nth_unstable_by(limit - 1, |left, right| order(left, right).then(left.cmp(right)));
        rows.truncate(limit);
    }
    rows.sort_by(|left, right| order(left, right).then(left.cmp(right)));
}
