//! Numbers of a text, before it is planned.
//!
//! Called with the parsed statement. A number with a point is a decimal of the digits it is written with; one with an exponent is a
//! float, as SQL has it, which turns into the decimal it writes where it meets one (`plan`). In an expression that gives back one of
//! its arguments the type of the whole is looked at before it can be corrected, so a number there takes the side of the floats, from
//! which it can come back.
//!
//! Invariant: no number loses a digit unseen: one of more than 38 is refused.

use std::ops::ControlFlow;

use datafusion::{
    common::ScalarValue,
    logical_expr::Expr as Planned,
    sql::{
        parser::Statement,
        sqlparser::ast::{
            CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
            UnaryOperator, Value, ValueWithSpan, VisitorMut,
        },
    },
};

use super::wide::{DIGITS_MAX, narrow, parse};
use crate::{Error, ErrorKind, Fault, Position, Result, statement};

/// Functions whose value is one of their arguments, or a list of them.
pub(super) const RETURN_AN_ARGUMENT: [&str; 8] =
    ["coalesce", "greatest", "ifnull", "least", "make_array", "nullif", "nvl", "nvl2"];

/// Prepares the numbers of a statement.
pub(crate) fn prepare(statement: &mut Statement) -> Result<()> {
    statement::change(statement, &mut Numbers)
}

/// The decimal that a number writes, with as few digits as it needs; `None` if it has none.
pub(super) fn decimal(text: &str) -> Option<Planned> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let part = mantissa.split_once('.').map_or("", |(_, part)| part).trim_end_matches('0');
    let exponent: i64 = exponent.parse().ok()?;
    let scale = i8::try_from(i64::try_from(part.len()).ok()?.checked_sub(exponent)?.max(0)).ok()?;
    if scale > i8::try_from(DIGITS_MAX).ok()? {
        return None;
    }
    let value = narrow(parse(text, scale).ok()?, DIGITS_MAX)?;
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
    let digits = u8::try_from(digits).ok()?.max(u8::try_from(scale).ok()?).max(1);
    Some(Planned::Literal(ScalarValue::Decimal128(Some(value), digits, scale), None))
}

struct Numbers;

impl VisitorMut for Numbers {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Value(ValueWithSpan { value: Value::Number(text, _), span }) => {
                if text.contains(['e', 'E']) {
                    *expr = float(text.clone());
                } else if digits(text) > usize::from(DIGITS_MAX) {
                    let message =
                        format!("a number has too many digits digits={} digits_max={DIGITS_MAX}", digits(text));
                    let position = Position { line: span.start.line, column: span.start.column };
                    let position = (position.line > 0).then_some(position);
                    return ControlFlow::Break(
                        Error::new(ErrorKind::Invalid, message).of(Fault::OutOfRange).at(position),
                    );
                }
            }
            Expr::Case { conditions, else_result, .. } => {
                let results = conditions.iter_mut().map(|when| &mut when.result);
                side_with_floats(results.chain(else_result.as_deref_mut()).collect());
            }
            Expr::Array(array) => side_with_floats(array.elem.iter_mut().collect()),
            Expr::Function(function) if returns_an_argument(function) => {
                if let FunctionArguments::List(list) = &mut function.args {
                    let args = list.args.iter_mut().filter_map(|arg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                        _ => None,
                    });
                    side_with_floats(args.collect());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn returns_an_argument(function: &Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| RETURN_AN_ARGUMENT.iter().any(|known| known.eq_ignore_ascii_case(&name.value)))
}

/// Digits that a decimal of this text has, leading zeros before the point left out.
fn digits(text: &str) -> usize {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let count = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    count(whole.trim_start_matches('0')) + count(part)
}

/// Makes floats of the decimals among some expressions, if not all are numbers: those alone are decimals whatever they meet.
fn side_with_floats(exprs: Vec<&mut Expr>) {
    if exprs.iter().all(|expr| is_number(expr)) {
        return;
    }
    for expr in exprs {
        replace(expr);
    }
}

fn replace(expr: &mut Expr) {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) if text.contains('.') => {
            *expr = float(text.clone())
        }
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => replace(expr),
        Expr::Nested(expr) => replace(expr),
        _ => {}
    }
}

fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..) | Value::Null),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } | Expr::Nested(expr) => is_number(expr),
        _ => false,
    }
}

fn float(text: String) -> Expr {
    let text: String = text.chars().filter(|c| *c != '_').collect();
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::SingleQuotedString(text).into())),
        data_type: DataType::Double(ExactNumberInfo::None),
        array: false,
        format: None,
    }
}
