//! Matchers: what is asked of an alert's labels, `name op value`.
//!
//! Called by the configuration (routes, inhibition rules), by silences and by the API, whose `filter` parameters are matchers. Two
//! grammars are known: the older one (`classic`), and the one that takes any character in names (`utf8`); [`Mode`] says which count.
//!
//! Invariants: a regular expression matches a whole value; a label that is missing has an empty value; what is printed is read back
//! as the same matcher.
//! Not here: what follows from a match.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#matcher>

mod classic;
mod utf8;

use std::fmt;

use regex::Regex;

use crate::{Error, Labels, Result};

/// The share of memory that an expression gets, as `promql::pattern` counts: an eighth of the whole, which takes a list of hundreds of
/// names; there are as many expressions as routes.
const EXPRESSION_SHARE: usize = 8;
/// Longest text that is read as matchers. A list of a thousand host names takes a third of it.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Which grammars count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Both; of a text that both read, but differently, the classic reading counts.
    #[default]
    Fallback,
    /// That of UTF-8 alone.
    Utf8,
    /// The classic one alone.
    Classic,
}

/// How a value is compared. The order is that in which matchers of the same name and value are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// One condition on one label.
#[derive(Clone)]
pub struct Matcher {
    name: Box<str>,
    op: Op,
    value: Box<str>,
    /// Of the operators that need one.
    pattern: Option<Regex>,
}

/// Conditions that have to hold together, sorted by name, value and operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matchers(Vec<Matcher>);

impl Op {
    fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// The operator that a text begins with, and the rest.
    fn strip(text: &str) -> Option<(Self, &str)> {
        [Self::Regex, Self::NotEqual, Self::NotRegex, Self::Equal]
            .into_iter()
            .find_map(|op| text.strip_prefix(op.text()).map(|rest| (op, rest)))
    }
}

impl Matcher {
    /// A matcher of its parts.
    ///
    /// # Errors
    /// If the name is empty or the regular expression is none.
    pub fn new(name: &str, op: Op, value: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("a matcher needs a label name before its operator"));
        }
        let pattern = match op {
            Op::Equal | Op::NotEqual => None,
            Op::Regex | Op::NotRegex => Some(
                promql::pattern::compile(value, EXPRESSION_SHARE)
                    .map_err(|reason| Error::invalid(format!("`{value}` is no regular expression: {reason}")))?,
            ),
        };
        Ok(Self { name: name.into(), op, value: value.into(), pattern })
    }

    /// The same with its anchors written out, as Alertmanager shows `match_re` in keys of groups, which receivers know.
    pub(crate) fn anchored(self) -> Self {
        Self { value: format!("^(?:{})$", self.value).into(), ..self }
    }

    /// Reads exactly one matcher.
    ///
    /// # Errors
    /// Where the text leaves the grammar, or if it has none or several.
    pub fn parse(text: &str, mode: Mode) -> Result<Self> {
        let mut all = Matchers::parse(text, mode)?.0;
        match (all.pop(), all.is_empty()) {
            (Some(only), true) if !text.trim_start().starts_with('{') => Ok(only),
            (Some(_), true) => Err(Error::invalid(format!("`{text}` is a list of matchers; write it without braces"))),
            _ => Err(Error::invalid(format!("`{text}` is not one matcher; write `name=\"value\"`"))),
        }
    }

    /// The label that is looked at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is compared.
    #[must_use]
    pub fn op(&self) -> Op {
        self.op
    }

    /// What it is compared with.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Does a value satisfy it?
    #[must_use]
    pub fn matches_value(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (Op::Equal, _) => *self.value == *value,
            (Op::NotEqual, _) => *self.value != *value,
            (Op::NotRegex, Some(pattern)) => !pattern.is_match(value),
            (_, pattern) => pattern.as_ref().is_some_and(|pattern| pattern.is_match(value)),
        }
    }

    /// Do labels satisfy it?
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name))
    }

    fn rank(&self) -> (&str, &str, Op) {
        (&self.name, &self.value, self.op)
    }
}

impl Matchers {
    /// Reads a list: `a="b"`, `a="b", c=~"d"` or `{a="b", c=~"d"}`.
    ///
    /// # Errors
    /// Where the text leaves the grammars that count.
    pub fn parse(text: &str, mode: Mode) -> Result<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::invalid(format!("matchers are too long: bytes={} max={TEXT_BYTES_MAX}", text.len())));
        }
        let all = match mode {
            Mode::Classic => classic::parse(text)?,
            Mode::Utf8 => utf8::parse(text)?,
            // What both refuse is explained in the newer grammar, whose errors have a place.
            Mode::Fallback => classic::parse(text).or_else(|_| utf8::parse(text))?,
        };
        Ok(Self::from(all))
    }

    /// Reads the `filter` parameters of a request, which have to hold together.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn of_filters<'a>(filters: impl IntoIterator<Item = &'a str>, mode: Mode) -> Result<Self> {
        let each = filters.into_iter().map(|filter| Self::parse(filter, mode));
        Ok(Self::from(each.collect::<Result<Vec<_>>>()?.into_iter().flat_map(|one| one.0).collect::<Vec<_>>()))
    }

    /// Do labels satisfy all of them? None are satisfied by all.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Matcher> {
        self.0.iter()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Characters that have a meaning of their own outside of quotes.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

impl From<Vec<Matcher>> for Matchers {
    fn from(mut all: Vec<Matcher>) -> Self {
        all.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Self(all)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, op, value, .. } = self;
        if name.chars().any(is_reserved) {
            return write!(f, "{}{}{}", promql::quoted(name), op.text(), promql::quoted(value));
        }
        let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        write!(f, "{name}{}\"{value}\"", op.text())
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, matcher) in self.0.iter().enumerate() {
            write!(f, "{}{matcher}", if at == 0 { "" } else { "," })?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests;
