//! The functions that every template of Go has. `and` and `or` are in `exec`: they do not evaluate all they are given.
//!
//! Spec: <https://pkg.go.dev/text/template#hdr-Functions>

use std::cmp::Ordering;

use super::{
    args::{Args, Called, Wrong, failed},
    escape, format, money,
    value::Value,
};

const MANY: usize = usize::MAX;

/// How many arguments a function takes; nothing if there is no such function.
pub(super) fn arity(name: &str) -> Option<(usize, usize)> {
    Some(match name {
        "not" | "len" => (1, 1),
        "ne" | "lt" | "le" | "gt" | "ge" => (2, 2),
        "and" | "or" | "index" | "slice" | "call" | "eq" | "printf" => (1, MANY),
        "print" | "println" | "html" | "js" | "urlquery" => (0, MANY),
        // Ours.
        "money" => (1, 2),
        _ => return None,
    })
}

/// Calls a function; nothing if there is no such one here.
pub(super) fn call(name: &str, args: Args<'_>, bytes_max: usize) -> Option<Called> {
    let text = |text: crate::Result<String>| text.map(Value::text).map_err(Wrong::Call);
    let values = args.0;
    let joined = || match values {
        [Value::Text(text) | Value::Html(text)] => Ok(text.to_string()),
        [Value::Nil] => Ok("<no value>".to_owned()),
        _ => format::print(values, bytes_max),
    };
    Some(match name {
        "not" => Ok(Value::Bool(!args.value(0).is_true())),
        "len" => length(args.value(0)),
        "index" => index(args),
        "slice" => slice(args),
        "print" => text(format::print(values, bytes_max)),
        "println" => text(format::println(values, bytes_max)),
        "printf" => {
            args.text(0).and_then(|format| text(format::printf(format, values.get(1..).unwrap_or_default(), bytes_max)))
        }
        "html" => text(joined().map(|joined| escape::html(&joined))),
        "js" => text(joined().map(|joined| escape::js(&joined))),
        "urlquery" => text(joined().map(|joined| escape::query(&joined))),
        "call" => failed(format!("non-function of type {}", args.value(0).type_name())),
        "eq" => equal_to_any(args),
        "ne" => equal(args.value(0), args.value(1)).map(|equal| Value::Bool(!equal)),
        "lt" => compare(args).map(|order| Value::Bool(order == Some(Ordering::Less))),
        "le" => compare(args).map(|order| Value::Bool(matches!(order, Some(Ordering::Less | Ordering::Equal)))),
        // Not `le` and not `lt`, so NaN is greater than all: as in Go.
        "gt" => compare(args).map(|order| Value::Bool(!matches!(order, Some(Ordering::Less | Ordering::Equal)))),
        "ge" => compare(args).map(|order| Value::Bool(order != Some(Ordering::Less))),
        "money" => money::call(args),
        _ => return None,
    })
}

fn length(value: &Value) -> Called {
    let length = match value {
        Value::Text(text) | Value::Html(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.items.len(),
        Value::Labels(labels) | Value::Kv(labels) => labels.iter().len(),
        Value::Nil => return failed("len of nil pointer"),
        _ => return failed(format!("len of type {}", value.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// An index into so many; one past the end only where a slice may end.
fn place(index: &Value, length: usize, past: bool) -> Result<usize, Wrong> {
    let at = match index {
        Value::Int(at) => *at,
        Value::Nil => return failed("cannot index slice/array with nil"),
        _ => return failed(format!("cannot index slice/array with type {}", index.type_name())),
    };
    match usize::try_from(at) {
        Ok(place) if place < length || (past && place == length) => Ok(place),
        Ok(place) if place == length => failed("reflect: slice index out of range"),
        _ => failed(format!("index out of range: {at}")),
    }
}

fn index(args: Args<'_>) -> Called {
    let mut value = args.value(0).clone();
    for index in &args.0[1..] {
        value = match (&value, index) {
            (Value::Nil, _) => return failed("index of untyped nil"),
            (Value::List(list), _) => list.items[place(index, list.items.len(), false)?].clone(),
            (Value::Text(text) | Value::Html(text), Value::Int(at)) if usize::try_from(*at) == Ok(text.len()) => {
                return failed("reflect: string index out of range");
            }
            (Value::Text(text) | Value::Html(text), _) => {
                Value::Int(i64::from(text.as_bytes()[place(index, text.len(), false)?]))
            }
            (Value::Map(map), Value::Text(name)) => map.items.get(&**name).cloned().unwrap_or_default(),
            (Value::Labels(labels) | Value::Kv(labels), Value::Text(name)) => Value::text(labels.get(name)),
            (Value::Map(_) | Value::Labels(_) | Value::Kv(_), Value::Nil) => {
                return failed("value is nil; should be of type string");
            }
            (Value::Map(_) | Value::Labels(_) | Value::Kv(_), _) => {
                return failed(format!("value has type {}; should be string", index.type_name()));
            }
            _ => return failed(format!("can't index item of type {}", value.type_name())),
        };
    }
    Ok(value)
}

fn slice(args: Args<'_>) -> Called {
    let value = args.value(0);
    let indexes = &args.0[1..];
    let (length, is_text) = match value {
        Value::Text(text) => (text.len(), true),
        Value::List(list) => (list.items.len(), false),
        Value::Nil => return failed("slice of untyped nil"),
        _ => return failed(format!("can't slice item of type {}", value.type_name())),
    };
    match indexes.len() {
        3 if is_text => return failed("cannot 3-index slice a string"),
        4.. => return failed(format!("too many slice indexes: {}", indexes.len())),
        _ => {}
    }
    let mut bounds = [0, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = place(index, length, true)?;
    }
    let [from, to] = bounds;
    if from > to {
        return failed(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        // Half a character becomes the sign for it.
        Value::Text(text) => Ok(Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to]))),
        Value::List(list) => Ok(Value::list(list.kind, list.items[from..to].to_vec())?),
        _ => Ok(Value::Nil),
    }
}

fn equal_to_any(args: Args<'_>) -> Called {
    if args.0.len() < 2 {
        return failed("missing argument for comparison");
    }
    for other in &args.0[1..] {
        if equal(args.value(0), other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// Values of basic types and times can be equal; of two kinds, that is an error.
fn equal(one: &Value, other: &Value) -> Result<bool, Wrong> {
    use Value::{Bool, Duration, Float, Html, Int, Nil, Text, Time};
    Ok(match (one, other) {
        (Nil, other) | (other, Nil) => matches!(other, Nil),
        (Bool(one), Bool(other)) => one == other,
        (Int(one) | Duration(one), Int(other) | Duration(other)) => one == other,
        #[expect(clippy::float_cmp, reason = "so does Go")]
        (Float(one), Float(other)) => one == other,
        (Text(one) | Html(one), Text(other) | Html(other)) => one == other,
        (Time(one), Time(other)) => one == other,
        _ if one.type_name() == other.type_name() => {
            let printed = format::printf("%s", std::slice::from_ref(one), PRINTED_BYTES_MAX)?;
            return failed(format!("non-comparable type {printed}: {}", one.type_name()));
        }
        _ => return failed(incompatible(one, other)),
    })
}

/// A value in an error is no longer.
const PRINTED_BYTES_MAX: usize = 1000;

fn incompatible(one: &Value, other: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", one.type_name(), other.type_name())
}

/// The order of two values of one basic type; NaN has none.
fn compare(args: Args<'_>) -> Result<Option<Ordering>, Wrong> {
    use Value::{Duration, Float, Html, Int, Text};
    let is_basic =
        |value: &Value| matches!(value, Value::Bool(_) | Int(_) | Duration(_) | Float(_) | Text(_) | Html(_));
    match (args.value(0), args.value(1)) {
        (Int(one) | Duration(one), Int(other) | Duration(other)) => Ok(Some(one.cmp(other))),
        (Float(one), Float(other)) => Ok(one.partial_cmp(other)),
        (Text(one) | Html(one), Text(other) | Html(other)) => Ok(Some(one.cmp(other))),
        (one, other) if is_basic(one) && is_basic(other) && one.type_name() != other.type_name() => {
            failed(incompatible(one, other))
        }
        _ => failed("invalid type for comparison"),
    }
}

/// A number of any type, or a text that has one; of a duration, its seconds.
pub(super) fn number(value: &Value) -> Result<f64, Wrong> {
    match value {
        Value::Float(number) => Ok(*number),
        #[expect(clippy::cast_precision_loss, reason = "so does Go")]
        Value::Int(number) => Ok(*number as f64),
        #[expect(clippy::cast_precision_loss, reason = "so does Go")]
        Value::Duration(nanoseconds) => Ok(*nanoseconds as f64 / 1e9),
        Value::Text(text) => match text.parse() {
            Ok(number) => Ok(number),
            Err(_) => failed(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
        },
        _ => failed(format!("can't convert {} to float", value.type_name())),
    }
}
