//! Debian's promtool agrees, minute after minute, with what alerts we say fire and which series tell of them.
//!
//! What we find for rules and series that nobody thought up becomes what a file of tests expects, and promtool runs that file.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::{fmt::Write as _, fs, process::Command};

use alerting::{
    Labels,
    alert::Phase,
    group::{Run, State},
    query::Query,
    rules::{self, Group},
    template,
    testing::{self, Settings, Store, read_labels, read_values},
};

const MINUTE: i64 = 60_000;
const MINUTES: i64 = 24;
const TESTS: u64 = 8;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// An alert for each `for` and `keep_firing_for` of up to three minutes, on a series that an earlier rule records, and one on the alerts.
fn rules() -> String {
    let mut text = "groups:\n- name: g\n  rules:\n  - record: y\n    expr: x * 2\n    labels: {team: a}\n".to_owned();
    for hold in 0..4 {
        for keep in 0..4 {
            let _ = write!(
                text,
                "  - alert: A{hold}{keep}\n    expr: y > 1\n    for: {hold}m\n    keep_firing_for: {keep}m\n    labels: \
                 {{h: '', host: '{{{{ $labels.h }}}}'}}\n    annotations: {{text: 'of {{{{ $labels.h }}}}'}}\n"
            );
        }
    }
    text + "  - alert: Many\n    expr: count(ALERTS{alertstate=\"firing\"}) > 8\n    for: 30s\n  - record: z\n    expr: 'count by (alertname) \
            (ALERTS{alertname=~\"A2.\"}) > 1'\n"
}

/// A test as YAML: what is put in, and what comes out of it here.
fn test(random: &mut Random, group: &Group) -> String {
    let mut store = Store::new(Settings {
        lookback_ms: 5 * MINUTE,
        subquery_step_ms: MINUTE,
        features: promql::Features::default(),
    });
    let mut text = "- interval: 1m\n  input_series:\n".to_owned();
    for host in ["a", "b"] {
        // Now and then it turns, or ends.
        let (mut value, mut values) = (random.below(2), Vec::new());
        for _ in 0..=MINUTES {
            value = if random.below(3) == 0 { 1 - value } else { value };
            values.push(if random.below(12) == 0 { "stale".to_owned() } else { value.to_string() });
        }
        let (series, values) = (format!("x{{h=\"{host}\"}}"), values.join(" "));
        let _ = writeln!(text, "  - {{series: '{series}', values: '{values}'}}");
        store.load(read_labels(&series).unwrap(), read_values(&values).unwrap(), 0, MINUTE);
    }
    let (mut alerts, mut exprs) = ("  alert_rule_test:\n".to_owned(), "  promql_expr_test:\n".to_owned());
    let (mut state, expand, external_labels) = (State::new(group), template::Templates, Labels::default());
    for minute in 0..MINUTES {
        let now = minute * MINUTE;
        store.advance(now).unwrap();
        let run = Run {
            group,
            steps: &group.steps(),
            expand: &expand,
            external_labels: &external_labels,
            external_url: "",
            query_offset_ms: 0,
        };
        for done in run.evaluate(&mut state, now, true, &mut store) {
            assert!(done.unwrap().write_error.is_none());
        }
        for (rule, state) in group.rules.iter().zip(&state.rules) {
            if let rules::Action::Alert(alert) = &rule.action {
                let name = &alert.name;
                let _ = writeln!(alerts, "  - eval_time: {minute}m\n    alertname: {name}\n    exp_alerts:");
                for (labels, instance) in state.alerts.instances().filter(|(_, it)| it.phase == Phase::Firing) {
                    let labels = serde_json::to_string(&labels.with([("alertname", "")])).unwrap();
                    let annotations = serde_json::to_string(&instance.annotations).unwrap();
                    let _ = writeln!(alerts, "    - {{exp_labels: {labels}, exp_annotations: {annotations}}}");
                }
            }
        }
        for query in ["ALERTS", "ALERTS_FOR_STATE", "y", "z", "timestamp(ALERTS{alertname=\"A11\"})"] {
            let found = store.instant(&promql::Query::parse(query).unwrap(), now).unwrap();
            let _ = writeln!(exprs, "  - expr: '{query}'\n    eval_time: {minute}m\n    exp_samples:");
            for sample in found.samples {
                let pairs: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let value = sample.value.number();
                let _ = writeln!(exprs, "    - {{labels: '{{{}}}', value: {value}}}", pairs.join(","));
            }
        }
    }
    text + &alerts + &exprs
}

#[test]
fn promtool_finds_the_same_alerts_and_series() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("SKIPPED: no promtool; `apt-get install prometheus` has one");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = rules::Options { ignores_unknown_fields: false, template: &|_| Ok(()) };
    let groups = rules::parse(&rules(), &options).unwrap();
    fs::write(folder.path().join("rules.yml"), rules()).unwrap();
    let mut random = Random(11);
    let tests: String = (0..TESTS).map(|_| test(&mut random, &groups[0])).collect();
    let path = folder.path().join("tests.yml");
    let text = format!("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n{tests}");
    fs::write(&path, &text).unwrap();
    let output = Command::new("promtool").args(["test", "rules"]).arg(&path).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", &told[..told.len().min(4_000)]);
    let cases = text.matches("eval_time").count();
    println!("cases on which promtool agrees: {cases}, alerts expected: {}", text.matches("exp_labels").count());
    // And so do our own.
    let options = testing::Options {
        run: None,
        diff: true,
        ignores_unknown_fields: false,
        debug: false,
        lookback_ms: 5 * MINUTE,
        features: promql::Features::default(),
        template: &|_| Ok(()),
        expand: &template::Templates,
        rows: None,
    };
    let report = testing::run(&path, &options);
    assert!(report.is_ok(), "{report:?}");
    // What expects something else fails.
    fs::write(&path, text.replacen("value: 1}", "value: 2}", 1)).unwrap();
    assert!(!testing::run(&path, &options).is_ok());
}
