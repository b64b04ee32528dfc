//! Functions on texts that both flavours have: patterns and titles.

use promql::pattern::{self, Template};
use regex::{Regex, RegexBuilder};

use super::{
    args::{Wrong, failed},
    exec::Run,
};

/// The nth pattern of a rendering. It may match anywhere, where `promql` compiles it to match the whole.
pub(super) fn compile(written: &str, nth: usize) -> Result<Regex, Wrong> {
    let whole = match pattern::compile(written, nth) {
        Ok(whole) => whole,
        Err(message) => return failed(format!("error parsing regexp: {message}: `{written}`")),
    };
    let inside = whole.as_str().strip_prefix("^(?s:").and_then(|rest| rest.strip_suffix(")$"));
    // The memory was checked with the whole.
    match RegexBuilder::new(inside.unwrap_or(whole.as_str())).build() {
        Ok(regex) => Ok(regex),
        Err(error) => failed(error.to_string()),
    }
}

pub(super) fn matches(run: &mut Run<'_>, written: &str, text: &str) -> Result<bool, Wrong> {
    Ok(run.pattern(written)?.is_match(text))
}

/// `text` with all that matches replaced, `$1` and `${name}` being what a group holds.
pub(super) fn replace(run: &mut Run<'_>, written: &str, with: &str, text: &str) -> Result<String, Wrong> {
    let regex = run.pattern(written)?;
    let template = Template::new(with, &regex);
    let (mut out, mut end) = (String::new(), 0);
    for groups in regex.captures_iter(text) {
        let Some(whole) = groups.get(0) else { continue };
        if out.len() + (whole.start() - end) + template.length(&groups) > run.bytes_max() {
            return failed(format!("the text replaced is too long, bytes_max={}", run.bytes_max()));
        }
        out.push_str(&text[end..whole.start()]);
        out.push_str(&template.expand(&groups));
        end = whole.end();
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// The first letter of each word made large, as Go's `strings.Title` does.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let separates =
            if before.is_ascii() { !(before.is_ascii_alphanumeric() || before == '_') } else { before.is_whitespace() };
        if separates {
            out.extend(title_case(c))
        } else {
            out.push(c)
        }
        before = c;
    }
    out
}

fn title_case(c: char) -> impl Iterator<Item = char> {
    let mut upper = c.to_uppercase();
    // Of letters that become two, Go leaves the one.
    let single = if upper.len() == 1 { upper.next() } else { None };
    std::iter::once(single.unwrap_or(c))
}

/// The first letter of each word made large and the others small, as Go's `cases.Title` does.
pub(super) fn title_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphabetic() {
            if in_word {
                out.extend(c.to_lowercase())
            } else {
                out.extend(title_case(c))
            }
            in_word = true;
            continue;
        }
        out.push(c);
        // A sign between two letters does not end a word.
        let between =
            matches!(c, '\'' | '.' | ':' | '’' | '·') && chars.peek().is_some_and(|next| next.is_alphabetic());
        in_word &= between || c == '_' || c.is_numeric();
    }
    out
}
