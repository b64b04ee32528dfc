//! Selectors of series as PromQL writes them: `up{job=~"api|web", instance!=""}`, `{"http.requests", "k8s.pod"="a"}`.
//!
//! Read by the parser for a query, or alone by [`Selector::parse`]; who finds series asks each matcher about a label's value.
//!
//! Invariants: a label that a series lacks is the empty string; a regular expression matches whole values; at least one
//! matcher does not match the empty string, so that no slip of the pen selects everything; what is wrong has a position.
//! Not here: what else PromQL has (offsets, ranges, functions) is refused where a selector alone is wanted.
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/basics/#time-series-selectors>

use std::hash::{Hash, Hasher};

use regex::Regex;

use crate::{
    Result, Syntax,
    ast::{Extent, Instant, Node, Shift},
};

/// The label that holds the name of the metric.
pub const NAME: &str = "__name__";

/// Selects series by their labels: those for which all matchers are true.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// A condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub(crate) label: String,
    pub(crate) op: Op,
    /// As it was written, between quotes.
    pub(crate) value: String,
    /// What `value` compiles to, if `op` takes an expression.
    pub(crate) regex: Option<Regex>,
}

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// `Invalid`, with the place, if the text is no selector or one that selects everything.
    pub fn parse(text: &str) -> Result<Self> {
        let expr = crate::parse(text, Syntax::default())?;
        match expr.node {
            Node::Instant(Instant { matchers, shift, extent: Extent::Plain, .. }) if shift == Shift::default() => {
                Ok(Self { matchers: matchers.to_vec() })
            }
            _ => {
                Err(crate::wrong(text, "a series selector has no ranges, offsets, operators and functions", expr.span))
            }
        }
    }

    /// Of matchers that were read with a query.
    pub(crate) fn of(matchers: Vec<Matcher>) -> Self {
        Self { matchers }
    }

    /// What must all be true.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }
}

impl Matcher {
    /// A label is a value.
    #[must_use]
    pub fn equal(label: &str, value: &str) -> Self {
        Self { label: label.to_owned(), op: Op::Equal, value: value.to_owned(), regex: None }
    }

    /// Name of the label that is asked.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The label, how it is compared (`=`, `!=`, `=~`, `!~`), and what to.
    #[must_use]
    pub fn as_written(&self) -> (&str, &'static str, &str) {
        (&self.label, self.op.as_str(), &self.value)
    }

    /// Is it true of a label with this value?
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (Op::Match, Some(regex)) => regex.is_match(value),
            (Op::NotMatch, Some(regex)) => !regex.is_match(value),
            (Op::Equal | Op::Match, _) => value == self.value,
            (Op::NotEqual | Op::NotMatch, _) => value != self.value,
        }
    }

    /// The only values it is true of, if they can be told.
    #[must_use]
    pub fn values(&self) -> Option<Vec<&str>> {
        let is_plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_:-/ |".contains(c));
        match self.op {
            Op::Equal => Some(vec![&self.value]),
            Op::Match if is_plain(&self.value) => Some(self.value.split('|').collect()),
            _ => None,
        }
    }
}

impl Op {
    /// As it is written.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.op, &self.value) == (&other.label, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.label, self.op, &self.value).hash(state);
    }
}

#[cfg(test)]
mod tests;
