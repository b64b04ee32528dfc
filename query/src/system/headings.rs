//! Names of an answer's columns as PostgreSQL gives them where the text gives none: `count(*)` is `count`, `CAST(x AS INT)` is `x`, and
//! `1 + 1` is `?column?`. Clients read columns by these names.
//!
//! Made by the gate of a statement as it was written; the engine puts them over the columns of an answer to who speaks the protocol.
//! What is known is the list between `SELECT` and `FROM`: of the columns of a `*` the names stay what they are.

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::sql::{
    parser::Statement,
    sqlparser::ast::{
        Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, Statement as Sql, TrimWhereField, Value,
        VisitMut, VisitorMut,
    },
};

use crate::types;

/// Name of what has none.
const NAMELESS: &str = "?column?";

/// The names of the columns of one statement; none is a `*`.
#[derive(Debug, Default)]
pub(crate) struct Headings(Vec<Option<String>>);

impl Headings {
    pub(crate) fn of(statement: &Statement) -> Self {
        let Statement::Statement(sql) = statement else { return Self::default() };
        let Sql::Query(query) = sql.as_ref() else { return Self::default() };
        let name = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) => Some(of_expr(expr)),
            SelectItem::ExprWithAlias { alias, .. } => Some(plain(alias)),
            _ => None,
        };
        Self(items(query).iter().map(name).collect())
    }

    /// Gives the columns their names. One that differs but for case is a column's own name, which stays.
    pub(crate) fn over(&self, schema: &SchemaRef) -> SchemaRef {
        let width = schema.fields().len();
        let name = |at: usize| -> Option<&str> {
            let until = self.0.iter().position(Option::is_none);
            let name = match until {
                // As many columns as there are items.
                None => (self.0.len() == width).then(|| self.0.get(at))?,
                Some(until) if at < until => self.0.get(at),
                // Counted from the end, behind the last `*`.
                Some(_) => {
                    let behind = self.0.iter().rev().take_while(|name| name.is_some()).count();
                    let from_end = width - at;
                    (from_end <= behind).then(|| self.0.get(self.0.len() - from_end))?
                }
            };
            name?.as_deref()
        };
        let fields = schema.fields().iter().enumerate().map(|(at, field)| match name(at) {
            Some(name) if !name.eq_ignore_ascii_case(field.name()) => Arc::new(field.as_ref().clone().with_name(name)),
            _ => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// What is between `SELECT` and `FROM`; of several queries in one, of the first.
fn items(query: &Query) -> &[SelectItem] {
    let mut body = query.body.as_ref();
    loop {
        body = match body {
            SetExpr::Select(select) => return &select.projection,
            SetExpr::Query(query) => query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            _ => return &[],
        };
    }
}

/// The name of an expression.
pub(super) fn of_expr(expr: &Expr) -> String {
    named(expr).map_or_else(|| NAMELESS.to_owned(), |named| named.name)
}

struct Named {
    name: String,
    /// Does it hold through a cast, and as the last value of a `CASE`?
    is_firm: bool,
}

fn firm(name: impl Into<String>) -> Option<Named> {
    Some(Named { name: name.into(), is_firm: true })
}

fn weak(name: impl Into<String>) -> Option<Named> {
    Some(Named { name: name.into(), is_firm: false })
}

fn named(expr: &Expr) -> Option<Named> {
    match expr {
        Expr::Identifier(name) => firm(plain(name)),
        Expr::CompoundIdentifier(parts) => firm(plain(parts.last()?)),
        Expr::CompoundFieldAccess { root: inner, .. } | Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => {
            named(inner)
        }
        Expr::Function(function) => firm(last(&function.name)?),
        Expr::Cast { expr: inner, data_type, .. } => {
            named(inner).filter(|named| named.is_firm).or_else(|| weak(of_type(&data_type.to_string())))
        }
        Expr::TypedString(typed) => weak(of_type(&typed.data_type.to_string())),
        Expr::Interval(_) => weak("interval"),
        Expr::Case { else_result, .. } => {
            let of_else = else_result.as_ref().and_then(|result| named(result));
            of_else.filter(|named| named.is_firm).or_else(|| weak("case"))
        }
        Expr::Subquery(query) => match items(query).first()? {
            SelectItem::UnnamedExpr(expr) => firm(named(expr)?.name),
            SelectItem::ExprWithAlias { alias, .. } => firm(plain(alias)),
            _ => None,
        },
        Expr::Exists { negated: false, .. } => firm("exists"),
        Expr::Array(_) => firm("array"),
        Expr::Tuple(_) => firm("row"),
        Expr::Extract { .. } => firm("extract"),
        Expr::Ceil { .. } => firm("ceil"),
        Expr::Floor { .. } => firm("floor"),
        Expr::Position { .. } => firm("position"),
        Expr::Substring { .. } => firm("substring"),
        Expr::Overlay { .. } => firm("overlay"),
        Expr::AtTimeZone { .. } => firm("timezone"),
        Expr::Trim { trim_where, .. } => firm(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        _ => None,
    }
}

fn plain(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn last(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(ObjectNamePart::as_ident).map(plain)
}

/// The catalog's name of a type: `INT` is `int4`.
fn of_type(written: &str) -> String {
    let lower = written.to_lowercase();
    // Without what is in brackets: digits, or the length of a list.
    let (mut bare, mut depth) = (String::new(), 0_usize);
    for char in lower.chars() {
        match char {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            char if depth == 0 => bare.push(char),
            _ => {}
        }
    }
    let bare = bare.trim();
    let bare = bare.rsplit('.').next().unwrap_or(bare).trim_matches('"');
    match bare {
        "int" => "int4",
        "decimal" | "dec" => "numeric",
        "float" | "double" => "float8",
        bare => types::NAMES
            .iter()
            .find(|(_, short, long)| *short == bare || *long == bare)
            .map_or(bare, |(_, short, _)| short),
    }
    .to_owned()
}

/// Gives those of a list that planning would take for one another a name of their own: it wants names that differ, takes no notice of
/// casts, and sees values where there are places for them. What is shown of them in the end is what PostgreSQL would show.
pub(super) fn distinguish(items: &mut [SelectItem]) {
    if items.len() < 2 {
        return;
    }
    let all = items.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let wholes: Vec<String> = items
        .iter()
        .filter_map(|item| match item {
            SelectItem::QualifiedWildcard(..) => item.to_string().strip_suffix(".*").map(str::to_owned),
            _ => None,
        })
        .collect();
    let mut seen = Vec::new();
    for (at, item) in items.iter_mut().enumerate() {
        let (expr, name, key) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(plain(alias)), Some(plain(alias))),
            _ => continue,
        };
        let key = key.or_else(|| key_of(expr));
        let is_in_whole = name.is_none()
            && match expr {
                Expr::Identifier(_) => all,
                Expr::CompoundIdentifier(parts) => all || (parts.len() == 2 && wholes.contains(&parts[0].to_string())),
                _ => false,
            };
        if key.is_none() || seen.contains(&key) || is_in_whole {
            let name = format!("{} {}", name.unwrap_or_else(|| of_expr(expr)), at + 1);
            let alias = Ident::with_quote('"', name);
            let expr = std::mem::replace(expr, super::dialect::null());
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
        seen.push(key);
    }
}

/// What planning would call an expression, so that two which it calls alike have one key; none if that depends on values that are put
/// into it.
fn key_of(expr: &Expr) -> Option<String> {
    struct Bare {
        is_open: bool,
    }
    impl VisitorMut for Bare {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => {
                    *expr = std::mem::replace(inner, super::dialect::null());
                }
                Expr::Subquery(_) => *expr = Expr::Identifier(Ident::new("subquery")),
                Expr::Value(value) => self.is_open |= matches!(value.value, Value::Placeholder(_)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let (mut expr, mut bare) = (expr.clone(), Bare { is_open: false });
    let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut bare);
    (!bare.is_open).then(|| expr.to_string())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::gate;

    fn names(text: &str) -> Vec<Option<String>> {
        gate::with_headings(text).unwrap().1.0
    }

    #[test]
    fn what_has_no_name_is_called_as_postgresql_calls_it() {
        let text = "SELECT count(*), 1 + 1, true, \"Month\", t.BilledCost, CAST(a AS INT), CAST('1' AS INT), 2::numeric(3, 1), \
            CASE WHEN a THEN 1 END, CASE WHEN a THEN 1 ELSE b::text END, (SELECT max(c) FROM u), EXISTS (SELECT 1), a IS NULL, \
            COALESCE(a, 1), EXTRACT(YEAR FROM d), trim(a), a['x'], now() AT TIME ZONE 'UTC', \
            pg_catalog.upper(a), -a, count(*) OVER (), a AS \"It is\" FROM t";
        let expected = [
            "count",
            "?column?",
            "?column?",
            "Month",
            "billedcost",
            "a",
            "int4",
            "numeric",
            "case",
            "b",
            "max",
            "exists",
            "?column?",
            "coalesce",
            "extract",
            "btrim",
            "a",
            "timezone",
            "upper",
            "?column?",
            "count",
            "It is",
        ];
        let found = names(text);
        let found: Vec<&str> = found.iter().map(|name| name.as_deref().unwrap()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_several_queries_the_first_names_the_columns() {
        assert_eq!(names("(SELECT 1 AS x) UNION ALL SELECT 2"), [Some("x".to_owned())]);
        assert_eq!(names("WITH t AS (SELECT 1) SELECT max(a), * FROM t"), [Some("max".to_owned()), None]);
        assert_eq!(names("VALUES (1)"), []);
    }

    #[test]
    fn names_are_counted_from_both_ends_of_a_whole_table() {
        let headings = Headings(vec![Some("max".to_owned()), None, Some("billedcost".to_owned())]);
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(["max(a)", "max(b)", "count(*)", "BilledCost"].map(field).to_vec()));
        let over = headings.over(&schema);
        let found: Vec<&str> = over.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(found, ["max", "max(b)", "count(*)", "BilledCost"]);
    }

    #[test]
    fn what_planning_would_take_for_one_another_gets_names() {
        let statement =
            gate::check("SELECT 1, 1, a, CAST(a AS VARCHAR), t.b, t.*, (SELECT 1), (SELECT 2), 3 AS x, 4 AS x FROM t");
        let text = statement.unwrap().to_string();
        let given =
            ["1 AS \"?column? 2\"", "AS \"a 4\"", "t.b AS \"b 5\"", "(SELECT 2) AS \"?column? 8\"", "4 AS \"x 10\""];
        for given in given {
            assert!(text.contains(given), "{given}: {text}");
        }
    }
}
