//! What stands between a binary operator and its right operand.

use super::super::{
    ast::{Cardinality, Matching},
    lexer::{Keyword, Kind},
    wrong::Wrong,
};
use super::Parser;

/// How an operator joins its operands.
pub(super) struct Modifiers {
    pub returns_bool: bool,
    pub matching: Matching,
}

impl Parser<'_> {
    /// `bool on (a) group_left (b) fill (0)`, all of which may be absent.
    pub(super) fn modifiers(&mut self) -> Result<Box<Modifiers>, Wrong> {
        let mut matching = Matching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            syntax: self.syntax,
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let returns_bool = self.take(Kind::Keyword(Keyword::Bool))?;
        matching.on = self.peek()?.kind == Kind::Keyword(Keyword::On);
        if matching.on || self.peek()?.kind == Kind::Keyword(Keyword::Ignoring) {
            self.next()?;
            matching.labels = self.labels()?;
            self.group(&mut matching)?;
        }
        self.fill(&mut matching)?;
        Ok(Box::new(Modifiers { returns_bool, matching }))
    }

    fn group(&mut self, matching: &mut Matching) -> Result<(), Wrong> {
        matching.cardinality = match self.peek()?.kind {
            Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.next()?;
        if self.peek()?.kind == Kind::LeftParen {
            matching.include = self.labels()?;
        }
        Ok(())
    }

    fn fill(&mut self, matching: &mut Matching) -> Result<(), Wrong> {
        if self.take(Kind::Keyword(Keyword::Fill))? {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
        } else if self.take(Kind::Keyword(Keyword::FillLeft))? {
            matching.fill_left = Some(self.fill_value()?);
            if self.take(Kind::Keyword(Keyword::FillRight))? {
                matching.fill_right = Some(self.fill_value()?);
            }
        } else if self.take(Kind::Keyword(Keyword::FillRight))? {
            matching.fill_right = Some(self.fill_value()?);
            if self.take(Kind::Keyword(Keyword::FillLeft))? {
                matching.fill_left = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, Wrong> {
        self.expect(Kind::LeftParen, self.place)?;
        let value = self.signed_number(self.place)?;
        self.expect(Kind::RightParen, self.place)?;
        Ok(value)
    }
}
