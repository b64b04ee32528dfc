//! Saved queries: `queries`, validated, and shown.
//!
//! Called while settings are validated; hands queries whose texts and parameters fit each other to the engine. Whether there are the tables
//! and columns that they name is told when they are planned: by `check`, and when the server starts.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use query::{
    Syntax,
    saved::{Kind, Param, Queries, Saved, Text, check_name},
};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::raw::{
    Refused,
    queries::{self as raw, SavedQuery},
};

/// Saved queries there may be: each is planned when the server starts, which takes some milliseconds.
const QUERIES_MAX: usize = 1_000;

pub(super) fn validate(
    origin: &str,
    written: BTreeMap<String, Spanned<SavedQuery>>,
    syntax: Syntax,
) -> Result<Queries, Refused> {
    if let Some((_, beyond)) = written.iter().nth(QUERIES_MAX) {
        return Err(Refused::at(origin, beyond, format!("there are more than {QUERIES_MAX} saved queries")));
    }
    let named = |(name, query): (String, Spanned<SavedQuery>)| {
        check_name(&name).map_err(|error| Refused::at(origin, &query, error.to_string()))?;
        Ok((name, saved(origin, query, syntax)?))
    };
    written.into_iter().map(named).collect()
}

fn saved(origin: &str, query: Spanned<SavedQuery>, syntax: Syntax) -> Result<Saved, Refused> {
    let one = || Refused::at(origin, &query, "a query has either `sql` or `promql`");
    let (written, text) = match (&query.value.sql, &query.value.promql) {
        (Some(sql), None) => (sql, Text::Sql(sql.value.clone())),
        (None, Some(promql)) => (promql, Text::Promql(promql.value.clone())),
        _ => return Err(one()),
    };
    let params = query.value.params.iter().flatten();
    let params = params.map(|(name, param)| self::param(origin, name, param)).collect::<Result<_, _>>()?;
    let description = query.value.description.clone().unwrap_or_default();
    Saved::new(description, text, params, syntax).map_err(|error| {
        let mut reason = error.to_string();
        if let Some(at) = error.position {
            // Writing to a string cannot fail.
            let _ = write!(reason, " line={} column={}", at.line, at.column);
        }
        Refused::at(origin, written, reason)
    })
}

fn param(origin: &str, name: &str, param: &Spanned<raw::Param>) -> Result<Param, Refused> {
    let raw::Param { kind, default, description } = &param.value;
    let kinds = || Kind::ALL.map(Kind::name).join(", ");
    let kind = kind
        .as_ref()
        .ok_or_else(|| Refused::at(origin, param, format!("a parameter needs a `type`; there are {}", kinds())))?;
    let known = Kind::named(&kind.value)
        .ok_or_else(|| Refused::at(origin, kind, format!("no such type; there are {}", kinds())))?;
    let text = match default.as_ref().map(|default| (default, &default.value)) {
        None | Some((_, Value::Null)) => None,
        Some((_, Value::String(text))) => Some(text.clone()),
        Some((_, value @ (Value::Number(_) | Value::Bool(_)))) => Some(value.to_string()),
        Some((written, _)) => return Err(Refused::at(origin, written, "a default is one value")),
    };
    Param::new(name, known, text.as_deref(), description.as_deref().unwrap_or_default())
        .map_err(|error| Refused::at(origin, param, error.to_string()))
}

/// For `check`.
pub(super) fn show(queries: &Queries, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, saved) in queries {
        let params: Vec<&str> = saved.params().iter().map(|param| param.name.as_str()).collect();
        writeln!(f, "query          {name} ({}): {}", saved.language(), params.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Queries, String> {
        let written = crate::config::raw::parse("gauge.yaml", text).map_err(|error| error.to_string())?;
        let written: crate::config::raw::Raw = written;
        validate("gauge.yaml", written.queries.unwrap_or_default(), Syntax::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn queries_have_texts_and_typed_parameters() {
        let queries = read(
            "queries:\n  costs_of:\n    description: Costs of a team.\n    sql: SELECT $team AS t LIMIT $most\n    params:\n      \
             team: {type: text, default: payments, description: Who}\n      most: {type: integer, default: 10}\n  \
             up: {promql: 'sum(up)'}\n",
        )
        .unwrap();
        let params: Vec<_> =
            queries["costs_of"].params().iter().map(|p| (p.name.as_str(), p.default.as_deref())).collect();
        assert_eq!(params, [("most", Some("10")), ("team", Some("payments"))]);
        assert_eq!(queries["up"].language(), "promql");
    }

    #[test]
    fn what_does_not_fit_is_refused_at_its_place() {
        for (text, why) in [
            ("queries: {A: {sql: SELECT 1}}", "a name has 1 to 64"),
            ("queries: {a: {}}", "either `sql` or `promql`"),
            ("queries: {a: {sql: SELECT 1, promql: up}}", "either `sql` or `promql`"),
            ("queries:\n  a:\n    sql: DROP TABLE samples\n", "gauge.yaml:3:10: queries only read"),
            ("queries: {a: {sql: SELECT $x}}", "uses $x, which is no parameter"),
            ("queries: {a: {sql: SELECT 1, params: {x: {type: text}}}}", "does not use a parameter name=x"),
            ("queries: {a: {sql: SELECT $x, params: {x: {}}}}", "needs a `type`; there are text, integer"),
            ("queries: {a: {sql: SELECT $x, params: {x: {type: blob}}}}", "no such type"),
            ("queries: {a: {sql: SELECT $x, params: {x: {type: integer, default: ten}}}}", "no integer"),
            ("queries: {a: {sql: SELECT $format, params: {format: {type: text}}}}", "call it otherwise"),
            ("queries: {a: {promql: 'sum('}}", "parse error"),
            ("queries: {a: {promql: up, params: {job: {type: text}}}}", "PromQL has no parameters"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why) && error.starts_with("gauge.yaml:"), "{text}: {error}");
        }
    }
}
