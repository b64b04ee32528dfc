//! Saved queries: `queries`, validated, and shown.
//!
//! Called while settings are validated; hands queries whose texts and parameters fit each other to the engine, and those that are asked at
//! times to alerting. Whether there are the tables and columns that they name is told when they are planned, and whether there is the receiver
//! when the file of receivers is read: by `check`, and when the server starts.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use alerting::schedule::{Schedule, Times};
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

/// A saved query that is asked at times.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// When, and who is told.
    pub schedule: Schedule,
    /// What it answers, for people.
    pub title: String,
    /// Values of its parameters.
    pub parameters: Vec<(String, String)>,
    /// Where its receiver is named: file, line and column.
    pub place: String,
}

/// Queries, and those of them that are asked at times.
pub(super) fn validate(
    origin: &str,
    written: BTreeMap<String, Spanned<SavedQuery>>,
    syntax: Syntax,
) -> Result<(Queries, Vec<Scheduled>), Refused> {
    if let Some((_, beyond)) = written.iter().nth(QUERIES_MAX) {
        return Err(Refused::at(origin, beyond, format!("there are more than {QUERIES_MAX} saved queries")));
    }
    let (mut queries, mut scheduled) = (Queries::new(), Vec::new());
    for (name, mut query) in written {
        check_name(&name).map_err(|error| Refused::at(origin, &query, error.to_string()))?;
        let schedule = query.value.schedule.take();
        let saved = saved(origin, query, syntax)?;
        if let Some(schedule) = schedule {
            scheduled.push(self::scheduled(origin, (&name, &saved), &schedule)?);
        }
        queries.insert(name, saved);
    }
    Ok((queries, scheduled))
}

/// Names one more of the days on which a query is asked.
type Add = fn(Times, &str) -> Result<Times, String>;

fn scheduled(
    origin: &str,
    (name, saved): (&str, &Saved),
    written: &Spanned<raw::Schedule>,
) -> Result<Scheduled, Refused> {
    let raw::Schedule { at, days, days_of_month, months, location, receiver, parameters } = &written.value;
    let needs = |what: &str| Refused::at(origin, written, format!("a schedule needs {what}"));
    let at = at.as_ref().ok_or_else(|| needs("a time `at`, such as '08:00'"))?;
    let receiver = receiver.as_ref().ok_or_else(|| needs("a `receiver`, who is told the answer"))?;
    let zone = location.as_ref().map_or("", |location| location.value.as_str());
    // Either may be what is wrong.
    let place = location.as_ref().filter(|_| Times::new(&at.value, "").is_ok()).unwrap_or(at);
    let mut times = Times::new(&at.value, zone).map_err(|reason| Refused::at(origin, place, reason))?;
    let of: [(&Option<Vec<Spanned<String>>>, Add); 3] =
        [(days, Times::on_weekdays), (days_of_month, Times::on_days_of_month), (months, Times::in_months)];
    for (all, add) in of {
        for written in all.iter().flatten() {
            times = add(times, &written.value).map_err(|reason| Refused::at(origin, written, reason))?;
        }
    }
    if times.next_ms(0).is_none() {
        return Err(Refused::at(origin, written, "there is no such day"));
    }
    let value = |(name, written): (&String, &Spanned<Value>)| {
        let text = text_of(&written.value).map_err(|reason| Refused::at(origin, written, reason))?;
        Ok((name.clone(), text.unwrap_or_default()))
    };
    let parameters: Vec<(String, String)> = parameters.iter().flatten().map(value).collect::<Result<_, _>>()?;
    saved.check(&parameters).map_err(|error| Refused::at(origin, written, error.to_string()))?;
    let title = if saved.description.is_empty() { name } else { saved.description.as_str() }.to_owned();
    let place = format!("{origin}:{}:{}", receiver.referenced.line(), receiver.referenced.column());
    let schedule = Schedule { query: name.into(), receiver: receiver.value.as_str().into(), times };
    Ok(Scheduled { schedule, title, parameters, place })
}

/// A value as a request would have it; none if nothing is said.
fn text_of(value: &Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err("a value is a text, a number, or true or false"),
    }
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
    let text =
        default.as_ref().map(|default| text_of(&default.value).map_err(|reason| Refused::at(origin, default, reason)));
    let text = text.transpose()?.flatten();
    Param::new(name, known, text.as_deref(), description.as_deref().unwrap_or_default())
        .map_err(|error| Refused::at(origin, param, error.to_string()))
}

/// For `check`.
pub(super) fn show(queries: &Queries, scheduled: &[Scheduled], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, saved) in queries {
        let params: Vec<&str> = saved.params().iter().map(|param| param.name.as_str()).collect();
        writeln!(f, "query          {name} ({}): {}", saved.language(), params.join(", "))?;
    }
    for Scheduled { schedule: Schedule { query, receiver, times }, .. } in scheduled {
        writeln!(f, "scheduled      {query} for {receiver}: {times}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Queries, Vec<Scheduled>), String> {
        let written = crate::config::raw::parse("gauge.yaml", text).map_err(|error| error.to_string())?;
        let written: crate::config::raw::Raw = written;
        validate("gauge.yaml", written.queries.unwrap_or_default(), Syntax::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn queries_have_texts_and_typed_parameters() {
        let (queries, scheduled) = read(
            "queries:\n  costs_of:\n    description: Costs of a team.\n    sql: SELECT $team AS t LIMIT $most\n    params:\n      \
             team: {type: text, default: payments, description: Who}\n      most: {type: integer, default: 10}\n  \
             up: {promql: 'sum(up)'}\n",
        )
        .unwrap();
        let params: Vec<_> =
            queries["costs_of"].params().iter().map(|p| (p.name.as_str(), p.default.as_deref())).collect();
        assert_eq!(params, [("most", Some("10")), ("team", Some("payments"))]);
        assert_eq!(queries["up"].language(), "promql");
        assert!(scheduled.is_empty());
    }

    #[test]
    fn a_query_is_scheduled_for_a_receiver() {
        let (_, scheduled) = read(
            "queries:\n  costs:\n    sql: SELECT $team AS t LIMIT $most\n    description: Costs of a team.\n    params: {team: {type: \
             text}, most: {type: integer, default: 10}}\n    schedule:\n      at: '08:00'\n      days: [monday, 'wednesday:friday']\n      \
             location: Europe/Berlin\n      receiver: finance\n      parameters: {team: pay, most: 5}\n",
        )
        .unwrap();
        let [Scheduled { schedule, title, parameters, place }] = &*scheduled else { panic!("{scheduled:?}") };
        assert_eq!((&*schedule.query, &*schedule.receiver, title.as_str()), ("costs", "finance", "Costs of a team."));
        assert_eq!(schedule.times.to_string(), "08:00 Europe/Berlin monday wednesday:friday");
        let pairs: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("most", "5"), ("team", "pay")]);
        assert_eq!(place, "gauge.yaml:10:17");
    }

    #[test]
    fn a_schedule_that_is_wrong_is_refused_at_its_place() {
        for (schedule, why) in [
            ("{receiver: a}", "needs a time `at`"),
            ("{at: '08:00'}", "needs a `receiver`"),
            ("{at: '8', receiver: a}", "no time of day"),
            ("{at: '24:00', receiver: a}", "write that instead"),
            ("{at: '08:00', receiver: a, days: [mon]}", "`mon` is no weekday"),
            ("{at: '08:00', receiver: a, days_of_month: ['0']}", "no day of the month"),
            ("{at: '08:00', receiver: a, days_of_month: ['31'], months: [february]}", "no such day"),
            ("{at: '08:00', receiver: a, location: Berlin}", "no time zone"),
            ("{at: '08:00', receiver: a, parameters: {y: 1}}", "no such parameter"),
            ("{at: '08:00', receiver: a, parameters: {x: ten}}", "no integer"),
            ("{at: '08:00', receiver: a, parameters: {x: [1]}}", "a value is a text"),
            ("{at: '08:00', receiver: a, every: 1h}", "every"),
        ] {
            let text =
                format!("queries: {{a: {{sql: SELECT $x, params: {{x: {{type: integer}}}}, schedule: {schedule}}}}}");
            let error = read(&text).expect_err(&text);
            assert!(error.contains(why) && error.starts_with("gauge.yaml:"), "{schedule}: {error}");
        }
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
