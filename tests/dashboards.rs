//! The dashboards of `dashboards/`: each is whole in itself, and each panel's queries answer what the panel needs, over the data of the demo.
//!
//! What Grafana would fill in is filled in by `fill`; `client` has its own client code do that, and show what is answered. Queries of its data source
//! for PostgreSQL are asked by the protocol over one connection, as text and in one message, as that data source asks; types of columns are those
//! that it would see.
//! `UPDATE=1 cargo test --workspace --test main dashboards` writes the files in canonical form.

mod client;
mod fill;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, types::Type};

use self::fill::{Filling, Variable};
use crate::support::{
    form::form,
    grafana_client, postgres,
    server::{Server, now_ms, within},
};

/// Panels that may show nothing, and why.
const MAY_BE_EMPTY: [(&str, &str, &str); 2] = [
    ("streamgauge.json", "Refused", "nothing is refused while all is well"),
    ("streamgauge.json", "Bills: since the last delivery", "bills that are sent by hand have no schedule"),
];
/// The form that Grafana 12.2 and 13 write; older ones read it.
const SCHEMA_VERSION: u64 = 42;
/// What Grafana fills in by itself.
const BUILT_IN: [&str; 6] =
    ["__interval", "__rate_interval", "__range", "__url_time_range", "__all", "__all_variables"];
/// Panels whose windows are what they show; all others look at what lies between two points, however far those are apart.
const WINDOWS: [(&str, &str); 8] = [
    ("business.json", "Orders against a week before"),
    ("business.json", "Orders an hour"),
    ("business.json", "Revenue an hour, ${currency}"),
    ("business.json", "Orders an hour for each user"),
    ("operations.json", "Burn rate over an hour"),
    ("streamgauge.json", "Error budget left"),
    ("streamgauge.json", "Slow minutes left"),
    ("streamgauge.json", "Burn rate of the error budget"),
];
/// Types of panels that Grafana has taken out or replaced.
const GONE: [&str; 5] = ["graph", "singlestat", "table-old", "grafana-piechart-panel", "grafana-worldmap-panel"];
/// Points of a panel, about what a screen has room for.
const POINTS: i64 = 400;
/// Longest wait for a demo that is ready to have something for every panel.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// Between two looks at all panels.
const PAUSE: Duration = Duration::from_secs(3);

/// What dashboards ask: a demo, over HTTP and by the PostgreSQL protocol.
struct Sources {
    server: Server,
    runtime: Runtime,
    sql: Client,
}

impl Sources {
    fn demo(folder: &Path) -> Self {
        let server = Server::demo(folder, &["--days", "10", "--pg-listen", "127.0.0.1:0"]);
        let printed = server.log_text();
        let after = printed.split("psql -h 127.0.0.1 -p ").nth(1).expect("how psql asks");
        let port = after.split_whitespace().next().expect("a port");
        let runtime = Runtime::new().unwrap();
        let settings = format!("host=127.0.0.1 port={port} user=grafana dbname=streamgauge");
        let sql = runtime.block_on(postgres::connect(&settings));
        Self { server, runtime, sql }
    }

    fn rows(&self, sql: &str) -> Result<postgres::Told, String> {
        let told = self.runtime.block_on(postgres::ask(&self.sql, sql));
        told.map_err(|error| {
            let reason = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            format!("{reason}\n{sql}")
        })
    }
}

fn files() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut files: Vec<_> =
        files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect();
    files.sort();
    files
}

fn dashboards() -> Vec<(String, Value)> {
    let read = |path: &Path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    files().into_iter().map(|(name, path)| (name, read(&path))).collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The value with its members in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            Value::Object(Map::from_iter(members))
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        value => value.clone(),
    }
}

/// All texts within a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// All data sources within a value, but those of the variables that choose them.
fn sources(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(sources).collect(),
        Value::Object(members) => {
            let own = members.get("datasource").filter(|source| source.as_str() != Some("")).into_iter();
            own.chain(members.values().flat_map(sources)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn dashboards_are_written_in_one_form() {
    for (name, path) in files() {
        let before = fs::read_to_string(&path).unwrap();
        let dashboard = sorted(&serde_json::from_str(&before).unwrap());
        let form = serde_json::to_string_pretty(&dashboard).unwrap() + "\n";
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &form).unwrap();
        }
        assert!(before == form || env::var_os("UPDATE").is_some(), "{name}: write it anew with UPDATE=1");
    }
}

#[test]
fn dashboards_are_whole_and_lead_to_each_other() {
    let all = dashboards();
    assert!(all.len() >= 6);
    let uids: BTreeSet<&str> = all.iter().map(|(_, dashboard)| text(dashboard, "uid")).collect();
    assert_eq!(uids.len(), all.len(), "uids are unique: {uids:?}");
    let titles: BTreeSet<&str> = all.iter().map(|(_, dashboard)| text(dashboard, "title")).collect();
    assert_eq!(titles.len(), all.len(), "titles are unique: {titles:?}");
    for (name, dashboard) in &all {
        assert_eq!(dashboard["schemaVersion"], SCHEMA_VERSION, "{name}");
        assert!(!text(dashboard, "description").is_empty(), "{name} does not say what it answers");
        // Days of bills are in UTC. An id is of one Grafana, and inputs are asked of people.
        assert_eq!(text(dashboard, "timezone"), "utc", "{name}");
        assert!(dashboard["id"].is_null() && dashboard["__inputs"].is_null(), "{name} is not as it is provisioned");
        assert!(list(&dashboard["annotations"], "list").len() > 1, "{name} has no annotations from alerts");
        for link in texts(dashboard).into_iter().filter_map(|text| text.strip_prefix("/d/")) {
            let uid = link.split('?').next().unwrap();
            assert!(uids.contains(uid), "{name} leads to {uid}, which is not there");
        }
        let others: Vec<_> = list(dashboard, "links").iter().filter(|link| link["type"] == "link").collect();
        assert_eq!(others.len(), all.len() - 1, "{name} leads to every other one");
        let keeps = |link: &&Value| link["keepTime"] == true && link["includeVars"] == true;
        assert!(others.iter().all(keeps), "{name}: a link loses what is chosen");
    }
}

#[test]
fn a_variable_means_the_same_wherever_a_link_takes_it() {
    let mut known: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for (name, dashboard) in dashboards() {
        for variable in list(&dashboard["templating"], "list") {
            // What there is changes with the range that is shown.
            assert!(variable["type"] != "query" || variable["refresh"] == 2, "{name}: {}", variable["name"]);
            let own = (name.clone(), variable["query"].clone());
            let (first, query) = known.entry(text(variable, "name").to_owned()).or_insert(own);
            assert_eq!(*query, variable["query"], "{} of {first} and of {name}", variable["name"]);
        }
    }
}

#[test]
fn rates_look_at_all_that_lies_between_two_points() {
    let mut used = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        for panel in list(&dashboard, "panels") {
            let exprs = list(panel, "targets").iter().map(|target| text(target, "expr"));
            let windows = exprs.flat_map(|expr| expr.split('[').skip(1).map(|rest| rest.split(']').next().unwrap()));
            if windows.into_iter().any(|window| !["$__rate_interval", "$__range"].contains(&window)) {
                used.insert((name.clone(), text(panel, "title").to_owned()));
            }
        }
    }
    assert_eq!(used, WINDOWS.map(|(name, title)| (name.to_owned(), title.to_owned())).into());
}

#[test]
fn panels_say_what_they_show_in_which_unit() {
    const WITH_THRESHOLDS: [&str; 3] = ["stat", "gauge", "bargauge"];
    for (name, dashboard) in dashboards() {
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard, "panels") {
            let title = text(panel, "title");
            assert!(!title.is_empty(), "{name}: {} has no title", panel["id"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {title} has the id of another");
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{name}: {title} is beyond the right side");
            if panel["type"] == "row" {
                continue;
            }
            assert!(titles.insert((title, text(panel, "type"))), "{name}: {title} is there twice");
            assert!(!GONE.contains(&text(panel, "type")), "{name}: {title} is of a type that is gone");
            assert!(text(panel, "description").len() > 4, "{name}: {title} has no description");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!text(defaults, "unit").is_empty(), "{name}: {title} has no unit");
            let steps = list(&defaults["thresholds"], "steps").len();
            assert!(steps > 0 || !WITH_THRESHOLDS.contains(&text(panel, "type")), "{name}: {title} has no thresholds");
            let refs: BTreeSet<&str> = list(panel, "targets").iter().map(|target| text(target, "refId")).collect();
            assert_eq!(refs.len(), list(panel, "targets").len(), "{name}: {title} has queries of one name");
            assert!(!refs.is_empty() || panel["type"] == "alertlist", "{name}: {title} asks nothing");
        }
    }
}

#[test]
fn data_sources_are_chosen_and_every_variable_is_known() {
    for (name, dashboard) in dashboards() {
        let variables = list(&dashboard["templating"], "list");
        let types: BTreeMap<String, &str> = variables
            .iter()
            .filter(|variable| variable["type"] == "datasource")
            .map(|variable| (format!("${{{}}}", text(variable, "name")), text(variable, "query")))
            .collect();
        for source in sources(&dashboard) {
            let is_own = source["uid"] == "-- Grafana --";
            let known = source["uid"].as_str().and_then(|uid| types.get(uid));
            assert!(is_own || known.is_some_and(|kind| source["type"] == **kind), "{name}: {source} is not chosen");
        }
        let known: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "name")).chain(BUILT_IN).collect();
        let mut used = BTreeSet::new();
        for text in texts(&dashboard) {
            for variable in fill::names(text) {
                let is_macro = text.contains(&format!("${variable}(")) && variable.starts_with("__");
                assert!(is_macro || known.contains(variable.as_str()), "{name}: ${variable} is unknown: {text}");
                used.insert(variable);
            }
        }
        for variable in variables {
            let variable = text(variable, "name");
            assert!(used.contains(variable), "{name}: ${variable} is not used");
        }
    }
}

#[test]
fn provisioning_has_every_data_source_that_is_chosen() {
    let read = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/provisioning");
        fs::read_to_string(folder.join(name)).unwrap()
    };
    let sources = read("datasources/streamgauge.yaml");
    for (name, dashboard) in dashboards() {
        for variable in list(&dashboard["templating"], "list").iter().filter(|v| v["type"] == "datasource") {
            let kind = format!("type: {}\n", text(variable, "query"));
            assert!(sources.contains(&kind), "{name}: nothing of {kind} is provisioned");
        }
    }
    assert!(sources.contains("type: alertmanager\n") && sources.contains("manageAlerts: true"), "lists of alerts");
    assert!(!sources.contains("password: sg_"), "secrets come from the environment");
    assert!(read("dashboards/streamgauge.yaml").contains("path: /var/lib/grafana/dashboards/streamgauge"));
}

#[test]
fn every_panel_is_answered_in_the_shape_that_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::demo(folder.path());
    let mut last = (0, Vec::new());
    // Alerts begin to fire, and rates of the server's own metrics need two scrapes.
    let answered = within(SETTLED_WITHIN, || {
        thread::sleep(PAUSE);
        last = all_panels(&sources);
        last.1.is_empty().then_some(())
    });
    let (asked, failed) = last;
    assert!(answered.is_some(), "{} of {asked}:\n{}", failed.len(), failed.join("\n"));
    assert!(asked >= 100, "{asked}");
    for (name, title, _) in &MAY_BE_EMPTY {
        let known = dashboards().iter().any(|(file, dashboard)| {
            file == name && list(dashboard, "panels").iter().any(|panel| text(panel, "title") == *title)
        });
        assert!(known, "{name} has no panel {title}");
    }
    if grafana_client::is_there() {
        let mut failed = Vec::new();
        // It asks for whole steps, which a demo that is younger than one has nothing for.
        let answered = within(SETTLED_WITHIN, || {
            failed = client::what_grafana_lacks(&sources, folder.path());
            failed.is_empty().then_some(())
        });
        assert!(answered.is_some(), "{}", failed.join("\n"));
    }
}

/// Asks everything of all dashboards: how many queries that are, and what is wrong with the answers.
fn all_panels(sources: &Sources) -> (usize, Vec<String>) {
    let (mut failed, mut empty, mut asked) = (Vec::new(), BTreeSet::new(), 0);
    for (name, dashboard) in dashboards() {
        let filling = match filling(sources, &name, &dashboard) {
            Ok(filling) => filling,
            Err(error) => {
                failed.push(error);
                continue;
            }
        };
        let panels = list(&dashboard, "panels").iter();
        let targets = panels.flat_map(|panel| list(panel, "targets").iter().map(move |target| (panel, target)));
        // All at once, as Grafana does.
        let answers: Vec<_> = thread::scope(|scope| {
            let filling = &filling;
            let asked: Vec<_> =
                targets.map(|(panel, target)| (panel, target, scope.spawn(|| ask(sources, filling, target)))).collect();
            asked.into_iter().map(|(panel, target, answer)| (panel, target, answer.join().unwrap())).collect()
        });
        asked += answers.len();
        for (panel, target, answer) in answers {
            let title = text(panel, "title");
            let rows = answer.and_then(|answer| answer.has_columns(panel)?.shape(text(panel, "type")));
            match rows {
                Ok(0) => drop(empty.insert((name.clone(), title.to_owned()))),
                Ok(_) => {}
                Err(error) => failed.push(format!("{name}: {title} {}: {error}", target["refId"])),
            }
        }
        failed.extend(without_data(sources, &name, &dashboard, filling.variables.clone()));
        for annotation in list(&dashboard["annotations"], "list").iter().filter(|note| !note["target"].is_null()) {
            let rows = ask(sources, &filling, &annotation["target"]).map(|answer| answer.rows());
            if !rows.as_ref().is_ok_and(|rows| *rows > 0) {
                failed.push(format!("{name}: annotations: {rows:?}"));
            }
        }
    }
    let allowed = MAY_BE_EMPTY.map(|(name, title, _)| (name.to_owned(), title.to_owned()));
    failed.extend(empty.iter().filter(|panel| !allowed.contains(panel)).map(|panel| format!("{panel:?} has no rows")));
    (asked, failed)
}

/// Panels of one number that have none for a day of which nothing is known.
fn without_data(
    sources: &Sources,
    name: &str,
    dashboard: &Value,
    variables: BTreeMap<String, Variable>,
) -> Vec<String> {
    let filling = Filling { variables, from: 1_000_000_000, to: 1_000_086_400, step: 60 };
    let numbers = list(dashboard, "panels").iter().filter(|panel| panel["type"] == "stat" || panel["type"] == "gauge");
    let in_sql = numbers.filter(|panel| panel["targets"][0]["rawSql"].is_string());
    let shown = |panel: &Value| ask(sources, &filling, &panel["targets"][0]).and_then(|answer| answer.shape("stat"));
    let lacking = in_sql.map(|panel| (panel, shown(panel))).filter(|(_, shown)| *shown != Ok(1));
    lacking.map(|(panel, shown)| format!("{name}: {} without data: {shown:?}", text(panel, "title"))).collect()
}

/// The dashboard's own range and variables, with all chosen where all may be.
///
/// # Errors
/// If a variable has no values.
fn filling(sources: &Sources, name: &str, dashboard: &Value) -> Result<Filling, String> {
    let to = now_ms() / 1000 + 1;
    let range = fill::seconds(text(&dashboard["time"], "from").trim_start_matches("now-"));
    let mut filling = Filling { variables: BTreeMap::new(), from: to - range, to, step: (range / POINTS).max(60) };
    for variable in list(&dashboard["templating"], "list") {
        let found = match text(variable, "type") {
            "datasource" => Variable::one("chosen"),
            "query" => {
                let values = values(sources, &filling, &variable["query"])?;
                if values.is_empty() {
                    return Err(format!("{name}: ${} has no values", text(variable, "name")));
                }
                let (is_all, is_multi) = (variable["includeAll"] == true, variable["multi"] == true);
                let all = variable["allValue"].as_str().filter(|_| is_all).map(ToOwned::to_owned);
                let values = if is_all { values } else { values[..1].to_vec() };
                Variable { values, is_multi, all }
            }
            _ => Variable::one(text(&variable["current"], "value")),
        };
        filling.variables.insert(text(variable, "name").to_owned(), found);
    }
    Ok(filling)
}

/// Values that a variable's query finds.
///
/// # Errors
/// If it is SQL and is not answered.
fn values(sources: &Sources, filling: &Filling, query: &Value) -> Result<Vec<String>, String> {
    if let Some(sql) = query.as_str() {
        let rows = sources.rows(&filling.sql(sql))?.rows;
        return Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect());
    }
    let query = filling.fill(text(query, "query"));
    let inner = query.strip_prefix("label_values(").and_then(|inner| inner.strip_suffix(')')).expect("label_values");
    let (selector, label) = inner.rsplit_once(',').unwrap();
    let times = [("match[]", selector), ("start", &filling.from.to_string()), ("end", &filling.to.to_string())];
    let answer = sources.server.get(&format!("/api/v1/label/{}/values?{}", label.trim(), form(&times)), None);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    Ok(list(&answer, "data").iter().map(|value| value.as_str().unwrap().to_owned()).collect())
}

/// What a query answers.
enum Reply {
    /// Numbers of series that have one: those of each.
    Series(Vec<Vec<f64>>),
    /// Names of columns and, as PostgreSQL calls them, their types, and the rows.
    Rows(Vec<(String, String)>, Vec<Vec<Value>>),
}

fn ask(sources: &Sources, filling: &Filling, target: &Value) -> Result<Reply, String> {
    if let Some(sql) = target["rawSql"].as_str() {
        let told = sources.rows(&filling.sql(sql))?;
        let value = |(text, (_, kind)): (Option<String>, &(String, Type))| match text {
            Some(text) if is_number(kind.name()) => text
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map_or(Value::String(text), Value::Number),
            text => text.map_or(Value::Null, Value::String),
        };
        let rows = told.rows.into_iter().map(|row| row.into_iter().zip(&told.columns).map(value).collect()).collect();
        let columns = told.columns.iter().map(|(name, kind)| (name.clone(), kind.name().to_owned())).collect();
        return Ok(Reply::Rows(columns, rows));
    }
    let expr = filling.fill(text(target, "expr"));
    let [from, to, step] = [filling.from, filling.to, filling.step].map(|seconds| seconds.to_string());
    let is_instant = target["instant"] == true;
    let path = if is_instant {
        format!("/api/v1/query?{}", form(&[("query", &expr), ("time", &to)]))
    } else {
        format!("/api/v1/query_range?{}", form(&[("query", &expr), ("start", &from), ("end", &to), ("step", &step)]))
    };
    let answer = sources.server.get(&path, None);
    let answer: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
    if answer["status"] != "success" {
        return Err(format!("{}\n{expr}", text(&answer, "error")));
    }
    let number = |sample: &Value| sample[1].as_str().unwrap().parse::<f64>().unwrap();
    let numbers = |series: &Value| -> Vec<f64> {
        let own = is_instant.then(|| number(&series["value"]));
        own.into_iter().chain(list(series, "values").iter().map(number)).filter(|number| number.is_finite()).collect()
    };
    let series = list(&answer["data"], "result").iter().map(numbers).filter(|numbers| !numbers.is_empty());
    Ok(Reply::Series(series.collect()))
}

/// Is a type of PostgreSQL one that Grafana draws?
fn is_number(kind: &str) -> bool {
    ["int2", "int4", "int8", "float4", "float8", "numeric"].contains(&kind)
}

impl Reply {
    fn rows(&self) -> usize {
        match self {
            Self::Series(series) => series.len(),
            Self::Rows(_, rows) => rows.len(),
        }
    }

    /// Itself, if the columns are there that the panel has settings for, and named for people.
    fn has_columns(&self, panel: &Value) -> Result<&Self, String> {
        let Self::Rows(columns, _) = self else { return Ok(self) };
        if let Some((name, _)) = columns.iter().find(|(name, _)| name.contains('_')) {
            return Err(format!("nobody wants to read {name}"));
        }
        let settings =
            list(&panel["fieldConfig"], "overrides").iter().map(|setting| text(&setting["matcher"], "options"));
        for column in settings.chain(panel["options"]["xField"].as_str()) {
            if !columns.iter().any(|(known, _)| known == column) {
                return Err(format!("there is no column {column} among {columns:?}"));
            }
        }
        Ok(self)
    }

    /// How many rows or series a panel of this type can show.
    ///
    /// # Errors
    /// If it cannot show them at all.
    fn shape(&self, panel: &str) -> Result<usize, String> {
        let Self::Rows(columns, rows) = self else {
            let is_one = panel != "stat" && panel != "gauge" || self.rows() <= 1;
            return if is_one { Ok(self.rows()) } else { Err(format!("{} series for one number", self.rows())) };
        };
        let (times, others): (Vec<_>, Vec<_>) = columns.iter().partition(|(name, _)| name == "time");
        let numbers = others.iter().filter(|(_, kind)| is_number(kind)).count();
        let names = others.iter().filter(|(_, kind)| kind == "text").count();
        let shape = (times.len(), names, numbers);
        let is_known = |row: &&Vec<Value>| {
            row.iter().zip(columns).any(|(value, (name, kind))| name != "time" && is_number(kind) && !value.is_null())
        };
        let is_fit = match panel {
            "timeseries" => {
                let at: Vec<String> = rows.iter().map(|row| row[0].to_string()).collect();
                let is_time = times.iter().all(|(_, kind)| kind == "timestamptz" || kind == "float8");
                columns[0].0 == "time" && is_time && at.is_sorted() && numbers > 0 && names + numbers == others.len()
            }
            "stat" | "gauge" => rows.len() == 1 && shape == (0, 0, 1),
            "barchart" | "piechart" => names == 1 && numbers > 0 && rows.iter().all(|row| !row[0].is_null()),
            "table" => others.iter().all(|(_, kind)| is_number(kind) || kind == "text" || kind == "timestamptz"),
            _ => false,
        };
        let shown = if panel == "table" { rows.len() } else { rows.iter().filter(is_known).count() };
        if is_fit { Ok(shown) } else { Err(format!("{} rows of {columns:?} are no {panel}", rows.len())) }
    }
}
