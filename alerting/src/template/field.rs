//! What a name after a dot means: fields of records, entries of maps, methods.
//!
//! Called by `exec` for each name of a chain.

use super::{
    args::{Args, Called, Wrong, wrong_type},
    layout,
    time::{self, Time},
    value::{List, ListKind, Value},
};
use crate::{ALERTNAME, Labels};

/// The field, entry or result of the method `name`.
pub(super) fn get(value: &Value, name: &str, args: Args<'_>) -> Called {
    let method = match value {
        Value::Kv(labels) => kv(labels, name, args)?,
        Value::List(list) => in_list(list, name)?,
        Value::Time(time) => of_time(time, name, args)?,
        Value::Duration(nanoseconds) => of_duration(*nanoseconds, name, args)?,
        _ => None,
    };
    if let Some(value) = method {
        return Ok(value);
    }
    let entry = match value {
        Value::Labels(labels) | Value::Kv(labels) => Some(Value::text(labels.get(name))),
        Value::Map(map) => Some(map.items.get(name).cloned().unwrap_or_default()),
        Value::Record(record) => record.get(name).cloned(),
        _ => None,
    };
    match entry {
        Some(_) if !args.0.is_empty() => Err(Wrong::Use(format!("{name} is not a method but has arguments"))),
        Some(value) => Ok(value),
        None => Err(Wrong::Field(value.type_name())),
    }
}

/// Labels sorted by name, but the alert's name first.
pub(super) fn alert_name_first(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    let named = labels.iter().filter(|(name, _)| *name == ALERTNAME);
    named.chain(labels.iter().filter(|(name, _)| *name != ALERTNAME))
}

fn kv(labels: &Labels, name: &str, args: Args<'_>) -> Result<Option<Value>, Wrong> {
    let want = match name {
        "SortedPairs" | "Names" | "Values" | "String" => 0,
        "Remove" => 1,
        _ => return Ok(None),
    };
    args.count(name, want)?;
    Ok(Some(match name {
        "SortedPairs" => Value::pairs(alert_name_first(labels)),
        "Names" => Value::texts(alert_name_first(labels).map(|(name, _)| name)),
        "Values" => Value::texts(alert_name_first(labels).map(|(_, value)| value)),
        "String" => Value::text(super::format::print(&[Value::Kv(labels.clone())], usize::MAX)?),
        _ => {
            let names = texts(args.value(0))?;
            Value::Kv(labels.iter().filter(|(name, _)| !names.iter().any(|taken| taken == name)).collect())
        }
    }))
}

/// The texts of a list.
pub(super) fn texts(value: &Value) -> Result<Vec<&str>, Wrong> {
    let Value::List(list) = value else { return Err(wrong_type("[]string", value)) };
    let text = |item| match item {
        &Value::Text(ref text) | &Value::Html(ref text) => Ok(&**text),
        _ => Err(wrong_type("[]string", value)),
    };
    list.items.iter().map(text).collect()
}

fn in_list(list: &List, name: &str) -> Result<Option<Value>, Wrong> {
    let field = |item: &Value, field: &str| match item {
        Value::Record(record) => record.get(field).cloned().unwrap_or_default(),
        _ => Value::Nil,
    };
    let texts = |name: &str| {
        let items = list.items.iter().map(|item| field(item, name)).collect();
        Value::list(ListKind::Texts, items)
    };
    let with_status = |status: &str| {
        let is_such = |item: &&Value| matches!(field(item, "Status"), Value::Text(text) if &*text == status);
        Value::list(ListKind::Alerts, list.items.iter().filter(is_such).cloned().collect())
    };
    Ok(Some(match (list.kind, name) {
        (ListKind::Alerts, "Firing") => with_status("firing")?,
        (ListKind::Alerts, "Resolved") => with_status("resolved")?,
        (ListKind::Pairs, "Names") => texts("Name")?,
        (ListKind::Pairs, "Values") => texts("Value")?,
        (ListKind::Pairs, "String") => Value::text(super::format::print(&[Value::List(list.clone())], usize::MAX)?),
        _ => return Ok(None),
    }))
}

fn of_time(time: &Time, name: &str, args: Args<'_>) -> Result<Option<Value>, Wrong> {
    if let Some(part) = time.part(name) {
        args.count(name, 0)?;
        return Ok(Some(Value::Int(part)));
    }
    let other = || match args.value(0) {
        Value::Time(other) => Ok(*other),
        value => Err(wrong_type("time.Time", value)),
    };
    let by = || match args.value(0) {
        Value::Duration(nanoseconds) | Value::Int(nanoseconds) => Ok(*nanoseconds),
        value => Err(wrong_type("time.Duration", value)),
    };
    let want = match name {
        "Format" | "Before" | "After" | "Equal" | "Sub" | "Add" | "Truncate" => 1,
        "AddDate" => 3,
        _ => 0,
    };
    let value = match name {
        "Format" => {
            args.count(name, want).and_then(|()| args.text(0)).map(|layout| Value::text(time.format(layout)))?
        }
        "Before" => Value::Bool(time.instant < other()?.instant),
        "After" => Value::Bool(time.instant > other()?.instant),
        "Equal" => Value::Bool(time.instant == other()?.instant),
        "Sub" => Value::Duration(time::between(other()?.instant, time.instant)),
        "Add" => Value::Time(time.later(by()?)),
        "Truncate" => match by()? {
            unit @ 1.. => Value::Time(time.later(-time.nanoseconds().rem_euclid(unit))),
            _ => Value::Time(*time),
        },
        "String" => Value::text(time.to_string()),
        "UTC" | "Local" => Value::Time(time.instant.into()),
        "IsZero" => Value::Bool(time.instant == Time::zero().instant),
        "Month" => Value::text(layout::month(time)),
        "Weekday" => Value::text(layout::weekday(time)),
        _ => return Ok(None),
    };
    args.count(name, want)?;
    Ok(Some(value))
}

#[expect(clippy::cast_precision_loss, reason = "so does Go")]
fn of_duration(nanoseconds: i64, name: &str, args: Args<'_>) -> Result<Option<Value>, Wrong> {
    let unit = || match args.value(0) {
        Value::Duration(unit) | Value::Int(unit) => Ok(*unit),
        value => Err(wrong_type("time.Duration", value)),
    };
    let value = match name {
        "Hours" => Value::Float(nanoseconds as f64 / 3.6e12),
        "Minutes" => Value::Float(nanoseconds as f64 / 6e10),
        "Seconds" => Value::Float(nanoseconds as f64 / 1e9),
        "Milliseconds" => Value::Int(nanoseconds / 1_000_000),
        "Microseconds" => Value::Int(nanoseconds / 1_000),
        "Nanoseconds" => Value::Int(nanoseconds),
        "Abs" => Value::Duration(nanoseconds.saturating_abs()),
        "String" => Value::text(time::duration(nanoseconds)),
        "Truncate" => match unit()? {
            unit @ 1.. => Value::Duration(nanoseconds - nanoseconds % unit),
            _ => Value::Duration(nanoseconds),
        },
        "Round" => match unit()? {
            unit @ 1.. => {
                let rest = nanoseconds % unit;
                let up = rest.unsigned_abs() >= unit.unsigned_abs() - rest.unsigned_abs();
                let away = if up { unit * nanoseconds.signum() } else { 0 };
                Value::Duration((nanoseconds - rest).saturating_add(away))
            }
            _ => Value::Duration(nanoseconds),
        },
        _ => return Ok(None),
    };
    args.count(name, usize::from(matches!(name, "Truncate" | "Round")))?;
    Ok(Some(value))
}
