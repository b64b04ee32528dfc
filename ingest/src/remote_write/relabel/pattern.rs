//! Regular expressions and references to their groups as Go understands them, in which rules are written.
//!
//! Called when rules are compiled. Both languages descend from RE2 and differ in details that would be met in silence: here
//! `\d`, `\w`, `\s` and `\b` are ASCII, `{` that counts nothing and `\<` are themselves, and classes neither nest nor
//! subtract. Everything else that one knows and the other does not is an error when settings are read.
//! Spec: <https://pkg.go.dev/regexp/syntax>, <https://pkg.go.dev/regexp#Regexp.Expand>

use regex::{Captures, Regex, RegexBuilder};

/// Memory of a compiled expression. A list of some thousand names takes a tenth of it.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// Compiles an expression that has to match a whole text, line breaks included.
pub(super) fn compile(written: &str) -> Result<Regex, String> {
    let text = format!("^(?s:{})$", translate(written));
    RegexBuilder::new(&text).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| {
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

/// A text with references to groups.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads `$1`, `${1}`, `$name`, `${name}` and `$$`. A name without braces is as long as can be: `$1x` is `${1x}`. A
    /// group that is not there gives nothing; a dollar sign that begins no reference is itself.
    pub(super) fn new(written: &str, pattern: &Regex) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = written;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                rest = after;
                if let Some(group) = group(name, pattern) {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Group(group));
                }
            } else {
                text.push('$');
            }
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Self(parts)
    }

    pub(super) fn expand(&self, groups: &Captures<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Group(group) => groups.get(*group).map_or("", |group| group.as_str()),
            });
        }
        out
    }
}

/// Name of the reference that begins here, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = match text.strip_prefix('{') {
        Some(braced) => (&braced[..word(braced)], braced[word(braced)..].strip_prefix('}')?),
        None => text.split_at(word(text)),
    };
    (!name.is_empty()).then_some((name, rest))
}

fn group(name: &str, pattern: &Regex) -> Option<usize> {
    let number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if number {
        return name.parse().ok().filter(|group| *group < pattern.captures_len());
    }
    pattern.capture_names().position(|known| known == Some(name))
}

/// The one character that is the lower case of this one. (Languages write more than one at times; Go's strings do not.)
pub(super) fn lowercase(c: char) -> char {
    // The only character whose full mapping is longer than one.
    if c == '\u{130}' { 'i' } else { c.to_lowercase().next().unwrap_or(c) }
}

/// The one character that is the upper case of this one, itself if there is none.
pub(super) fn uppercase(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(upper), None) => upper,
        _ => {
            // Greek letters with iota below have a capital of one character beside the full mapping of two.
            let by = match c {
                '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
                '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
                _ => 0,
            };
            char::from_u32(u32::from(c) + by).unwrap_or(c)
        }
    }
}
