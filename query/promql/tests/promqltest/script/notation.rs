//! Lines of series: what they are called, and their values one step after another.
//!
//! `metric{label="value"} 1 2+3x4 _ _x5 stale {{count:1}}`: a value, a value that grows (`2+3x4` is five values), a gap, five gaps,
//! a stale marker, a histogram. `metric@st _ -1m 0-1mx3` says since when the counters of the next line count.
//! Called by `command` for `load` and `eval` alike.
//!
//! Invariant: the labels are in the order of their names, and none is empty.

use promql::notation::{grow, histogram, number};

use super::{Histogram, Labels, STALE, literal};

/// How often a value may be repeated: the scripts have a few thousand at most.
const REPETITIONS_MAX: usize = 1_000_000;

/// What a line says of one step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// `_`
    Gap,
    /// A number, or a stale marker.
    Float(f64),
    /// A histogram, and whether its line states a `counter_reset_hint`.
    Histogram(Histogram, bool),
}

/// Reads a line of a series.
pub(super) fn series(line: &str) -> Result<(Labels, Vec<Item>), String> {
    let (labels, mut rest) = labels(line)?;
    let mut items = Vec::new();
    loop {
        let after = rest.trim_start();
        if after.is_empty() {
            return Ok((labels, items));
        }
        if after.len() == rest.len() {
            return Err(format!("expected a space before {rest:?}"));
        }
        rest = item(after, &mut items)?;
    }
}

/// What a series is called, and what follows.
fn labels(line: &str) -> Result<(Labels, &str), String> {
    let is_name = |c: char| is_name(c) || c == ':';
    let (name, mut rest) = line.split_at(line.find(|c| !is_name(c)).unwrap_or(line.len()));
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = label(rest, &mut labels)?.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None if rest.starts_with('}') => {}
                None => return Err(format!("expected `,` or `}}` at {rest:?}")),
            }
        }
    } else if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(format!("expected a series at {line:?}"));
    }
    if !name.is_empty() {
        labels.retain(|(label, _)| label != "__name__");
        labels.push(("__name__".to_owned(), name.to_owned()));
    }
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort();
    if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("the label {:?} is there twice", pair[0].0));
    }
    Ok((labels, rest))
}

fn is_name(c: char) -> bool {
    c == '_' || c == '.' || c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphabetic())
}

/// Reads `name="value"`, `"name"="value"` or `"metric"`.
fn label<'t>(text: &'t str, labels: &mut Labels) -> Result<&'t str, String> {
    let is_quoted = text.starts_with(['"', '\'', '`']);
    let (name, rest) = if is_quoted {
        literal::string(text)?
    } else {
        let (name, rest) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
        (name.to_owned(), rest)
    };
    let rest = rest.trim_start();
    let (name, value, rest) = match rest.strip_prefix('=') {
        Some(after) => {
            let (value, rest) = literal::string(after.trim_start())?;
            (name, value, rest)
        }
        None if is_quoted => ("__name__".to_owned(), name, rest),
        None => return Err(format!("expected `=` at {rest:?}")),
    };
    if name.is_empty() {
        return Err(format!("expected the name of a label at {text:?}"));
    }
    labels.push((name, value));
    Ok(rest)
}

/// Reads one value with its repetitions; gives the rest.
fn item<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    if let Some(rest) = text.strip_prefix('_') {
        let (repetitions, rest) = repetitions(rest)?;
        items.extend((0..repetitions.unwrap_or(1)).map(|_| Item::Gap));
        return Ok(rest);
    }
    if text.starts_with("{{") {
        return histograms(text, items);
    }
    let stale =
        text.strip_prefix("stale").filter(|rest| !rest.starts_with('x')).map(|rest| (f64::from_bits(STALE), rest));
    let (mut value, rest) = stale.map_or_else(|| number(text), Ok).map_err(wrong)?;
    let (growth, rest) = match rest.starts_with(['+', '-']) {
        true => number(rest).map(|(growth, rest)| (Some(growth), rest)).map_err(wrong)?,
        false => (None, rest),
    };
    let (times, rest) = repetitions(rest)?;
    if times.is_none() && growth.is_some() {
        return Err(format!("expected `x` and a count after the growth in {text:?}"));
    }
    items.push(Item::Float(value));
    for _ in 0..times.unwrap_or(0) {
        // Only if there is one: adding zero would make another NaN of a stale marker.
        value = growth.map_or(value, |growth| value + growth);
        items.push(Item::Float(value));
    }
    Ok(rest)
}

#[expect(clippy::needless_pass_by_value, reason = "what was wrong is given so")]
fn wrong(error: promql::Error) -> String {
    error.to_string()
}

/// Reads a histogram, which may be repeated and may grow by another one.
fn histograms<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    let (base, mut is_hinted, rest) = histogram(text).map_err(wrong)?;
    let grows = rest.starts_with(['+', '-']);
    let (growth, rest) = if grows {
        let (growth, growth_is_hinted, after) = histogram(&rest[1..]).map_err(wrong)?;
        // Prometheus goes by what it has read last, for the first of the series too.
        is_hinted = growth_is_hinted;
        (Some((growth, rest.starts_with('-'))), after)
    } else {
        (None, rest)
    };
    let (times, rest) = repetitions(rest)?;
    if times.is_none() && grows {
        return Err(format!("expected `x` and a count after the growth in {text:?}"));
    }
    let mut current = base;
    for at in 0..=times.unwrap_or(0) {
        if let Some((growth, is_subtracted)) = growth.as_ref().filter(|_| at > 0) {
            grow(&mut current, growth, *is_subtracted).map_err(wrong)?;
        }
        items.push(Item::Histogram(current.clone(), is_hinted));
    }
    Ok(rest)
}

/// Whether a line gives start timestamps: `@st` follows the name, and no space is before it.
pub(super) fn is_starts(line: &str) -> bool {
    line.split_once([' ', '\t']).is_some_and(|(series, _)| series.ends_with("@st"))
}

/// Reads a line of start timestamps: milliseconds relative to the samples.
pub(super) fn starts(line: &str) -> Result<(Labels, Vec<Option<i64>>), String> {
    let (name, items) = line.split_once("@st").ok_or_else(|| format!("expected `@st` in {line:?}"))?;
    let (labels, _) = series(name)?;
    let mut starts = Vec::new();
    for item in items.split_whitespace() {
        if let Some(rest) = item.strip_prefix('_') {
            let (times, rest) = repetitions(rest)?;
            starts.extend((0..times.unwrap_or(1)).map(|_| None));
            nothing_after(item, rest)?;
            continue;
        }
        let (mut start_ms, rest) = signed_ms(item)?;
        let (growth_ms, rest) = match rest.starts_with(['+', '-']) {
            true => signed_ms(rest).map(|(growth_ms, rest)| (Some(growth_ms), rest))?,
            false => (None, rest),
        };
        let (times, rest) = repetitions(rest)?;
        nothing_after(item, rest)?;
        if times.is_none() && growth_ms.is_some() {
            return Err(format!("expected `x` and a count after the growth in {item:?}"));
        }
        for _ in 0..=times.unwrap_or(0) {
            starts.push(Some(start_ms));
            start_ms += growth_ms.unwrap_or(0);
        }
    }
    Ok((labels, starts))
}

fn nothing_after(item: &str, rest: &str) -> Result<(), String> {
    if rest.is_empty() { Ok(()) } else { Err(format!("unexpected {rest:?} in {item:?}")) }
}

/// Reads a number with one unit, with or without a sign.
fn signed_ms(text: &str) -> Result<(i64, &str), String> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let is_unit = |c: char| c.is_ascii_alphabetic() && c != 'x';
    let unit = unsigned[digits..].find(|c| !is_unit(c)).unwrap_or(unsigned.len() - digits);
    let (written, rest) = unsigned.split_at(digits + unit);
    let ms = literal::duration_ms(written)?;
    Ok((if text.starts_with('-') { -ms } else { ms }, rest))
}

/// Reads `x5`, if it is there.
fn repetitions(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(rest) = text.strip_prefix('x') else { return Ok((None, text)) };
    let (count, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let count: usize = count.parse().map_err(|_| format!("expected a count at {text:?}"))?;
    if count > REPETITIONS_MAX {
        return Err(format!("too many repetitions: count={count} max={REPETITIONS_MAX}"));
    }
    Ok((Some(count), rest))
}
