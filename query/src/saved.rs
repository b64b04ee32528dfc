//! Saved queries: questions with a name, and with parameters that are values.
//!
//! Made of settings by the binary, which hands them to the engine in its configuration; asked by name over HTTP. A parameter stands in the
//! statement as `$name` and has a type. What a client sends is read as that type and put into the parsed statement as one value
//! (`bind`), so no text of a client is ever read as SQL or PromQL.
//!
//! A query in PromQL has no parameters but the times at which it is asked: `time`, or `start`, `end` and `step`. It is a query in SQL
//! with a call (`calls`), so it has the limits, the formats and the errors of every other.
//!
//! Invariant: a saved query that was made names no parameter that it does not have, and has none that it does not name.

mod bind;
mod param;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use bind::bind;
pub use param::{Kind, Param};

use datafusion::sql::sqlparser::ast::Expr;

use crate::{Answer, Engine, Error, ErrorKind, Result, Syntax, gate};

/// Names that mean something else in a request.
const RESERVED: [&str; 2] = ["format", "query"];
/// Parameters of one query.
const PARAMS_MAX: usize = 64;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// PromQL over a range and at a moment.
const RANGE: &str = "SELECT time, value, labels FROM promql($query, $start, $end, $step)";
const INSTANT: &str = "SELECT time, value, labels FROM promql_instant($query, $time)";

/// What a saved query says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// A statement in SQL.
    Sql(String),
    /// An expression in PromQL.
    Promql(String),
}

/// A saved query.
#[derive(Debug, Clone)]
pub struct Saved {
    /// What it answers, for people.
    pub description: String,
    text: Text,
    params: Vec<Param>,
}

/// Saved queries by name.
pub type Queries = BTreeMap<String, Saved>;

/// A statement, and the values that stand in it.
pub(crate) struct Bound {
    pub(crate) sql: String,
    pub(crate) values: BTreeMap<String, Expr>,
}

/// Is it a name of a saved query, or of a parameter?
///
/// # Errors
/// What a name is made of.
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && name.len() <= NAME_BYTES_MAX && name.chars().all(good) {
        return Ok(());
    }
    Err(invalid(format!(
        "a name has 1 to {NAME_BYTES_MAX} of the characters a-z 0-9 _ and begins with a letter name={name:?}"
    )))
}

impl Saved {
    /// A query of its parts.
    ///
    /// # Errors
    /// `Invalid`: a text that cannot be read, a parameter that the text does not name, or one it names that is not there.
    pub fn new(description: String, text: Text, params: Vec<Param>, syntax: Syntax) -> Result<Self> {
        if params.len() > PARAMS_MAX {
            return Err(invalid(format!("too many parameters params={} params_max={PARAMS_MAX}", params.len())));
        }
        for param in &params {
            check_name(&param.name)?;
            if RESERVED.contains(&param.name.as_str()) {
                let message = "a parameter has a name that every request knows; call it otherwise";
                return Err(invalid(format!("{message} name={}", param.name)));
            }
        }
        match &text {
            Text::Promql(expr) => {
                promql::Query::parse_with(expr, syntax)?;
                if let Some(param) = params.first() {
                    return Err(invalid(format!(
                        "PromQL has no parameters: write SQL, as in SELECT … FROM promql('…', $start, $end, '1m', '{0}') WHERE {0} = ${0}",
                        param.name
                    )));
                }
                let params = [
                    ("time", Kind::Timestamp, Some("now")),
                    ("start", Kind::Timestamp, None),
                    ("end", Kind::Timestamp, Some("now")),
                    ("step", Kind::Interval, Some("1m")),
                ];
                let params = params.map(|(name, kind, default)| Param::new(name, kind, default, ""));
                return Ok(Self { description, text, params: params.into_iter().collect::<Result<_>>()? });
            }
            Text::Sql(sql) => {
                let mut named = bind::placeholders(&gate::check(sql)?);
                for param in &params {
                    if !named.remove(&param.name) {
                        return Err(invalid(format!("the statement does not use a parameter name={}", param.name)));
                    }
                }
                if let Some(name) = named.first() {
                    return Err(invalid(format!(
                        "the statement uses ${name}, which is no parameter; declare it under `params`"
                    )));
                }
            }
        }
        Ok(Self { description, text, params })
    }

    /// What a request may say.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The language it is written in.
    #[must_use]
    pub fn language(&self) -> &'static str {
        match self.text {
            Text::Sql(_) => "sql",
            Text::Promql(_) => "promql",
        }
    }

    /// Can it be asked so?
    ///
    /// # Errors
    /// `Invalid`: a parameter that there is not, that is missing, or whose value is none of its type.
    pub fn check(&self, asked: &[(String, String)]) -> Result<()> {
        self.bound(asked, 0).map(drop)
    }

    /// The statement with what is asked for, at a time in microseconds.
    pub(crate) fn bound(&self, asked: &[(String, String)], now_us: i64) -> Result<Bound> {
        let mut seen = BTreeSet::new();
        for (name, _) in asked {
            if !self.params.iter().any(|param| param.name == *name) {
                return Err(invalid(format!("no such parameter name={name:?} {}", self.known())));
            }
            if !seen.insert(name.as_str()) {
                return Err(invalid(format!("a parameter is given twice name={name}")));
            }
        }
        let (sql, wanted) = match &self.text {
            Text::Sql(sql) => (sql.as_str(), self.params.iter().collect::<Vec<_>>()),
            Text::Promql(_) => {
                let is_range = asked.iter().any(|(name, _)| name != "time");
                if is_range && seen.contains("time") {
                    return Err(invalid("ask at a `time`, or from `start` to `end`"));
                }
                let wanted = self.params.iter().filter(|param| is_range == (param.name != "time")).collect();
                (if is_range { RANGE } else { INSTANT }, wanted)
            }
        };
        let mut values = BTreeMap::new();
        if let Text::Promql(expr) = &self.text {
            values.insert("query".to_owned(), bind::text(expr));
        }
        for param in wanted {
            let given = asked.iter().find(|(name, _)| *name == param.name).map(|(_, value)| value.as_str());
            let Some(value) = given.or(param.default.as_deref()) else {
                return Err(invalid(format!("a parameter is missing name={} {}", param.name, self.known())));
            };
            values.insert(param.name.clone(), param.kind.value(&param.name, value, now_us)?);
        }
        Ok(Bound { sql: sql.to_owned(), values })
    }

    /// The parameters there are, for messages.
    fn known(&self) -> String {
        let named = |param: &Param| format!("{} ({})", param.name, param.kind.name());
        format!("params={}", self.params.iter().map(named).collect::<Vec<_>>().join(", "))
    }

    /// What its parameters are when nobody asks: defaults, and an example of the type where there is none.
    fn examples(&self) -> Vec<(String, String)> {
        let needed = self.params.iter().filter(|param| param.default.is_none());
        needed.map(|param| (param.name.clone(), param.kind.example().to_owned())).collect()
    }
}

impl Engine {
    /// The saved queries.
    #[must_use]
    pub fn queries(&self) -> &Queries {
        &self.config().queries
    }

    /// Answers a saved query as of a time, microseconds. Rows are those of today, whatever their time.
    ///
    /// # Errors
    /// As [`Engine::sql`]; `Invalid` too if there is no such query, or it cannot be asked so.
    pub async fn saved(&self, name: &str, asked: &[(String, String)], now_us: i64) -> Result<Answer> {
        let none = || invalid(format!("there is no saved query of this name name={name:?}"));
        let saved = self.queries().get(name).ok_or_else(none)?;
        self.bound(&saved.bound(asked, now_us)?, now_us).await
    }

    /// Plans every saved query, with examples where a parameter has no default.
    ///
    /// # Errors
    /// Of the first that cannot be planned, with its name.
    pub async fn check_queries(&self) -> Result<()> {
        for (name, saved) in self.queries() {
            let failed = |error: Error| {
                let position = error.position;
                error.within(&format!("query {name}")).at(position)
            };
            let bound = saved.bound(&saved.examples(), self.now_us()).map_err(failed)?;
            drop(self.bound(&bound, self.now_us()).await.map_err(failed)?);
        }
        Ok(())
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests;
