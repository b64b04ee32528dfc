//! Values in the places of `$1`, `$2`, … of a query.
//!
//! Called by the engine with a statement that the gate let through. A value becomes a literal of the statement before it is planned, so
//! a query with parameters is planned, typed and checked as the same query written out. Types that nobody states are found by planning
//! the statement with its places open.
//!
//! Invariants: a value is one leaf of the tree whatever is in it, so it is never read as SQL; a place without a value is refused.

use std::{collections::BTreeMap, ops::ControlFlow};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::{
    parser::Statement,
    sqlparser::{
        ast::{Array, Expr, LimitClause, Query, Value, Visit, Visitor, VisitorMut},
        dialect::GenericDialect,
        parser::Parser,
    },
};

use crate::{Error, ErrorKind, Fault, Result, statement};

/// Most parameters of a query: what the wire can count.
const PARAMETERS_MAX: usize = 65_535;

/// A value for a place of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// One value as text, or null, of a type of SQL such as `BIGINT`; without a type it is what a quoted literal would be.
    One(Option<String>, Option<&'static str>),
    /// A list of values of one type.
    List(Vec<Option<String>>, Option<&'static str>),
}

impl Parameter {
    /// A number that stays exact: a quoted literal takes the type of what it is compared with.
    #[must_use]
    pub fn decimal(text: String) -> Self {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let scale = text.split_once('.').map_or(0, |(_, behind)| behind.len());
        const KNOWN: [&str; 3] = ["DECIMAL(38, 0)", "DECIMAL(38, 9)", "DECIMAL(38, 18)"];
        let fits = [0, 9, 18].iter().position(|known| *known >= scale);
        Self::One(Some(text), fits.filter(|_| digits <= 20).map(|fit| KNOWN[fit]))
    }

    /// May a list have so many items?
    ///
    /// # Errors
    /// `Invalid` if not: it is more than any list that a person or a page of a program asks for.
    pub fn check_items(items: usize) -> Result<()> {
        const ITEMS_MAX: usize = 10_000;
        if items > ITEMS_MAX {
            let message = format!("list has too many items items={items} items_max={ITEMS_MAX}");
            return Err(Error::new(ErrorKind::Invalid, message).of(Fault::TooLarge));
        }
        Ok(())
    }
}

/// What a query takes and gives.
#[derive(Debug, Clone)]
pub struct Described {
    /// Type of each place, `$1` first; none where planning could not tell.
    pub parameters: Vec<Option<DataType>>,
    /// Columns of the answer.
    pub schema: SchemaRef,
}

/// Puts values into their places.
///
/// # Errors
/// `Invalid` if a place has no value.
pub(crate) fn put(statement: &mut Statement, values: &[Parameter]) -> Result<()> {
    visit(statement, &mut |place, expr| {
        let Some(value) = values.get(place - 1) else {
            let message = format!("no value for parameter ${place} parameters={}", values.len());
            return Err(Error::new(ErrorKind::Invalid, message).of(Fault::Parameter));
        };
        *expr = literal(value)?;
        Ok(())
    })
}

/// How many places a statement has: the greatest number in it.
pub(crate) fn count(statement: &Statement) -> Result<usize> {
    let mut most = 0;
    visit(&mut statement.clone(), &mut |place, _| {
        most = most.max(place);
        Ok(())
    })?;
    Ok(most)
}

/// The types that the text says places have, as SQL names them, which planning does not see: those to which they are cast, and that of
/// how many rows are wanted.
pub(crate) fn stated(statement: &Statement) -> BTreeMap<usize, String> {
    struct Stated(BTreeMap<usize, String>);
    impl Visitor for Stated {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
                let counts = limit.iter().chain(offset.iter().map(|offset| &offset.value));
                for place in counts.filter_map(place) {
                    self.0.entry(place).or_insert_with(|| "BIGINT".to_owned());
                }
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr: inner, data_type, .. } = expr
                && let Some(place) = place(inner)
            {
                self.0.entry(place).or_insert_with(|| data_type.to_string());
            }
            ControlFlow::Continue(())
        }
    }
    fn place(expr: &Expr) -> Option<usize> {
        let Expr::Value(value) = expr else { return None };
        let Value::Placeholder(name) = &value.value else { return None };
        name.strip_prefix('$')?.parse().ok()
    }
    let mut stated = Stated(BTreeMap::new());
    if let Some(sql) = statement::asked(statement) {
        let _ = Visit::visit(sql, &mut stated);
    }
    stated.0
}

/// The types of all places, of those that planning found.
pub(crate) fn in_order(count: usize, mut found: BTreeMap<String, Option<DataType>>) -> Vec<Option<DataType>> {
    (1..=count).map(|place| found.remove(&format!("${place}")).flatten()).collect()
}

/// The name in SQL of the type of a value, if a literal can be of it.
#[must_use]
pub fn sql_type(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "SMALLINT",
        DataType::Int32 | DataType::UInt16 => "INT",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "BIGINT",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "DECIMAL(38, 9)"
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Dictionary(_, values) => return sql_type(values),
        _ => return None,
    })
}

fn visit(statement: &mut Statement, with: &mut dyn FnMut(usize, &mut Expr) -> Result<()>) -> Result<()> {
    statement::change(statement, &mut Places(with))
}

struct Places<'a>(&'a mut dyn FnMut(usize, &mut Expr) -> Result<()>);

impl VisitorMut for Places<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let place = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let Some(place) = place.filter(|place| (1..=PARAMETERS_MAX).contains(place)) else {
            let message = format!("parameters are written $1, $2, …: found {name}");
            return ControlFlow::Break(Error::new(ErrorKind::Invalid, message).of(Fault::Syntax));
        };
        match (self.0)(place, expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn literal(value: &Parameter) -> Result<Expr> {
    match value {
        Parameter::One(text, sql_type) => one(text.as_deref(), *sql_type),
        Parameter::List(items, sql_type) => {
            let elem = items.iter().map(|item| one(item.as_deref(), *sql_type)).collect::<Result<Vec<_>>>()?;
            Ok(Expr::Array(Array { elem, named: true }))
        }
    }
}

fn one(text: Option<&str>, sql_type: Option<&'static str>) -> Result<Expr> {
    let value = match text {
        // A count after LIMIT must be a number, not a cast of one.
        Some(digits) if sql_type == Some("BIGINT") && is_count(digits) => {
            return Ok(Expr::value(Value::Number(digits.to_owned(), false)));
        }
        Some(text) => Expr::value(Value::SingleQuotedString(text.to_owned())),
        None => Expr::value(Value::Null),
    };
    let Some(sql_type) = sql_type else { return Ok(value) };
    let mut cast = Parser::new(&GenericDialect {})
        .try_with_sql(&format!("CAST(NULL AS {sql_type})"))
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|error| Error::new(ErrorKind::Internal, format!("type of a parameter: {error}")))?;
    if let Expr::Cast { expr, .. } = &mut cast {
        **expr = value;
    }
    Ok(cast)
}

fn is_count(text: &str) -> bool {
    !text.is_empty() && text.len() < 19 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate;

    fn written(text: &str, values: &[Parameter]) -> Result<String> {
        let mut statement = gate::check(text)?;
        put(&mut statement, values)?;
        Ok(statement.to_string())
    }

    #[test]
    fn a_value_is_one_literal_whatever_is_in_it() {
        let hostile = Parameter::One(Some("'; DROP TABLE costs; --".to_owned()), None);
        let text = written("SELECT * FROM costs WHERE a = $1", &[hostile]).unwrap();
        assert_eq!(text, "SELECT * FROM costs WHERE a = '''; DROP TABLE costs; --'");
    }

    #[test]
    fn numbers_stay_numbers_and_types_are_casts() {
        let values = [
            Parameter::One(Some("10".to_owned()), Some("BIGINT")),
            Parameter::One(Some("2026-01-01".to_owned()), Some("DATE")),
            Parameter::List(vec![Some("a".to_owned()), None], None),
        ];
        let text = written("SELECT $2 WHERE x = ANY($3) LIMIT $1", &values).unwrap();
        assert_eq!(text, "SELECT CAST('2026-01-01' AS DATE) WHERE x = ANY(ARRAY['a', NULL]) LIMIT 10");
    }

    #[test]
    fn the_text_says_types_that_planning_does_not_see() {
        let found = stated(&gate::check("SELECT a, $3::text FROM t LIMIT $1 OFFSET $2").unwrap());
        let found: Vec<_> = found.iter().map(|(place, name)| (*place, name.as_str())).collect();
        assert_eq!(found, [(1, "BIGINT"), (2, "BIGINT"), (3, "TEXT")]);
    }

    #[test]
    fn a_place_without_a_value_is_refused() {
        let error = written("SELECT $1, $2", &[Parameter::One(None, None)]).unwrap_err();
        assert_eq!(error.to_string(), "no value for parameter $2 parameters=1");
        assert_eq!(count(&gate::check("SELECT $3 + $1").unwrap()).unwrap(), 3);
    }

    #[test]
    fn question_marks_are_places_in_the_order_of_the_text() {
        let values = ["a", "b", "c"].map(|value| Parameter::One(Some(value.to_owned()), None));
        let text = written("SELECT x FROM t WHERE y = ? AND z = '?' /* ? */ ORDER BY ? LIMIT ?", &values).unwrap();
        assert_eq!(text, "SELECT x FROM t WHERE y = 'a' AND z = '?' ORDER BY 'b' LIMIT 'c'");
        let mixed = written("SELECT ?, $1", &values).unwrap_err();
        assert!(mixed.to_string().contains("not both ways"), "{mixed}");
    }
}
