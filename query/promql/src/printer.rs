//! Writes queries as Prometheus writes them.
//!
//! Called by the endpoint that formats queries, and wherever a query is shown. [`Expr`] is displayed on one line; [`pretty()`] breaks
//! lines. What is written reads back as the same tree, but for the order of matchers, which are sorted, and for what has no
//! effect: a `+` before a computed offset, and digits of a lone duration below the millisecond.

mod pretty;

use std::fmt::{self, Display, Formatter};

use crate::selector::{Matcher, NAME, Op};

use super::{
    ast::{
        Aggregate, At, Binary, Call, Cardinality, Duration, DurationNode, Expr, Extent, Instant, Matching, Node, Range,
    },
    ast::{Shift, Subquery},
    duration::{format as format_ms, literal_ms},
    lexer::{Kind, Syntax},
    literal::quoted,
    number::{plain, short},
};

pub(crate) use pretty::pretty;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number { value, as_duration: true } => f.write_str(&format_ms(literal_ms(*value))),
            Node::Number { value, as_duration: false } => f.write_str(&plain(*value)),
            Node::String(text) => f.write_str(&quoted(text)),
            Node::Paren(inner) => write!(f, "({inner})"),
            Node::Unary { negative, operand } => write!(f, "{}{operand}", sign(*negative)),
            Node::Binary(binary) => write!(f, "{} {} {}", binary.left, Operation(binary), binary.right),
            Node::Aggregate(aggregate) => {
                write!(f, "{}(", Heading(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Node::Call(call) => write_call(f, call),
            Node::Instant(selector) => {
                let Instant { shift, extent, .. } = selector;
                write!(f, "{}{}{}{}", Series(selector), AtOf(shift), ExtentOf(*extent), OffsetOf(shift))
            }
            Node::Range(range) => {
                let Range { selector, range, .. } = &**range;
                let Instant { shift, extent, .. } = selector;
                write!(f, "{}[{}]", Series(selector), Lone(range))?;
                write!(f, "{}{}{}", ExtentOf(*extent), AtOf(shift), OffsetOf(shift))
            }
            Node::Subquery(subquery) => write!(f, "{}{}", subquery.expr, Window(subquery)),
        }
    }
}

fn write_call(f: &mut Formatter<'_>, call: &Call) -> fmt::Result {
    write!(f, "{}(", call.function.name)?;
    for (at, arg) in call.args.iter().enumerate() {
        write!(f, "{}{arg}", if at == 0 { "" } else { ", " })?;
    }
    f.write_str(")")
}

/// What stands before the arguments of an aggregation.
struct Heading<'a>(&'a Aggregate);

impl Display for Heading<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Aggregate { op, labels, syntax, without, .. } = self.0;
        f.write_str(op.as_str())?;
        match (without, labels.is_empty()) {
            (true, _) => write!(f, " without ({}) ", Labels(labels, *syntax)),
            (false, false) => write!(f, " by ({}) ", Labels(labels, *syntax)),
            (false, true) => Ok(()),
        }
    }
}

/// What stands between the operands of an operator.
struct Operation<'a>(&'a Binary);

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.returns_bool {
            f.write_str(" bool")?;
        }
        self.0.matching.as_ref().map_or(Ok(()), |matching| write_matching(f, matching))
    }
}

fn write_matching(f: &mut Formatter<'_>, matching: &Matching) -> fmt::Result {
    let Matching { cardinality, labels, syntax, on, include, fill_left, fill_right } = matching;
    let group = match cardinality {
        Cardinality::ManyToOne => Some("group_left"),
        Cardinality::OneToMany => Some("group_right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if *on || !labels.is_empty() || group.is_some() {
        write!(f, " {} ({})", if *on { "on" } else { "ignoring" }, Labels(labels, *syntax))?;
    }
    if let Some(group) = group {
        write!(f, " {group} ({})", Labels(include, *syntax))?;
    }
    match (fill_left, fill_right) {
        (Some(left), Some(right)) if left == right => write!(f, " fill ({})", short(*left)),
        _ => {
            for (side, value) in [("left", fill_left), ("right", fill_right)] {
                if let Some(value) = value {
                    write!(f, " fill_{side} ({})", short(*value))?;
                }
            }
            Ok(())
        }
    }
}

/// Labels with commas between them. Some words are read as labels only in quotes, which Prometheus forgets.
struct Labels<'a>(&'a [String], Syntax);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, label) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            let is_other = Kind::of_word(label).is_some_and(|kind| !kind.names_label());
            f.write_str(&if is_other { quoted(label) } else { label_name(label, self.1) })?;
        }
        Ok(())
    }
}

/// A label, in quotes if it needs them.
pub(super) fn label_name(label: &str, syntax: Syntax) -> String {
    if syntax.is_label(label) { label.to_owned() } else { quoted(label) }
}

/// A selector without what shifts it. Matchers are sorted by their text.
struct Series<'a>(&'a Instant);

impl Display for Series<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Instant { name, matchers, syntax, .. } = self.0;
        f.write_str(name.as_deref().unwrap_or_default())?;
        let is_name = |matcher: &&Matcher| {
            matcher.label == NAME && matcher.op == Op::Equal && name.as_ref() == Some(&matcher.value)
        };
        let mut texts: Vec<String> =
            matchers.iter().filter(|matcher| !is_name(matcher)).map(|matcher| matcher_text(matcher, *syntax)).collect();
        if texts.is_empty() {
            return if name.is_none() { f.write_str("{}") } else { Ok(()) };
        }
        texts.sort_unstable();
        write!(f, "{{{}}}", texts.join(","))
    }
}

fn matcher_text(matcher: &Matcher, syntax: Syntax) -> String {
    format!("{}{}{}", label_name(&matcher.label, syntax), matcher.op.as_str(), quoted(&matcher.value))
}

struct ExtentOf(Extent);

impl Display for ExtentOf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Extent::Plain => "",
            Extent::Anchored => " anchored",
            Extent::Smoothed => " smoothed",
        })
    }
}

struct AtOf<'a>(&'a Shift);

impl Display for AtOf<'_> {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus writes it like that")]
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.at {
            Some(At::Time(milliseconds)) => write!(f, " @ {:.3}", milliseconds as f64 / 1000.0),
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
            None => Ok(()),
        }
    }
}

struct OffsetOf<'a>(&'a Shift);

impl Display for OffsetOf<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.offset.as_ref().map_or(Ok(()), |offset| write!(f, " offset {}", Lone(offset)))
    }
}

/// What follows the expression of a subquery.
struct Window<'a>(&'a Subquery);

impl Display for Window<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Subquery { range, step, shift, .. } = self.0;
        write!(f, "[{}:", Lone(range))?;
        if let Some(step) = step {
            write!(f, "{}", Lone(step))?;
        }
        write!(f, "]{}{}", AtOf(shift), OffsetOf(shift))
    }
}

/// A whole duration: it has units, also if it was written as a number.
struct Lone<'a>(&'a Duration);

impl Display for Lone<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.node {
            DurationNode::Literal { seconds, .. } => f.write_str(&format_ms(literal_ms(seconds))),
            _ => self.0.fmt(f),
        }
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            DurationNode::Literal { seconds, with_units: true } => f.write_str(&format_ms(literal_ms(*seconds))),
            DurationNode::Literal { seconds, with_units: false } => f.write_str(&plain(*seconds)),
            DurationNode::Step => f.write_str("step()"),
            DurationNode::Range => f.write_str("range()"),
            DurationNode::Unary { negative, operand } => write!(f, "{}{operand}", if *negative { "-" } else { "" }),
            DurationNode::Binary { op, left, right } => write!(f, "{left} {} {right}", op.as_str()),
            DurationNode::Min(first, second) => write!(f, "min_of({first}, {second})"),
            DurationNode::Max(first, second) => write!(f, "max_of({first}, {second})"),
            DurationNode::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

pub(super) fn sign(negative: bool) -> &'static str {
    if negative { "-" } else { "+" }
}

#[cfg(test)]
mod tests;
