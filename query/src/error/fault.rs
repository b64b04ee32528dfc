//! What is wrong with a query, for programs that tell errors apart.
//!
//! Called by `error` when an error of DataFusion becomes ours; our own errors say it where they are made. DataFusion says some of it by
//! types and the rest in words alone: those are here and nowhere else, and the tests ask the planner for each of them.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::{
    common::{DataFusionError, SchemaError},
    sql::sqlparser::parser::ParserError,
};
use serde::Serialize;

/// What is wrong with a query, where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The text is no SQL, or parts of it do not fit together.
    Syntax,
    /// There is no table of this name, or none in the query.
    UnknownTable,
    /// There is no column of this name.
    UnknownColumn,
    /// There is no function or operator of this name for values of these types.
    UnknownFunction,
    /// A name means several columns.
    AmbiguousColumn,
    /// Two tables, queries or columns have one name.
    DuplicateName,
    /// A column outside of `GROUP BY`, or an aggregate where none can be.
    Grouping,
    /// A value is of a type that cannot be there.
    WrongType,
    /// A parameter has no value.
    Parameter,
    /// It would change something.
    ReadOnly,
    /// It is SQL, but none that is answered here.
    NotSupported,
    /// A number is divided by zero.
    DivisionByZero,
    /// A text is none of the type that it is cast to.
    BadText,
    /// A text is no time, or no length of time.
    BadTime,
    /// A text is no regular expression.
    BadPattern,
    /// A number is too great for its type.
    OutOfRange,
    /// A query in the place of a value gives several.
    SeveralRows,
    /// It needs more memory than there is for it.
    OutOfMemory,
    /// The text, the plan or the answer is beyond a limit.
    TooLarge,
}

/// What DataFusion says in words alone: what its errors have in them.
const WORDS: [(&str, Fault); 18] = [
    ("Invalid function '", Fault::UnknownFunction),
    ("failed to match any signature", Fault::UnknownFunction),
    ("No function matches the given name and argument types", Fault::UnknownFunction),
    ("Cannot coerce arithmetic expression", Fault::UnknownFunction),
    ("Cannot infer common argument type", Fault::UnknownFunction),
    ("require unique expression names", Fault::DuplicateName),
    ("specified more than once", Fault::DuplicateName),
    ("must appear in the GROUP BY clause", Fault::Grouping),
    ("Aggregate function calls cannot be nested", Fault::Grouping),
    ("Aggregate functions are not allowed", Fault::Grouping),
    ("non-boolean predicate", Fault::WrongType),
    ("queries have different number of columns", Fault::Syntax),
    ("Inconsistent data length across values list", Fault::Syntax),
    ("The subquery should only return one column", Fault::Syntax),
    ("Correlated scalar subquery must be aggregated", Fault::NotSupported),
    ("Scalar subquery returned more than one row", Fault::SeveralRows),
    ("Invalid qualifier", Fault::UnknownTable),
    ("table '", Fault::UnknownTable),
];

/// The same of Arrow, whose types say less.
const ARROW_WORDS: [(&str, Fault); 5] = [
    ("Can't cast value", Fault::OutOfRange),
    ("is too large to store in a Decimal", Fault::OutOfRange),
    ("Cannot cast string", Fault::BadText),
    ("Cannot cast value", Fault::BadText),
    ("Regular expression did not compile", Fault::BadPattern),
];

/// What the root of an error says.
pub(super) fn of(root: &DataFusionError) -> Option<Fault> {
    match root {
        DataFusionError::SQL(error, _) => Some(match error.as_ref() {
            ParserError::RecursionLimitExceeded => Fault::TooLarge,
            _ => Fault::Syntax,
        }),
        DataFusionError::SchemaError(error, _) => Some(of_schema(error)),
        DataFusionError::NotImplemented(_) => Some(Fault::NotSupported),
        DataFusionError::ResourcesExhausted(_) => Some(Fault::OutOfMemory),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => Some(Fault::DivisionByZero),
            ArrowError::ArithmeticOverflow(_) => Some(Fault::OutOfRange),
            ArrowError::NotYetImplemented(_) => Some(Fault::NotSupported),
            // Numbers are cast, not parsed.
            ArrowError::ParseError(_) => Some(Fault::BadTime),
            ArrowError::CastError(words)
            | ArrowError::InvalidArgumentError(words)
            | ArrowError::ComputeError(words) => by(&ARROW_WORDS, words),
            _ => None,
        },
        DataFusionError::Plan(words) | DataFusionError::Execution(words) => by(&WORDS, words),
        DataFusionError::External(error) if is_pattern(error.as_ref()) => Some(Fault::BadPattern),
        _ => None,
    }
}

/// Is it the error of a pattern that does not compile? It is of one of several crates.
pub(super) fn is_pattern(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    error.to_string().starts_with("regex parse error:")
}

fn of_schema(error: &SchemaError) -> Fault {
    match error {
        SchemaError::AmbiguousReference { .. } => Fault::AmbiguousColumn,
        SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
            Fault::DuplicateName
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let is_there = |table| valid_fields.iter().any(|known| known.relation.as_ref() == Some(table));
            match &field.relation {
                Some(table) if !valid_fields.is_empty() && !is_there(table) => Fault::UnknownTable,
                _ => Fault::UnknownColumn,
            }
        }
    }
}

fn by(known: &[(&str, Fault)], words: &str) -> Option<Fault> {
    known.iter().find(|(part, _)| words.contains(part)).map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use crate::testing::{Bench, rows};

    /// Each asks DataFusion for one thing that it says; a change of its words or types is found here.
    const ASKED: [(&str, Fault); 46] = [
        ("SELEC 1", Fault::Syntax),
        ("SELECT (1", Fault::Syntax),
        ("SELECT 'unterminated", Fault::Syntax),
        ("SELECT ts, value FROM samples UNION SELECT ts FROM samples", Fault::Syntax),
        ("VALUES (1), (1, 2)", Fault::Syntax),
        ("SELECT (SELECT 1, 2)", Fault::Syntax),
        ("SELECT * FROM nix", Fault::UnknownTable),
        ("SELECT * FROM nix.t", Fault::UnknownTable),
        ("SELECT nix.value FROM samples", Fault::UnknownTable),
        ("SELECT nix.* FROM samples", Fault::UnknownTable),
        ("SELECT nix FROM samples", Fault::UnknownColumn),
        ("SELECT samples.nix FROM samples", Fault::UnknownColumn),
        ("SELECT metric FROM samples GROUP BY nix", Fault::UnknownColumn),
        ("SELECT metric FROM samples ORDER BY nix", Fault::UnknownColumn),
        ("SELECT nix(1)", Fault::UnknownFunction),
        ("SELECT * FROM nix(1)", Fault::UnknownFunction),
        ("SELECT abs(TIMESTAMP '2020-01-01')", Fault::UnknownFunction),
        ("SELECT sum(metric) FROM samples", Fault::UnknownFunction),
        ("SELECT metric + 1 FROM samples", Fault::UnknownFunction),
        ("SELECT 1 = ARRAY[1]", Fault::UnknownFunction),
        ("SELECT time_bucket('1h', 5)", Fault::UnknownFunction),
        ("SELECT value FROM samples a, samples b", Fault::AmbiguousColumn),
        ("SELECT * FROM samples a JOIN samples a ON true", Fault::DuplicateName),
        ("WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a", Fault::DuplicateName),
        ("SELECT value, count(*) FROM samples GROUP BY metric", Fault::Grouping),
        ("SELECT value FROM samples HAVING value > 1", Fault::Grouping),
        ("SELECT sum(count(*)) FROM samples", Fault::Grouping),
        ("SELECT value FROM samples WHERE count(*) > 1", Fault::Grouping),
        ("SELECT value FROM samples WHERE metric", Fault::WrongType),
        ("SELECT $1", Fault::Parameter),
        ("INSERT INTO samples VALUES (1)", Fault::ReadOnly),
        ("SELECT CAST('x' AS uuid)", Fault::NotSupported),
        (
            "SELECT value FROM samples a WHERE value = (SELECT value FROM samples b WHERE b.series_id = a.series_id)",
            Fault::NotSupported,
        ),
        ("SELECT 1 / 0", Fault::DivisionByZero),
        ("SELECT 1 % 0", Fault::DivisionByZero),
        ("SELECT 1.5 / 0", Fault::DivisionByZero),
        ("SELECT CAST('a' AS INT)", Fault::BadText),
        ("SELECT CAST('a' AS BOOLEAN)", Fault::BadText),
        ("SELECT CAST('a' AS DECIMAL(10, 2))", Fault::BadText),
        ("SELECT TIMESTAMP '2020-13-01'", Fault::BadTime),
        ("SELECT INTERVAL 'abc'", Fault::BadTime),
        ("SELECT 'a' ~ '['", Fault::BadPattern),
        ("SELECT x ~ y FROM (VALUES ('a', '[')) AS v(x, y)", Fault::BadPattern),
        ("SELECT CAST(300000 AS SMALLINT)", Fault::OutOfRange),
        ("SELECT CAST(x AS DECIMAL(4, 2)) FROM (VALUES (12345.6)) AS v(x)", Fault::OutOfRange),
        ("SELECT (SELECT x FROM (VALUES (1), (2)) AS v(x))", Fault::SeveralRows),
    ];

    #[tokio::test]
    async fn what_is_wrong_is_known_of_what_planning_and_running_say() {
        let engine = Bench::new().engine();
        for (sql, fault) in ASKED {
            let error = rows(&engine, sql).await.expect_err(sql);
            assert_eq!(error.fault, Some(fault), "{sql}: {error}");
            assert!(!error.to_string().ends_with(':'), "{sql}: {error}");
        }
    }
}
