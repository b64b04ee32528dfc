//! Reads a selector from text.
//!
//! Called by [`Selector::parse`]. One pass over the characters; everything a selector can be is here.

use super::{Matcher, NAME, Op, Selector, pattern};
use crate::{Error, ErrorKind, Position, Result};

/// Matchers of one selector; each is asked of every series of the days it reads.
const MATCHERS_MAX: usize = 1000;

/// Reads a selector.
pub(super) fn parse(text: &str) -> Result<Selector> {
    let mut reader = Reader { text, at: 0 };
    let mut matchers = Vec::new();
    reader.blank();
    if let Some(name) = reader.word(|c| c == ':') {
        matchers.push(Matcher::equal(NAME, name));
    }
    let named = !matchers.is_empty();
    reader.blank();
    if reader.take('{') {
        reader.matchers(&mut matchers)?;
        reader.blank();
    } else if !named {
        return Err(reader.wrong(reader.at, "a metric name or `{` is expected"));
    }
    if reader.peek().is_some() {
        let what = "the selector ends here; ranges, offsets, operators and functions are no part of it";
        return Err(reader.wrong(reader.at, what));
    }
    if matchers.iter().all(|matcher| matcher.matches("")) {
        let what = "selects everything: at least one matcher must not match the empty string";
        return Err(reader.wrong(0, what));
    }
    Ok(Selector { matchers })
}

/// A text and how far it is read.
struct Reader<'t> {
    text: &'t str,
    /// Byte of the next character.
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    /// Skips blanks and comments.
    fn blank(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | '\r' => self.at += 1,
                '#' => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                _ => return,
            }
        }
    }

    /// A name without quotes: letters, digits, `_`, and what else `also` allows.
    fn word(&mut self, also: impl Fn(char) -> bool) -> Option<&'t str> {
        let rest = &self.text[self.at..];
        let within = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
        let word = &rest[..rest.find(|c| !within(c)).unwrap_or(rest.len())];
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += word.len();
        Some(word)
    }

    /// What stands between the braces, the first of which was read.
    fn matchers(&mut self, out: &mut Vec<Matcher>) -> Result<()> {
        // A name that stands alone; one of `__name__=` is a matcher like any other, unless there is such a name too.
        let mut alone = !out.is_empty();
        loop {
            self.blank();
            if self.take('}') {
                return Ok(());
            }
            let at = self.at;
            let matcher = self.matcher()?;
            let stands_alone = matcher.1;
            let twice = alone && matcher.0.label == NAME
                || stands_alone && out.iter().any(|matcher: &Matcher| matcher.label == NAME);
            if twice {
                return Err(self.wrong(at, "the metric name is set twice"));
            }
            alone |= stands_alone;
            if out.len() >= MATCHERS_MAX {
                return Err(self.wrong(at, &format!("too many matchers matchers_max={MATCHERS_MAX}")));
            }
            out.push(matcher.0);
            self.blank();
            if !self.take(',') {
                if self.take('}') {
                    return Ok(());
                }
                return Err(self.wrong(self.at, "`,` or `}` is expected"));
            }
        }
    }

    /// One matcher, and whether it is a metric name that stands alone.
    fn matcher(&mut self) -> Result<(Matcher, bool)> {
        let is_quoted = self.peek().is_some_and(|c| "\"'`".contains(c));
        let label = match self.word(|_| false) {
            Some(word) => word.to_owned(),
            None if is_quoted => self.string()?,
            None => return Err(self.wrong(self.at, "a label name or `}` is expected")),
        };
        self.blank();
        if is_quoted && matches!(self.peek(), Some(',' | '}')) {
            return Ok((Matcher::equal(NAME, &label), true));
        }
        let at = self.at;
        let op = match (self.next(), self.peek()) {
            (Some('='), Some('~')) => Op::Match,
            (Some('!'), Some('~')) => Op::NotMatch,
            (Some('!'), Some('=')) => Op::NotEqual,
            (Some('='), _) => Op::Equal,
            _ => return Err(self.wrong(at, "one of `=`, `!=`, `=~`, `!~` is expected")),
        };
        self.at += usize::from(op != Op::Equal);
        self.blank();
        let at = self.at;
        let value = self.string()?;
        let regex = match op {
            Op::Match | Op::NotMatch => Some(
                pattern::compile(&value)
                    .map_err(|why| self.wrong(at, &format!("the regular expression cannot be used: {why}")))?,
            ),
            _ => None,
        };
        Ok((Matcher { label, op, value, regex }, false))
    }

    /// A string in quotes, as Go writes them.
    fn string(&mut self) -> Result<String> {
        let at = self.at;
        let Some(quote) = self.next().filter(|c| "\"'`".contains(*c)) else {
            return Err(self.wrong(at, "a string in quotes is expected"));
        };
        let mut bytes = Vec::new();
        loop {
            let here = self.at;
            match self.next() {
                Some(c) if c == quote => break,
                Some('\\') if quote != '`' => self.escape(here, quote, &mut bytes)?,
                Some('\n') if quote != '`' => return Err(self.wrong(at, "the string is not ended on its line")),
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => return Err(self.wrong(at, "the string is not ended")),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.wrong(at, "the string is not UTF-8"))
    }

    /// What the backslash at `at` stands before.
    fn escape(&mut self, at: usize, quote: char, out: &mut Vec<u8>) -> Result<()> {
        let unknown = "no such escape; a backslash itself is written twice";
        let byte = match self.next() {
            Some('a') => 7,
            Some('b') => 8,
            Some('t') => b'\t',
            Some('n') => b'\n',
            Some('v') => 11,
            Some('f') => 12,
            Some('r') => b'\r',
            Some('\\') => b'\\',
            Some(c) if c == quote => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Some('x') => self.byte(2, 16).ok_or_else(|| self.wrong(at, unknown))?,
            Some('0'..='7') => {
                self.at -= 1;
                self.byte(3, 8).ok_or_else(|| self.wrong(at, unknown))?
            }
            Some(c @ ('u' | 'U')) => {
                let number = self.number(if c == 'u' { 4 } else { 8 }, 16);
                let c = number.and_then(char::from_u32).ok_or_else(|| self.wrong(at, unknown))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.wrong(at, unknown)),
        };
        out.push(byte);
        Ok(())
    }

    fn byte(&mut self, digits: usize, radix: u32) -> Option<u8> {
        self.number(digits, radix).and_then(|number| number.try_into().ok())
    }

    fn number(&mut self, digits: usize, radix: u32) -> Option<u32> {
        let text = self.text.get(self.at..self.at + digits).filter(|text| text.chars().all(|c| c.is_digit(radix)))?;
        self.at += digits;
        u32::from_str_radix(text, radix).ok()
    }

    fn wrong(&self, at: usize, what: &str) -> Error {
        let before = &self.text[..at];
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
        let message = format!("not a series selector: {what} line={line} column={column}");
        Error::new(ErrorKind::Invalid, message).at(Some(Position { line, column }))
    }
}
