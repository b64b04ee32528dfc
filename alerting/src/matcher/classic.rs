//! The older grammar of matchers: names of Prometheus, values with or without quotes.
//!
//! Called by `matcher`. A value without quotes goes up to the comma, whatever it has; `\n`, `\"` and `\\` are escapes, and a backslash
//! before anything else is itself. Braces around are dropped, each for itself: a list that is only opened is read too.

use super::{Matcher, Op};
use crate::{Error, Result};

/// Reads a list.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    split(text).into_iter().map(one).collect()
}

/// Cuts at the commas outside of quotes. After the last comma there may be nothing.
fn split(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut begin, mut parts) = (false, false, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            ',' if !quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = match c {
            ',' if !quoted => escaped,
            '\\' => !escaped,
            _ => false,
        };
    }
    if !text[begin..].trim().is_empty() {
        parts.push(&text[begin..]);
    }
    parts
}

fn one(text: &str) -> Result<Matcher> {
    let bad = || Error::invalid(format!("`{text}` is no matcher: write `name=\"value\"`"));
    let body = text.trim_matches(is_space);
    let name_bytes = body.find(|c: char| !is_name(c)).unwrap_or(body.len());
    let (name, rest) = body.split_at(name_bytes);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let (op, value) = Op::strip(rest.trim_start_matches(is_space)).ok_or_else(bad)?;
    Matcher::new(name, op, &unescape(value.trim_start_matches(is_space))?)
}

fn unescape(written: &str) -> Result<String> {
    let bad = || Error::invalid(format!("`{written}` has a double quote that is neither escaped nor paired"));
    let (body, opened) = written.strip_prefix('"').map_or((written, false), |body| (body, true));
    let body = if opened { closed(body).ok_or_else(bad)? } else { body };
    let mut out = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err(bad()),
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c @ ('"' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// The text before its closing quote, which must be the last character and not escaped.
fn closed(body: &str) -> Option<&str> {
    let inside = body.strip_suffix('"')?;
    let backslashes = inside.bytes().rev().take_while(|byte| *byte == b'\\').count();
    backslashes.is_multiple_of(2).then_some(inside)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The spaces of RE2's `\s`.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ')
}
