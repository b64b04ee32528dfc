//! A file of tests as it is written.

use super::Table;
use crate::{
    Labels, Result,
    yaml::{self, Kind, Node, Place},
};

/// Between evaluations, unless the file says so: as in Prometheus.
const INTERVAL_MS: i64 = 60_000;

pub(super) struct File {
    /// Patterns.
    pub rule_files: Vec<(String, Place)>,
    pub evaluation_interval_ms: i64,
    pub fuzzy_compare: bool,
    /// Names of groups in the order of evaluation.
    pub order: Vec<String>,
    pub tests: Vec<Test>,
}

pub(super) struct Test {
    pub place: Place,
    pub name: String,
    /// Between samples.
    pub interval_ms: i64,
    pub start_ms: i64,
    pub series: Vec<InputSeries>,
    pub tables: Vec<Table>,
    pub alerts: Vec<AlertCase>,
    pub exprs: Vec<ExprCase>,
    pub external_labels: Labels,
    pub external_url: String,
}

/// A series, to be read when its test is run: what is wrong with it is wrong with that test alone.
pub(super) struct InputSeries {
    pub place: Place,
    pub series: String,
    pub values: String,
}

pub(super) struct AlertCase {
    pub place: Place,
    pub eval_ms: i64,
    pub name: String,
    pub expected: Vec<ExpectedAlert>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExpectedAlert {
    pub labels: Labels,
    pub annotations: Labels,
}

pub(super) struct ExprCase {
    pub place: Place,
    pub expr: String,
    pub eval_ms: i64,
    pub expected: Vec<ExpectedSample>,
}

/// A sample, to be read when its test is run.
pub(super) struct ExpectedSample {
    pub place: Place,
    pub labels: String,
    pub value: f64,
    pub histogram: String,
}

/// Reads a file of tests.
pub(super) fn read(text: &str, ignores_unknown: bool) -> Result<File> {
    let root = yaml::read(text)?;
    let mut fields = root.fields()?;
    let interval = fields.read("evaluation_interval", Node::duration_ms)?;
    let evaluation_interval_ms = if interval == 0 { INTERVAL_MS } else { interval };
    let file = File {
        rule_files: fields.read("rule_files", |node| each(node, |item| Ok((item.text()?.to_owned(), item.place))))?,
        evaluation_interval_ms,
        fuzzy_compare: fields.read("fuzzy_compare", Node::truth)?,
        order: fields.read("group_eval_order", |node| each(node, |item| item.text().map(str::to_owned)))?,
        tests: fields.read("tests", |node| each(node, |item| test(item, evaluation_interval_ms, ignores_unknown)))?,
    };
    fields.finish(ignores_unknown)?;
    Ok(file)
}

fn each<T>(node: &Node, read: impl Fn(&Node) -> Result<T>) -> Result<Vec<T>> {
    node.list()?.iter().map(read).collect()
}

fn labels(node: &Node) -> Result<Labels> {
    Ok(node.texts()?.into_iter().map(|(name, _, value)| (name, value)).collect())
}

fn test(node: &Node, evaluation_interval_ms: i64, ignores_unknown: bool) -> Result<Test> {
    let mut fields = node.fields()?;
    let interval = fields.read("interval", Node::duration_ms)?;
    let test = Test {
        place: node.place,
        name: fields.text("name")?,
        interval_ms: if interval == 0 { evaluation_interval_ms } else { interval },
        start_ms: fields.read("start_timestamp", timestamp_ms)?,
        series: fields.read("input_series", |node| each(node, |item| series(item, ignores_unknown)))?,
        tables: fields.read("input_rows", |node| each(node, |item| table(item, ignores_unknown)))?,
        alerts: fields.read("alert_rule_test", |node| each(node, |item| alert(item, ignores_unknown)))?,
        exprs: fields.read("promql_expr_test", |node| each(node, |item| expr(item, ignores_unknown)))?,
        external_labels: fields.read("external_labels", labels)?,
        external_url: fields.text("external_url")?,
    };
    fields.finish(ignores_unknown)?;
    Ok(test)
}

/// Seconds since 1970, or a date with a time and a zone.
fn timestamp_ms(node: &Node) -> Result<i64> {
    let text = node.text()?;
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        #[expect(clippy::cast_possible_truncation, reason = "casts of floats stop at the ends")]
        return Ok((seconds * 1000.0).round() as i64);
    }
    let date = chrono::DateTime::parse_from_rfc3339(text);
    let wrong = |_| node.wrong(format!("`{text}` is neither seconds since 1970 nor a date like 2024-01-01T00:00:00Z"));
    date.map(|date| date.timestamp_millis()).map_err(wrong)
}

fn series(node: &Node, ignores_unknown: bool) -> Result<InputSeries> {
    let mut fields = node.fields()?;
    let series = InputSeries { place: node.place, series: fields.text("series")?, values: fields.text("values")? };
    fields.finish(ignores_unknown)?;
    Ok(series)
}

fn table(node: &Node, ignores_unknown: bool) -> Result<Table> {
    let cell = |node: &Node| match node.kind {
        Kind::Null => Ok(None),
        _ => node.text().map(|text| Some(text.to_owned())),
    };
    let row = |node: &Node| match &node.kind {
        Kind::Map(pairs) => pairs.iter().map(|(name, _, value)| Ok((name.clone(), cell(value)?))).collect(),
        _ => Err(node.wrong("expected the columns of a row and their values")),
    };
    let mut fields = node.fields()?;
    let table = Table { name: fields.text("table")?, rows: fields.read("rows", |node| each(node, row))? };
    fields.finish(ignores_unknown)?;
    if table.name.is_empty() { Err(node.wrong("`table` must be set")) } else { Ok(table) }
}

fn alert(node: &Node, ignores_unknown: bool) -> Result<AlertCase> {
    let expected = |node: &Node| {
        let mut fields = node.fields()?;
        let alert = ExpectedAlert {
            labels: fields.read("exp_labels", labels)?,
            annotations: fields.read("exp_annotations", labels)?,
        };
        fields.finish(ignores_unknown)?;
        Ok(alert)
    };
    let mut fields = node.fields()?;
    let case = AlertCase {
        place: node.place,
        eval_ms: fields.read("eval_time", Node::duration_ms)?,
        name: fields.text("alertname")?,
        expected: fields.read("exp_alerts", |node| each(node, expected))?,
    };
    fields.finish(ignores_unknown)?;
    if case.name.is_empty() {
        return Err(node.wrong("`alertname` must be set: which alert is tested?"));
    }
    Ok(case)
}

fn expr(node: &Node, ignores_unknown: bool) -> Result<ExprCase> {
    let number = |node: &Node| {
        let text = node.text()?;
        let plain = text.replace(".inf", "inf").replace(".Inf", "inf").replace(".nan", "nan").replace(".NaN", "nan");
        plain.parse().map_err(|_| node.wrong(format!("expected a number, found `{text}`")))
    };
    let expected = |node: &Node| {
        let mut fields = node.fields()?;
        let sample = ExpectedSample {
            place: node.place,
            labels: fields.text("labels")?,
            value: fields.read("value", number)?,
            histogram: fields.text("histogram")?,
        };
        fields.finish(ignores_unknown)?;
        Ok(sample)
    };
    let mut fields = node.fields()?;
    let case = ExprCase {
        place: node.place,
        expr: fields.text("expr")?,
        eval_ms: fields.read("eval_time", Node::duration_ms)?,
        expected: fields.read("exp_samples", |node| each(node, expected))?,
    };
    fields.finish(ignores_unknown)?;
    Ok(case)
}
