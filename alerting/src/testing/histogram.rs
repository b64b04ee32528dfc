//! Histograms as tests write them: `{{schema:1 sum:-3 count:22 buckets:[5 10 7]}}`.
//!
//! Keys are `schema`, `sum`, `count`, `z_bucket` and `z_bucket_w` (observations around zero, and how far around), `buckets` and `n_buckets`
//! with the index of their first at `offset` and `n_offset`, `custom_values` (bounds) and `counter_reset_hint`. All may be missing.

use std::sync::Arc;

use promql::{BucketSpan, Buckets, Histogram, ResetHint};

use super::series::number;
use crate::{Error, Result};

/// Reads a histogram at the start of a text; gives the rest.
pub(super) fn read(text: &str) -> Result<(Histogram, &str)> {
    let wrong = |reason: String| Error::invalid(format!("{reason} in the histogram `{text}`"));
    let mut rest = text.strip_prefix("{{").ok_or_else(|| wrong("expected `{{`".to_owned()))?;
    let (mut read, mut keys) = (Histogram::default(), Vec::new());
    let (mut offset, mut n_offset) = (0, 0);
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            place(&mut read.positive, offset);
            place(&mut read.negative, n_offset);
            return Ok((read, after));
        }
        let (key, value) = rest.split_once(':').ok_or_else(|| wrong("expected a key and `:`, or `}}`".to_owned()))?;
        if keys.contains(&key) {
            return Err(wrong(format!("key `{key}` is there twice")));
        }
        keys.push(key);
        rest = match key {
            "schema" => whole(value, &mut read.schema)?,
            "sum" => float(value, &mut read.sum)?,
            "count" => float(value, &mut read.count)?,
            "z_bucket" => float(value, &mut read.zero_count)?,
            "z_bucket_w" => float(value, &mut read.zero_threshold)?,
            "offset" => whole(value, &mut offset)?,
            "n_offset" => whole(value, &mut n_offset)?,
            "buckets" => floats(value, &mut read.positive.counts)?,
            "n_buckets" => floats(value, &mut read.negative.counts)?,
            "custom_values" => {
                let mut bounds = Vec::new();
                let rest = floats(value, &mut bounds)?;
                read.custom_values = Arc::from(bounds);
                rest
            }
            "counter_reset_hint" => hint(value, &mut read.hint)?,
            _ => return Err(wrong(format!("unknown key `{key}`"))),
        };
    }
}

fn place(buckets: &mut Buckets, offset: i32) {
    let length = u32::try_from(buckets.counts.len()).unwrap_or(u32::MAX);
    if length > 0 {
        buckets.spans = vec![BucketSpan { offset, length }];
    }
}

fn float<'t>(text: &'t str, out: &mut f64) -> Result<&'t str> {
    let (value, rest) = number(text)?;
    *out = value;
    Ok(rest)
}

fn whole<'t>(text: &'t str, out: &mut i32) -> Result<&'t str> {
    let (written, rest) = text.split_at(text.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(text.len()));
    *out = written.parse().map_err(|_| Error::invalid(format!("expected a whole number at `{text}`")))?;
    Ok(rest)
}

/// Reads `[1 2 3]`.
fn floats<'t>(text: &'t str, out: &mut Vec<f64>) -> Result<&'t str> {
    let mut rest = text.strip_prefix('[').ok_or_else(|| Error::invalid(format!("expected `[` at `{text}`")))?;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(']') {
            return Ok(after);
        }
        let (value, after) = number(rest)?;
        out.push(value);
        rest = after;
    }
}

fn hint<'t>(text: &'t str, out: &mut ResetHint) -> Result<&'t str> {
    let hints = [
        ("unknown", ResetHint::Unknown),
        ("reset", ResetHint::Reset),
        ("not_reset", ResetHint::NoReset),
        ("gauge", ResetHint::Gauge),
    ];
    for (word, hint) in hints {
        if let Some(rest) = text.strip_prefix(word) {
            *out = hint;
            return Ok(rest);
        }
    }
    Err(Error::invalid(format!("counter_reset_hint is unknown, reset, not_reset or gauge, not `{text}`")))
}
