//! The dashboards in Grafana's own client code: their variables, panels and annotations of metrics, over the same server.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{MAY_BE_EMPTY, Sources, dashboards, fill::Variable, filling, list, text, values};
use crate::support::grafana_client;

/// What is looked at, seconds.
const RANGE: i64 = 6 * 3600;

/// A variable as the client knows it.
fn variable(variable: &Variable) -> Value {
    let Variable { values, is_multi, all } = variable;
    let chosen = if all.is_some() { json!(["$__all"]) } else { json!(values) };
    let value = if *is_multi { chosen } else { chosen[0].clone() };
    json!({"value": value, "multi": is_multi, "includeAll": all.is_some(), "allValue": all})
}

/// Does anything have a value?
fn is_shown(frames: &Value) -> bool {
    // The first column is of times.
    let columns = frames.as_array().into_iter().flatten().flat_map(|frame| list(frame, "columns").iter().skip(1));
    columns.flat_map(|column| list(column, "values")).any(Value::is_number)
}

/// What a step of the dashboard has to give, and how it is called here.
enum Wanted<'a> {
    Values(Vec<String>),
    Panel(&'a str),
    Annotations,
}

/// Asks all of it of each dashboard; what is wrong with the answers. Their files are in `folder`.
pub fn what_grafana_lacks(sources: &Sources, folder: &Path) -> Vec<String> {
    let mut failed = Vec::new();
    for (name, dashboard) in dashboards() {
        let mut filling = filling(sources, &name, &dashboard).unwrap();
        // Of a longer range the client's steps are wider than what a demo has of itself.
        filling.from = filling.to - RANGE;
        let (mut steps, mut wanted) = (Vec::new(), Vec::new());
        let queries = list(&dashboard["templating"], "list").iter().map(|variable| &variable["query"]);
        for query in queries.filter(|query| query.is_object()) {
            steps.push(json!({"call": "variable", "query": query["query"]}));
            wanted.push(Wanted::Values(values(sources, &filling, query).unwrap()));
        }
        let of_metrics = |panel: &&Value| panel["targets"][0]["expr"].is_string();
        for panel in list(&dashboard, "panels").iter().filter(of_metrics) {
            steps.push(json!({"call": "panel", "targets": panel["targets"]}));
            wanted.push(Wanted::Panel(text(panel, "title")));
        }
        for note in list(&dashboard["annotations"], "list").iter().filter(|note| note["target"]["expr"].is_string()) {
            steps.push(json!({"call": "annotation", "annotation": note}));
            wanted.push(Wanted::Annotations);
        }
        let variables: Map<_, _> =
            filling.variables.iter().map(|(name, known)| (name.clone(), variable(known))).collect();
        // As `provisioning` has it.
        let settings = json!({"httpMethod": "POST", "timeInterval": "60s"});
        let input = json!({
            "settings": settings, "variables": variables, "steps": steps,
            "from": filling.from * 1000, "to": filling.to * 1000,
        });
        let shown = grafana_client::run(&sources.server.url(""), "", &input, folder);
        for (wanted, answer) in wanted.iter().zip(shown.answers) {
            let (what, is_fit) = match wanted {
                Wanted::Values(values) => ("a variable", answer.as_ref().is_ok_and(|found| *found == json!(values))),
                Wanted::Panel(title) => {
                    let may_be_empty =
                        MAY_BE_EMPTY.iter().any(|(file, panel, _)| (file, panel) == (&name.as_str(), title));
                    (*title, answer.as_ref().is_ok_and(|frames| may_be_empty || is_shown(frames)))
                }
                Wanted::Annotations => (
                    "annotations",
                    answer.as_ref().is_ok_and(|found| found.as_array().is_some_and(|all| !all.is_empty())),
                ),
            };
            if !is_fit {
                failed.push(format!("{name}: {what}: {answer:?}"));
            }
        }
    }
    failed
}
