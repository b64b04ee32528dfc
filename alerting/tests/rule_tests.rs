//! Unit tests of rules that others wrote pass and fail as `promtool test rules` says.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

#[path = "support/corpus.rs"]
mod corpus;
#[path = "support/expand.rs"]
mod expand;

use std::path::Path;

use alerting::testing::{Options, Report, run};
use expand::Plain;

/// How old a sample may be in Prometheus 3; in Prometheus 2, on which the verdicts are, it may be just as old as that.
const LOOKBACK_MS: i64 = 300_000;

/// Where promtool 2.42 says something else than Prometheus 3, which we follow: the file, and whether we are content with it.
const DIFFERENCES: [(&str, bool, &str); 4] = [
    (
        "wikimedia-operations-alerts/team-data-platform/airflow-k8s_test.yaml",
        false,
        "ranges are open to the left since 3.0",
    ),
    ("prometheus/promtool-testdata/no-test-group-interval.yml", true, "offsets may be negative since 2.33"),
    ("prometheus/promtool-testdata/start-time-test.yml", true, "start_timestamp is new"),
    ("prometheus/promtool-testdata/unittest.yml", true, "ranges are open to the left since 3.0"),
];

fn options(expand: &Plain, lookback_ms: i64) -> Options<'_> {
    Options {
        run: None,
        diff: true,
        ignores_unknown_fields: false,
        debug: false,
        lookback_ms,
        features: promql::Features::default(),
        template: &|_| Ok(()),
        expand,
        rows: None,
    }
}

fn told(report: &Report) -> String {
    let failures =
        report.tests.iter().flat_map(|test| test.failures.iter().map(|text| format!("{}: {text}", test.name)));
    report.errors.iter().cloned().chain(failures).take(3).collect::<Vec<_>>().join("\n")
}

#[test]
fn tests_of_rules_pass_and_fail_as_by_promtool() {
    let Some(verdicts) = corpus::verdicts("test_rules") else { return };
    let (mut same, mut tests) = (0, 0);
    let (mut wrong, mut boundary, mut templates) = (Vec::new(), Vec::new(), Vec::new());
    let files = verdicts.len();
    for (path, expected) in verdicts {
        let plain = Plain::default();
        let t = std::time::Instant::now();
        let report = run(&corpus::path(&path), &options(&plain, LOOKBACK_MS));
        tests += report.tests.len();
        if t.elapsed().as_millis() > 500 {
            println!("SLOW {path} {:?}", t.elapsed());
        }
        let listed = DIFFERENCES.iter().find(|(file, ..)| *file == path);
        if report.is_ok() == listed.map_or(expected, |(_, ours, _)| *ours) {
            same += 1;
        } else if run(&corpus::path(&path), &options(&plain, LOOKBACK_MS + 1)).is_ok() == expected {
            boundary.push(path);
        } else if plain.unknown.borrow().is_empty() {
            wrong.push(format!("{path}: expected ok={expected}\n{}", told(&report)));
        } else {
            templates.push(path);
        }
    }
    println!("files of tests: {files}, tests: {tests}, the same verdict: {same}");
    println!("a sample just as old as the lookback is none since Prometheus 3: {} {boundary:?}", boundary.len());
    println!("templates that are not expanded here: {} {templates:?}", templates.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_of_promtool_pass_and_fail_as_its_own_tests_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/promtool");
    let verdict = |name: &str, named: Option<&str>, ignores_unknown_fields: bool| {
        let plain = Plain::default();
        let run_only = named.map(|text| regex::Regex::new(text).unwrap());
        let options = Options { run: run_only, ignores_unknown_fields, ..options(&plain, LOOKBACK_MS) };
        let report = run(&folder.join(format!("{name}.yml")), &options);
        (report.is_ok(), told(&report))
    };
    let all = [
        ("unittest", None, false, true),
        ("long-period", None, false, true),
        ("no-test-group-interval", None, false, true),
        ("start-time-test", None, false, true),
        ("at-modifier-test", None, false, true),
        ("negative-offset-test", None, false, true),
        ("bad-input-series", None, false, false),
        ("bad-promql", None, false, false),
        ("bad-rules-syntax-test", None, false, false),
        ("bad-rules-error-test", None, false, false),
        ("failing", None, false, false),
        ("rules_run", None, false, false),
        ("rules_run", Some("correct"), false, true),
        ("rules_run", Some("wrong"), false, false),
        ("rules_run_extrafields", None, true, true),
        ("rules_run_extrafields", None, false, false),
        ("rules_run_fuzzy", Some("correct"), false, true),
        ("rules_run_fuzzy", Some("wrong"), false, false),
        ("rules_run_no_fuzzy", None, false, false),
    ];
    for (name, named, ignores, expected) in all {
        let (is_ok, told) = verdict(name, named, ignores);
        assert_eq!(is_ok, expected, "{name} {named:?}\n{told}");
    }
}
