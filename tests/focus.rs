//! `check focus` as whoever gets bills meets it: what is violated, where, and with which exit code.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::server::{binary, run};

/// A sample bill.
fn bill(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ingest/billing/tests/data").join(name)
}

const SAMPLE: &str = "focus/focus_sample_1.0_anonymized_1000.csv.gz";

/// Every mandatory column of FOCUS 1.0 with a value, and those that are recommended.
const GOOD: &str = "\
AvailabilityZone,BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,ChargeCategory,\
ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,ContractedCost,EffectiveCost,InvoiceIssuerName,ListCost,\
PricingQuantity,PricingUnit,ProviderName,PublisherName,ServiceCategory,ServiceName
,1.5,1,Acme,EUR,2026-11-01T00:00:00Z,2026-10-01T00:00:00Z,Usage,,an hour,Usage-Based,2026-10-02T00:00:00Z,2026-10-01T00:00:00Z,1.5,1.5,\
AWS,2,1,Hours,AWS,AWS,Compute,EC2
";

#[test]
fn a_bill_that_violates_focus_is_told_with_lines_and_values_musts_first() {
    let (code, out, err) = run(binary().args(["check", "focus"]).arg(bill(SAMPLE)));
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let first = out.lines().next().unwrap();
    assert!(first.ends_with("FOCUS 1.0 (by its columns), CSV, 44 columns, 1000 rows"), "{first}");
    assert!(out.contains("focus-BillingPeriodStart-format, 1000 rows: BillingPeriodStart is a moment in UTC"), "{out}");
    assert!(out.contains("line 2: 2024-09-01 00:00:00"), "{out}");
    assert!(out.rfind("  MUST ").unwrap() < out.find("  SHOULD ").unwrap(), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.contains("does not conform to FOCUS 1.0: violates ") && last.ends_with(" SHOULD rules"), "{last}");
}

#[test]
fn a_bill_that_follows_focus_exits_with_0_and_one_that_cannot_be_read_with_2() {
    let folder = tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (good, bad, none) =
        (file("good.csv", GOOD), file("bad.csv", &GOOD.replace("EUR", "eur")), file("no.csv", "a\n1\n"));
    let check = |paths: &[&PathBuf]| run(binary().args(["check", "focus"]).args(paths));
    let (code, out, err) = check(&[&good]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("conforms to FOCUS 1.0: violates 0 MUST and 0 SHOULD rules"), "{out}");
    assert!(out.contains("not judged: ") && out.contains("Tags (tags)"), "{out}");
    assert_eq!(check(&[&good, &bad]).0, 1);
    let (code, out, err) = check(&[&none, &bad]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("none of its columns is one of FOCUS") && out.contains("focus-BillingCurrency-format"),
        "{err}"
    );
    assert_eq!(check(&[&folder.path().join("nowhere.csv")]).0, 2);
}

#[test]
fn machines_get_a_line_of_json_for_each_file_by_the_version_that_is_asked() {
    let folder = bill("focus/correction-1.4-draft-examples");
    let (code, out, _) = run(binary().args(["check", "focus", "--json", "--version", "1.3"]).arg(folder));
    assert_eq!(code, 1);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 9);
    for line in &lines {
        assert_eq!((line["version"].as_str(), line["version_is_asked"].as_bool()), (Some("1.3"), Some(true)));
        let rules: Vec<_> = line["violations"].as_array().unwrap().iter().map(|violation| &violation["rule"]).collect();
        assert!(rules.contains(&&Value::from("focus-ServiceProviderName-present")), "{line}");
    }
}

#[test]
fn help_of_check_focus_teaches_and_the_settings_are_checked_as_before() {
    let (code, out, _) = run(binary().args(["check", "focus", "--help"]));
    assert_eq!(code, 0);
    for taught in ["Examples:\n  streamgauge check focus", "--version 1.2", "--json", "Exit codes: 0 no MUST rule"] {
        assert!(out.contains(taught), "{taught} in\n{out}");
    }
    let (code, out, _) = run(binary().arg("check"));
    assert!(code == 0 && out.contains("Without a file the defaults hold"), "{out}");
    assert_eq!(run(binary().args(["check", "focus"])).0, 2);
    assert_eq!(run(binary().args(["check", "focus", "--version", "0.9", "x.csv"])).0, 2);
}

#[test]
fn a_load_keeps_the_violated_musts_among_its_findings() {
    let data = tempdir().unwrap();
    let (code, out, err) =
        run(binary().args(["import", "billing"]).arg(bill(SAMPLE)).arg("--data-dir").arg(data.path()));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("note: focus-null-placeholder in 1000 rows, first line 2: AvailabilityZone=NULL"), "{out}");
    let query = "SELECT array_has(findings, 'focus-BillingPeriodEnd-format') FROM billing_loads";
    let (code, out, err) = run(binary().args(["sql", "--format", "csv", query, "--data-dir"]).arg(data.path()));
    assert_eq!((code, out.lines().last()), (0, Some("true")), "{err}");
}
