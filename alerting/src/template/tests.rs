use std::{collections::BTreeMap, fmt::Write as _};

use chrono::{DateTime, Utc};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-05T04:03:09.12Z".parse().unwrap()
}

fn map<const N: usize>(items: [(&str, Value); N]) -> Value {
    Value::map(items.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()).unwrap()
}

/// The data that the program had which wrote `go.jsonl`.
fn data_of_go() -> Value {
    let list = |items| Value::list(ListKind::Any, items).unwrap();
    map([
        ("s", Value::text("hi")),
        ("e", Value::text("")),
        ("uni", Value::text("héé☺\u{a0}\n\t\"q\"`")),
        ("n", Value::Int(42)),
        ("z", Value::Int(0)),
        ("neg", Value::Int(-7)),
        ("f", Value::Float(3.25)),
        ("big", Value::Float(1_234_567_890_123.0)),
        ("small", Value::Float(0.000_012_34)),
        ("t", Value::Bool(true)),
        ("nil", Value::Nil),
        ("l", list(vec![Value::text("a"), Value::Int(1), Value::Float(2.5), Value::Nil, Value::Bool(true)])),
        ("ss", Value::texts(["x", "y", "z"])),
        ("el", list(Vec::new())),
        (
            "m",
            map([("a", Value::text("x")), ("b", Value::Int(1)), ("c", map([("d", Value::text("deep"))]))]),
        ),
        ("lab", Value::Labels([("a", "1"), ("b", "2")].into_iter().collect())),
        ("time", now().into()),
        ("dur", Value::Duration(3_723_500_000_000)),
    ])
}

#[test]
fn templates_render_and_fail_as_in_go() {
    let cases = include_str!("../../tests/data/templates/go.jsonl");
    let (mut count, mut wrong) = (0, String::new());
    for line in cases.lines() {
        let (text, expected): (String, String) = serde_json::from_str(line).unwrap();
        let mut set = Set::new(Flavour::Notification);
        let rendered = set.parse("t", &text).and_then(|()| set.render("t", data_of_go(), &Env::new(now(), "")));
        let got = rendered.unwrap_or_else(|error| format!("ERROR {error}"));
        count += 1;
        if got != expected {
            writeln!(wrong, "{text}\n  want {expected:?}\n  got  {got:?}").unwrap();
        }
    }
    assert!(count > 1000, "{count}");
    assert!(wrong.is_empty(), "{wrong}");
}
