//! Users' tests of rules: what passes, what fails, and what is said.

use std::fs;

use super::*;
use crate::{
    Labels,
    query::{About, Ask, Sample, Value},
};

/// Shows a label and the value.
struct Simple;

impl Expand for Simple {
    fn expand(&self, template: &str, about: &About<'_>, ask: Ask<'_>) -> Result<String> {
        if let Some(query) = template.strip_prefix("ask ") {
            return Ok(ask(query)?.samples.iter().map(|sample| sample.value.number().to_string()).collect());
        }
        let value = about.value.number().to_string();
        let site = about.external_labels.get("site");
        Ok(template
            .replace("{{ host }}", about.labels.get("host"))
            .replace("{{ value }}", &value)
            .replace("{{ site }}", site))
    }
}

fn options<'a>(rows: Option<&'a dyn Rows>) -> Options<'a> {
    Options {
        run: None,
        diff: false,
        ignores_unknown_fields: false,
        debug: false,
        lookback_ms: 300_000,
        features: promql::Features::default(),
        template: &|_| Ok(()),
        expand: &Simple,
        rows,
    }
}

fn run_texts(rules: &str, tests: &str, options: &Options<'_>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("r.yml"), rules).unwrap();
    fs::write(folder.path().join("t.yml"), tests).unwrap();
    run(&folder.path().join("t.yml"), options)
}

fn values(text: &str) -> String {
    let shown = read_values(text).map(|values| {
        let point = |point: Option<Point>| match point {
            None => "_".to_owned(),
            Some(Point::Float(value)) if value.to_bits() == promql::STALE => "stale".to_owned(),
            Some(Point::Float(value)) => promql::format_float(value),
            Some(Point::Histogram(histogram)) => histogram.to_string(),
        };
        values.map(point).collect::<Vec<_>>().join(" ")
    });
    shown.unwrap_or_else(|error| error.to_string())
}

#[test]
fn values_are_read_in_all_their_forms() {
    let forms = [
        ("1 2.5  -3e2\t+4", "1 2.5 -300 4"),
        ("1+2x3 4-1x2 5x2 -1+0.5x1", "1 3 5 7 4 3 2 5 5 5 -1 -0.5"),
        ("_ 1 _x3 stale 2", "_ 1 _ _ _ stale 2"),
        ("NaN Inf -Inf inf", "NaN +Inf -Inf +Inf"),
        ("1e+3x1 0x2", "1000 1000 0 0 0"),
        ("", ""),
        ("{{count:2 sum:3 buckets:[2]}}x1", "{count:2, sum:3, (0.5,1]:2} {count:2, sum:3, (0.5,1]:2}"),
        (
            "{{count:2 sum:3 buckets:[2]}}+{{count:1 sum:1 buckets:[1]}}x1",
            "{count:2, sum:3, (0.5,1]:2} {count:3, sum:4, (0.5,1]:3}",
        ),
        ("1+2", "expected `x` and how often after the growth in `1+2`"),
        ("1x", "expected how often after `x` at `x`"),
        ("1,2", "expected a space before `,2` in the values `1,2`"),
        ("a", "expected a number, `_`, `stale` or a histogram at `a`"),
        ("{{count:2 count:3}}", "key `count` is there twice in the histogram `{{count:2 count:3}}`"),
        ("{{size:2}}", "unknown key `size` in the histogram `{{size:2}}`"),
    ];
    for (text, expected) in forms {
        assert_eq!(values(text), expected, "{text}");
    }
    // What is repeated takes no memory before its time.
    assert_eq!(read_values("0+1x4000000000").unwrap().take(3).count(), 3);
}

#[test]
fn series_are_named_as_in_promql() {
    let shown = |text: &str| read_labels(text).map_or_else(|error| error.to_string(), |labels| store::shown(&labels));
    for text in ["up", "up{job=\"a\", z=\"\\\"\"}", "{job=\"a\"}", "{\"http.requests\", \"k8s.pod\"=\"a\"}", "{}"] {
        assert_eq!(shown(text), text);
    }
    assert!(shown("up{job=~\"a\"}").contains("selects, a series has `=`"));
    assert!(shown("up{a=\"1\", a=\"2\"}").contains("the label \"a\" is there twice"));
    assert!(shown("up[5m]").starts_with("`up[5m]` is no series: "));
}

const RULES: &str = "groups:
- name: late
  rules:
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {text: '{{ host }} in {{ site }}', all: 'ask count(up)'}
- name: early
  rules:
  - record: up
    expr: probe
";

#[test]
fn groups_are_evaluated_in_the_order_that_is_asked_for() {
    let tests = |order: &str| {
        format!(
            "rule_files: ['*.yml', 'r.yml']
{order}
tests:
- input_series: [{{series: 'probe{{host=\"a\"}}', values: 0x9}}]
  external_labels: {{site: berlin}}
  alert_rule_test:
  - eval_time: 2m30s
    alertname: Down
    exp_alerts:
    - exp_labels: {{severity: page, host: a}}
      exp_annotations: {{text: a in berlin, all: '1'}}
"
        )
        .replace("'*.yml', ", "")
    };
    let ordered = run_texts(RULES, &tests("group_eval_order: [early, late]"), &options(None));
    assert!(ordered.is_ok(), "{ordered:?}");
    // A minute later, as the recording rule comes after the alert.
    let other = run_texts(RULES, &tests("group_eval_order: [late, early]"), &options(None));
    assert_eq!(other.tests[0].failures.len(), 1, "{other:?}");
}

#[test]
fn only_tests_whose_name_matches_are_run_and_reports_become_xml() {
    let tests = "tests:
- name: first
  promql_expr_test: [{expr: '1 < bool 2', exp_samples: [{value: 1}]}]
- name: 'second <&>'
  promql_expr_test: [{expr: 'vector(1)', exp_samples: []}]
";
    let report = run_texts("", tests, &options(None));
    assert_eq!(report.tests.iter().map(|test| (test.failures.len(), test.line)).collect::<Vec<_>>(), [(0, 2), (1, 4)]);
    let xml = junit(&[report]);
    assert!(
        xml.contains("tests=\"2\" failures=\"1\" errors=\"0\"") && xml.contains("name=\"second &lt;&amp;&gt;\""),
        "{xml}"
    );
    assert!(xml.contains("<failure message=\"5:22: expr: vector(1), time: 0s\">"), "{xml}");
    let only = Options { run: Some(Regex::new("^first").unwrap()), ..options(None) };
    assert!(run_texts("", tests, &only).is_ok());
}

#[test]
fn files_that_cannot_be_read_say_where() {
    let wrong = |tests: &str| {
        let errors = run_texts(RULES, tests, &options(None)).errors.join("\n");
        errors.split_once("t.yml:").map(|(_, rest)| rest.to_owned()).unwrap_or(errors)
    };
    // As promtool does it: a warning.
    let report = run_texts(RULES, "rule_files: [none*.yml]", &options(None));
    assert!(report.is_ok() && report.warnings[0].contains("t.yml:1:14: no file matches `none*.yml`"), "{report:?}");
    assert!(
        wrong("tests:\n- alert_rule_tests: []\n").starts_with("2:3: unknown field `alert_rule_tests`; fields here are")
    );
    assert!(wrong("tests:\n- alert_rule_test: [{eval_time: 1}]\n").starts_with("2:33: not a valid duration string"));
    assert!(wrong("tests:\n- alert_rule_test: [{eval_time: 1m}]\n").starts_with("2:21: `alertname` must be set"));
    assert!(
        wrong("tests:\n- start_timestamp: today\n")
            .starts_with("2:20: `today` is neither seconds since 1970 nor a date")
    );
}

#[test]
fn debugging_tells_all_samples() {
    let tests = "rule_files: [r.yml]\ntests:\n- input_series: [{series: 'probe{host=\"a\"}', values: 1 2}]\n  promql_expr_test: \
                 [{expr: up, eval_time: 1m, exp_samples: [{labels: 'up{host=\"a\"}', value: 2}]}]\n";
    let report = run_texts(RULES, tests, &Options { debug: true, ..options(None) });
    assert!(report.is_ok(), "{report:?}");
    assert!(report.tests[0].debug.contains("up{host=\"a\"} 1@0ms 2@60000ms\n"), "{}", report.tests[0].debug);
}

/// Sums a column of all tables.
struct Sum;

impl Rows for Sum {
    fn sql(&self, tables: &[Table], sql: &Sql, _: i64) -> Result<Found> {
        let rows = tables.iter().flat_map(|table| &table.rows).flatten();
        let cells =
            rows.filter(|(name, _)| *name == sql.value).filter_map(|(_, cell)| cell.as_ref()?.parse::<f64>().ok());
        let sample = Sample { labels: Labels::default(), value: Value::Float(cells.sum()) };
        Ok(Found { samples: vec![sample], ..Found::default() })
    }
}

#[test]
fn rows_of_tables_are_there_for_rules_that_ask_sql() {
    let rules = "groups:\n- name: g\n  rules:\n  - alert: Spend\n    sql: SELECT sum(cost) AS cost FROM focus\n    value: cost\n    annotations: \
                 {text: '{{ value }}'}\n";
    let tests = "rule_files: [r.yml]
tests:
- input_rows:
  - table: focus
    rows: [{service: a, cost: 1.50}, {service: b, cost: 2}, {service: c, cost: ~}]
  alert_rule_test:
  - {eval_time: 1m, alertname: Spend, exp_alerts: [{exp_annotations: {text: '3.5'}}]}
";
    let report = run_texts(rules, tests, &options(Some(&Sum)));
    assert!(report.is_ok(), "{report:?}");
    let report = run_texts(rules, tests, &options(None));
    assert!(report.tests[0].failures[0].ends_with("this rule asks SQL, and nothing here answers it"), "{report:?}");
}
