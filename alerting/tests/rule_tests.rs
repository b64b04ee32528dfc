//! Unit tests of rules that others wrote pass and fail as `promtool test rules` says.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

#[path = "support/corpus.rs"]
mod corpus;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use alerting::{
    template,
    testing::{Options, Report, run},
};

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

fn options(lookback_ms: i64) -> Options<'static> {
    Options {
        run: None,
        diff: true,
        ignores_unknown_fields: false,
        debug: false,
        lookback_ms,
        features: promql::Features::default(),
        template: &template::check,
        expand: &template::Templates,
        rows: None,
    }
}

fn told(report: &Report) -> String {
    let failures =
        report.tests.iter().flat_map(|test| test.failures.iter().map(|text| format!("{}: {text}", test.name)));
    report.errors.iter().cloned().chain(failures).take(3).collect::<Vec<_>>().join("\n")
}

/// What came of a file.
enum Verdict {
    Same,
    /// Only if a sample may be just as old as the lookback.
    Boundary,
    Wrong(String),
}

fn verdict(path: &str, expected: bool) -> (usize, Verdict) {
    let report = run(&corpus::path(path), &options(LOOKBACK_MS));
    let listed = DIFFERENCES.iter().find(|(file, ..)| *file == path);
    let verdict = if report.is_ok() == listed.map_or(expected, |(_, ours, _)| *ours) {
        Verdict::Same
    } else {
        let other = run(&corpus::path(path), &options(LOOKBACK_MS + 1));
        if other.is_ok() == expected {
            Verdict::Boundary
        } else {
            Verdict::Wrong(format!("{path}: expected ok={expected}\n{}", told(&other)))
        }
    };
    (report.tests.len(), verdict)
}

#[test]
fn tests_of_rules_pass_and_fail_as_by_promtool() {
    let Some(verdicts) = corpus::verdicts("test_rules") else { return };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((path, expected)) = verdicts.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((path.as_str(), verdict(path, *expected)));
        }
        done
    };
    let done: Vec<_> = thread::scope(|scope| {
        let threads = [0; 2].map(|_| scope.spawn(work));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let of = |is: fn(&Verdict) -> bool| -> BTreeSet<&str> {
        done.iter().filter(|(_, (_, verdict))| is(verdict)).map(|(path, _)| *path).collect()
    };
    let boundary = of(|verdict| matches!(verdict, Verdict::Boundary));
    let tests: usize = done.iter().map(|(_, (tests, _))| tests).sum();
    let same = of(|verdict| matches!(verdict, Verdict::Same)).len();
    println!("files of tests: {}, tests: {tests}, the same verdict: {same}", done.len());
    println!("a sample just as old as the lookback is none since Prometheus 3: {} {boundary:#?}", boundary.len());
    let wrong = done.iter().filter_map(|(_, (_, verdict))| match verdict {
        Verdict::Wrong(text) => Some(text.as_str()),
        _ => None,
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_of_kubernetes_mixin_pass() {
    let folder = corpus::path("kubernetes-mixin/tests");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("SKIPPED: no tests of kubernetes-mixin at {}; copy data/alerting there", folder.display());
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let report = run(&path, &options(LOOKBACK_MS));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        println!("{name} tests: {}, ok: {}", report.tests.len(), report.is_ok());
        assert!(report.is_ok(), "{name}\n{}", told(&report));
    }
}

#[test]
fn the_examples_of_promtool_pass_and_fail_as_its_own_tests_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/promtool");
    let verdict = |name: &str, named: Option<&str>, ignores_unknown_fields: bool| {
        let run_only = named.map(|text| regex::Regex::new(text).unwrap());
        let options = Options { run: run_only, ignores_unknown_fields, ..options(LOOKBACK_MS) };
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
