//! Characters, and the words that need more than one look: blanks, numbers, strings.

use super::super::literal::{is_printable, quoted, quoted_char};
use super::{Kind, Lexer, Span, Within, Wrong, is_blank, is_word};

const DECIMAL: &str = "0123456789";
const HEXADECIMAL: &str = "0123456789abcdefABCDEF";

impl<'t> Lexer<'t> {
    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The word as far as it is read.
    pub(super) fn read(&self) -> &'t str {
        &self.text[self.start..self.at]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Takes the next character if it is one of these.
    pub(super) fn accept(&mut self, these: &str) -> bool {
        let is_one = self.is_next(these);
        if is_one {
            self.bump();
        }
        is_one
    }

    fn is_next(&self, these: &str) -> bool {
        self.peek().is_some_and(|c| these.contains(c))
    }

    pub(super) fn skip_while(&mut self, within: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !within(c)).unwrap_or(rest.len());
    }

    /// Skips blanks and comments. Before the number of a range there are no comments.
    pub(super) fn skip_blank(&mut self) {
        self.skip_while(is_blank);
        while self.is_next("#") && !matches!(self.within, Within::Duration { .. }) {
            self.skip_while(|c| c != '\n' && c != '\r');
            self.skip_while(is_blank);
        }
    }

    /// What is wrong with the word that is being read.
    pub(super) fn wrong(&self, message: impl Into<String>) -> Wrong {
        Wrong::new(message, Span { start: self.start, end: self.text.len() })
    }

    /// What is wrong with the character that was read, which Prometheus places behind it.
    pub(super) fn wrong_here(&self, message: &str) -> Wrong {
        Wrong::new(message, Span { start: self.at, end: self.text.len() })
    }

    /// A number or a duration, the first character of which is read.
    pub(super) fn number(&mut self) -> Result<Kind, Wrong> {
        self.at = self.start;
        if self.scan_number() {
            return Ok(Kind::Number);
        }
        if self.scan_units() {
            return Ok(Kind::Duration);
        }
        Err(self.wrong(format!("bad number or duration syntax: {}", quoted(self.read()))))
    }

    /// Skips what looks like a number; whether it is one turns out when its value is needed. If it is none, all is read up to
    /// the character that shows it.
    fn scan_number(&mut self) -> bool {
        let is_hexadecimal = self.accept("0") && self.accept("xX");
        let digits = if is_hexadecimal { HEXADECIMAL } else { DECIMAL };
        if is_hexadecimal {
            self.accept("_");
        }
        self.accept(".");
        self.accept(digits);
        let (mut has_dot, mut has_exponent) = (false, false);
        loop {
            if self.is_next(".") {
                self.bump();
                if has_dot || self.accept("_.") || is_hexadecimal {
                    return false;
                }
                has_dot = true;
            } else if self.is_next("eE") {
                self.bump();
                if has_exponent {
                    return false;
                }
                has_exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.is_next(digits) {
                self.skip_while(|c| digits.contains(c));
            } else {
                return !self.peek().is_some_and(is_word);
            }
        }
    }

    /// Skips the units that follow a number, and the numbers and units behind them.
    fn scan_units(&mut self) -> bool {
        // A year comes first or not at all.
        let mut units = "smhdwy";
        loop {
            if !self.accept(units) {
                return false;
            }
            // Of `ms`; that no other unit has it is seen when the value is read.
            self.accept("s");
            units = "smhdw";
            if !self.is_next(DECIMAL) {
                break;
            }
            self.skip_while(|c| c.is_ascii_digit());
        }
        let is_ended = !self.peek().is_some_and(is_word);
        if !is_ended {
            self.bump();
        }
        is_ended
    }

    /// A string, the quote of which is read.
    pub(super) fn string(&mut self, quote: char) -> Result<Kind, Wrong> {
        let is_raw = quote == '`';
        loop {
            match self.bump() {
                Some(c) if c == quote => return Ok(Kind::String),
                Some('\\') if !is_raw => self.escape(quote)?,
                // What Go reads where there is no UTF-8; it does not tell it from the character itself.
                Some(char::REPLACEMENT_CHARACTER) => return Err(self.wrong("invalid UTF-8 rune")),
                None if is_raw => return Err(self.wrong("unterminated raw string")),
                None => return Err(self.wrong("unterminated quoted string")),
                Some('\n') if !is_raw => return Err(self.wrong("unterminated quoted string")),
                Some(_) => {}
            }
        }
    }

    /// Checks what a backslash stands before.
    fn escape(&mut self, quote: char) -> Result<(), Wrong> {
        const UNENDED: &str = "escape sequence not terminated";
        let Some(c) = self.bump() else { return Err(self.wrong(UNENDED)) };
        let (digits, radix, max) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            _ if c == quote => return Ok(()),
            '0'..='7' => {
                self.at -= 1;
                (3, 8, 0xff)
            }
            'x' => (2, 16, 0xff),
            'u' => (4, 16, u32::from(char::MAX)),
            'U' => (8, 16, u32::from(char::MAX)),
            _ => return Err(self.wrong(format!("unknown escape sequence {}", code_point(c)))),
        };
        let mut code = 0_u32;
        for _ in 0..digits {
            let Some(c) = self.bump() else { return Err(self.wrong(UNENDED)) };
            let Some(digit) = c.to_digit(radix) else {
                return Err(self.wrong(format!("illegal character {} in escape sequence", code_point(c))));
            };
            code = code * radix + digit;
        }
        if code > max || char::from_u32(code).is_none() {
            return Err(self.wrong("escape sequence is an invalid Unicode code point"));
        }
        Ok(())
    }
}

/// A character as Go's `%#U` writes it.
fn code_point(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if is_printable(c) {
        format!("{code} {}", if c == '\'' { "'''".to_owned() } else { quoted_char(Some(c)) })
    } else {
        code
    }
}
