//! Cuts the text of a template into tokens: the text between actions, and the words inside of them.
//!
//! Called by `parse`, one token at a time. Space beside `{{-` and `-}}` is taken off here; comments do not come out.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Left,
    Right,
    Space,
    Identifier,
    Keyword,
    Bool,
    Nil,
    Dot,
    /// With its dot.
    Field,
    /// With its `$`.
    Variable,
    Number,
    Char,
    Quoted,
    Raw,
    Pipe,
    Declare,
    Assign,
    Comma,
    /// Any other sign of ASCII.
    Sign,
    Open,
    Close,
    Error,
    End,
}

/// A token: what it is, the bytes it is made of, where it begins.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: Box<str>,
    pub(super) at: usize,
}

const KEYWORDS: [&str; 10] = ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Reads tokens off a text.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    in_action: bool,
    parens: usize,
    /// Did the action before end with `-}}`?
    trims: bool,
    failed: bool,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, in_action: false, parens: 0, trims: false, failed: false }
    }

    /// The next token; after the last one and after an error, the end.
    pub(super) fn next(&mut self) -> Token {
        if self.failed {
            return self.token(Kind::End, 0);
        }
        if self.in_action { self.inside() } else { self.outside() }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The token of the next so many bytes.
    fn token(&mut self, kind: Kind, length: usize) -> Token {
        let at = self.at;
        self.at += length;
        Token { kind, text: self.text[at..self.at].into(), at }
    }

    fn error(&mut self, at: usize, message: impl Into<Box<str>>) -> Token {
        self.failed = true;
        Token { kind: Kind::Error, text: message.into(), at }
    }

    fn outside(&mut self) -> Token {
        loop {
            if std::mem::take(&mut self.trims) {
                self.at = self.text.len() - self.rest().trim_start_matches(SPACES).len();
            }
            let rest = self.rest();
            if rest.is_empty() {
                return self.token(Kind::End, 0);
            }
            let action = rest.find("{{");
            let text = &rest[..action.unwrap_or(rest.len())];
            let trims = action.is_some_and(|at| opens_trimming(&rest[at + 2..]));
            let kept = if trims { text.trim_end_matches(SPACES) } else { text };
            if !kept.is_empty() {
                let token = self.token(Kind::Text, kept.len());
                self.at += text.len() - kept.len();
                return token;
            }
            self.at += text.len();
            let after = 2 + if trims { 2 } else { 0 };
            if !self.rest().get(after.min(self.rest().len())..).is_some_and(|rest| rest.starts_with("/*")) {
                self.in_action = true;
                self.parens = 0;
                return self.token(Kind::Left, if trims { 3 } else { 2 });
            }
            if let Err(message) = self.comment(after) {
                return self.error(self.at, message);
            }
        }
    }

    /// Passes over a comment whose `/*` is so many bytes away.
    fn comment(&mut self, after: usize) -> Result<(), &'static str> {
        let inside = &self.rest()[after..];
        let end = inside.find("*/").ok_or("unclosed comment")? + 2;
        let close = &inside[end..];
        let trimmed = close.strip_prefix(SPACES).and_then(|rest| rest.strip_prefix("-}}"));
        self.trims = trimmed.is_some();
        let rest = trimmed.or_else(|| close.strip_prefix("}}")).ok_or("comment ends before closing delimiter")?;
        self.at = self.text.len() - rest.len();
        Ok(())
    }

    fn inside(&mut self) -> Token {
        let rest = self.rest();
        if let Some((length, trims)) = closing(rest) {
            if self.parens > 0 {
                return self.error(self.at, "unclosed left paren");
            }
            (self.in_action, self.trims) = (false, trims);
            return self.token(Kind::Right, length);
        }
        let Some(first) = rest.chars().next() else { return self.error(self.at, "unclosed action") };
        match first {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.token(Kind::Assign, 1),
            ':' if rest.starts_with(":=") => self.token(Kind::Declare, 2),
            ':' => self.error(self.at, "expected :="),
            '|' => self.token(Kind::Pipe, 1),
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::Char, "unterminated character constant"),
            '`' => match rest[1..].find('`') {
                Some(end) => self.token(Kind::Raw, end + 2),
                None => self.error(self.at, "unterminated raw quoted string"),
            },
            '$' => self.word(1, Kind::Variable),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                if rest[1..].starts_with(is_word) {
                    self.word(1, Kind::Field)
                } else if is_end(&rest[1..]) {
                    self.token(Kind::Dot, 1)
                } else {
                    self.word(1, Kind::Field)
                }
            }
            '+' | '-' | '.' | '0'..='9' => self.number(),
            '(' => {
                self.parens += 1;
                self.token(Kind::Open, 1)
            }
            ')' if self.parens == 0 => self.error(self.at, "unexpected right paren"),
            ')' => {
                self.parens -= 1;
                self.token(Kind::Close, 1)
            }
            ',' => self.token(Kind::Comma, 1),
            _ if is_word(first) => self.name(),
            '!'..='~' => self.token(Kind::Sign, 1),
            _ => self.error(self.at, format!("unrecognized character in action: {}", described(first))),
        }
    }

    fn space(&mut self) -> Token {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(SPACES).len();
        // The last space belongs to a ` -}}`.
        if rest[length..].starts_with("-}}") {
            length -= 1;
        }
        self.token(Kind::Space, length)
    }

    fn quoted(&mut self, quote: char, kind: Kind, wrong: &str) -> Token {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => return self.token(kind, at + 1),
                _ => {}
            }
        }
        self.error(self.at, wrong)
    }

    /// A field or a variable, after its first sign.
    fn word(&mut self, sign: usize, kind: Kind) -> Token {
        let rest = self.rest();
        let length = sign + word_length(&rest[sign..]);
        if !is_end(&rest[length..]) {
            let wrong = rest[length..].chars().next().map_or_else(String::new, described);
            return self.error(self.at, format!("bad character {wrong}"));
        }
        self.token(kind, length)
    }

    fn name(&mut self) -> Token {
        let rest = self.rest();
        let name = &rest[..word_length(rest)];
        let kind = match name {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            _ if KEYWORDS.contains(&name) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.word(0, kind)
    }

    fn number(&mut self) -> Token {
        let rest = self.rest();
        let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let (prefix, digits, exponent): (_, fn(char) -> bool, _) = match unsigned.get(..2) {
            Some("0x" | "0X") => (2, |c| c.is_ascii_hexdigit() || c == '_', ['p', 'P']),
            Some("0o" | "0O") => (2, |c| matches!(c, '0'..='7' | '_'), ['\0', '\0']),
            Some("0b" | "0B") => (2, |c| matches!(c, '0' | '1' | '_'), ['\0', '\0']),
            _ => (0, |c| c.is_ascii_digit() || c == '_', ['e', 'E']),
        };
        let mut after = unsigned[prefix..].trim_start_matches(digits);
        if let Some(fraction) = after.strip_prefix('.') {
            after = fraction.trim_start_matches(digits);
        }
        if let Some(power) = after.strip_prefix(exponent) {
            after = power.strip_prefix(['+', '-']).unwrap_or(power).trim_start_matches(|c: char| c.is_ascii_digit());
        }
        after = after.strip_prefix('i').unwrap_or(after);
        let length = rest.len() - after.len();
        if let Some(wrong) = after.chars().next().filter(|c| is_word(*c)) {
            let wrong = &rest[..length + wrong.len_utf8()];
            return self.error(self.at, format!("bad number syntax: {wrong:?}"));
        }
        self.token(Kind::Number, length)
    }
}

fn opens_trimming(after: &str) -> bool {
    after.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}

/// The length of a `}}` or ` -}}` that begins here, and whether it trims.
fn closing(rest: &str) -> Option<(usize, bool)> {
    if rest.strip_prefix(SPACES).is_some_and(|rest| rest.starts_with("-}}")) {
        return Some((4, true));
    }
    rest.starts_with("}}").then_some((2, false))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// May a word end where this begins?
fn is_end(rest: &str) -> bool {
    rest.chars().next().is_none_or(|c| SPACES.contains(&c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '('))
        || rest.starts_with("}}")
}

/// A character as Go's `%#U` writes it.
fn described(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
