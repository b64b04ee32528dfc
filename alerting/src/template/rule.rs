//! Functions of templates in rules: those of Prometheus.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>

use std::collections::BTreeMap;

use chrono::DateTime;

use super::{
    args::{Args, Called, Wrong, failed, wrong_type},
    builtin::number,
    escape,
    exec::Run,
    humanize,
    text::{matches, replace, title},
    time::Time,
    value::{ListKind, Record, Value},
};
use crate::Labels;

const MANY: usize = usize::MAX;

/// How many arguments a function takes; nothing if there is no such function.
pub(super) fn arity(name: &str) -> Option<(usize, usize)> {
    Some(match name {
        "now" | "pathPrefix" | "externalURL" => (0, 0),
        "query" | "first" | "value" | "strvalue" | "safeHtml" | "title" | "toUpper" | "toLower" | "graphLink"
        | "tableLink" | "stripPort" | "stripDomain" | "humanize" | "humanize1024" | "humanizeDuration"
        | "humanizePercentage" | "humanizeTimestamp" | "toTime" | "toDuration" | "parseDuration" | "urlQueryEscape" => {
            (1, 1)
        }
        "label" | "match" | "sortByLabel" | "tmpl" => (2, 2),
        "reReplaceAll" => (3, 3),
        "args" => (0, MANY),
        _ => return None,
    })
}

/// Calls a function.
pub(super) fn call(run: &mut Run<'_>, name: &str, args: Args<'_>) -> Called {
    let text = |text: String| Ok(Value::text(text));
    match name {
        "query" => {
            let samples = run.query(args.text(0)?)?;
            Ok(Value::list(ListKind::Samples, samples.into_iter().map(Value::from).collect())?)
        }
        "first" => match args.value(0) {
            Value::List(list) => match list.items.first() {
                Some(sample) => Ok(sample.clone()),
                None => failed("first() called on vector with no elements"),
            },
            other => Err(wrong_type("template.queryResult", other)),
        },
        "value" => Ok(sample(args.value(0))?.get("Value").cloned().unwrap_or_default()),
        "strvalue" => text(labels(args.value(0))?.get("__value__").to_owned()),
        "label" => text(labels(args.value(1))?.get(args.text(0)?).to_owned()),
        "sortByLabel" => sort_by_label(args),
        "args" => {
            let named = args.0.iter().enumerate().map(|(nth, value)| (format!("arg{nth}"), value.clone()));
            Ok(Value::map(named.collect::<BTreeMap<_, _>>())?)
        }
        "safeHtml" => Ok(Value::Html(args.text(0)?.clone())),
        "match" => Ok(Value::Bool(matches(run, args.text(0)?, args.text(1)?)?)),
        "reReplaceAll" => text(replace(run, args.text(0)?, args.text(1)?, args.text(2)?)?),
        "title" => text(title(args.text(0)?)),
        "toUpper" => text(args.text(0)?.to_uppercase()),
        "toLower" => text(args.text(0)?.to_lowercase()),
        "graphLink" => text(format!("/graph?g0.expr={}&g0.tab=0", escape::query(args.text(0)?))),
        "tableLink" => text(format!("/graph?g0.expr={}&g0.tab=1", escape::query(args.text(0)?))),
        "stripPort" => text(split_host_port(args.text(0)?).map_or(&**args.text(0)?, |(host, _)| host).to_owned()),
        "stripDomain" => text(strip_domain(args.text(0)?)),
        "urlQueryEscape" => text(escape::query(args.text(0)?)),
        "externalURL" => text(run.env.external_url.to_owned()),
        "pathPrefix" => text(path(run.env.external_url).to_owned()),
        "tmpl" => failed("tmpl is known in consoles only"),
        _ => of_number(run, name, args),
    }
}

fn of_number(run: &Run<'_>, name: &str, args: Args<'_>) -> Called {
    let text = |text: String| Ok(Value::text(text));
    if name == "now" {
        #[expect(clippy::cast_precision_loss, reason = "so does Prometheus")]
        return Ok(Value::Float(run.env.now.timestamp_millis() as f64 / 1000.0));
    }
    if name == "parseDuration" {
        return match promql::parse_duration(args.text(0)?) {
            #[expect(clippy::cast_precision_loss, reason = "so does Prometheus")]
            Ok(milliseconds) => Ok(Value::Float(milliseconds as f64 / 1000.0)),
            Err(_) => failed(format!("not a valid duration string: {:?}", args.text(0)?)),
        };
    }
    let value = number(args.value(0))?;
    match name {
        "humanize" => text(humanize::decimal(value)),
        "humanize1024" => text(humanize::binary(value)),
        "humanizeDuration" => text(humanize::duration(value)),
        "humanizePercentage" => text(humanize::percentage(value)),
        "humanizeTimestamp" if !value.is_finite() => text(humanize::four_digits(value)),
        "humanizeTimestamp" => text(time(value)?.to_string()),
        "toTime" => Ok(Value::Time(time(value)?)),
        _ => {
            let nanoseconds = nanoseconds(value, "duration")?;
            Ok(Value::Duration(nanoseconds))
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is asked for")]
fn nanoseconds(seconds: f64, what: &str) -> Result<i64, Wrong> {
    if !seconds.is_finite() {
        return failed("value is NaN or Inf");
    }
    let nanoseconds = seconds * 1e9;
    if nanoseconds > i64::MAX as f64 || nanoseconds < i64::MIN as f64 {
        let seconds = super::float::write(seconds, 'g', None);
        return failed(format!("{seconds} cannot be represented as a nanoseconds {what} since it overflows int64"));
    }
    Ok(nanoseconds as i64)
}

/// Milliseconds are all that a time of Prometheus has.
fn time(seconds: f64) -> Result<Time, Wrong> {
    let milliseconds = nanoseconds(seconds, "timestamp")? / 1_000_000;
    match DateTime::from_timestamp_millis(milliseconds) {
        Some(instant) => Ok(instant.into()),
        None => failed("the time is out of range"),
    }
}

fn sample(value: &Value) -> Result<&Record, Wrong> {
    match value {
        Value::Record(record) if record.type_name == "template.sample" => Ok(record),
        other => Err(wrong_type("*template.sample", other)),
    }
}

fn labels(value: &Value) -> Result<&Labels, Wrong> {
    match sample(value)?.get("Labels") {
        Some(Value::Labels(labels)) => Ok(labels),
        _ => Err(wrong_type("*template.sample", value)),
    }
}

fn sort_by_label(args: Args<'_>) -> Called {
    let name = args.text(0)?;
    let Value::List(list) = args.value(1) else { return Err(wrong_type("template.queryResult", args.value(1))) };
    let mut items = list.items.to_vec();
    items.iter().try_for_each(|item| labels(item).map(|_| ()))?;
    items.sort_by(|one, other| {
        let of = |item| labels(item).map_or("", |labels: &Labels| labels.get(name));
        of(one).cmp(of(other))
    });
    Ok(Value::list(ListKind::Samples, items)?)
}

/// `host:port` or `[host]:port` in its parts, as Go's `net.SplitHostPort` takes them.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split_once('.').map_or(host, |(name, _)| name);
    if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") }
}

/// The path of a URL.
fn path(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after.find('/').map_or("", |at| &after[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}
