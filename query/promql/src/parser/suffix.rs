//! What follows an operand: brackets, `offset`, `@`, `anchored` and `smoothed`. They bind tighter than any operator.

use super::super::{
    ast::{At, Duration, DurationNode, Expr, Extent, Instant, Node, Operator, Range, Shift, Span, Subquery},
    lexer::{Keyword, Kind},
    wrong::Wrong,
};
use super::{Parser, Place, Tall};

const WINDOW: Place = Place::new("subquery or range selector", "number, duration, step(), or range()");
const WINDOW_END: Place = Place::new("subquery or range", "\":\" or \"]\"");
const STEP: Place = Place::new("subquery selector", "number, duration, step(), range(), or \"]\"");
const STEP_END: Place = Place::new("subquery selector", "\"]\"");
const TIME: Place = Place::new("@", "timestamp");

impl Parser<'_> {
    /// An operand and all that follows it.
    pub(super) fn suffixed(&mut self) -> Result<Tall<Expr>, Wrong> {
        let mut expr = self.primary()?;
        loop {
            let next = self.peek()?.kind;
            match next {
                Kind::LeftBracket => expr = self.window(expr)?,
                Kind::At => self.at(&mut expr.part)?,
                Kind::Keyword(Keyword::Offset) => self.offset(&mut expr.part)?,
                Kind::Keyword(Keyword::Anchored) => self.extend(&mut expr.part, Extent::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.extend(&mut expr.part, Extent::Smoothed)?,
                _ => return Ok(expr),
            }
        }
    }

    /// `[range]` makes a range of a selector, `[range:step]` a subquery of anything.
    fn window(&mut self, operand: Tall<Expr>) -> Result<Tall<Expr>, Wrong> {
        let open = self.next()?;
        let range = self.positive_duration(WINDOW)?;
        let close = self.next()?;
        match close.kind {
            Kind::RightBracket => self.range(operand, range, Span { start: open.span.start, end: close.span.end }),
            Kind::Colon => self.subquery(operand, range),
            _ => Err(self.unexpected(close, WINDOW_END)),
        }
    }

    fn range(&self, operand: Tall<Expr>, range: Duration, brackets: Span) -> Result<Tall<Expr>, Wrong> {
        let Tall { part, height } = operand;
        let Expr { node, span: selector_span } = *part;
        let what = match node {
            Node::Instant(Instant { shift: Shift { offset: Some(_), .. }, .. }) => {
                "no offset modifiers allowed before range"
            }
            Node::Instant(Instant { shift: Shift { at: Some(_), .. }, .. }) => "no @ modifiers allowed before range",
            Node::Instant(selector) => {
                let node = Node::Range(Box::new(Range { selector, selector_span, range }));
                return self.above(height, Expr { node, span: Span { start: selector_span.start, end: self.end } });
            }
            _ => "ranges only allowed for vector selectors",
        };
        Err(Wrong::new(what, brackets))
    }

    fn subquery(&mut self, operand: Tall<Expr>, range: Duration) -> Result<Tall<Expr>, Wrong> {
        let has_step = self.peek()?.kind != Kind::RightBracket;
        let step = if has_step { Some(self.positive_duration(STEP)?) } else { None };
        self.expect(Kind::RightBracket, STEP_END)?;
        let span = Span { start: operand.part.span.start, end: self.end };
        let subquery = Subquery { expr: *operand.part, range, step, shift: Shift::default() };
        self.above(operand.height, Expr { node: Node::Subquery(Box::new(subquery)), span })
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<(), Wrong> {
        self.next()?;
        let offset = self.offset_duration()?;
        let Some(shift) = shift(expr) else { return Err(misplaced("offset", expr)) };
        if shift.offset.is_some() {
            return Err(Wrong::new("offset may not be set multiple times", expr.span));
        }
        // None at all and one of nothing are the same.
        let is_nothing = matches!(offset.node, DurationNode::Literal { seconds: 0.0, .. });
        shift.offset = Some(offset).filter(|_| !is_nothing);
        expr.span.end = self.end;
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Result<(), Wrong> {
        self.next()?;
        let at = match self.peek()?.kind {
            Kind::Keyword(Keyword::Start) => self.bound_of_query(At::Start)?,
            Kind::Keyword(Keyword::End) => self.bound_of_query(At::End)?,
            _ => At::Time(milliseconds(self.signed_number(TIME)?, expr.span)?),
        };
        let Some(shift) = shift(expr) else { return Err(misplaced("@", expr)) };
        if shift.at.is_some() {
            return Err(Wrong::new("@ <timestamp> may not be set multiple times", expr.span));
        }
        shift.at = Some(at);
        expr.span.end = self.end;
        Ok(())
    }

    /// `start()` or `end()`.
    fn bound_of_query(&mut self, at: At) -> Result<At, Wrong> {
        self.next()?;
        self.expect(Kind::LeftParen, TIME)?;
        self.expect(Kind::RightParen, TIME)?;
        Ok(at)
    }

    /// A number or a duration, in seconds, with at most one sign.
    pub(super) fn signed_number(&mut self, place: Place) -> Result<f64, Wrong> {
        let mut token = self.next()?;
        let is_negative = token.kind == Kind::Operator(Operator::Sub);
        if is_negative || token.kind == Kind::Operator(Operator::Add) {
            token = self.next()?;
        }
        if !matches!(token.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected(token, place));
        }
        let value = self.number(token)?;
        Ok(if is_negative { -value } else { value })
    }

    fn extend(&mut self, expr: &mut Expr, extent: Extent) -> Result<(), Wrong> {
        self.next()?;
        let name = if extent == Extent::Anchored { "anchored" } else { "smoothed" };
        let what = match &mut expr.node {
            Node::Instant(selector) if selector.is_extensible(extent) => {
                selector.extent = extent;
                return Ok(());
            }
            Node::Range(range) if range.selector.is_extensible(extent) => {
                range.selector.extent = extent;
                return Ok(());
            }
            Node::Instant(_) | Node::Range(_) => "anchored and smoothed modifiers cannot be used together".to_owned(),
            Node::Subquery(_) => format!("{name} modifier is not supported for subqueries"),
            _ => format!("{name} modifier not implemented"),
        };
        Err(Wrong::new(what, expr.span))
    }
}

impl Instant {
    /// May edges be taken like this, if they are not taken like that already?
    fn is_extensible(&self, extent: Extent) -> bool {
        self.extent == Extent::Plain || self.extent == extent
    }
}

/// The shift of an expression that can have one.
fn shift(expr: &mut Expr) -> Option<&mut Shift> {
    match &mut expr.node {
        Node::Instant(selector) => Some(&mut selector.shift),
        Node::Range(range) => Some(&mut range.selector.shift),
        Node::Subquery(subquery) => Some(&mut subquery.shift),
        _ => None,
    }
}

fn misplaced(modifier: &str, expr: &Expr) -> Wrong {
    let what = "modifier must be preceded by an instant vector selector or range vector selector or a subquery";
    Wrong::new(format!("{modifier} {what}"), expr.span)
}

/// A point in time, of seconds since 1970.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond the last millisecond there is, is at it")]
#[expect(clippy::cast_precision_loss, reason = "the bounds are powers of two")]
fn milliseconds(seconds: f64, at: Span) -> Result<i64, Wrong> {
    if seconds > i64::MIN as f64 && seconds < i64::MAX as f64 {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let written = match seconds {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => format!("{seconds:.6}"),
    };
    Err(Wrong::new(format!("timestamp out of bounds for @ modifier: {written}"), at))
}
