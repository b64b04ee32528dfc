//! Aggregations, and the lists of labels that operators have too.

use super::super::{
    ast::{Aggregate, Aggregator, Expr, Node, Span},
    lexer::{Keyword, Kind, Token},
    literal::quoted,
    wrong::Wrong,
};
use super::{Parser, Place, Tall};

/// Labels of one list; each is looked for in every row.
const LABELS_MAX: usize = 1000;

const AGGREGATION: Place = Place::new("aggregation", "");
const LABELS: Place = Place::new("grouping opts", "\"(\"");
const LABEL: Place = Place::new("grouping opts", "label");
const LABELS_END: Place = Place::new("grouping opts", "\",\" or \")\"");

/// Which labels the series of an aggregation have.
#[derive(Default)]
struct Grouping {
    labels: Vec<String>,
    without: bool,
}

impl Parser<'_> {
    /// What follows the name of an aggregation. The labels stand before the arguments or behind them.
    pub(super) fn aggregate(&mut self, name: Token, op: Aggregator) -> Result<Tall<Expr>, Wrong> {
        let around = std::mem::replace(&mut self.place, AGGREGATION);
        let before = self.grouping()?;
        let args = self.arguments()?;
        self.place = around;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or_default(),
        };
        self.aggregate_of(name, op, grouping, args)
    }

    fn aggregate_of(
        &self,
        name: Token,
        op: Aggregator,
        grouping: Grouping,
        args: Tall<Vec<Expr>>,
    ) -> Result<Tall<Expr>, Wrong> {
        let span = Span { start: name.span.start, end: self.end };
        let (param, expr) = Self::operands(op, *args.part, span)?;
        let aggregate =
            Aggregate { op, expr, param, labels: grouping.labels, without: grouping.without, syntax: self.syntax };
        self.above(args.height, Expr { node: Node::Aggregate(Box::new(aggregate)), span })
    }

    /// The parameter of an aggregation, if it has one, and what it aggregates.
    fn operands(op: Aggregator, args: Vec<Expr>, span: Span) -> Result<(Option<Expr>, Expr), Wrong> {
        if args.is_empty() {
            return Err(Wrong::new("no arguments for aggregate expression provided", span));
        }
        let wanted = 1 + usize::from(op.has_param());
        let given = args.len();
        let mut args = args.into_iter();
        let param = if op.has_param() { args.next() } else { None };
        match (args.next(), args.next()) {
            (Some(expr), None) => Ok((param, expr)),
            _ => {
                let what = format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
                );
                Err(Wrong::new(what, span))
            }
        }
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Wrong> {
        let without = match self.peek()?.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some(Grouping { labels: self.labels()?, without }))
    }

    /// Labels in parentheses, with commas between them.
    pub(super) fn labels(&mut self) -> Result<Vec<String>, Wrong> {
        self.expect(Kind::LeftParen, LABELS)?;
        let mut labels = Vec::new();
        if self.take(Kind::RightParen)? {
            return Ok(labels);
        }
        loop {
            if labels.len() >= LABELS_MAX {
                let what = format!("too many labels in a list labels_max={LABELS_MAX}");
                return Err(Wrong::new(what, self.peek()?.span));
            }
            labels.push(self.label()?);
            if self.take(Kind::RightParen)? {
                return Ok(labels);
            }
            self.expect(Kind::Comma, LABELS_END)?;
            if self.take(Kind::RightParen)? {
                return Ok(labels);
            }
        }
    }

    fn label(&mut self) -> Result<String, Wrong> {
        let token = self.next()?;
        let label = match token.kind {
            Kind::String => self.string(token)?,
            kind if kind.names_label() => self.word(token).to_owned(),
            _ => return Err(self.unexpected(token, LABEL)),
        };
        // A colon in a label is no mistake to Prometheus unless it reads names of all alphabets.
        let has_colon = self.syntax.unquoted_utf8 && token.kind == Kind::MetricName;
        if label.is_empty() || has_colon {
            return Err(Wrong::new(format!("invalid label name for grouping: {}", quoted(&label)), token.span));
        }
        Ok(label)
    }
}
