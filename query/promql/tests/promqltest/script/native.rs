//! Histograms as the scripts write them: `{{schema:1 sum:-3 count:22 buckets:[5 10 7]}}`.
//!
//! Called by `notation`. The keys are `schema`, `sum`, `count`, `z_bucket` and `z_bucket_w` (observations around zero and the width),
//! `buckets` and `n_buckets` with the index of their first at `offset` and `n_offset`, `custom_values` (bounds) and
//! `counter_reset_hint`. All may be missing. What does not fit together is not refused: the scripts have such histograms.

use std::sync::Arc;

use super::{Buckets, Histogram, ResetHint, Span, notation};

/// Reads a histogram at the start of a text: it, whether it states a hint, and what follows.
pub(super) fn histogram(text: &str) -> Result<(Histogram, bool, &str), String> {
    let mut rest = text.strip_prefix("{{").ok_or_else(|| format!("expected `{{{{` at {text:?}"))?;
    let (mut read, mut keys) = (Histogram::default(), Vec::new());
    let (mut offset, mut n_offset) = (0, 0);
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            place(&mut read.positive, offset)?;
            place(&mut read.negative, n_offset)?;
            return Ok((read, keys.iter().any(|key| key == "counter_reset_hint"), after));
        }
        let (key, value) = rest.split_once(':').ok_or_else(|| format!("expected a key and `:` at {rest:?}"))?;
        let key = key.to_ascii_lowercase();
        if keys.contains(&key) {
            return Err(format!("the key {key:?} is there twice in {text:?}"));
        }
        rest = match key.as_str() {
            "schema" => integer(value, &mut read.schema)?,
            "sum" => float(value, &mut read.sum)?,
            "count" => float(value, &mut read.count)?,
            "z_bucket" => float(value, &mut read.zero_count)?,
            "z_bucket_w" => float(value, &mut read.zero_threshold)?,
            "offset" => integer(value, &mut offset)?,
            "n_offset" => integer(value, &mut n_offset)?,
            "buckets" => floats(value, &mut read.positive.counts)?,
            "n_buckets" => floats(value, &mut read.negative.counts)?,
            "custom_values" => {
                let mut bounds = Vec::new();
                let rest = floats(value, &mut bounds)?;
                read.custom_values = Arc::from(bounds);
                rest
            }
            "counter_reset_hint" => hint(value, &mut read.hint)?,
            _ => return Err(format!("unknown key {key:?} in {text:?}")),
        };
        keys.push(key);
    }
}

/// The next histogram of a series that grows.
pub(super) fn grown(current: &Histogram, growth: &Histogram, is_subtracted: bool) -> Result<Histogram, String> {
    if current.schema > growth.schema {
        return Err(format!("cannot add schema {} to schema {}", growth.schema, current.schema));
    }
    let mut next = current.clone();
    let result = if is_subtracted { next.sub(growth) } else { next.add(growth) };
    result.map(|_| next).map_err(|error| format!("cannot add the histograms: {error}"))
}

fn place(buckets: &mut Buckets, offset: i32) -> Result<(), String> {
    let length = u32::try_from(buckets.counts.len()).map_err(|error| error.to_string())?;
    if length > 0 {
        buckets.spans = vec![Span { offset, length }];
    }
    Ok(())
}

fn float<'t>(text: &'t str, out: &mut f64) -> Result<&'t str, String> {
    let (value, rest) = notation::signed(text)?;
    *out = value;
    Ok(rest)
}

fn integer<'t>(text: &'t str, out: &mut i32) -> Result<&'t str, String> {
    let is_part = |c: char| c == '-' || c.is_ascii_digit();
    let (written, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    *out = written.parse().map_err(|_| format!("expected a whole number at {text:?}"))?;
    Ok(rest)
}

/// Reads `[1 2 3]`.
fn floats<'t>(text: &'t str, out: &mut Vec<f64>) -> Result<&'t str, String> {
    let mut rest = text.strip_prefix('[').ok_or_else(|| format!("expected `[` at {text:?}"))?;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(']') {
            return Ok(after);
        }
        let (value, after) = notation::signed(rest)?;
        out.push(value);
        rest = after;
    }
}

fn hint<'t>(text: &'t str, out: &mut ResetHint) -> Result<&'t str, String> {
    let is_part = |c: char| c == '_' || c.is_ascii_alphabetic();
    let (written, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    *out = match written.to_ascii_lowercase().as_str() {
        "unknown" => ResetHint::Unknown,
        "reset" => ResetHint::Reset,
        "not_reset" => ResetHint::NoReset,
        "gauge" => ResetHint::Gauge,
        _ => return Err(format!("unknown counter_reset_hint at {text:?}")),
    };
    Ok(rest)
}
