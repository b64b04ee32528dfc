//! Where messages and answers of Alertmanager and of ours differ, and where they may.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::scenario::{Clock, NEAR};

/// What stands for what is not there.
const MISSING: &str = "(missing)";
/// Fields that may differ in what is said, in what way, and why.
const STATED: [(&str, Way, &str); 11] = [
    ("mutedBy", Way::New, "0.25 does not have it yet"),
    ("notification_reason", Way::New, "0.25 does not have it yet"),
    ("routeLabels", Way::New, "0.25 does not have it yet"),
    ("username", Way::Name, "each says who it is"),
    ("client", Way::Name, "each says who it is"),
    ("source", Way::Name, "each says who it is"),
    ("num_firing", Way::Number, "later ones make numbers of what reads as one"),
    ("num_resolved", Way::Number, "later ones make numbers of what reads as one"),
    ("description", Way::Blank, "the texts of later ones have no empty lines"),
    ("text", Way::Escaped, "a label may not ping a channel of Slack, or forge a link"),
    ("title", Way::Escaped, "a label may not ping a channel of Slack, or forge a link"),
];

/// A way to differ.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Only ours is there.
    New,
    /// Each has its own name.
    Name,
    /// Ours is a number, theirs a text.
    Number,
    /// Ours has fewer empty lines.
    Blank,
    /// Ours is escaped.
    Escaped,
}

/// Where two bodies or answers differ, but for times by a little and for what is stated.
pub fn differences(ours: &Value, theirs: &Value, clock: Clock) -> Vec<String> {
    let mut found = Vec::new();
    compare("", (ours, theirs), clock, &mut found);
    found
}

fn compare(path: &str, (ours, theirs): (&Value, &Value), clock: Clock, found: &mut Vec<String>) {
    let near = || Some((clock.of(ours)? - clock.of(theirs)?).abs() <= NEAR);
    match (ours, theirs) {
        (Value::Object(our), Value::Object(their)) => {
            for name in our.keys().chain(their.keys()).collect::<BTreeSet<_>>() {
                let of = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(MISSING.into());
                compare(&format!("{path}.{name}"), (&of(our), &of(their)), clock, found);
            }
        }
        (Value::Array(our), Value::Array(their)) if our.len() == their.len() => {
            for (nth, pair) in our.iter().zip(their).enumerate() {
                compare(&format!("{path}[{nth}]"), pair, clock, found);
            }
        }
        _ if ours == theirs || near() == Some(true) || is_stated(path, ours, theirs) => {}
        _ => found.push(format!("  {path}: ours {ours}, theirs {theirs}")),
    }
}

/// Is this a difference that is meant?
fn is_stated(path: &str, ours: &Value, theirs: &Value) -> bool {
    let field = path.rsplit('.').next().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines =
        |value: &Value| text(value).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    STATED.iter().filter(|(name, ..)| *name == field).any(|(_, way, _)| match way {
        Way::New => theirs == MISSING,
        Way::Name => ours == "Streamgauge" && theirs == "Alertmanager",
        Way::Number => ours.is_i64() && ours.as_i64() == text(theirs).parse().ok(),
        Way::Blank => lines(ours) == lines(theirs),
        Way::Escaped => text(ours).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text(theirs),
    })
}
