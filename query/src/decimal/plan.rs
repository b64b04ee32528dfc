//! Puts exact operators into plans.
//!
//! [`Planner`] is asked by DataFusion for each operator of a text and plans `+ - * / %` of decimals; [`Rule`] runs before DataFusion's
//! coercion of types and sees to comparisons, casts, and places where a number of the text meets a column: there DataFusion would turn
//! floats into decimals of 15 digits.
//!
//! Invariant: a decimal and a float meet nowhere without a cast in the text, unless one of both is a number of the text, which becomes
//! what the other one is, from its digits.

use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        plan_err,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
        expr::{InList, ScalarFunction},
        expr_rewriter::NamePreserver,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
    sql::sqlparser::ast::BinaryOperator,
};

use super::{
    arithmetic::Arithmetic,
    convert::Convert,
    literals::{RETURN_AN_ARGUMENT, decimal},
    shape::{Operation, Shape},
};
use crate::{Error, ErrorKind, Fault};

/// What a type is to decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Decimal,
    Integer,
    Float,
    Null,
    Text,
    Other,
}

impl Class {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            _ if data_type.is_decimal() => Self::Decimal,
            _ if data_type.is_integer() => Self::Integer,
            _ if data_type.is_floating() => Self::Float,
            _ if data_type.is_string() => Self::Text,
            DataType::Null => Self::Null,
            DataType::Dictionary(_, values) => match Self::of(values) {
                class @ (Self::Float | Self::Text) => class,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Plans operators of decimals.
#[derive(Debug)]
pub(crate) struct Planner;

impl ExprPlanner for Planner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let operation = match op {
            BinaryOperator::Plus => Operation::Add,
            BinaryOperator::Minus => Operation::Subtract,
            BinaryOperator::Multiply => Operation::Multiply,
            BinaryOperator::Divide => Operation::Divide,
            BinaryOperator::Modulo => Operation::Modulo,
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        let classes = [&left, &right].map(|side| {
            // Operators of DataFusion that are left in an expression are over no decimals. Their type is asked for only if the
            // other side is one: in a chain of a thousand, each would ask all below it.
            match side {
                Expr::BinaryExpr(_) => None,
                Expr::ScalarFunction(function) if function.func.inner().is::<Arithmetic>() => Some(Class::Decimal),
                _ => class(side, schema),
            }
        });
        if !classes.contains(&Some(Class::Decimal)) {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let classes =
            [(classes[0], &left), (classes[1], &right)].map(|(known, side)| known.or_else(|| class(side, schema)));
        let (left, right) = match classes {
            [Some(Class::Decimal), Some(Class::Float)] | [Some(Class::Float), Some(Class::Decimal)] => {
                let mut sides = reconcile(vec![left, right], schema)?;
                let (right, left) = (sides.pop(), sides.pop());
                let (Some(left), Some(right)) = (left, right) else { return plan_err!("an operator lacks an operand") };
                if class(&left, schema) == Some(Class::Float) {
                    return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
                }
                (left, right)
            }
            [Some(left_class), Some(right_class)] if left_class.is_exact() && right_class.is_exact() => (left, right),
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        Ok(PlannerResult::Planned(Arithmetic::call(operation, left, right)))
    }
}

impl Class {
    fn is_exact(self) -> bool {
        matches!(self, Self::Decimal | Self::Integer | Self::Null)
    }
}

/// The class of an expression, if it has a type: DataFusion tells what is wrong with those that have none.
fn class(expr: &Expr, schema: &DFSchema) -> Option<Class> {
    expr.get_type(schema).ok().map(|data_type| Class::of(&data_type))
}

/// Sees to decimals in plans, before types are coerced.
#[derive(Debug)]
pub(crate) struct Rule;

impl AnalyzerRule for Rule {
    fn name(&self) -> &'static str {
        "exact_decimals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_plan).data()
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Union(union) = &plan {
        for column in 0..union.schema.fields().len() {
            let types = union.inputs.iter().filter_map(|input| input.schema().fields().get(column));
            let classes: Vec<Class> = types.map(|field| Class::of(field.data_type())).collect();
            if classes.contains(&Class::Decimal) && classes.contains(&Class::Float) {
                return Err(mixed(&format!("column {} of UNION", column + 1)).into());
            }
        }
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let mut sides = compared(vec![*left, *right], schema)?.into_iter();
            let (Some(left), Some(right)) = (sides.next(), sides.next()) else { return plan_err!("no operands") };
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let mut sides = compared(vec![*expr, *low, *high], schema)?.into_iter();
            let (Some(expr), Some(low), Some(high)) = (sides.next(), sides.next(), sides.next()) else {
                return plan_err!("no operands");
            };
            Transformed::yes(Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high))))
        }
        Expr::InList(InList { expr, mut list, negated }) => {
            list.insert(0, *expr);
            let mut sides = compared(list, schema)?.into_iter();
            let Some(expr) = sides.next() else { return plan_err!("no operands") };
            Transformed::yes(Expr::InList(InList::new(Box::new(expr), sides.collect(), negated)))
        }
        Expr::Case(case) => Transformed::yes(Expr::Case(rewrite_case(case, schema)?)),
        Expr::ScalarFunction(f) if RETURN_AN_ARGUMENT.contains(&f.func.name()) => {
            let ScalarFunction { func, args } = f;
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: reconcile(args, schema)? }))
        }
        Expr::Cast(Cast { expr, field }) => match expr.get_type(schema) {
            Ok(from) if Convert::applies(&from, field.data_type()) => {
                Transformed::yes(Convert::call(*expr, field.data_type().clone(), false))
            }
            _ => Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        Expr::TryCast(TryCast { expr, field }) => match expr.get_type(schema) {
            Ok(from) if Convert::applies(&from, field.data_type()) => {
                Transformed::yes(Convert::call(*expr, field.data_type().clone(), true))
            }
            _ => Transformed::no(Expr::TryCast(TryCast { expr, field })),
        },
        other => Transformed::no(other),
    })
}

fn rewrite_case(case: Case, schema: &DFSchema) -> Result<Case> {
    let Case { expr, when_then_expr, else_expr } = case;
    let (whens, mut results): (Vec<Expr>, Vec<Expr>) = when_then_expr.into_iter().map(|(w, t)| (*w, *t)).unzip();
    let has_else = else_expr.is_some();
    results.extend(else_expr.map(|e| *e));
    let mut results = reconcile(results, schema)?;
    let else_expr = if has_else { results.pop().map(Box::new) } else { None };
    let (expr, whens) = match expr {
        None => (None, whens),
        Some(expr) => {
            let mut sides = compared(std::iter::once(*expr).chain(whens).collect(), schema)?;
            let whens = sides.split_off(1);
            (sides.pop().map(Box::new), whens)
        }
    };
    let when_then_expr = whens.into_iter().zip(results).map(|(w, t)| (Box::new(w), Box::new(t))).collect();
    Ok(Case { expr, when_then_expr, else_expr })
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Expressions that are compared: as [`reconcile`], and widened where 38 digits do not hold both.
fn compared(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let exprs = reconcile(exprs, schema)?;
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    if !types.iter().flatten().any(DataType::is_decimal) {
        return Ok(exprs);
    }
    // A text that is no number of the query is read as a float: a label may be `+Inf`, and has any digits.
    let is_text = |expr: &Expr| class(expr, schema) == Some(Class::Text) && !matches!(expr, Expr::Literal(..));
    if exprs.iter().any(is_text) && exprs.iter().all(|expr| !is_decimal(expr, schema) || is_loose(expr, schema)) {
        return Ok(exprs.into_iter().map(|expr| if is_decimal(&expr, schema) { float(expr) } else { expr }).collect());
    }
    // A whole number of the text needs as many digits as it has, not as many as its type could hold.
    let exprs: Vec<Expr> = exprs.into_iter().map(|expr| written(&expr).unwrap_or(expr)).collect();
    let types = exprs.iter().map(|expr| expr.get_type(schema).ok());
    let shapes: Vec<Shape> = types.flatten().filter_map(|data_type| Shape::of_type(&data_type)).collect();
    let Some(first) = shapes.first() else { return Ok(exprs) };
    let (whole, scale) = shapes
        .iter()
        .fold((first.whole(), first.scale), |(whole, scale), shape| (whole.max(shape.whole()), scale.max(shape.scale)));
    let Some(wide) = Shape::wide_type(whole, scale) else { return Ok(exprs) };
    exprs
        .into_iter()
        .map(|expr| if has_shape(&expr, schema) { expr.cast_to(&wide, schema) } else { Ok(expr) })
        .collect()
}

fn is_decimal(expr: &Expr, schema: &DFSchema) -> bool {
    class(expr, schema) == Some(Class::Decimal)
}

fn has_shape(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| Shape::of_type(&data_type).is_some())
}

/// Expressions of which one value comes, or which are compared: floats among them become decimals or the decimals become floats, if
/// one of both is numbers of the text.
fn reconcile(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let classes: Vec<Option<Class>> = exprs.iter().map(|expr| class(expr, schema)).collect();
    if !classes.contains(&Some(Class::Decimal)) || !classes.contains(&Some(Class::Float)) {
        return Ok(exprs);
    }
    let of =
        |wanted| exprs.iter().zip(&classes).filter(move |(_, class)| **class == Some(wanted)).map(|(expr, _)| expr);
    if of(Class::Float).all(|expr| exact(expr).is_some()) {
        return Ok(exprs.iter().map(|expr| exact(expr).unwrap_or_else(|| expr.clone())).collect());
    }
    if !of(Class::Decimal).all(|expr| is_loose(expr, schema)) {
        let column = of(Class::Decimal).find(|expr| !is_loose(expr, schema));
        return Err(mixed(&column.map_or_else(String::new, |expr| expr.schema_name().to_string())).into());
    }
    let as_float = |(expr, class): (Expr, Option<Class>)| {
        if class == Some(Class::Decimal) { float(expr) } else { expr }
    };
    Ok(exprs.into_iter().zip(classes).map(as_float).collect())
}

/// A float of the text as the decimal that was written.
fn exact(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if value.is_finite() => decimal(&format!("{value:e}")),
        Expr::Literal(value, _)
            if value.data_type().is_integer() || value.data_type().is_decimal() || value.is_null() =>
        {
            Some(expr.clone())
        }
        Expr::Cast(Cast { expr, field }) if field.data_type().is_floating() => match expr.as_ref() {
            Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => decimal(text),
            _ => None,
        },
        Expr::Negative(inner) => Some(Expr::Negative(Box::new(exact(inner)?))),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(when, then)| Some((when.clone(), Box::new(exact(then)?))));
            let when_then_expr = results.collect::<Option<_>>()?;
            let else_expr = case.else_expr.as_ref().map(|e| exact(e).map(Box::new));
            let else_expr = if let Some(found) = else_expr { Some(found?) } else { None };
            Some(Expr::Case(Case { expr: case.expr.clone(), when_then_expr, else_expr }))
        }
        _ => None,
    }
}

/// A decimal of the text as the float nearest to it.
fn float(expr: Expr) -> Expr {
    if let Expr::Literal(ScalarValue::Decimal128(Some(value), digits, scale), metadata) = &expr
        && let Ok(value) = Decimal128Type::format_decimal(*value, *digits, *scale).parse::<f64>()
    {
        return Expr::Literal(ScalarValue::Float64(Some(value)), metadata.clone());
    }
    Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
}

/// A whole number of the text, or a number in quotes, as a decimal.
fn written(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(value, _) if value.data_type().is_integer() && !value.is_null() => decimal(&value.to_string()),
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => decimal(text.trim()),
        _ => None,
    }
}

/// Is a decimal made of numbers of the text and whole numbers alone? Then nothing is lost that was exact before.
fn is_loose(expr: &Expr, schema: &DFSchema) -> bool {
    let loose = |expr: &Expr| is_loose(expr, schema);
    match expr {
        Expr::Literal(..) => true,
        Expr::Alias(alias) => loose(&alias.expr),
        Expr::Negative(inner) => loose(inner),
        Expr::Cast(cast) => loose(&cast.expr),
        Expr::BinaryExpr(binary) => loose(&binary.left) && loose(&binary.right),
        Expr::ScalarFunction(function) => function.args.iter().all(loose),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            results.into_iter().all(|result| loose(result))
        }
        other => class(other, schema) == Some(Class::Integer),
    }
}

fn mixed(what: &str) -> Error {
    let message = format!(
        "a decimal and a float do not mix: write `cast(… AS DOUBLE)` around the decimal, \
         or `cast(… AS DECIMAL(38, 22))` around the float decimal={what}"
    );
    Error::new(ErrorKind::Invalid, message).of(Fault::UnknownFunction)
}
