//! Reads a query.
//!
//! Called for the endpoints over queries and for selectors; takes words from the lexer, gives a tree whose types were checked.
//! Recursive descent, with precedence climbing for binary operators.
//!
//! Invariants: the first error ends it, and it is the one Prometheus names first; the tree is at most [`DEPTH_MAX`] high, so
//! whoever walks it may recurse; time is linear in the text.
//! Not here: what needs the whole tree (`check`), and which features of the language are switched on.
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/basics/>; where that is silent, the grammar of Prometheus 3.16.

mod aggregate;
mod durations;
mod matching;
mod selector;
mod suffix;

use super::{
    ast::{Binary, Call, Expr, Node, Operator, Span},
    check, functions,
    lexer::{Keyword, Kind, Lexer, Syntax, Token},
    literal,
    wrong::Wrong,
};
use matching::Modifiers;

/// Length of a query. Those of dashboards have some kilobytes; generated ones some dozen.
pub(crate) const TEXT_BYTES_MAX: usize = 256 << 10;

/// How deep a tree may be; each operator of a chain (`a + b + c`) is above what stands before it. All that walks a tree
/// recurses, and has 2 MiB of stack to do so: at this depth, checking takes 1.2 of them without optimization.
pub(crate) const DEPTH_MAX: usize = 500;

/// How deep parentheses, calls and powers may be nested. Reading them takes more stack than walking them, 7 KiB each without
/// optimization; chains are read in a loop.
pub(crate) const NESTING_MAX: usize = 200;

/// Reads a query.
pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Expr, Wrong> {
    if text.len() > TEXT_BYTES_MAX {
        let what = format!("the query is too long bytes={} bytes_max={TEXT_BYTES_MAX}", text.len());
        return Err(Wrong::new(what, Span::default()));
    }
    let mut expr = Parser::new(text, syntax).query()?;
    check::check(&mut expr, text)?;
    Ok(expr)
}

struct Parser<'t> {
    text: &'t str,
    syntax: Syntax,
    lexer: Lexer<'t>,
    ahead: Option<Token>,
    /// Where the word taken last ends.
    end: usize,
    /// How many expressions are begun and not ended.
    nesting: usize,
    /// What an unexpected word is unexpected in, unless something more precise is known.
    place: Place,
    regexes: usize,
}

/// A part of a tree and how high it is.
///
/// In a box, so that calls which recurse have little on the stack.
struct Tall<T> {
    part: Box<T>,
    height: usize,
}

/// What a word was unexpected in, and what was expected instead.
#[derive(Clone, Copy)]
struct Place {
    within: &'static str,
    expected: &'static str,
}

impl Place {
    const ANYWHERE: Self = Self::new("", "");

    const fn new(within: &'static str, expected: &'static str) -> Self {
        Self { within, expected }
    }
}

/// How tightly an operator binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tightness {
    Loosest,
    And,
    Comparison,
    Sum,
    Product,
    Power,
    /// No operator does.
    Tightest,
}

impl Tightness {
    fn of(op: Operator) -> Self {
        match op {
            Operator::Or => Self::Loosest,
            Operator::And | Operator::Unless => Self::And,
            Operator::Equal | Operator::NotEqual | Operator::Greater | Operator::Less => Self::Comparison,
            Operator::GreaterEqual | Operator::LessEqual => Self::Comparison,
            Operator::TrimUpper | Operator::TrimLower => Self::Comparison,
            Operator::Add | Operator::Sub => Self::Sum,
            Operator::Mul | Operator::Div | Operator::Mod | Operator::Atan2 => Self::Product,
            Operator::Pow => Self::Power,
        }
    }

    /// How tightly an operator has to bind in the right operand of one that binds like this.
    fn on_the_right(self) -> Self {
        match self {
            Self::Loosest => Self::And,
            Self::And => Self::Comparison,
            Self::Comparison => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product | Self::Power => Self::Power,
            Self::Tightest => Self::Tightest,
        }
    }
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, syntax: Syntax) -> Self {
        let lexer = Lexer::new(text, syntax);
        Self { text, syntax, lexer, ahead: None, end: 0, nesting: 0, place: Place::ANYWHERE, regexes: 0 }
    }

    fn query(mut self) -> Result<Expr, Wrong> {
        if self.peek()?.kind == Kind::End {
            return Err(Wrong::new("no expression found in input", Span::default()));
        }
        let expr = self.expression(Tightness::Loosest)?.part;
        self.expect(Kind::End, Place::ANYWHERE)?;
        Ok(*expr)
    }

    /// An operand, and what operators that bind at least as tightly make of it.
    fn expression(&mut self, least: Tightness) -> Result<Tall<Expr>, Wrong> {
        self.enter()?;
        let mut left = self.operand()?;
        while let Some(op) = self.operator(least)? {
            let modifiers = self.modifiers()?;
            let right = self.expression(Tightness::of(op).on_the_right())?;
            left = self.binary(op, *modifiers, left, right)?;
        }
        self.leave();
        Ok(left)
    }

    /// Takes an operator that binds tightly enough.
    fn operator(&mut self, least: Tightness) -> Result<Option<Operator>, Wrong> {
        match self.peek()?.kind {
            Kind::Operator(op) if Tightness::of(op) >= least => {
                self.next()?;
                Ok(Some(op))
            }
            _ => Ok(None),
        }
    }

    fn binary(
        &self,
        op: Operator,
        modifiers: Modifiers,
        left: Tall<Expr>,
        right: Tall<Expr>,
    ) -> Result<Tall<Expr>, Wrong> {
        let span = Span { start: left.part.span.start, end: right.part.span.end };
        let below = left.height.max(right.height);
        let binary = Binary {
            op,
            left: *left.part,
            right: *right.part,
            returns_bool: modifiers.returns_bool,
            matching: Some(modifiers.matching),
        };
        self.above(below, Expr { node: Node::Binary(Box::new(binary)), span })
    }

    /// An operand with its signs, which bind looser than `^` and tighter than all else.
    fn operand(&mut self) -> Result<Tall<Expr>, Wrong> {
        let signs = self.signs()?;
        if signs.is_empty() {
            return self.suffixed();
        }
        let mut signed = self.expression(Tightness::Power)?;
        for sign in signs.into_iter().rev() {
            signed = self.signed(sign, signed)?;
        }
        Ok(signed)
    }

    fn signed(&self, sign: Sign, operand: Tall<Expr>) -> Result<Tall<Expr>, Wrong> {
        let Sign { negative, span } = sign;
        let Tall { part: mut expr, height } = operand;
        let whole = Span { start: span.start, end: expr.span.end };
        if let Node::Number { value, .. } = &mut expr.node {
            *value = if negative { -*value } else { *value };
            expr.span = whole;
            return Ok(Tall { part: expr, height });
        }
        self.above(height, Expr { node: Node::Unary { negative, operand: expr }, span: whole })
    }

    fn signs(&mut self) -> Result<Vec<Sign>, Wrong> {
        let mut signs = Vec::new();
        while let Kind::Operator(op @ (Operator::Add | Operator::Sub)) = self.peek()?.kind {
            signs.push(Sign { negative: op == Operator::Sub, span: self.next()?.span });
        }
        Ok(signs)
    }

    /// What an expression is made of in the end.
    fn primary(&mut self) -> Result<Tall<Expr>, Wrong> {
        let token = self.next()?;
        match token.kind {
            Kind::LeftParen => self.paren(token.span),
            Kind::Number | Kind::Duration | Kind::String => self.literal(token),
            Kind::LeftBrace => self.unnamed(token.span.start),
            kind if kind.names_metric() => self.named(token),
            _ => Err(self.unexpected(token, self.place)),
        }
    }

    /// What begins with a name: an aggregation, a call or a selector.
    fn named(&mut self, name: Token) -> Result<Tall<Expr>, Wrong> {
        use Keyword::{By, Without};
        let next = self.peek()?.kind;
        match name.kind {
            Kind::Aggregator(op) if matches!(next, Kind::LeftParen | Kind::Keyword(By | Without)) => {
                self.aggregate(name, op)
            }
            Kind::Name if next == Kind::LeftParen => self.call(name),
            Kind::Keyword(keyword) if keyword.is_callable() && next == Kind::LeftParen => self.call(name),
            _ => self.instant(name),
        }
    }

    fn literal(&self, token: Token) -> Result<Tall<Expr>, Wrong> {
        let node = match token.kind {
            Kind::String => Node::String(self.string(token)?),
            kind => Node::Number { value: self.number(token)?, as_duration: kind == Kind::Duration },
        };
        self.above(0, Expr { node, span: token.span })
    }

    fn paren(&mut self, open: Span) -> Result<Tall<Expr>, Wrong> {
        let inner = self.expression(Tightness::Loosest)?;
        let close = self.expect(Kind::RightParen, self.place)?;
        let span = Span { start: open.start, end: close.span.end };
        self.above(inner.height, Expr { node: Node::Paren(inner.part), span })
    }

    fn call(&mut self, name: Token) -> Result<Tall<Expr>, Wrong> {
        let args = self.arguments()?;
        self.call_of(name, args)
    }

    fn call_of(&self, name: Token, args: Tall<Vec<Expr>>) -> Result<Tall<Expr>, Wrong> {
        let word = self.word(name);
        let Some(function) = functions::find(word) else {
            return Err(Wrong::new(format!("unknown function with name {}", literal::quoted(word)), name.span));
        };
        let span = Span { start: name.span.start, end: self.end };
        self.above(args.height, Expr { node: Node::Call(Call { function, args: *args.part }), span })
    }

    /// Expressions in parentheses, with commas between them.
    fn arguments(&mut self) -> Result<Tall<Vec<Expr>>, Wrong> {
        self.expect(Kind::LeftParen, self.place)?;
        let mut args = Tall { part: Box::default(), height: 0 };
        if self.take(Kind::RightParen)? {
            return Ok(args);
        }
        loop {
            let arg = self.expression(Tightness::Loosest)?;
            args.part.push(*arg.part);
            args.height = args.height.max(arg.height);
            if self.take(Kind::RightParen)? {
                return Ok(args);
            }
            let comma = self.expect(Kind::Comma, self.place)?;
            if !self.peek()?.kind.begins_expression() {
                return Err(Wrong::new("trailing commas not allowed in function call args", comma.span));
            }
        }
    }

    /// The value of a number or, in seconds, of a duration.
    fn number(&self, token: Token) -> Result<f64, Wrong> {
        let word = self.word(token);
        if token.kind == Kind::Duration {
            return super::duration::read(word)
                .map(super::duration::seconds)
                .map_err(|what| Wrong::new(what, token.span));
        }
        literal::number(word).map_err(|what| {
            let what = format!("error parsing number: strconv.ParseFloat: parsing {}: {what}", literal::quoted(word));
            Wrong::new(what, token.span)
        })
    }

    fn string(&self, token: Token) -> Result<String, Wrong> {
        let word = self.word(token);
        literal::unquoted(word).ok_or_else(|| {
            let what = format!("error unquoting string {}: its escapes are not UTF-8", literal::quoted(word));
            Wrong::new(what, token.span)
        })
    }
}

/// The words.
impl<'t> Parser<'t> {
    fn peek(&mut self) -> Result<Token, Wrong> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = self.lexer.next()?;
        self.ahead = Some(token);
        Ok(token)
    }

    fn next(&mut self) -> Result<Token, Wrong> {
        let token = self.peek()?;
        self.ahead = None;
        self.end = token.span.end;
        Ok(token)
    }

    fn take(&mut self, kind: Kind) -> Result<bool, Wrong> {
        let is_there = self.peek()?.kind == kind;
        if is_there {
            self.next()?;
        }
        Ok(is_there)
    }

    fn expect(&mut self, kind: Kind, place: Place) -> Result<Token, Wrong> {
        let token = self.next()?;
        if token.kind == kind { Ok(token) } else { Err(self.unexpected(token, place)) }
    }

    fn word(&self, token: Token) -> &'t str {
        &self.text[token.span.start..token.span.end]
    }

    fn unexpected(&self, token: Token, place: Place) -> Wrong {
        let mut what = format!("unexpected {}", token.describe(self.text));
        for (before, text) in [(" in ", place.within), (", expected ", place.expected)] {
            if !text.is_empty() {
                what.push_str(before);
                what.push_str(text);
            }
        }
        Wrong::new(what, token.span)
    }

    /// A part of the tree above others.
    fn above<T>(&self, below: usize, part: T) -> Result<Tall<T>, Wrong> {
        let height = below + 1;
        if height > DEPTH_MAX {
            let what = "the query is too deep, as each operator of a chain counts; split it";
            return Err(self.too_much(format!("{what} depth_max={DEPTH_MAX}")));
        }
        Ok(Tall { part: Box::new(part), height })
    }

    /// Begins what may contain itself.
    fn enter(&mut self) -> Result<(), Wrong> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.too_much(format!("the query is nested too deeply; split it nesting_max={NESTING_MAX}")));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    fn too_much(&self, what: String) -> Wrong {
        Wrong::new(what, Span { start: self.end, end: self.text.len() })
    }
}

/// A sign before an operand.
#[derive(Clone, Copy)]
struct Sign {
    negative: bool,
    span: Span,
}

#[cfg(test)]
mod tests;
