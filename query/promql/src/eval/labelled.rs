//! Functions about labels: replaced, joined, sorted by.

use std::cmp::Ordering;

use crate::{
    Error, Labels, Result,
    ast::Span,
    labels::Symbol,
    pattern::{Template, compile},
    plan::{Plan, Step},
    value::{ABSENT, Matrix, Times, Value, is_present},
};

use super::Evaluator;

/// Longest value of a label that a query makes.
const VALUE_BYTES_MAX: usize = 1 << 20;

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, args: &[Plan], times: Times) -> Result<Matrix> {
        let (target, replacement, source, pattern) = (text(args, 1), text(args, 2), text(args, 3), text(args, 4));
        let regex = compile(pattern, 1)
            .map_err(|_| Error::execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
        check_name(target, "destination", "label_replace")?;
        let replacement = Template::new(replacement, &regex);
        let mut matrix = self.vector(&args[0], times)?;
        let (source, target_symbol) = (self.symbols.number(source), self.symbols.number(target));
        for row in &mut matrix.rows {
            let value = self.symbols.text(row.labels.get(source));
            let Some(found) = regex.captures(value) else { continue };
            check_length(replacement.length(&found), "label_replace")?;
            let value = replacement.expand(&found);
            let value = self.symbols.number(&value);
            row.labels = row.labels.with(target_symbol, value, self.symbols);
            row.drops_name &= target_symbol != Symbol::NAME;
            self.check()?;
        }
        self.merge(matrix)
    }

    pub(super) fn label_join(&mut self, args: &[Plan], times: Times) -> Result<Matrix> {
        let (target, separator) = (text(args, 1), text(args, 2));
        let sources: Vec<&str> = (3..args.len()).map(|at| text(args, at)).collect();
        for source in &sources {
            check_name(source, "source", "label_join")?;
        }
        check_name(target, "destination", "label_join")?;
        let mut matrix = self.vector(&args[0], times)?;
        let sources: Vec<Symbol> = sources.into_iter().map(|source| self.symbols.number(source)).collect();
        let target = self.symbols.number(target);
        for row in &mut matrix.rows {
            let values: Vec<&str> = sources.iter().map(|name| self.symbols.text(row.labels.get(*name))).collect();
            let separators = separator.len().saturating_mul(values.len().saturating_sub(1));
            let length = values.iter().map(|value| value.len()).fold(separators, usize::saturating_add);
            check_length(length, "label_join")?;
            let value = values.join(separator);
            let value = self.symbols.number(&value);
            row.labels = row.labels.with(target, value, self.symbols);
            row.drops_name &= target != Symbol::NAME;
            self.check()?;
        }
        self.merge(matrix)
    }

    pub(super) fn sort(&mut self, name: &'static str, args: &[Plan], span: Span, times: Times) -> Result<Value> {
        let mut matrix = self.vector(&args[0], times)?;
        if !self.is_instant {
            let what = "sort is ineffective for range queries since results are always ordered by labels";
            self.notes.warn(what, span);
        }
        let descending = name.ends_with("_desc");
        let mut order: Vec<usize> = (0..matrix.rows.len()).collect();
        if name.starts_with("sort_by_label") {
            let labels: Vec<Symbol> = (1..args.len()).map(|at| self.symbols.number(text(args, at))).collect();
            let rows = &matrix.rows;
            order.sort_by(|left, right| {
                let ordering = self.by_labels(&rows[*left].labels, &rows[*right].labels, &labels);
                if descending { ordering.reverse() } else { ordering }
            });
            return Ok(Value::Vector(matrix.reordered(&order)));
        }
        for histogram in 0..matrix.histograms.len() {
            if matrix.histograms[histogram].is_some() {
                matrix.cells[histogram] = ABSENT;
            }
        }
        matrix.histograms = Vec::new();
        if times.count == 1 {
            let value = |row: &usize| matrix.row(*row)[0];
            order.retain(|row| is_present(value(row)));
            // NaN is last in either order.
            order.sort_by(|left, right| {
                let (left, right) = (value(left), value(right));
                let ordering = left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()));
                if descending && !left.is_nan() && !right.is_nan() { ordering.reverse() } else { ordering }
            });
            matrix = matrix.reordered(&order);
        }
        Ok(Value::Vector(matrix))
    }

    fn by_labels(&self, left: &Labels, right: &Labels, names: &[Symbol]) -> Ordering {
        for name in names {
            let (left, right) = (left.get(*name), right.get(*name));
            if left != right {
                return natural(self.symbols.text(left), self.symbols.text(right));
            }
        }
        left.compare(right, self.symbols)
    }
}

/// The text that an argument is.
pub(super) fn text(args: &[Plan], at: usize) -> &str {
    match args.get(at).map(|arg| &arg.node) {
        Some(Step::String(text)) => text,
        _ => "",
    }
}

fn check_name(name: &str, which: &str, function: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::execution(format!("invalid {which} label name in {function}(): {name}")));
    }
    Ok(())
}

/// Refuses a text that grows beyond what anybody reads.
fn check_length(bytes: usize, function: &str) -> Result<()> {
    if bytes > VALUE_BYTES_MAX {
        let what =
            format!("{function}() makes a label value that is too long bytes={bytes} bytes_max={VALUE_BYTES_MAX}");
        return Err(Error::execution(what));
    }
    Ok(())
}

/// The order of texts in which runs of digits are compared as numbers.
fn natural(left: &str, right: &str) -> Ordering {
    let (left, right) = (runs(left), runs(right));
    for (left, right) in left.iter().zip(&right) {
        if left == right {
            continue;
        }
        let is_number = |run: &&str| run.bytes().all(|byte| byte.is_ascii_digit());
        if is_number(left) && is_number(right) {
            let (short, other) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            let ordering = short.len().cmp(&other.len()).then_with(|| short.cmp(other));
            if ordering != Ordering::Equal {
                return ordering;
            }
            // The same number: what is written longer comes later.
            return left.len().cmp(&right.len());
        }
        return left.cmp(right);
    }
    left.len().cmp(&right.len())
}

/// A text cut into runs of digits and of what is none.
fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let is_other = |c: char| c.is_ascii_digit() != first.is_ascii_digit();
        let (run, after) = rest.split_at(rest.find(is_other).unwrap_or(rest.len()));
        runs.push(run);
        rest = after;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_texts_are_compared_as_numbers() {
        let mut texts = ["cpu10", "cpu2", "cpu1", "cpu", "10", "2", "a02", "a2", "b"];
        texts.sort_by(|left, right| natural(left, right));
        assert_eq!(texts, ["2", "10", "a2", "a02", "b", "cpu", "cpu1", "cpu2", "cpu10"]);
    }
}
