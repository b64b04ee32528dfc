//! The tree of a template: what `parse` makes and `exec` walks.
//!
//! Every part knows where it begins, and prints as Go prints it in errors.

use std::{fmt, sync::Arc};

/// A text that templates were read from.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: Box<str>,
    pub(super) text: Box<str>,
}

impl File {
    /// The line of a place, from 1, and Go's column: bytes since the line began.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        (line, column)
    }
}

/// A named template.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) name: Box<str>,
    pub(super) file: Arc<File>,
    pub(super) body: Vec<Node>,
}

impl Tree {
    /// Is there nothing but space? Such a definition replaces no other.
    pub(super) fn is_empty(&self) -> bool {
        self.body.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
    }
}

#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: Box<str>, data: Option<Pipe> },
    Break,
    Continue,
}

/// `if`, `with` or `range`: what is asked, what follows, what follows otherwise.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) at: usize,
    /// Variables that take the value.
    pub(super) variables: Vec<Box<str>>,
    /// Were they there before?
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) term: Term,
}

#[derive(Debug)]
pub(super) enum Term {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text {
        written: Box<str>,
        text: Arc<str>,
    },
    /// `.A.B`.
    Field(Vec<Box<str>>),
    /// `$x.A.B`.
    Variable(Box<str>, Vec<Box<str>>),
    Function(Box<str>),
    Pipe(Pipe),
    /// `(…).A.B`.
    Chain(Box<Operand>, Vec<Box<str>>),
}

/// A number as it is written: what it may be taken for.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) written: Box<str>,
    pub(super) int: Option<i64>,
    pub(super) float: Option<f64>,
    /// Is it a float where both would do?
    pub(super) is_float: bool,
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, variable) in self.variables.iter().enumerate() {
            write!(f, "{}{variable}", if nth > 0 { ", " } else { "" })?;
        }
        if !self.variables.is_empty() {
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (nth, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if nth > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, operand) in self.operands.iter().enumerate() {
            write!(f, "{}", if nth > 0 { " " } else { "" })?;
            match &operand.term {
                Term::Pipe(pipe) => write!(f, "({pipe})")?,
                _ => write!(f, "{operand}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields =
            |f: &mut fmt::Formatter<'_>, names: &[Box<str>]| names.iter().try_for_each(|name| write!(f, ".{name}"));
        match &self.term {
            Term::Dot => f.write_str("."),
            Term::Nil => f.write_str("nil"),
            Term::Bool(truth) => write!(f, "{truth}"),
            Term::Number(number) => f.write_str(&number.written),
            Term::Text { written, .. } => f.write_str(written),
            Term::Field(names) => fields(f, names),
            Term::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            Term::Function(name) => f.write_str(name),
            Term::Pipe(pipe) => write!(f, "{pipe}"),
            Term::Chain(operand, names) => {
                match &operand.term {
                    Term::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{operand}")?,
                }
                fields(f, names)
            }
        }
    }
}
