//! Series as tests write them: labels `up{job="x"}` and values, one step after another.
//!
//! `1` is a value, `1+2x3` the four values 1 3 5 7, `4x2` the value three times, `_` a gap, `_x5` five of them, `stale` the end of the series,
//! `{{…}}` a histogram, which can be repeated and grow as well.

use std::sync::Arc;

use promql::{
    Histogram, Selector,
    notation::{grow, histogram, number},
};

use crate::{Error, Labels, Result};

/// Values that one item may stand for; they are made as the time of a test comes to them.
const REPETITIONS_MAX: usize = u32::MAX as usize;

/// What a series has at a step: a number, which may be the end of the series, or a histogram.
pub use crate::query::Value as Point;

/// Values, one for each step; what is repeated is made when it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// The first to come is the last.
    items: Vec<Item>,
}

#[derive(Debug, Clone)]
struct Item {
    /// What comes next.
    point: Option<Point>,
    growth: Growth,
    /// How many are left.
    left: usize,
}

#[derive(Debug, Clone)]
enum Growth {
    None,
    Float(f64),
    /// Added, or subtracted.
    Histogram(Arc<Histogram>, bool),
}

impl Iterator for Values {
    type Item = Option<Point>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.items.pop_if(|item| item.left == 0).is_some() {}
        let item = self.items.last_mut()?;
        item.left -= 1;
        let point = item.point.clone();
        if item.left > 0 {
            item.grow();
        }
        Some(point)
    }
}

impl Item {
    fn grow(&mut self) {
        match (&mut self.point, &self.growth) {
            (Some(Point::Float(value)), Growth::Float(growth)) => *value += growth,
            (Some(Point::Histogram(current)), Growth::Histogram(growth, is_subtracted)) => {
                // They fit: it was tried when the item was read.
                let _ = grow(Arc::make_mut(current), growth, *is_subtracted);
            }
            _ => {}
        }
    }
}

/// Reads what a series is called.
///
/// # Errors
/// `Invalid`.
pub fn read_labels(text: &str) -> Result<Labels> {
    let text = text.trim();
    if text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|inner| inner.trim().is_empty()) {
        return Ok(Labels::default());
    }
    let wrong = |reason: &dyn std::fmt::Display| Error::invalid(format!("`{text}` is no series: {reason}"));
    let selector = Selector::parse(text).map_err(|error| wrong(&error).caused_by(error))?;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for matcher in selector.matchers() {
        let (name, operator, value) = matcher.as_written();
        if operator != "=" {
            return Err(wrong(&format_args!("{name}{operator}{value:?} selects, a series has `=`")));
        }
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(wrong(&format_args!("the label {name:?} is there twice")));
        }
        pairs.push((name, value));
    }
    Ok(pairs.into_iter().collect())
}

/// Reads values, one for each step.
///
/// # Errors
/// `Invalid`.
pub fn read_values(text: &str) -> Result<Values> {
    let mut items = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (item, after) = item(rest)?;
        items.push(item);
        rest = after.trim_start();
        if rest.len() == after.len() && !rest.is_empty() {
            return Err(Error::invalid(format!("expected a space before `{rest}` in the values `{text}`")));
        }
    }
    items.reverse();
    Ok(Values { items })
}

/// Reads one item; gives the rest.
fn item(text: &str) -> Result<(Item, &str)> {
    if let Some(rest) = text.strip_prefix('_') {
        let (times, rest) = times(rest)?;
        return Ok((Item { point: None, growth: Growth::None, left: times.unwrap_or(1) }, rest));
    }
    if let Some(rest) = text.strip_prefix("stale") {
        let point = Some(Point::Float(f64::from_bits(promql::STALE)));
        return Ok((Item { point, growth: Growth::None, left: 1 }, rest));
    }
    let (point, growth, rest) = if text.starts_with("{{") { histograms(text)? } else { floats(text)? };
    let (times, rest) = times(rest)?;
    if times.is_none() && !matches!(growth, Growth::None) {
        return Err(Error::invalid(format!("expected `x` and how often after the growth in `{text}`")));
    }
    Ok((Item { point: Some(point), growth, left: times.unwrap_or(0) + 1 }, rest))
}

fn wrong(error: promql::Error) -> Error {
    Error::invalid(error.to_string()).caused_by(error)
}

fn floats(text: &str) -> Result<(Point, Growth, &str)> {
    let (value, rest) = number(text)
        .map_err(|_| Error::invalid(format!("expected a number, `_`, `stale` or a histogram at `{text}`")))?;
    if rest.starts_with(['+', '-']) {
        let (growth, rest) = number(rest).map_err(wrong)?;
        return Ok((Point::Float(value), Growth::Float(growth), rest));
    }
    Ok((Point::Float(value), Growth::None, rest))
}

fn histograms(text: &str) -> Result<(Point, Growth, &str)> {
    let (value, _, rest) = histogram(text).map_err(wrong)?;
    let mut next = value.clone();
    let value = Point::Histogram(Arc::new(value));
    let Some(sign) = rest.chars().next().filter(|sign| matches!(sign, '+' | '-')) else {
        return Ok((value, Growth::None, rest));
    };
    let (growth, _, rest) = histogram(&rest[1..]).map_err(wrong)?;
    let is_subtracted = sign == '-';
    grow(&mut next, &growth, is_subtracted)
        .map_err(|error| Error::invalid(format!("`{text}` cannot grow: {error}")))?;
    Ok((value, Growth::Histogram(Arc::new(growth), is_subtracted), rest))
}

/// Reads `x5`, if it is there.
fn times(text: &str) -> Result<(Option<usize>, &str)> {
    let Some(rest) = text.strip_prefix('x') else { return Ok((None, text)) };
    let (digits, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let times: usize =
        digits.parse().map_err(|_| Error::invalid(format!("expected how often after `x` at `{text}`")))?;
    if times > REPETITIONS_MAX {
        return Err(Error::invalid(format!("too many repetitions: count={times} max={REPETITIONS_MAX}")));
    }
    Ok((Some(times), rest))
}
