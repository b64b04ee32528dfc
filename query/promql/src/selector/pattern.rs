//! Regular expressions as Go understands them, in which selectors are written.
//!
//! Called when a selector is read. Both languages descend from RE2 and differ in details that would be met in silence: here
//! `\d`, `\w`, `\s` and `\b` are ASCII, `{` that counts nothing and `\<` are themselves, and classes neither nest nor
//! subtract. Everything else that one knows and the other does not is an error. Relabelling in `ingest` does the same; the
//! two crates share nothing, and a crate below both for a hundred lines would be one more to know.
//! Spec: <https://pkg.go.dev/regexp/syntax>

use regex::{Regex, RegexBuilder};

/// Memory of a compiled expression. A list of some thousand names takes a tenth of it.
const COMPILED_BYTES_MAX: usize = 10 << 20;
/// What is left to each of many; enough for a list of dozens of names.
const COMPILED_BYTES_MIN: usize = 64 << 10;

/// Compiles an expression that has to match a whole text, line breaks included. The `nth` expression of a query, from 1, may take
/// the nth part of the memory of the first, so that many together take some ten times as much and not a thousand times.
pub(crate) fn compile(written: &str, nth: usize) -> Result<Regex, String> {
    let bytes_max = (COMPILED_BYTES_MAX / nth.max(1)).max(COMPILED_BYTES_MIN);
    let text = format!("^(?s:{})$", translate(written));
    RegexBuilder::new(&text).size_limit(bytes_max).build().map_err(|error| {
        let text = error.to_string();
        // The last line says what is wrong; those before point into the translation.
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").trim().to_owned()
    })
}

/// Writes an expression of Go so that the `regex` crate understands the same.
fn translate(written: &str) -> String {
    let mut out = String::with_capacity(written.len() + 16);
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, &mut out),
            '[' => class(after, &mut out),
            '{' if !is_count(after) => {
                out.push_str("\\{");
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// Writes what a backslash stands before; gives the rest.
fn escape<'t>(after: &'t str, out: &mut String) -> &'t str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    if c == 'Q' {
        // One that is not ended is left to be refused: in Go it would quote the end of the expression around it.
        let Some((literal, rest)) = rest.split_once("\\E") else {
            out.push_str("\\Q");
            return rest;
        };
        out.push_str(&regex::escape(literal));
        return rest;
    }
    let ascii = match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        'b' => "(?-u:\\b)",
        'B' => "(?-u:\\B)",
        '<' => "<",
        '>' => ">",
        _ => {
            out.push('\\');
            out.push(c);
            return rest;
        }
    };
    out.push_str(ascii);
    rest
}

/// Writes a class of characters after its bracket; gives the rest.
fn class<'t>(after: &'t str, out: &mut String) -> &'t str {
    out.push('[');
    let mut rest = after;
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let (mut first, mut before) = (true, None);
    while let Some(c) = rest.chars().next() {
        let next = &rest[c.len_utf8()..];
        rest = match c {
            ']' if !first => {
                out.push(']');
                return next;
            }
            '\\' => escape(next, out),
            '[' => match next.split_once(":]") {
                Some((name, rest)) if next.starts_with(':') && !name.contains(']') => {
                    out.push('[');
                    out.push_str(name);
                    out.push_str(":]");
                    rest
                }
                _ => {
                    out.push_str("\\[");
                    next
                }
            },
            // Doubled, these would be operators.
            '&' | '-' | '~' if before == Some(c) => {
                out.push('\\');
                out.push(c);
                next
            }
            ']' => {
                out.push_str("\\]");
                next
            }
            _ => {
                out.push(c);
                next
            }
        };
        (first, before) = (false, Some(c));
    }
    rest
}

/// Does a repetition like `{2}`, `{2,}` or `{2,5}` begin after the brace?
fn is_count(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inside.split_once(',') {
        None => number(inside),
        Some((least, most)) => number(least) && (most.is_empty() || number(most)),
    }
}
