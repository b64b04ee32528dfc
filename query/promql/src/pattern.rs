//! Regular expressions and references to their groups as Go understands them, in which selectors and rules of relabelling are
//! written.
//!
//! Called when a selector or a rule is read, here and by `ingest`. Both languages descend from RE2 and differ in details that would be
//! met in silence: here `\d`, `\w`, `\s` and `\b` are ASCII, `{` that counts nothing and `\<` are themselves, and classes neither nest
//! nor subtract. Everything else that one knows and the other does not is an error.
//! Spec: <https://pkg.go.dev/regexp/syntax>, <https://pkg.go.dev/regexp#Regexp.Expand>

use regex::{Captures, Regex, RegexBuilder};

/// Memory of a compiled expression. A list of some thousand names takes a tenth of it.
const COMPILED_BYTES_MAX: usize = 10 << 20;
/// What is left to each of many; enough for a list of dozens of names.
const COMPILED_BYTES_MIN: usize = 64 << 10;

/// Compiles an expression that has to match a whole text, line breaks included. The `nth` expression of a query, from 1, may take
/// the nth part of the memory of the first, so that many together take some ten times as much and not a thousand times.
///
/// # Errors
/// What is wrong with it.
pub fn compile(written: &str, nth: usize) -> Result<Regex, String> {
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

/// A text with references to groups.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads `$1`, `${1}`, `$name`, `${name}` and `$$`. A name without braces is as long as can be: `$1x` is `${1x}`. A
    /// group that is not there gives nothing; a dollar sign that begins no reference is itself.
    #[must_use]
    pub fn new(written: &str, pattern: &Regex) -> Self {
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

    /// How many bytes [`Template::expand`] gives.
    #[must_use]
    pub fn length(&self, groups: &Captures<'_>) -> usize {
        let of = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Group(group) => groups.get(*group).map_or(0, |group| group.len()),
        };
        self.0.iter().map(of).fold(0, usize::saturating_add)
    }

    /// The text, with what the groups of a match hold.
    #[must_use]
    pub fn expand(&self, groups: &Captures<'_>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_read_as_go_reads_them() {
        let regex = compile("(?P<first>.)(.)", 1).unwrap();
        let found = regex.captures("xy").unwrap();
        for (written, expanded) in [
            ("$1-$2", "x-y"),
            ("$1x", ""),
            ("${1}x", "xx"),
            ("$first.${2}", "x.y"),
            ("$$1 $ ${", "$1 $ ${"),
            ("$9", ""),
            ("${01}", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(Template::new(written, &regex).expand(&found), expanded, "{written}");
        }
    }
}
