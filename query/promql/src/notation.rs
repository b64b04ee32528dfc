//! Numbers and histograms as series of tests are written: `-3.5`, `{{schema:1 sum:-3 count:22 buckets:[5 10 7]}}`.
//!
//! Called by those who read tests of rules and scripts of `promqltest`; each has a reader of its own for what is around: gaps, what is
//! repeated, stale markers. Every function takes a text that goes on, and gives what it did not read.
//! Invariant: what is accepted is what Prometheus accepts. What does not fit together is not refused: its scripts have such histograms.
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series>

use std::sync::Arc;

use crate::{BucketSpan, Buckets, Error, ErrorKind, Histogram, ResetHint, Result, literal};

/// Reads a histogram: it, whether it states a `counter_reset_hint`, and what follows.
///
/// Keys are `schema`, `sum`, `count`, `z_bucket` and `z_bucket_w` (observations around zero, and how far around), `buckets` and `n_buckets`
/// with the index of their first at `offset` and `n_offset`, `custom_values` (bounds) and `counter_reset_hint`. All may be missing.
///
/// # Errors
/// `Invalid`.
pub fn histogram(text: &str) -> Result<(Histogram, bool, &str)> {
    let wrong = |reason: String| invalid(format!("{reason} in the histogram `{text}`"));
    let mut rest = text.strip_prefix("{{").ok_or_else(|| wrong("expected `{{`".to_owned()))?;
    let (mut read, mut keys) = (Histogram::default(), Vec::new());
    let (mut offset, mut n_offset) = (0, 0);
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            place(&mut read.positive, offset);
            place(&mut read.negative, n_offset);
            return Ok((read, keys.iter().any(|key| key == "counter_reset_hint"), after));
        }
        let (key, value) = rest.split_once(':').ok_or_else(|| wrong("expected a key and `:`, or `}}`".to_owned()))?;
        let key = key.to_ascii_lowercase();
        if keys.contains(&key) {
            return Err(wrong(format!("key `{key}` is there twice")));
        }
        rest = match key.as_str() {
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
        keys.push(key);
    }
}

/// Makes the next histogram of a series that grows by another one, or shrinks by it.
///
/// # Errors
/// `Invalid` if they do not fit: the one that is added must not have wider buckets.
pub fn grow(current: &mut Histogram, growth: &Histogram, is_subtracted: bool) -> Result<()> {
    if current.schema > growth.schema {
        return Err(invalid(format!("cannot add schema {} to schema {}", growth.schema, current.schema)));
    }
    let grown = if is_subtracted { current.sub(growth) } else { current.add(growth) };
    grown.map(|_| ()).map_err(|error| invalid(format!("cannot add the histograms: {error}")))
}

/// Reads a number, with or without a sign, and gives what follows. An `x` ends it, so there are no hexadecimal ones.
///
/// # Errors
/// `Invalid`.
pub fn number(text: &str) -> Result<(f64, &str)> {
    let wrong = || invalid(format!("expected a number at `{text}`"));
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let (written, rest) = unsigned.split_at(length(unsigned));
    let is_word = written.starts_with(char::is_alphabetic);
    if is_word && !["inf", "nan"].iter().any(|word| written.eq_ignore_ascii_case(word)) {
        return Err(wrong());
    }
    let value = literal::number(written).map_err(|_| wrong())?;
    Ok((value * sign, rest))
}

/// How far a number goes, or a word.
fn length(text: &str) -> usize {
    if text.starts_with(char::is_alphabetic) {
        let is_part = |c: char| matches!(c, '_' | '.' | ':') || c.is_alphanumeric();
        return text.find(|c| !is_part(c)).unwrap_or(text.len());
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let has_sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        match byte {
            b'e' | b'E' if has_sign => at += 2,
            b'x' => break,
            b'.' | b'_' => at += 1,
            byte if byte.is_ascii_alphanumeric() => at += 1,
            _ => break,
        }
    }
    at
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
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
    *out = written.parse().map_err(|_| invalid(format!("expected a whole number at `{text}`")))?;
    Ok(rest)
}

/// Reads `[1 2 3]`.
fn floats<'t>(text: &'t str, out: &mut Vec<f64>) -> Result<&'t str> {
    let mut rest = text.strip_prefix('[').ok_or_else(|| invalid(format!("expected `[` at `{text}`")))?;
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
    let is_part = |c: char| c == '_' || c.is_ascii_alphabetic();
    let (written, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    *out = match written.to_ascii_lowercase().as_str() {
        "unknown" => ResetHint::Unknown,
        "reset" => ResetHint::Reset,
        "not_reset" => ResetHint::NoReset,
        "gauge" => ResetHint::Gauge,
        _ => {
            return Err(invalid(format!(
                "`counter_reset_hint` is unknown, reset, not_reset or gauge, not as at `{text}`"
            )));
        }
    };
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_something_else_begins() {
        let read = [
            ("1x5", 1.0, "x5"),
            ("0x2", 0.0, "x2"),
            ("-1e+3-2", -1000.0, "-2"),
            ("+.5]", 0.5, "]"),
            ("1_000 2", 1000.0, " 2"),
            ("010", 8.0, ""),
            ("-Inf+1", f64::NEG_INFINITY, "+1"),
        ];
        for (text, value, rest) in read {
            assert_eq!(number(text), Ok((value, rest)), "{text}");
        }
        assert!(number("NaN x").is_ok_and(|(value, rest)| value.is_nan() && rest == " x"));
        for text in ["", "-", "+-1", "infx2", "infinity", "stale", "1e", "1__0", "1e400", "_", "ü"] {
            assert_eq!(number(text).unwrap_err().to_string(), format!("expected a number at `{text}`"));
        }
    }

    #[test]
    fn histograms_are_read_with_all_their_parts() {
        let text = "{{schema:-1 SUM:-3.5 count:Inf z_bucket:2 z_bucket_w:0.001 buckets:[5 -1 ] offset:-3 n_buckets:[4] \
                    n_offset:2 counter_reset_hint:Not_Reset}}x3";
        let (read, is_hinted, rest) = histogram(text).unwrap();
        let side = |offset: i32, counts: &[f64]| Buckets {
            spans: vec![BucketSpan { offset, length: u32::try_from(counts.len()).unwrap() }],
            counts: counts.to_vec(),
        };
        let expected = Histogram {
            schema: -1,
            sum: -3.5,
            count: f64::INFINITY,
            zero_count: 2.0,
            zero_threshold: 0.001,
            positive: side(-3, &[5.0, -1.0]),
            negative: side(2, &[4.0]),
            hint: ResetHint::NoReset,
            ..Histogram::default()
        };
        assert_eq!((read, is_hinted, rest), (expected, true, "x3"));
        assert_eq!(histogram("{{ }} 1"), Ok((Histogram::default(), false, " 1")));
        let (read, ..) = histogram("{{schema:-53 custom_values:[1 +2.5] buckets:[1]}}").unwrap();
        assert_eq!((read.schema, &*read.custom_values), (-53, [1.0, 2.5].as_slice()));
        for (text, reason) in [
            ("{count:1}", "expected `{{`"),
            ("{{count:1", "expected a key and `:`, or `}}`"),
            ("{{count:1 Count:2}}", "key `count` is there twice"),
            ("{{width:1}}", "unknown key `width`"),
            ("{{count:stale}}", "expected a number at `stale"),
            ("{{schema:1.5}}", "expected a key and `:`"),
            ("{{schema:x}}", "expected a whole number"),
            ("{{buckets:1}}", "expected `[`"),
            ("{{counter_reset_hint:never}}", "`counter_reset_hint` is unknown, reset"),
        ] {
            let error = histogram(text).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_added_has_no_wider_buckets() {
        let of = |text: &str| histogram(text).unwrap().0;
        let mut current = of("{{count:5 sum:5 buckets:[5]}}");
        grow(&mut current, &of("{{count:2 sum:2 buckets:[2]}}"), true).unwrap();
        grow(&mut current, &of("{{schema:1 count:1 sum:1 buckets:[1]}}"), false).unwrap();
        assert_eq!((current.schema, current.count, current.sum), (0, 4.0, 4.0));
        let error = grow(&mut current, &of("{{schema:-1 count:1}}"), false).unwrap_err();
        assert_eq!(error.to_string(), "cannot add schema -1 to schema 0");
        assert!(grow(&mut current, &of("{{schema:-53 custom_values:[1]}}"), false).is_err());
    }
}
