//! Functions of templates in notifications: those of Alertmanager.
//!
//! Spec: <https://prometheus.io/docs/alerting/latest/notifications/#functions>

mod json;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

use super::{
    args::{Args, Called, Wrong, failed, wrong_type},
    builtin::number,
    escape, exec, field, humanize, layout,
    text::{matches, replace, title_words},
    time::{self, Time},
    value::{List, ListKind, Value},
};

const MANY: usize = usize::MAX;

/// How many arguments a function takes; nothing if there is no such function.
pub(super) fn arity(name: &str) -> Option<(usize, usize)> {
    Some(match name {
        "now" => (0, 0),
        "toUpper" | "toLower" | "title" | "trimSpace" | "safeHtml" | "safeUrl" | "urlUnescape" | "since"
        | "humanizeDuration" | "toJson" | "base64encode" | "base64decode" | "routeLabels" => (1, 1),
        "join" | "match" | "date" | "tz" | "toDate" | "mustToDate" => (2, 2),
        "reReplaceAll" => (3, 3),
        "append" => (1, MANY),
        "stringSlice" | "list" | "dict" => (0, MANY),
        _ => return None,
    })
}

/// Calls a function.
pub(super) fn call(run: &mut exec::Run<'_>, name: &str, args: Args<'_>) -> Called {
    let text = |text: String| Ok(Value::text(text));
    match name {
        "toUpper" => text(args.text(0)?.to_uppercase()),
        "toLower" => text(args.text(0)?.to_lowercase()),
        "title" => text(title_words(args.text(0)?)),
        "trimSpace" => text(args.text(0)?.trim().to_owned()),
        "join" => join(run, args),
        "match" => Ok(Value::Bool(matches(run, args.text(0)?, args.text(1)?)?)),
        "reReplaceAll" => text(replace(run, args.text(0)?, args.text(1)?, args.text(2)?)?),
        "safeHtml" => Ok(Value::Html(args.text(0)?.clone())),
        "safeUrl" => Ok(Value::Text(args.text(0)?.clone())),
        "urlUnescape" => escape::unescape_query(args.text(0)?).or_else(failed).and_then(text),
        "stringSlice" => {
            (0..args.0.len()).map(|nth| args.text(nth).cloned()).collect::<Result<Vec<_>, Wrong>>().map(Value::texts)
        }
        "humanizeDuration" => text(humanize::duration(number(args.value(0))?)),
        "toJson" => text(json::write(args.value(0), run.bytes_max())?),
        "base64encode" => text(URL_SAFE.encode(args.text(0)?.as_bytes())),
        "base64decode" => match URL_SAFE.decode(args.text(0)?.as_bytes()) {
            Ok(bytes) => text(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => failed(format!("illegal base64 data: {error}")),
        },
        "list" => Ok(Value::list(ListKind::Any, args.0.to_vec())?),
        "append" => match args.value(0) {
            Value::List(List { kind: ListKind::Any, items, .. }) => {
                Ok(Value::list(ListKind::Any, items.iter().chain(&args.0[1..]).cloned().collect())?)
            }
            other => Err(wrong_type("[]interface {}", other)),
        },
        "dict" => dict(args),
        "routeLabels" => match &run.root {
            Value::Record(data) => match data.get("RouteLabels") {
                Some(Value::Kv(labels)) => text(labels.get(args.text(0)?).to_owned()),
                _ => text(String::new()),
            },
            _ => text(String::new()),
        },
        _ => of_time(run, name, args),
    }
}

fn of_time(run: &exec::Run<'_>, name: &str, args: Args<'_>) -> Called {
    let time = |nth| match args.value(nth) {
        Value::Time(time) => Ok(*time),
        other => Err(wrong_type("time.Time", other)),
    };
    match name {
        "now" => Ok(Value::Time(run.env.now.into())),
        "since" => Ok(Value::Duration(time::between(time(0)?.instant, run.env.now))),
        "date" => Ok(Value::text(time(1)?.format(args.text(0)?))),
        "tz" => match time(1)?.within(args.text(0)?) {
            Some(time) => Ok(Value::Time(time)),
            None => failed(format!("unknown time zone {}", args.text(0)?)),
        },
        _ => match (layout::parse(args.text(0)?, args.text(1)?), name) {
            (Some(time), _) => Ok(Value::Time(time)),
            (None, "toDate") => Ok(Value::Time(Time::zero())),
            (None, _) => failed(format!("parsing time {:?} as {:?}: cannot parse", args.text(1)?, args.text(0)?)),
        },
    }
}

fn join(run: &exec::Run<'_>, args: Args<'_>) -> Called {
    let separator = args.text(0)?;
    let texts = field::texts(args.value(1))?;
    let bytes = texts.iter().map(|text| text.len() + separator.len()).fold(0, usize::saturating_add);
    if bytes > run.bytes_max() {
        return failed(format!("the text joined is too long, bytes_max={}", run.bytes_max()));
    }
    Ok(Value::text(texts.join(separator)))
}

fn dict(args: Args<'_>) -> Called {
    if !args.0.len().is_multiple_of(2) {
        return failed("dict requires an even number of arguments");
    }
    let mut items = BTreeMap::new();
    for pair in args.0.chunks(2) {
        let Value::Text(name) = &pair[0] else { return failed("dict keys must be strings") };
        items.insert(name.to_string(), pair[1].clone());
    }
    Ok(Value::map(items)?)
}
