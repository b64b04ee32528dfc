//! PromQL as a tree: what a text says, with the place of each part.
//!
//! Made by the parser, which has checked names and types; read by the evaluator, the printer and whatever takes its selectors.
//!
//! Invariants: a call has as many arguments as its function takes, of its types; the operands of a set operator are vectors; every
//! selector has a matcher that does not match the empty string, unless it only describes labels (the second argument of `info`).

use std::{fmt, sync::Arc};

use crate::selector::Matcher;

use super::{functions::Signature, lexer::Syntax};

/// A part of the text, bytes, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub node: Node,
    pub span: Span,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Number {
        value: f64,
        /// Was it written as a duration (`5m`)? It is printed as one then.
        as_duration: bool,
    },
    String(String),
    Paren(Box<Expr>),
    /// `-x`, or `+x`.
    Unary {
        negative: bool,
        operand: Box<Expr>,
    },
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Call),
    /// The newest sample of each series.
    Instant(Instant),
    /// All samples of each series in a window.
    Range(Box<Range>),
    /// An expression evaluated at the steps of a window.
    Subquery(Box<Subquery>),
}

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Scalar,
    String,
    Vector,
    Matrix,
}

/// `left op right`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binary {
    pub op: Operator,
    pub left: Expr,
    pub right: Expr,
    /// With `bool`, a comparison says 0 or 1 instead of filtering.
    pub returns_bool: bool,
    /// How series are matched; `Some` exactly if both operands are vectors.
    pub matching: Option<Matching>,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
    /// `</`: the observations of a histogram below a value.
    TrimUpper,
    /// `>/`: those above.
    TrimLower,
}

/// Which series of two vectors belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matching {
    pub cardinality: Cardinality,
    pub labels: Vec<String>,
    /// How labels are written.
    pub syntax: Syntax,
    /// Are `labels` those that are compared (`on`), or those that are not (`ignoring`)?
    pub on: bool,
    /// Labels of the one side that the result takes (`group_left(a, b)`).
    pub include: Vec<String>,
    /// Value for what the left side lacks.
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

/// How many series of each side may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Of set operators.
    ManyToMany,
}

/// `op by (labels) (param, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aggregate {
    pub op: Aggregator,
    pub expr: Expr,
    pub param: Option<Expr>,
    pub labels: Vec<String>,
    /// How labels are written.
    pub syntax: Syntax,
    /// Are `labels` those that go (`without`), or those that stay (`by`)?
    pub without: bool,
}

/// Aggregations over series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Aggregator {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// `function(args)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub function: &'static Signature,
    pub args: Vec<Expr>,
}

/// `name{label="value"} offset 5m @ start()`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instant {
    /// The metric's name if it stands before the braces; it is among the matchers too.
    pub name: Option<String>,
    pub matchers: Arc<[Matcher]>,
    /// How labels are written.
    pub syntax: Syntax,
    pub shift: Shift,
    pub extent: Extent,
}

/// How samples at the edges of a window are taken; experimental.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Extent {
    #[default]
    Plain,
    /// With the sample before the window.
    Anchored,
    /// With values interpolated at both edges.
    Smoothed,
}

/// `selector[range]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    /// Offset and `@` that follow the brackets stand here.
    pub selector: Instant,
    /// Place of the selector, without brackets and what follows.
    pub selector_span: Span,
    pub range: Duration,
}

/// `expr[range:step]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subquery {
    pub expr: Expr,
    pub range: Duration,
    /// `None`: the default.
    pub step: Option<Duration>,
    pub shift: Shift,
}

/// Which time is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Shift {
    pub offset: Option<Duration>,
    pub at: Option<At>,
}

/// `@ time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Milliseconds since 1970.
    Time(i64),
    /// Of the query.
    Start,
    End,
}

/// A duration, which may be computed: `5m`, `step() * 2`, `-(1h + 30s)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Duration {
    pub node: DurationNode,
    pub span: Span,
}

/// What a duration is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DurationNode {
    /// Seconds, and whether it was written with units.
    Literal {
        seconds: f64,
        with_units: bool,
    },
    /// Step of the query.
    Step,
    /// Range of the query.
    Range,
    Unary {
        negative: bool,
        operand: Box<Duration>,
    },
    /// One of `+ - * / % ^`.
    Binary {
        op: Operator,
        left: Box<Duration>,
        right: Box<Duration>,
    },
    Min(Box<Duration>, Box<Duration>),
    Max(Box<Duration>, Box<Duration>),
    Paren(Box<Duration>),
}

impl Expr {
    /// The type of its value.
    pub(crate) fn value_type(&self) -> Type {
        match &self.node {
            Node::Number { .. } => Type::Scalar,
            Node::String(_) => Type::String,
            Node::Paren(inner) => inner.value_type(),
            Node::Unary { operand, .. } => operand.value_type(),
            Node::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
            Node::Aggregate(_) | Node::Instant(_) => Type::Vector,
            Node::Call(call) => call.function.returns,
            Node::Range(_) | Node::Subquery(_) => Type::Matrix,
        }
    }

    /// The expression inside any parentheses.
    pub(crate) fn unwrapped(&self) -> &Self {
        match &self.node {
            Node::Paren(inner) => inner.unwrapped(),
            _ => self,
        }
    }
}

impl Operator {
    pub(crate) fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterEqual | LessEqual)
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterEqual => ">=",
            Self::LessEqual => "<=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
        }
    }
}

impl Aggregator {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Does it take a parameter before the vector?
    pub(crate) fn has_param(self) -> bool {
        use Aggregator::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        matches!(self, Topk | Bottomk | CountValues | Quantile | Limitk | LimitRatio)
    }
}

impl Type {
    /// As APIs call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        })
    }
}
