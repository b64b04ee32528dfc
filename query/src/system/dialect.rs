//! Puts a statement of PostgreSQL's dialect into the one that is planned here.
//!
//! Called by the gate with each statement, before it looks at it. Changes only what has no meaning here otherwise: functions and
//! operators named with `pg_catalog`, casts to types of the catalog, lists written as texts after `ANY`, queries in the place of values
//! that planning does not take there (`subqueries`), and those over what the catalog has nothing of (`nothing`).
//!
//! Invariant: what is put in are literals, functions, the names of catalog tables, and what was there; the gate sees it.

use std::ops::ControlFlow;

use datafusion::sql::{
    parser::Statement,
    sqlparser::{
        ast::{
            AccessExpr, BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
            Query, Select, TableAlias, TableAliasColumnDef, TableFactor, Value, ValueWithSpan, Visit, VisitMut,
            Visitor, VisitorMut,
        },
        dialect::GenericDialect,
        parser::Parser,
    },
};

use super::{headings, nothing::Nothing, subqueries};
use crate::{statement, types, views};

/// Tables of the catalog that are named as numbers.
const CATALOG: [(&str, u32); 8] = [
    ("pg_class", 1_259),
    ("pg_namespace", 2_615),
    ("pg_constraint", 2_606),
    ("pg_type", 1_247),
    ("pg_proc", 1_255),
    ("pg_attribute", 1_249),
    ("pg_database", 1_262),
    ("pg_trigger", 2_620),
];

/// Translates a statement in place.
pub(crate) fn translate(statement: &mut Statement) {
    if let Some(sql) = statement::asked_mut(statement) {
        let asks_catalog = Visit::visit(sql, &mut NamesCatalog).is_break();
        let catalog = asks_catalog.then(|| Nothing::of(sql));
        let _: ControlFlow<()> = VisitMut::visit(sql, &mut Dialect { catalog });
    }
}

/// Breaks off at the first table of the catalog.
struct NamesCatalog;

impl Visitor for NamesCatalog {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let last = name.0.last().and_then(ObjectNamePart::as_ident).map(|ident| ident.value.to_ascii_lowercase());
        if last.is_some_and(|last| super::System::has(&last)) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

struct Dialect {
    /// Of a statement that names tables of the catalog. Others are left as they are where that has a meaning.
    catalog: Option<Nothing>,
}

impl VisitorMut for Dialect {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        subqueries::in_order(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let Some(nothing) = &self.catalog {
            nothing.in_select(select);
        }
        subqueries::functions_as_tables(select);
        subqueries::in_select(select);
        ControlFlow::Continue(())
    }

    /// Once what is in it is as it will be planned.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        headings::distinguish(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        name_column(factor);
        if let TableFactor::Table { name, args, .. } = factor
            && args.is_some()
        {
            unqualify(name);
            // A function that is a table here.
            if name.to_string().eq_ignore_ascii_case("pg_get_keywords") {
                *args = None;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let known = self.catalog.as_ref().and_then(|nothing| nothing.instead(expr));
        if let Some(value) = known.or_else(|| subqueries::array(expr)) {
            *expr = value;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                unqualify(&mut function.name);
                // `current_user` and its like have no brackets.
                if matches!(function.args, FunctionArguments::None)
                    && let Some(call) = parsed(&format!("{}()", function.name.to_string().to_lowercase()))
                {
                    *expr = call;
                } else if let Some(known) = known(&function.to_string()) {
                    *expr = known;
                }
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(plain) = escaped_by_backslash(pattern, escape_char.as_ref()) {
                    (**pattern, *escape_char) = (text(&plain), None);
                } else if let Some(computed) = computed_with_backslash(pattern, escape_char.as_ref()) {
                    (**pattern, *escape_char) = (computed, None);
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let Some(field) = field(root, access_chain) {
                    *expr = field;
                }
            }
            // A word that PostgreSQL reserves, so no column there is called so.
            Expr::Identifier(name)
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("current_schema") =>
            {
                *expr = text(views::SCHEMA);
            }
            Expr::Collate { expr: inner, .. } => *expr = std::mem::replace(inner, null()),
            Expr::BinaryOp { op, .. } => {
                if let Some(plain) = operator(op) {
                    *op = plain;
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(list) = items(right) {
                    let left = std::mem::replace(left, Box::new(null()));
                    *expr = Expr::InList { expr: left, list, negated: false };
                }
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                if let Some(list) = items(right) {
                    let left = std::mem::replace(left, Box::new(null()));
                    *expr = Expr::InList { expr: left, list, negated: true };
                }
            }
            Expr::Cast { kind: CastKind::DoubleColon | CastKind::Cast, expr: inner, data_type, .. } => {
                match cast(inner, data_type) {
                    Some(Cast::Type(plain)) => *data_type = plain,
                    Some(Cast::Value(value)) => *expr = *value,
                    None => {}
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Calls the column of a function that gives one by the table's name, as PostgreSQL does: `FROM generate_series(1, 3) AS day` has `day`.
fn name_column(factor: &mut TableFactor) {
    let alias = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality: false, .. }
            if array_exprs.len() == 1 =>
        {
            let unnamed = || TableAlias { explicit: true, name: Ident::new("unnest"), columns: Vec::new(), at: None };
            alias.get_or_insert_with(unnamed)
        }
        TableFactor::Table { name, args: Some(_), alias: Some(alias), .. }
            if ["generate_series", "range"].iter().any(|known| name.to_string().eq_ignore_ascii_case(known)) =>
        {
            alias
        }
        _ => return,
    };
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

enum Cast {
    Type(DataType),
    Value(Box<Expr>),
}

fn value(expr: Expr) -> Cast {
    Cast::Value(Box::new(expr))
}

/// What a cast to a type of the catalog is here.
fn cast(inner: &mut Expr, data_type: &DataType) -> Option<Cast> {
    let (name, is_list) = match data_type {
        DataType::Custom(name, _) => (name, false),
        DataType::Array(_) if items(inner).is_some() => return None,
        DataType::Array(_) => {
            // Lists of the catalog are lists of texts here, whatever they should be of.
            let text = data_type.to_string().to_lowercase();
            let is_catalog = text.contains("reg") || text.contains("pg_catalog");
            return is_catalog.then(|| value(std::mem::replace(inner, null())));
        }
        DataType::Regclass => return regclass(inner),
        _ => return None,
    };
    let name = match name.0.last()? {
        ObjectNamePart::Identifier(ident) => ident.value.to_ascii_lowercase(),
        _ => return None,
    };
    if is_list {
        return None;
    }
    Some(match name.as_str() {
        "regclass" => return regclass(inner),
        "regtype" => match literal(inner) {
            Some(name) => {
                let found = types::NAMES.iter().find(|(_, short, long)| *short == name || *long == name);
                value(number(found.map_or(0, |(number, ..)| *number)))
            }
            None => value(parsed(&format!("format_type({inner}, NULL)"))?),
        },
        "regproc" => match literal(inner) {
            Some(name) => value(text(name.rsplit('.').next().unwrap_or(&name))),
            None => Cast::Type(DataType::Text),
        },
        "regnamespace" | "regrole" | "text" | "name" | "char" | "bpchar" | "varchar" => Cast::Type(DataType::Text),
        "oid" | "int8" | "xid" => Cast::Type(DataType::BigInt(None)),
        "int4" => Cast::Type(DataType::Int(None)),
        "int2" => Cast::Type(DataType::SmallInt(None)),
        "bool" => Cast::Type(DataType::Boolean),
        "float8" => Cast::Type(DataType::Double(datafusion::sql::sqlparser::ast::ExactNumberInfo::None)),
        _ => return None,
    })
}

/// Calls whose answer is another expression.
fn known(call: &str) -> Option<Expr> {
    let lower = call.to_lowercase();
    let arguments = |name: &str| {
        let inner = lower.starts_with(&format!("{name}(")).then(|| &call[name.len() + 1..call.len() - 1])?;
        Some(inner.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
    };
    let described = |of: &str, column: &str| {
        parsed(&format!(
            "(SELECT max(described.description) FROM pg_catalog.pg_description described \
             WHERE described.objoid = {of} AND described.objsubid = {column})"
        ))
    };
    match lower.as_str() {
        "array_upper(current_schemas(false), 1)" => return Some(number(1)),
        "array_upper(current_schemas(true), 1)" => return Some(number(2)),
        _ => {}
    }
    if let Some(arguments) = arguments("col_description") {
        return described(arguments.first()?, arguments.get(1)?);
    }
    described(arguments("obj_description")?.first()?, "0")
}

/// Fields of a value by their names, `(value).field`; none if it is asked otherwise.
fn field(root: &Expr, chain: &[AccessExpr]) -> Option<Expr> {
    let names = chain.iter().map(|access| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => {
            Some(if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() })
        }
        _ => None,
    });
    let names = names.collect::<Option<Vec<_>>>()?;
    let call = names.iter().fold(root.to_string(), |of, name| format!("get_field({of}, {})", text(name)));
    parsed(&call)
}

/// A relation by its name, or by its number.
fn regclass(inner: &mut Expr) -> Option<Cast> {
    if matches!(inner, Expr::Value(value) if matches!(value.value, Value::Placeholder(_))) {
        // A name that comes with the values: of the catalog, or a number.
        let of = |(name, number): &(&str, u32)| format!("WHEN '{name}' THEN {number} ");
        let cases: String = CATALOG.iter().map(of).collect();
        let name = format!("replace(CAST({inner} AS VARCHAR), 'pg_catalog.', '')");
        return Some(value(parsed(&format!("CASE {name} {cases} ELSE TRY_CAST({name} AS BIGINT) END"))?));
    }
    let Some(name) = literal(inner) else { return Some(Cast::Type(DataType::Text)) };
    if name.parse::<u32>().is_ok() {
        return Some(value(parsed(&name)?));
    }
    let plain = name.rsplit('.').next().unwrap_or(&name).trim_matches('"');
    if let Some((_, known)) = CATALOG.iter().find(|(known, _)| *known == plain) {
        return Some(value(number(*known)));
    }
    let quoted = plain.replace('\'', "''");
    Some(value(parsed(&format!("(SELECT oid FROM pg_catalog.pg_class WHERE relname = '{quoted}')"))?))
}

fn operator(op: &BinaryOperator) -> Option<BinaryOperator> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    Some(match parts.last()?.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "+" => BinaryOperator::Plus,
        "~~" => BinaryOperator::PGLikeMatch,
        _ => return None,
    })
}

/// A pattern of `LIKE` as it is when a backslash escapes; none if that is so already, or the pattern is no literal.
fn escaped_by_backslash(pattern: &Expr, escape: Option<&ValueWithSpan>) -> Option<String> {
    let Value::SingleQuotedString(escape) = &escape?.value else { return None };
    let escape = escape.chars().next().filter(|escape| *escape != '\\')?;
    let (written, mut plain) = (literal(pattern)?, String::new());
    let mut chars = written.chars();
    while let Some(char) = chars.next() {
        let (is_escaped, char) = if char == escape { (true, chars.next()?) } else { (char == '\\', char) };
        plain.extend(is_escaped.then_some('\\'));
        plain.push(char);
    }
    Some(plain)
}

/// The same of a pattern that is computed: what escapes is replaced when it is known; what is escaped by itself stands for itself.
fn computed_with_backslash(pattern: &Expr, escape: Option<&ValueWithSpan>) -> Option<Expr> {
    let Value::SingleQuotedString(escape) = &escape?.value else { return None };
    let escape = escape.chars().next().filter(|escape| !['\\', '\''].contains(escape))?;
    let doubled = format!("replace(replace({pattern}, '\\', '\\\\'), '{escape}{escape}', chr(1))");
    parsed(&format!("replace(replace({doubled}, '{escape}', '\\'), chr(1), '{escape}')"))
}

/// The items of a list that is written as a text, `'{r,p}'`, cast or not.
fn items(expr: &Expr) -> Option<Vec<Expr>> {
    let mut inner = expr;
    while let Expr::Cast { expr: within, .. } | Expr::Nested(within) = inner {
        inner = within;
    }
    let list = literal(inner)?;
    let list = list.strip_prefix('{')?.strip_suffix('}')?;
    Some(list.split(',').map(|item| text(item.trim_matches('"'))).collect())
}

/// Takes the catalog's name from the name of a function; JDBC asks for one of `information_schema` too.
fn unqualify(name: &mut ObjectName) {
    let is_catalog = |part: &ObjectNamePart| {
        part.as_ident().is_some_and(|ident| {
            [super::SCHEMA, "information_schema"].iter().any(|schema| ident.value.eq_ignore_ascii_case(schema))
        })
    };
    if name.0.len() == 2 && is_catalog(&name.0[0]) {
        name.0.remove(0);
    }
}

fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn text(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_owned()))
}

fn number(number: u32) -> Expr {
    Expr::value(Value::Number(number.to_string(), false))
}

pub(super) fn null() -> Expr {
    Expr::value(Value::Null)
}

/// An expression of ours; none if it does not parse, which leaves what was there.
pub(super) fn parsed(text: &str) -> Option<Expr> {
    Parser::new(&GenericDialect {}).try_with_sql(text).ok()?.parse_expr().ok()
}
