//! Splits a query into words.
//!
//! Asked by the parser for one word after the other; where a word stands decides what it can be: between braces there are no
//! keywords, between brackets no names. What cannot be a word at all is refused here, malformed numbers and escapes included.
//! Not here: the values of literals (`literal`), and which word may follow which (`parser`).

mod scan;
mod token;

use std::sync::LazyLock;

use regex::Regex;

use super::{
    ast::{Operator, Span},
    literal::quoted_char,
    wrong::Wrong,
};

pub(crate) use token::{Keyword, Kind, Token};

/// How a query is written, where Prometheus leaves a choice; all off as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Syntax {
    /// Names without quotes may have letters of all alphabets and, but for the first character, dots: `http.requests{région="eu"}`.
    pub unquoted_utf8: bool,
}

/// A query and how far it is read.
pub(super) struct Lexer<'t> {
    text: &'t str,
    syntax: Syntax,
    /// Byte of the next character.
    at: usize,
    /// First byte of the word that is being read.
    start: usize,
    parens_open: usize,
    within: Within,
}

/// Which brackets the next word stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Braces,
    /// `[`, up to the first number.
    Duration {
        has_duration: bool,
        has_colon: bool,
    },
    /// `[`, after a number.
    Brackets {
        has_colon: bool,
    },
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, syntax: Syntax) -> Self {
        Self { text, syntax, at: 0, start: 0, parens_open: 0, within: Within::Nothing }
    }

    /// The next word; after the last one, the end again and again.
    pub(super) fn next(&mut self) -> Result<Token, Wrong> {
        self.skip_blank();
        self.start = self.at;
        let kind = match self.within {
            Within::Braces => self.in_braces()?,
            Within::Duration { has_duration, has_colon } => self.in_duration(has_duration, has_colon)?,
            Within::Nothing | Within::Brackets { .. } => self.in_statement()?,
        };
        Ok(Token { kind, span: Span { start: self.start, end: self.at } })
    }

    fn in_statement(&mut self) -> Result<Kind, Wrong> {
        let Some(c) = self.bump() else { return self.end() };
        Ok(match c {
            ',' => Kind::Comma,
            '@' => Kind::At,
            '*' => Kind::Operator(Operator::Mul),
            '/' => Kind::Operator(Operator::Div),
            '%' => Kind::Operator(Operator::Mod),
            '+' => Kind::Operator(Operator::Add),
            '-' => Kind::Operator(Operator::Sub),
            '^' => Kind::Operator(Operator::Pow),
            '=' | '!' | '<' | '>' => return self.comparison(c),
            '0'..='9' => return self.number(),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => return self.number(),
            '"' | '\'' | '`' => return self.string(c),
            '(' | ')' => return self.paren(c),
            '{' => {
                self.within = Within::Braces;
                Kind::LeftBrace
            }
            '[' if matches!(self.within, Within::Brackets { .. }) => {
                return Err(self.wrong("unexpected left bracket '['"));
            }
            '[' => {
                self.within = Within::Duration { has_duration: false, has_colon: false };
                Kind::LeftBracket
            }
            ']' if self.within == Within::Nothing => return Err(self.wrong("unexpected right bracket ']'")),
            ']' => {
                self.within = Within::Nothing;
                Kind::RightBracket
            }
            _ if c == ':' || self.syntax.begins_name(c) => match self.within {
                Within::Brackets { has_colon } => return self.word_in_brackets(c, has_colon),
                _ => self.word(),
            },
            _ => return Err(self.wrong(format!("unexpected character: {}", quoted_char(Some(c))))),
        })
    }

    fn end(&self) -> Result<Kind, Wrong> {
        if self.parens_open > 0 {
            return Err(self.wrong("unclosed left parenthesis"));
        }
        match self.within {
            Within::Brackets { .. } => Err(self.wrong("unclosed left bracket")),
            _ => Ok(Kind::End),
        }
    }

    /// What begins with `=`, `!`, `<` or `>`, outside of braces.
    fn comparison(&mut self, first: char) -> Result<Kind, Wrong> {
        let second = self.peek();
        let op = match (first, second) {
            ('=', Some('=')) => Operator::Equal,
            ('!', Some('=')) => Operator::NotEqual,
            ('<', Some('=')) => Operator::LessEqual,
            ('<', Some('/')) => Operator::TrimUpper,
            ('>', Some('=')) => Operator::GreaterEqual,
            ('>', Some('/')) => Operator::TrimLower,
            ('<', _) => return Ok(Kind::Operator(Operator::Less)),
            ('>', _) => return Ok(Kind::Operator(Operator::Greater)),
            ('=', second) if second != Some('~') => return Ok(Kind::Assign),
            _ => {
                let what = format!("unexpected character after '{first}': {}", quoted_char(second));
                return Err(self.wrong(what));
            }
        };
        self.bump();
        Ok(Kind::Operator(op))
    }

    fn paren(&mut self, paren: char) -> Result<Kind, Wrong> {
        if paren == '(' {
            self.parens_open += 1;
            return Ok(Kind::LeftParen);
        }
        match self.parens_open.checked_sub(1) {
            Some(open) => {
                self.parens_open = open;
                Ok(Kind::RightParen)
            }
            None => Err(self.wrong_here("unexpected right parenthesis ')'")),
        }
    }

    /// A name or a keyword, the first character of which is read.
    fn word(&mut self) -> Kind {
        let syntax = self.syntax;
        self.skip_while(|c| c == ':' || syntax.continues_name(c));
        let word = self.read();
        let is_fill = |kind| {
            use Keyword::{Fill, FillLeft, FillRight};
            matches!(kind, Kind::Keyword(Fill | FillLeft | FillRight))
        };
        match Kind::of_word(word) {
            // These are younger than many a metric of that name.
            Some(kind) if is_fill(kind) && !self.rest().trim_start_matches(is_blank).starts_with('(') => Kind::Name,
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricName,
            None => Kind::Name,
        }
    }

    fn word_in_brackets(&mut self, first: char, has_colon: bool) -> Result<Kind, Wrong> {
        if first != ':' {
            let what = || format!("unexpected character: {}, expected ':'", quoted_char(Some(first)));
            return self.duration_keyword().ok_or_else(|| self.wrong(what()));
        }
        if has_colon {
            return Err(self.wrong("unexpected colon ':'"));
        }
        self.within = Within::Brackets { has_colon: true };
        Ok(Kind::Colon)
    }

    fn in_duration(&mut self, has_duration: bool, has_colon: bool) -> Result<Kind, Wrong> {
        let Some(c) = self.bump() else {
            return Err(self.wrong("unexpected end of input in duration expression"));
        };
        Ok(match c {
            ']' => {
                self.within = Within::Nothing;
                Kind::RightBracket
            }
            ':' if !has_duration => {
                return Err(self.wrong_here("unexpected colon before duration in duration expression"));
            }
            ':' if has_colon => return Err(self.wrong_here("unexpected repeated colon in duration expression")),
            ':' => {
                self.within = Within::Duration { has_duration, has_colon: true };
                Kind::Colon
            }
            '(' | ')' => return self.paren(c),
            '+' => Kind::Operator(Operator::Add),
            '-' => Kind::Operator(Operator::Sub),
            '*' => Kind::Operator(Operator::Mul),
            '/' => Kind::Operator(Operator::Div),
            '%' => Kind::Operator(Operator::Mod),
            '^' => Kind::Operator(Operator::Pow),
            ',' => Kind::Comma,
            '.' | '0'..='9' if c != '.' || self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.within = Within::Brackets { has_colon };
                return self.number();
            }
            _ => match self.duration_keyword() {
                Some(kind) => {
                    self.within = Within::Duration { has_duration: true, has_colon };
                    kind
                }
                None => {
                    let what = format!("unexpected character in duration expression: {}", quoted_char(Some(c)));
                    return Err(self.wrong(what));
                }
            },
        })
    }

    /// A function of durations, the first character of which is read.
    fn duration_keyword(&mut self) -> Option<Kind> {
        self.skip_while(|c| c == '_' || c.is_ascii_alphabetic());
        Kind::of_word(self.read()).filter(|kind| {
            use Keyword::{MaxOf, MinOf, Range, Step};
            matches!(kind, Kind::Keyword(MaxOf | MinOf | Range | Step))
        })
    }

    fn in_braces(&mut self) -> Result<Kind, Wrong> {
        let Some(c) = self.bump() else { return Err(self.wrong("unexpected end of input inside braces")) };
        Ok(match c {
            ',' => Kind::Comma,
            '"' | '\'' | '`' => return self.string(c),
            '=' if self.accept("~") => Kind::Match,
            '=' => Kind::Assign,
            '!' if self.accept("~") => Kind::NotMatch,
            '!' if self.accept("=") => Kind::Operator(Operator::NotEqual),
            '!' => {
                let what = format!("unexpected character after '!' inside braces: {}", quoted_char(self.peek()));
                return Err(self.wrong(what));
            }
            '{' => return Err(self.wrong("unexpected left brace '{'")),
            '}' => {
                self.within = Within::Nothing;
                Kind::RightBrace
            }
            _ if self.syntax.begins_name(c) => {
                let syntax = self.syntax;
                self.skip_while(|c| syntax.continues_name(c));
                Kind::Name
            }
            _ => return Err(self.wrong(format!("unexpected character inside braces: {}", quoted_char(Some(c))))),
        })
    }
}

impl Syntax {
    /// Is it a name that needs no quotes where labels stand?
    pub(crate) fn is_label(self, name: &str) -> bool {
        name.starts_with(|c| self.begins_name(c)) && name.chars().all(|c| self.continues_name(c))
    }

    fn begins_name(self, c: char) -> bool {
        c == '_' || c.is_ascii_alphabetic() || (self.unquoted_utf8 && !c.is_ascii() && is_letter(c))
    }

    /// Digits are those of ASCII alone.
    fn continues_name(self, c: char) -> bool {
        self.begins_name(c) || c.is_ascii_digit() || (self.unquoted_utf8 && c == '.')
    }
}

/// What Go takes for a letter; `char::is_alphabetic` takes marks and numerals of some scripts too.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{L}").ok());
    LETTER.as_ref().is_some_and(|letter| letter.is_match(c.encode_utf8(&mut [0; 4])))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
