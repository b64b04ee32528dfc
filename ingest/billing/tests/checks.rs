//! The rules of FOCUS as a page, how they compare with the published model, and what they find in every sample file.
//!
//! `CHECKS.md` is the outcome, written anew with `UPDATE=1 cargo test -p billing --test checks` (the variable is read when the test runs).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
};

use billing::{Conformance, KEYS_MAX, Level, Options, Reader, Rule, Version, check_focus, focus_rules};

/// Rules of the model of 1.2 that a machine can check, with ours.
const MODEL: &str = include_str!("checks/model-1.2.tsv");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/focus")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
    found.sort();
}

fn checked(path: &Path) -> Conformance {
    check_focus(File::open(path).unwrap(), &path.to_string_lossy(), None).unwrap()
}

/// Rules of a level with their rows; those that the header violates without.
fn list(found: &Conformance, level: Level) -> String {
    let (header, rows): (Vec<_>, Vec<_>) = found.of(level).partition(|violation| violation.is_of_header);
    let name = |id: &'static str| id.strip_prefix("focus-").unwrap();
    let absent: Vec<_> =
        header.iter().filter_map(|violation| name(violation.rule.id).strip_suffix("-present")).collect();
    let header = header.iter().map(|violation| name(violation.rule.id)).filter(|id| !id.ends_with("-present"));
    let mut parts: Vec<_> = header.map(str::to_owned).collect();
    parts.extend(rows.iter().map(|violation| format!("{} {}", name(violation.rule.id), violation.rows)));
    if !absent.is_empty() {
        parts.push(format!("lacks {}", absent.join(", ")));
    }
    parts.join("; ")
}

/// Versions of a rule, such as `1.0 to 1.4`.
fn versions(rule: &Rule) -> String {
    let of: Vec<_> = Version::ALL.into_iter().filter(|version| rule.is_of(*version)).collect();
    let (first, last) = (of[0], of[of.len() - 1]);
    assert_eq!(of.len(), last as usize - first as usize + 1, "{}: versions with a gap", rule.id);
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

#[test]
fn the_page_of_rules_says_what_is_checked_and_what_is_found_in_every_sample() {
    let mut page = HEAD.replace("KEYS_MAX", &KEYS_MAX.to_string());
    for rule in focus_rules() {
        let column = if rule.column.is_empty() { "all" } else { rule.column };
        writeln!(page, "| `{}` | {column} | {} | {} | {} |", rule.id, versions(rule), rule.level, rule.says).unwrap();
    }
    page.push_str(MODEL_HEAD);
    let mut kinds = BTreeMap::<&str, BTreeMap<&str, usize>>::new();
    for line in MODEL.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        let how = fields[3].split([':', ',']).next().unwrap();
        *kinds.entry(fields[1]).or_default().entry(how).or_default() += 1;
    }
    for (kind, counts) in &kinds {
        let of = |how: &str| counts.get(how).copied().unwrap_or_default();
        let all: usize = counts.values().sum();
        let (same, corrected, advice) = (of("same"), of("corrected"), of("as advice"));
        writeln!(
            page,
            "| {kind} | {all} | {same} | {corrected} | {advice} | {} | {} |",
            of("not judged"),
            of("left out")
        )
        .unwrap();
    }
    page.push_str(DIFFERENT_HEAD);
    for line in MODEL.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        if !fields[3].starts_with("same") && !fields[3].ends_with("forbids nothing") {
            let ours: Vec<_> = fields[2].split_whitespace().map(|id| format!("`{id}`")).collect();
            writeln!(page, "| `{}` | {} | {} |", fields[0], ours.join(", "), fields[3]).unwrap();
        }
    }
    page.push_str(FILES_HEAD);
    let mut found = Vec::new();
    files(&folder(), &mut found);
    assert_eq!(found.len(), 36, "sample files of FOCUS");
    for path in &found {
        let name = path.strip_prefix(folder()).unwrap().display().to_string();
        let found = checked(path);
        let (musts, shoulds) = (list(&found, Level::Must), list(&found, Level::Should));
        writeln!(page, "| `{name}` | {} | {} | {musts} | {shoulds} |", found.version, found.rows).unwrap();
    }
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHECKS.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&known, &page).unwrap();
    }
    let hint = "CHECKS.md is out of date: UPDATE=1 cargo test -p billing --test checks";
    assert_eq!(std::fs::read_to_string(known).unwrap_or_default(), page, "{hint}");
}

const HEAD: &str = "# What is checked of FOCUS

Made and checked by `tests/checks.rs` from the tables in `src/check/`. `streamgauge check focus` runs all of it over a file; a load of FOCUS
runs the MUST rules beside it and keeps the violations among the findings of `billing_loads`.

- Values are those of the file. A text that stands for null is one finding, and null for all other rules.
- Of a conditional column that is not there nobody can tell whether it has to be, unless another column shows that the provider has what
  it is about. What cannot be told is said, and is no violation.
- Where a rule is about a class or category whose column is not there, rows have none. A rule that needs another column says nothing
  without it.
- Costs are compared with price times quantity exactly, in whole numbers; they may differ by 10^-8 or a millionth of the cost, since unit
  prices and costs are rounded on their own. Corrections are not compared.
- Rules about the whole file remember KEYS_MAX values each; of a file with more, what came later is not judged, which is said.
- The version is that of the youngest column. Rules of 1.4 are those of 1.3 with the columns of the draft of 1.4.

## Rules

| id | column | versions | level | what holds |
|---|---|---|---|---|
";

const MODEL_HEAD: &str = "
## Beside the published model

The requirements model of 1.2 has 277 static rules that are no mere groups of others. *Same* is what ours check as well, where files have
types or columns show what a provider has; *corrected* are those that the model has wrong; *left out* are those that allow and forbid
nothing, and those that follow. `tests/checks/model-1.2.tsv` says it for each. Of what 1.3 added, the rules of the columns of costs and usage
are here, those of details in JSON as one rule for each column; the dataset of contract commitments is not checked.

| kind | rules | same | corrected | as advice | not judged | left out |
|---|---|---|---|---|---|---|
";

const DIFFERENT_HEAD: &str = "
| rule of the model | ours | what differs |
|---|---|---|
";

const FILES_HEAD: &str = "
## What is found in the samples

Of a rule the number of rows follows; without one it is about the header. `focus-` is left off. Most samples show some columns of a table
alone, so that they lack others. Where they are from is said in `tests/data/README.md`.

| file | version | rows | MUST | SHOULD |
|---|---|---|---|---|
";

#[test]
fn every_static_rule_of_the_published_model_has_one_of_ours_or_a_reason() {
    let ours: BTreeSet<_> = focus_rules().iter().filter(|rule| rule.is_of(Version::V1_2)).map(|rule| rule.id).collect();
    let (mut count, mut without) = (0, 0);
    for line in MODEL.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        count += 1;
        let named: Vec<_> = fields[2].split_whitespace().collect();
        assert!(named.iter().all(|id| ours.contains(id)), "{line}");
        without += usize::from(named.is_empty());
        assert_eq!(named.is_empty(), fields[3].starts_with("left out: "), "{line}");
    }
    assert_eq!((count, without), (277, 12));
}

#[test]
fn the_real_sample_has_what_people_see_in_it() {
    let found = checked(&folder().join("focus_sample_1.0_anonymized_1000.csv.gz"));
    assert_eq!((found.version, found.rows, found.columns, found.is_conforming()), (Version::V1_0, 1_000, 44, false));
    let rows = |id: &str| {
        let of = found.violations.iter().find(|violation| violation.rule.id == id);
        of.map(|violation| (violation.rows, violation.first[0].line, violation.first[0].value.as_str()))
    };
    // Dates without `T` and `Z`, `NULL` as a word, and a column that lost half its name.
    assert_eq!(rows("focus-BillingPeriodStart-format"), Some((1_000, 2, "2024-09-01 00:00:00")));
    assert_eq!(rows("focus-null-placeholder"), Some((1_000, 2, "AvailabilityZone=NULL")));
    assert_eq!(rows("focus-column-known"), Some((1_000, 1, "Id")));
    // Oracle's seven rows, and what AWS calls by two categories.
    assert_eq!(rows("focus-ChargeFrequency-format"), Some((7, 927, "Usage-based")));
    assert_eq!(rows("focus-ServiceName-one-category").map(|found| found.0), Some(132));
    assert_eq!(rows("focus-ListCost-format"), None);
    let absent: Vec<_> = found.unjudged.iter().map(|(column, _)| *column).collect();
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn the_corrections_of_the_working_group_multiply_and_their_bad_date_is_seen() {
    let mut found = Vec::new();
    files(&folder(), &mut found);
    let mut dates = Vec::new();
    for path in &found {
        let found = checked(path);
        let has = |id: &str| found.violations.iter().find(|violation| violation.rule.id == id);
        if path.to_string_lossy().contains("correction") {
            assert!(has("focus-ListCost-product").is_none() && has("focus-ContractedCost-product").is_none());
        }
        let of_dates = found.violations.iter().filter(|violation| violation.rule.id.ends_with("PeriodEnd-format"));
        dates.extend(of_dates.flat_map(|violation| violation.first.iter().map(|first| first.value.clone())));
    }
    assert!(dates.iter().any(|date| date == "2023-02-01T30:00:00Z"), "{dates:?}");
}

#[test]
fn a_load_finds_the_musts_that_a_check_finds() {
    let mut found = Vec::new();
    files(&folder(), &mut found);
    for path in found {
        let assume = [("BillingCurrency".to_owned(), "USD".to_owned())].into();
        let mut reader = Reader::open(File::open(&path).unwrap(), Options { assume, ..Options::default() }).unwrap();
        while reader.next_batch().unwrap().is_some() {}
        let report = reader.report();
        let loaded = report.findings.iter().filter(|(code, _)| code.starts_with("focus-"));
        let loaded: BTreeMap<_, _> = loaded.map(|(code, finding)| (*code, finding.rows)).collect();
        let checked = checked(&path);
        let checked: BTreeMap<_, _> = checked.of(Level::Must).map(|found| (found.rule.id, found.rows)).collect();
        assert_eq!(loaded, checked, "{}", path.display());
    }
}
