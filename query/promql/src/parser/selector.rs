//! Selectors of series: a name, matchers in braces, or both.

use std::sync::Arc;

use regex::Regex;

use crate::{
    pattern::compile,
    selector::{Matcher, NAME, Op},
};

use super::super::{
    ast::{Expr, Extent, Instant, Node, Operator, Shift, Span},
    lexer::{Kind, Token},
    wrong::Wrong,
};
use super::{Parser, Place, Tall};

/// Matchers of one selector; each is asked of every series of the days it reads.
const MATCHERS_MAX: usize = 1000;

/// Regular expressions of one query: each takes memory and, to compile it, time out of proportion to its text.
const REGEXES_MAX: usize = 200;

const LABEL: Place = Place::new("label matching", "identifier or \"}\"");
const OPERATOR: Place = Place::new("label matching", "label matching operator");
const VALUE: Place = Place::new("label matching", "string");
const MATCHERS_END: Place = Place::new("label matching", "\",\" or \"}\"");

impl Parser<'_> {
    /// A selector, the name of which is read.
    pub(super) fn instant(&mut self, name: Token) -> Result<Tall<Expr>, Wrong> {
        let mut matchers = Vec::new();
        if self.take(Kind::LeftBrace)? {
            self.matchers(&mut matchers)?;
        }
        let name_text = self.word(name);
        matchers.push(Matcher::equal(NAME, name_text));
        self.select(Some(name_text.to_owned()), matchers, name.span.start)
    }

    /// A selector without a name, the brace of which is read.
    pub(super) fn unnamed(&mut self, start: usize) -> Result<Tall<Expr>, Wrong> {
        let mut matchers = Vec::new();
        self.matchers(&mut matchers)?;
        self.select(None, matchers, start)
    }

    fn select(&self, name: Option<String>, matchers: Vec<Matcher>, start: usize) -> Result<Tall<Expr>, Wrong> {
        let (matchers, shift) = (Arc::from(matchers), Shift::default());
        let node = Node::Instant(Instant { name, matchers, syntax: self.syntax, shift, extent: Extent::Plain });
        self.above(0, Expr { node, span: Span { start, end: self.end } })
    }

    /// What stands between the braces, the first of which is read.
    fn matchers(&mut self, out: &mut Vec<Matcher>) -> Result<(), Wrong> {
        if self.take(Kind::RightBrace)? {
            return Ok(());
        }
        loop {
            if out.len() >= MATCHERS_MAX {
                let what = format!("too many matchers matchers_max={MATCHERS_MAX}");
                return Err(Wrong::new(what, self.peek()?.span));
            }
            out.push(self.matcher()?);
            if self.take(Kind::RightBrace)? {
                return Ok(());
            }
            self.expect(Kind::Comma, MATCHERS_END)?;
            if self.take(Kind::RightBrace)? {
                return Ok(());
            }
        }
    }

    /// `label="value"`, or a metric's name in quotes.
    fn matcher(&mut self) -> Result<Matcher, Wrong> {
        let token = self.next()?;
        let label = match token.kind {
            Kind::Name => self.word(token).to_owned(),
            Kind::String => self.string(token)?,
            _ => return Err(self.unexpected(token, LABEL)),
        };
        let op = match self.peek()?.kind {
            Kind::Assign => Op::Equal,
            Kind::Operator(Operator::NotEqual) => Op::NotEqual,
            Kind::Match => Op::Match,
            Kind::NotMatch => Op::NotMatch,
            _ if token.kind == Kind::String => return Ok(Matcher::equal(NAME, &label)),
            _ => {
                let next = self.next()?;
                return Err(self.unexpected(next, OPERATOR));
            }
        };
        self.next()?;
        let value = self.expect(Kind::String, VALUE)?;
        let value = self.string(value)?;
        let regex = match op {
            Op::Match | Op::NotMatch => Some(self.regex(&value, token.span.start)?),
            Op::Equal | Op::NotEqual => None,
        };
        Ok(Matcher { label, op, value, regex })
    }

    fn regex(&mut self, value: &str, start: usize) -> Result<Regex, Wrong> {
        let span = Span { start, end: self.end };
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            return Err(Wrong::new(format!("too many regular expressions regexes_max={REGEXES_MAX}"), span));
        }
        compile(value, self.regexes).map_err(|why| Wrong::new(format!("error parsing regexp: {why}: `{value}`"), span))
    }
}
