//! Durations in brackets and after `offset`: `5m`, `-1h`, `step() * 2`, `max_of(range(), 1d)`.
//!
//! Where spans look odd they are those of Prometheus, whose errors show them: parentheses are no part of what they enclose.

use super::super::{
    ast::{Duration, DurationNode, Operator, Span},
    lexer::{Keyword, Kind, Token},
    wrong::Wrong,
};
use super::{Parser, Place, Sign, Tall, Tightness};

const OFFSET: Place = Place::new("offset", "number, duration, step(), or range()");

/// Seconds that fit the nanoseconds of Prometheus, of which it keeps 63 bits.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

impl Parser<'_> {
    /// A duration that may not be nothing, of a range or a step.
    pub(super) fn positive_duration(&mut self, place: Place) -> Result<Duration, Wrong> {
        let duration = *self.duration(Tightness::Loosest, place)?.part;
        match duration.node {
            DurationNode::Literal { seconds, .. } if seconds <= 0.0 => {
                Err(Wrong::new("duration must be greater than 0", duration.span))
            }
            _ => Ok(Self::whole(duration)),
        }
    }

    /// The duration of an offset. Operators behind it belong to the expression, unless it begins with a parenthesis or with two
    /// signs: `x offset 1h + 2` adds 2 to `x`, `x offset (1h) + 2` to the hour.
    pub(super) fn offset_duration(&mut self) -> Result<Duration, Wrong> {
        let signs = self.signs()?;
        let token = self.peek()?;
        let duration = match (signs.as_slice(), token.kind) {
            ([], Kind::LeftParen) => self.duration(Tightness::Loosest, OFFSET)?,
            ([sign], Kind::LeftParen) => {
                let inner = self.in_parens(OFFSET)?;
                let start = inner.part.span.start;
                let paren = self.paren_duration(start, inner)?;
                self.negated(*sign, paren)?
            }
            ([], _) => self.duration_atom(OFFSET)?,
            ([sign], _) => {
                let atom = self.duration_atom_unbounded(OFFSET)?;
                self.signed_offset(*sign, atom)?
            }
            _ => {
                let operand = self.signed_duration(signs, OFFSET)?;
                self.climb(operand, Tightness::Loosest, OFFSET)?
            }
        };
        Ok(Self::whole(*duration.part))
    }

    /// A duration as a whole. A lone literal counts as written with units, as it is printed.
    fn whole(mut duration: Duration) -> Duration {
        if let DurationNode::Literal { with_units, .. } = &mut duration.node {
            *with_units = true;
        }
        duration
    }

    fn duration(&mut self, least: Tightness, place: Place) -> Result<Tall<Duration>, Wrong> {
        self.enter()?;
        let signs = self.signs()?;
        let operand = if signs.is_empty() { self.duration_atom(place)? } else { self.signed_duration(signs, place)? };
        let duration = self.climb(operand, least, place)?;
        self.leave();
        Ok(duration)
    }

    /// What operators that bind at least as tightly make of an operand.
    fn climb(&mut self, mut left: Tall<Duration>, least: Tightness, place: Place) -> Result<Tall<Duration>, Wrong> {
        use Operator::{Add, Div, Mod, Mul, Pow, Sub};
        while let Kind::Operator(op @ (Add | Sub | Mul | Div | Mod | Pow)) = self.peek()?.kind {
            if Tightness::of(op) < least {
                break;
            }
            let token = self.next()?;
            let right = self.duration(Tightness::of(op).on_the_right(), place)?;
            let is_nothing = matches!(right.part.node, DurationNode::Literal { seconds: 0.0, .. });
            match op {
                Div if is_nothing => return Err(Wrong::new("division by zero", token.span)),
                Mod if is_nothing => return Err(Wrong::new("modulo by zero", token.span)),
                _ => {}
            }
            let span = Span { start: left.part.span.start, end: right.part.span.end };
            let below = left.height.max(right.height);
            let node = DurationNode::Binary { op, left: left.part, right: right.part };
            left = self.above(below, Duration { node, span })?;
        }
        Ok(left)
    }

    /// What signs stand before. They bind looser than `^` and tighter than all else.
    fn signed_duration(&mut self, signs: Vec<Sign>, place: Place) -> Result<Tall<Duration>, Wrong> {
        let mut duration = self.duration(Tightness::Power, place)?;
        for sign in signs.into_iter().rev() {
            duration = self.negated(sign, duration)?;
        }
        Ok(duration)
    }

    /// A duration after a sign. `+` leaves no trace.
    fn negated(&self, sign: Sign, operand: Tall<Duration>) -> Result<Tall<Duration>, Wrong> {
        if matches!(operand.part.node, DurationNode::Literal { .. }) || sign.negative {
            return self.signed_offset(sign, operand);
        }
        Ok(operand)
    }

    /// A duration after the only sign of an offset, where `+` is kept.
    fn signed_offset(&self, sign: Sign, operand: Tall<Duration>) -> Result<Tall<Duration>, Wrong> {
        let Tall { part: mut duration, height } = operand;
        let span = Span { start: sign.span.start, end: duration.span.end };
        if let DurationNode::Literal { seconds, .. } = &mut duration.node {
            *seconds = if sign.negative { -*seconds } else { *seconds };
            in_bounds(*seconds, sign.span)?;
            duration.span = span;
            return Ok(Tall { part: duration, height });
        }
        let node = DurationNode::Unary { negative: sign.negative, operand: duration };
        self.above(height, Duration { node, span })
    }

    /// A duration without signs and operators.
    fn duration_atom(&mut self, place: Place) -> Result<Tall<Duration>, Wrong> {
        let atom = self.duration_atom_unbounded(place)?;
        if let DurationNode::Literal { seconds, .. } = atom.part.node {
            in_bounds(seconds, atom.part.span)?;
        }
        Ok(atom)
    }

    fn duration_atom_unbounded(&mut self, place: Place) -> Result<Tall<Duration>, Wrong> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                self.next()?;
                let with_units = token.kind == Kind::Duration;
                let node = DurationNode::Literal { seconds: self.number(token)?, with_units };
                self.above(0, Duration { node, span: token.span })
            }
            Kind::LeftParen => {
                let inner = self.in_parens(place)?;
                self.paren_duration(token.span.start, inner)
            }
            Kind::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf) => {
                self.next()?;
                self.duration_call(token, place)
            }
            _ => Err(self.unexpected(token, place)),
        }
    }

    /// `step()`, `range()`, `min_of(a, b)` or `max_of(a, b)`, the name of which is read.
    fn duration_call(&mut self, name: Token, place: Place) -> Result<Tall<Duration>, Wrong> {
        self.expect(Kind::LeftParen, place)?;
        let of_query = match name.kind {
            Kind::Keyword(Keyword::Step) => Some(DurationNode::Step),
            Kind::Keyword(Keyword::Range) => Some(DurationNode::Range),
            _ => None,
        };
        let (node, below) = match of_query {
            Some(node) => (node, 0),
            None => {
                let first = self.duration(Tightness::Loosest, place)?;
                self.expect(Kind::Comma, place)?;
                let second = self.duration(Tightness::Loosest, place)?;
                let below = first.height.max(second.height);
                let (first, second) = (first.part, second.part);
                let is_min = name.kind == Kind::Keyword(Keyword::MinOf);
                (if is_min { DurationNode::Min(first, second) } else { DurationNode::Max(first, second) }, below)
            }
        };
        self.expect(Kind::RightParen, place)?;
        self.above(below, Duration { node, span: Span { start: name.span.start, end: self.end } })
    }

    fn in_parens(&mut self, place: Place) -> Result<Tall<Duration>, Wrong> {
        self.expect(Kind::LeftParen, place)?;
        let inner = self.duration(Tightness::Loosest, place)?;
        self.expect(Kind::RightParen, place)?;
        Ok(inner)
    }

    /// A duration in parentheses; a second pair around it adds nothing.
    fn paren_duration(&self, start: usize, inner: Tall<Duration>) -> Result<Tall<Duration>, Wrong> {
        let mut span = inner.part.span;
        match inner.part.node {
            DurationNode::Paren(_) => return Ok(inner),
            DurationNode::Literal { .. } => span.start = start,
            _ => {}
        }
        self.above(inner.height, Duration { node: DurationNode::Paren(inner.part), span })
    }
}

fn in_bounds(seconds: f64, at: Span) -> Result<(), Wrong> {
    if seconds.abs() <= SECONDS_MAX { Ok(()) } else { Err(Wrong::new("duration out of range", at)) }
}
