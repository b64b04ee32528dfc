//! Puts queries in the place of values so that they can be planned, and functions in the place of tables.
//!
//! Called by `dialect` with each select, before what is in it is looked at. SQL takes a query wherever it takes a value; planning here
//! takes it where rows are filtered, and elsewhere if it is an aggregate. So `ARRAY(SELECT …)`, and `IN` and `EXISTS` among what a select
//! gives, groups or orders by, become aggregates.
//!
//! Invariant: what is put in says the same as what was there, NULL included. Not here: queries over the catalog (`nothing`).

use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use datafusion::{
    functions_aggregate::all_default_aggregate_functions,
    logical_expr::AggregateUDF,
    sql::sqlparser::{
        ast::{
            Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByKind,
            Query, Select, SelectItem, SetExpr, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
        },
        dialect::GenericDialect,
        parser::Parser,
        tokenizer::Tokenizer,
    },
};

use super::dialect::null;
use crate::functions::is_among;

/// Functions that are tables of one row in the place of one.
const ONE_ROW: [&str; 3] = ["current_schemas", "parse_ident", "string_to_array"];

/// Names of aggregates.
static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let names = |function: Arc<AggregateUDF>| [vec![function.name().to_owned()], function.aliases().to_vec()].concat();
    all_default_aggregate_functions().into_iter().flat_map(names).collect()
});

/// Makes aggregates of the queries among what a select gives and groups by.
pub(super) fn in_select(select: &mut Select) {
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) if has_query(expr) => {
                let shown = expr.to_string();
                if rewrite(expr) {
                    let alias = Ident::with_quote('"', shown);
                    *item = SelectItem::ExprWithAlias { expr: std::mem::replace(expr, null()), alias };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => {
                rewrite(expr);
            }
            _ => {}
        }
    }
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        for group in groups {
            rewrite(group);
        }
    }
}

/// The same of what a query orders by.
pub(super) fn in_order(query: &mut Query) {
    if let Some(OrderByKind::Expressions(orders)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        for order in orders {
            rewrite(&mut order.expr);
        }
    }
}

/// `ARRAY(SELECT …)` as an aggregate.
pub(super) fn array(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = expr else { return None };
    let is_array = name.to_string().eq_ignore_ascii_case("array");
    is_array.then(|| filled("coalesce(_list, make_array())", &[("_list", &list(query)?)])).flatten()
}

/// The query of a value that is one, of a list, of `IN` or of `EXISTS`.
pub(super) fn query_of(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. } | Expr::Exists { subquery: query, .. } => {
            Some(query)
        }
        Expr::Function(Function { args: FunctionArguments::Subquery(query), .. }) => Some(query),
        _ => None,
    }
}

/// The select of a query that is nothing else: rows of tables, filtered.
pub(super) fn plain(query: &mut Query) -> Option<&mut Select> {
    if query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some() || !query.pipe_operators.is_empty()
    {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let is_plain = select.distinct.is_none() && select.top.is_none() && select.qualify.is_none();
    if is_plain && !is_grouped(select) && !is_aggregate(select) { Some(&mut **select) } else { None }
}

/// The value that a select gives, if that is one.
pub(super) fn only_value(select: &mut Select) -> Option<&mut Expr> {
    match select.projection.as_mut_slice() {
        [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] => Some(value),
        _ => None,
    }
}

/// Does a select give groups of rows?
pub(super) fn is_grouped(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(groups, modifiers) if groups.is_empty() && modifiers.is_empty())
}

/// Does a select count, add up or look at several rows at once?
pub(super) fn is_aggregate(select: &Select) -> bool {
    select.having.is_some() || Visit::visit(&select.projection, &mut Aggregates(0)).is_break()
}

/// Functions in the place of tables that are none here, as PostgreSQL has them: tables of one column, which is called as the table is.
pub(super) fn functions_as_tables(select: &mut Select) {
    let is_one_row = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: Some(_), alias: Some(_), .. } => {
            ONE_ROW.iter().any(|known| name.to_string().eq_ignore_ascii_case(known))
        }
        _ => false,
    };
    let mut factors: Vec<&mut TableFactor> = Vec::new();
    for table in &mut select.from {
        factors.push(&mut table.relation);
        factors.extend(table.joins.iter_mut().map(|join| &mut join.relation));
    }
    if !factors.iter().any(|factor| is_one_row(factor)) {
        return;
    }
    for factor in factors {
        if is_one_row(factor)
            && let Some(derived) = one_row(factor)
        {
            *factor = derived;
        }
    }
    // A word without brackets, which planning takes for a column.
    let is_user = |call: &Function| {
        matches!(call.args, FunctionArguments::None) && call.name.to_string().eq_ignore_ascii_case("user")
    };
    outside(&mut select.projection, |expr| {
        if matches!(expr, Expr::Function(call) if is_user(call))
            && let Some(call) = expression("current_user()")
        {
            *expr = call;
        }
    });
}

/// A call in the place of a table as a select of its value.
fn one_row(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, args: Some(args), alias: Some(alias), .. } = factor else { return None };
    let column = alias.columns.first().map_or(&alias.name, |column| &column.name);
    let args: Vec<String> = args.args.iter().map(ToString::to_string).collect();
    let subquery = queried(&format!("(SELECT {name}({}) AS {column})", args.join(", ")))?;
    Some(TableFactor::Derived { lateral: false, subquery, alias: Some(alias.clone()), sample: None })
}

/// Makes aggregates of the queries of an expression, and leaves what is in these; true if there were some.
fn rewrite(expr: &mut Expr) -> bool {
    let mut has_changed = false;
    outside(expr, |expr| {
        if let Some(aggregate) = aggregate(expr) {
            *expr = aggregate;
            has_changed = true;
        }
    });
    has_changed
}

/// Changes expressions that are in no inner query, those within others first.
pub(super) fn outside(node: &mut impl VisitMut, change: impl FnMut(&mut Expr)) {
    struct Outside<F> {
        depth: usize,
        change: F,
    }
    impl<F: FnMut(&mut Expr)> VisitorMut for Outside<F> {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if self.depth == 0 {
                (self.change)(expr);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = node.visit(&mut Outside { depth: 0, change });
}

fn aggregate(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::InSubquery { expr: value, subquery, negated } => {
            let is_among = format!("{}{}(_value, _list)", if *negated { "NOT " } else { "" }, is_among::NAME);
            filled(&is_among, &[("_value", value), ("_list", &list(subquery)?)])
        }
        Expr::Exists { subquery, negated } => {
            let template = if *negated { "NOT (_any)" } else { "_any" };
            filled(template, &[("_any", &any(subquery)?)])
        }
        other => array(other),
    }
}

/// The values of a query as one list; NULL if there are none.
fn list(query: &Query) -> Option<Expr> {
    let mut plainly = query.clone();
    let order = plainly.order_by.take();
    let name = plain(&mut plainly).and_then(|select| match select.projection.first() {
        Some(SelectItem::ExprWithAlias { alias, .. }) => Some(Expr::Identifier(alias.clone())),
        _ => None,
    });
    let Some(value) = plain(&mut plainly).and_then(only_value) else {
        return around("(SELECT array_agg(item) FROM (SELECT 1) AS listed(item))", query);
    };
    let mut call = filled("array_agg(_value)", &[("_value", &*value)])?;
    match order.map(|order| order.kind) {
        None => {}
        Some(OrderByKind::Expressions(mut orders)) => {
            // By its place or its name, it is the only one.
            for order in &mut orders {
                if matches!(order.expr, Expr::Value(_)) || Some(&order.expr) == name.as_ref() {
                    order.expr = value.clone();
                }
            }
            let Expr::Function(Function { args: FunctionArguments::List(args), .. }) = &mut call else { return None };
            args.clauses.push(FunctionArgumentClause::OrderBy(orders));
        }
        Some(OrderByKind::All(_)) => return None,
    }
    *value = call;
    Some(Expr::Subquery(Box::new(plainly)))
}

/// Does a query give rows?
fn any(query: &Query) -> Option<Expr> {
    let mut plainly = query.clone();
    plainly.order_by = None;
    let Some(select) = plain(&mut plainly) else {
        return around("(SELECT count(*) > 0 FROM (SELECT 1) AS listed)", query);
    };
    select.projection = vec![SelectItem::UnnamedExpr(expression("count(*) > 0")?)];
    Some(Expr::Subquery(Box::new(plainly)))
}

/// A query in the place of the innermost one of `template`.
fn around(template: &str, query: &Query) -> Option<Expr> {
    let mut outer = queried(template)?;
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    let TableFactor::Derived { subquery, .. } = &mut select.from.first_mut()?.relation else { return None };
    **subquery = query.clone();
    Some(Expr::Subquery(outer))
}

/// An expression of ours, with others in the place of names. What is of the statement keeps its place in the text, what is ours has none.
pub(super) fn filled(template: &str, values: &[(&str, &Expr)]) -> Option<Expr> {
    let mut expr = expression(template)?;
    outside(&mut expr, |expr| {
        if let Expr::Identifier(name) = expr
            && let Some((_, value)) = values.iter().find(|(known, _)| *known == name.value)
        {
            *expr = Expr::Nested(Box::new((*value).clone()));
        }
    });
    Some(expr)
}

fn expression(text: &str) -> Option<Expr> {
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize().ok()?;
    Parser::new(&dialect).with_tokens(tokens).parse_expr().ok()
}

fn queried(text: &str) -> Option<Box<Query>> {
    match expression(text)? {
        Expr::Subquery(query) => Some(query),
        _ => None,
    }
}

fn has_query(expr: &Expr) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    Visit::visit(expr, &mut Queries).is_break()
}

/// Breaks off at an aggregate, or at a window, outside of inner queries.
struct Aggregates(usize);

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function)
                if self.0 == 0 && (function.over.is_some() || is_aggregate_name(&function.name)) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn is_aggregate_name(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|name| AGGREGATES.contains(&name.value.to_lowercase()))
}

#[cfg(test)]
mod tests;
