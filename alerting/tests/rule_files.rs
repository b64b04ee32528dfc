//! Rule files of others are accepted and refused as `promtool check rules` does it.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

#[path = "support/corpus.rs"]
mod corpus;

use std::{fs, path::Path};

use alerting::{
    Error,
    rules::{Group, Options, parse},
};

/// Where promtool 2.42 says something else than Prometheus 3, which we follow.
const DIFFERENCES: [(&str, &str); 3] = [
    ("prometheus/rulefmt-testdata/legacy_validation_annotation.bad.yaml", "names may be any UTF-8 since 3.0"),
    ("prometheus/rulefmt-testdata/utf-8_annotation.good.yaml", "names may be any UTF-8 since 3.0"),
    ("prometheus/rulefmt-testdata/utf-8_lname.good.yaml", "names may be any UTF-8 since 3.0"),
];

/// The template engine is not here; this sees a variable that there is not.
fn template(text: &str) -> Result<(), Error> {
    if text.contains("{{ $label.") { Err(Error::invalid("undefined variable")) } else { Ok(()) }
}

fn check(path: &Path) -> Result<Vec<Group>, Vec<Error>> {
    parse(&fs::read_to_string(path).unwrap(), &Options { ignores_unknown_fields: false, template: &template })
}

fn messages(errors: &[Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn rule_files_are_accepted_and_refused_as_by_promtool() {
    let Some(verdicts) = corpus::verdicts("check_rules") else { return };
    let (mut files, mut same, mut listed, mut rules) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for (path, expected) in verdicts {
        files += 1;
        let read = check(&corpus::path(&path));
        rules += read.iter().flatten().map(|group| group.rules.len()).sum::<usize>();
        let is_listed = DIFFERENCES.iter().any(|(file, _)| *file == path);
        match (read.is_ok() == expected, is_listed) {
            (true, false) => same += 1,
            (false, true) => listed += 1,
            (true, true) => wrong.push(format!("{path}: listed as different, and is not")),
            (false, false) => {
                wrong.push(format!("{path}: expected ok={expected}, {:?}", read.err().map(|e| messages(&e))))
            }
        }
    }
    println!("rule files: {files}, same verdict: {same}, listed differences: {listed}, rules read: {rules}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn groups_of_others_mean_the_same_when_printed_and_read_again() {
    let Some(verdicts) = corpus::verdicts("check_rules") else { return };
    let mut groups = 0;
    for (path, _) in verdicts {
        for group in check(&corpus::path(&path)).into_iter().flatten() {
            groups += 1;
            let yaml = group.to_yaml().unwrap();
            let list: String = yaml.lines().map(|line| format!("    {line}\n")).collect();
            let options = Options { ignores_unknown_fields: false, template: &|_| Ok(()) };
            let again = parse(&format!("groups:\n  -\n{list}"), &options)
                .unwrap_or_else(|errors| panic!("{path}: {:?}\n{yaml}", messages(&errors)));
            assert!(again[0].means_the_same(&group), "{path}\n{yaml}\n{}", again[0].to_yaml().unwrap());
        }
    }
    println!("groups printed and read again: {groups}");
}

fn fixture(name: &str) -> Result<Vec<Group>, Vec<Error>> {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rules").join(name))
}

#[test]
fn what_is_bad_in_prometheus_own_examples_is_said_with_its_place() {
    let bad = [
        ("bad_expr", "5:15: group \"yolo\", rule 1, \"yolo\": could not parse expression: 1:6: parse error: "),
        ("bad_field", "8:9: group \"yolo\", rule 1, \"hola\": unknown field `annotation`"),
        ("duplicate_grp", "3:5: group \"yolo\": the name is used twice in this file"),
        ("invalid_label_name", "7:11: group \"yolo\", rule 1, \"hola\": invalid label name \"__name__\""),
        (
            "invalid_record_name",
            "4:17: group \"yolo\", rule 1, \"strawberry{flavor=\\\"sweet\\\"}\": invalid recording rule name",
        ),
        ("no_rec_alert", "4:9: group \"yolo\", rule 1, \"\": one of `record` or `alert` must be set"),
        ("noexpr", "4:9: group \"yolo\", rule 1, \"ylo\": field `expr` must be set"),
        ("record_and_alert", "5:16: group \"yolo\", rule 1, \"Hello\": only one of `record` and `alert` must be set"),
        ("record_and_for", "6:14: group \"yolo\", rule 1, \"Hello\": `for` is for alerts"),
        ("record_and_keep_firing_for", "6:26: group \"yolo\", rule 1, \"Hello\": `keep_firing_for` is for alerts"),
    ];
    for (name, expected) in bad {
        let errors = messages(&fixture(&format!("rulefmt/{name}.bad.yaml")).unwrap_err());
        assert!(errors[0].starts_with(expected) && errors.len() == 1, "{name}: {errors:?}");
    }
    for name in
        ["test", "test_aliases", "utf-8_annotation.good", "utf-8_lname.good", "legacy_validation_annotation.good"]
    {
        fixture(&format!("rulefmt/{name}.yaml")).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    }
}

#[test]
fn steps_of_prometheus_own_examples_follow_what_they_read() {
    let steps = |name: &str| fixture(&format!("groups/{name}.yaml")).unwrap()[0].steps();
    assert_eq!(steps("rules_dependencies"), [0..1, 1..2]);
    assert_eq!(steps("rules_indeterminates").len(), 2, "what has no name may be anything");
    assert_eq!(steps("rules_multiple_independent").len(), 1);
    assert_eq!(steps("rules_chain"), [0..2, 2..3, 3..5, 5..7]);
    assert_eq!(steps("rules_multiple_dependents_on_base"), [0..1, 1..5, 5..8]);
    assert_eq!(fixture("groups/rules_multi_doc.yaml").unwrap().len(), 1);
}
