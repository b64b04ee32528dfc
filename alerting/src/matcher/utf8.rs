//! The newer grammar of matchers: any character in names and values, quoted where it has a meaning of its own.
//!
//! Called by `matcher`. Words are operators, braces, commas, texts without reserved characters, and texts in double quotes with the
//! escapes of Go. Either both braces are there or none; one comma may follow the last matcher; a value is always there.

use super::{Matcher, Op, is_reserved};
use crate::{Error, Result};

/// What is not read yet, and how to tell where it is.
struct Words<'t> {
    text: &'t str,
    rest: &'t str,
}

/// Reads a list.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>> {
    let mut words = Words { text, rest: text };
    let braced = words.take("{");
    let mut all = Vec::new();
    loop {
        words.skip_spaces();
        if words.rest.is_empty() || words.rest.starts_with('}') {
            break;
        }
        let name = words.literal("a label name")?;
        words.skip_spaces();
        let Some((op, rest)) = Op::strip(words.rest) else {
            return Err(words.expected("one of `=`, `!=`, `=~` and `!~`"));
        };
        words.rest = rest;
        let value = words.literal("a label value")?;
        all.push(Matcher::new(&name, op, &value)?);
        if !words.take(",") {
            break;
        }
    }
    if braced && !words.take("}") {
        return Err(words.expected("a comma or a closing brace"));
    }
    words.skip_spaces();
    if words.rest.is_empty() { Ok(all) } else { Err(words.expected("a comma or the end")) }
}

impl Words<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, word: &str) -> bool {
        self.skip_spaces();
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn literal(&mut self, what: &str) -> Result<String> {
        self.skip_spaces();
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let bytes = self.rest.find(is_reserved).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(bytes);
        if word.is_empty() {
            return Err(self.expected(what));
        }
        self.rest = rest;
        Ok(word.to_owned())
    }

    /// A text in quotes, the first of which comes next.
    fn quoted(&mut self) -> Result<String> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return Err(self.expected("a closing double quote")) };
        let (written, rest) = (&self.rest[1..end], &self.rest[end + 1..]);
        let Some(text) = unquote(written) else {
            return Err(self.expected("a text with the escapes of Go (`\\\\`, `\\\"`, `\\n`, `\\x41`, `\\u00e9`)"));
        };
        self.rest = rest;
        Ok(text)
    }

    fn expected(&self, what: &str) -> Error {
        let at = self.text[..self.text.len() - self.rest.len()].chars().count();
        let found = self.rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"));
        Error::invalid(format!("`{}`: expected {what}, found {found} after {at} characters", self.text))
    }
}

/// What a text means that stands between double quotes in Go; none if it has a line break, an escape that Go does not know, or bytes
/// that are no UTF-8.
fn unquote(written: &str) -> Option<String> {
    let mut out = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut out)?,
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(out).ok()
}

fn unescape<'t>(after: &'t str, out: &mut Vec<u8>) -> Option<&'t str> {
    let c = after.chars().next()?;
    let rest = &after[c.len_utf8()..];
    let byte = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            out.push(u8::try_from(number(rest.get(..2)?, 16)?).ok()?);
            return rest.get(2..);
        }
        '0'..='7' => {
            out.push(u8::try_from(number(after.get(..3)?, 8)?).ok()?);
            return after.get(3..);
        }
        'u' | 'U' => {
            let digits = if c == 'u' { 4 } else { 8 };
            let c = char::from_u32(number(rest.get(..digits)?, 16)?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(digits..);
        }
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

fn number(digits: &str, radix: u32) -> Option<u32> {
    // `from_str_radix` takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| u32::from_str_radix(digits, radix).ok())?
}
