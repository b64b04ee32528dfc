//! The words a query is made of.

use super::super::{
    ast::{Aggregator, Operator, Span},
    literal::quoted,
};

/// A word and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub span: Span,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The end of the text.
    End,
    Name,
    /// A name with colons, which only metrics have.
    MetricName,
    Number,
    /// A number with units: `1h30m`.
    Duration,
    String,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    At,
    /// `=`
    Assign,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
    Operator(Operator),
    Aggregator(Aggregator),
    Keyword(Keyword),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    End,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    MaxOf,
    MinOf,
    Offset,
    On,
    Range,
    Smoothed,
    Start,
    Step,
    Without,
}

impl Token {
    /// How an error names it.
    pub(crate) fn describe(self, text: &str) -> String {
        let word = text.get(self.span.start..self.span.end).unwrap_or_default();
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Name => format!("identifier {}", quoted(word)),
            Kind::MetricName => format!("metric identifier {}", quoted(word)),
            Kind::Number => format!("number {}", shortened(word)),
            Kind::Duration => format!("duration {}", shortened(word)),
            Kind::String => format!("string {}", shortened(word)),
            Kind::Operator(_) | Kind::At | Kind::Match | Kind::NotMatch => format!("<op:{word}>"),
            Kind::Aggregator(_) => format!("<aggr:{word}>"),
            Kind::Keyword(keyword) if !keyword.is_callable() => format!("<{word}>"),
            _ => shortened(word),
        }
    }
}

/// A word in quotes, of which long ones are cut.
fn shortened(word: &str) -> String {
    const CHARS_MAX: usize = 10;
    if word.len() <= CHARS_MAX {
        return quoted(word);
    }
    let beginning: String = word.chars().take(CHARS_MAX).collect();
    format!("{}...", quoted(&beginning))
}

impl Kind {
    /// What a word without quotes is, unless it is a name. Keywords are of any case.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        use Keyword::{
            Anchored, Bool, By, End, Fill, FillLeft, FillRight, GroupLeft, GroupRight, Ignoring, MaxOf, MinOf, Offset,
            On, Range, Smoothed, Start, Step, Without,
        };
        Some(match word.to_ascii_lowercase().as_str() {
            "inf" | "nan" => Self::Number,
            "and" => Self::Operator(Operator::And),
            "or" => Self::Operator(Operator::Or),
            "unless" => Self::Operator(Operator::Unless),
            "atan2" => Self::Operator(Operator::Atan2),
            "anchored" => Self::Keyword(Anchored),
            "bool" => Self::Keyword(Bool),
            "by" => Self::Keyword(By),
            "end" => Self::Keyword(End),
            "fill" => Self::Keyword(Fill),
            "fill_left" => Self::Keyword(FillLeft),
            "fill_right" => Self::Keyword(FillRight),
            "group_left" => Self::Keyword(GroupLeft),
            "group_right" => Self::Keyword(GroupRight),
            "ignoring" => Self::Keyword(Ignoring),
            "max_of" => Self::Keyword(MaxOf),
            "min_of" => Self::Keyword(MinOf),
            "offset" => Self::Keyword(Offset),
            "on" => Self::Keyword(On),
            "range" => Self::Keyword(Range),
            "smoothed" => Self::Keyword(Smoothed),
            "start" => Self::Keyword(Start),
            "step" => Self::Keyword(Step),
            "without" => Self::Keyword(Without),
            word => Self::Aggregator(aggregator(word)?),
        })
    }

    /// May a metric be called that, without quotes?
    pub(crate) fn names_metric(self) -> bool {
        use Keyword::{Bool, GroupLeft, GroupRight, Ignoring, On};
        match self {
            Self::Name | Self::MetricName | Self::Aggregator(_) => true,
            Self::Operator(op) => op.is_set(),
            Self::Keyword(keyword) => !matches!(keyword, Bool | GroupLeft | GroupRight | Ignoring | On),
            _ => false,
        }
    }

    /// May a label be called that in a list of labels, without quotes?
    pub(crate) fn names_label(self) -> bool {
        match self {
            Self::Name | Self::MetricName | Self::Aggregator(_) => true,
            Self::Operator(op) => op.is_set() || op == Operator::Atan2,
            Self::Keyword(keyword) => keyword != Keyword::Without,
            _ => false,
        }
    }

    /// Can an expression begin with it?
    pub(crate) fn begins_expression(self) -> bool {
        let is_sign = matches!(self, Self::Operator(Operator::Add | Operator::Sub));
        let is_literal = matches!(self, Self::Number | Self::Duration | Self::String);
        is_sign || is_literal || self.names_metric() || matches!(self, Self::LeftParen | Self::LeftBrace)
    }
}

impl Keyword {
    /// Is it the name of a function too?
    pub(crate) fn is_callable(self) -> bool {
        matches!(self, Self::End | Self::MaxOf | Self::MinOf | Self::Range | Self::Start | Self::Step)
    }
}

fn aggregator(word: &str) -> Option<Aggregator> {
    use Aggregator::{
        Avg, Bottomk, Count, CountValues, Group, LimitRatio, Limitk, Max, Min, Quantile, Stddev, Stdvar, Sum, Topk,
    };
    const ALL: [Aggregator; 14] =
        [Avg, Bottomk, Count, CountValues, Group, LimitRatio, Limitk, Max, Min, Quantile, Stddev, Stdvar, Sum, Topk];
    ALL.into_iter().find(|aggregator| aggregator.as_str() == word)
}
