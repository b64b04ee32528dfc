//! Breaks the lines of a query.
//!
//! What fits on a line stays on it; of what does not, each part gets its own, two blanks further in than what it is part of.

use std::fmt::{self, Write};

use super::super::ast::{Aggregate, Binary, Expr, Node, Subquery};
use super::{Heading, Operation, Window, sign};

/// Length of a line, without what it is indented by.
const LINE_BYTES_MAX: usize = 100;

/// How many levels are indented. Prometheus indents all; a query made for it would come out a hundred times as long.
const LEVELS_MAX: usize = 60;

/// Writes a query on as many lines as it needs.
pub(crate) fn pretty(expr: &Expr) -> String {
    within(expr, LINE_BYTES_MAX)
}

/// Writes a query on lines of this length.
pub(super) fn within(expr: &Expr, line_bytes_max: usize) -> String {
    let mut printer = Printer { out: String::new(), line_bytes_max };
    // A string takes all that is written to it.
    let _ = printer.write(expr, 0, true);
    printer.out
}

struct Printer {
    out: String,
    line_bytes_max: usize,
}

impl Printer {
    /// Writes an expression. Its first line is indented unless something stands there already.
    fn write(&mut self, expr: &Expr, level: usize, is_indented: bool) -> fmt::Result {
        // A subquery is indented by what it is about, and not at all if it fits: so does Prometheus.
        let is_subquery = matches!(expr.node, Node::Subquery(_));
        if is_indented && !is_subquery && !matches!(expr.node, Node::Binary(_)) {
            self.indent(level);
        }
        let is_split = !self.fits(expr);
        match &expr.node {
            Node::Unary { negative, operand } => {
                self.out.push_str(sign(*negative));
                self.write(operand, level, false)
            }
            Node::Binary(binary) if is_split => self.binary(binary, level, is_indented),
            Node::Binary(_) => {
                if is_indented {
                    self.indent(level);
                }
                write!(self.out, "{expr}")
            }
            Node::Aggregate(aggregate) if is_split => self.aggregate(aggregate, level),
            Node::Call(call) if is_split => {
                write!(self.out, "{}(", call.function.name)?;
                self.lines(&call.args, level)
            }
            Node::Paren(inner) if is_split => {
                self.out.push('(');
                self.lines(std::slice::from_ref(&**inner), level)
            }
            Node::Subquery(subquery) if is_split => self.subquery(subquery, level, is_indented),
            _ => write!(self.out, "{expr}"),
        }
    }

    fn binary(&mut self, binary: &Binary, level: usize, is_indented: bool) -> fmt::Result {
        self.write(&binary.left, level + 1, is_indented)?;
        self.out.push('\n');
        self.indent(level);
        writeln!(self.out, "{}", Operation(binary))?;
        self.write(&binary.right, level + 1, true)
    }

    fn aggregate(&mut self, aggregate: &Aggregate, level: usize) -> fmt::Result {
        writeln!(self.out, "{}(", Heading(aggregate))?;
        if let Some(param) = &aggregate.param {
            self.write(param, level + 1, true)?;
            self.out.push_str(",\n");
        }
        self.write(&aggregate.expr, level + 1, true)?;
        self.close(level);
        Ok(())
    }

    fn subquery(&mut self, subquery: &Subquery, level: usize, is_indented: bool) -> fmt::Result {
        self.write(&subquery.expr, level, is_indented)?;
        write!(self.out, "{}", Window(subquery))
    }

    /// Expressions on lines of their own, and the parenthesis that ends them.
    fn lines(&mut self, parts: &[Expr], level: usize) -> fmt::Result {
        self.out.push('\n');
        for (at, part) in parts.iter().enumerate() {
            self.out.push_str(if at == 0 { "" } else { ",\n" });
            self.write(part, level + 1, true)?;
        }
        self.close(level);
        Ok(())
    }

    fn close(&mut self, level: usize) {
        self.out.push('\n');
        self.indent(level);
        self.out.push(')');
    }

    /// Does it fit on a line? Writes no more of it than a line.
    fn fits(&self, expr: &Expr) -> bool {
        write!(Room { bytes: self.line_bytes_max }, "{expr}").is_ok()
    }

    fn indent(&mut self, level: usize) {
        for _ in 0..level.min(LEVELS_MAX) {
            self.out.push_str("  ");
        }
    }
}

/// Takes as many bytes as there is room for.
struct Room {
    bytes: usize,
}

impl Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes = self.bytes.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}
