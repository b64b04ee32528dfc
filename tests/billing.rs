//! Bills as finance meets them: loaded, restated, killed on the way, and asked with SQL.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    thread::sleep,
    time::Duration,
};

use tempfile::{TempDir, tempdir};

use crate::support::{
    random::Random,
    server::{binary, run},
};

/// A sample bill.
fn bill(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/billing/tests/data").join(name)
}

const FINAL: &str = "koku-aws/2023-06-01.csv";
const NOT_FINAL: &str = "koku-aws/2023-06-01-not-final.csv";
const CUR: &str =
    "aws-cur/legacy-layout/koku-local/20180801-20180901/16e57707-f9e3-49be-8be6-b84e684b5194/koku-local-1.csv.gz";

struct Books(TempDir);

impl Books {
    fn new() -> Self {
        Self(tempdir().unwrap())
    }

    fn import(&self, name: &str, options: &[&str]) -> (i32, String, String) {
        run(binary().args(["import", "billing"]).arg(bill(name)).args(options).arg("--data-dir").arg(self.0.path()))
    }

    fn loaded(&self, name: &str, options: &[&str]) -> String {
        let (code, out, err) = self.import(name, options);
        assert_eq!(code, 0, "{out}\n{err}");
        out
    }

    /// The rows of an answer, each as CSV.
    fn ask(&self, query: &str) -> Vec<String> {
        let (code, out, err) = run(binary().args(["sql", "--format", "csv", query, "--data-dir"]).arg(self.0.path()));
        assert_eq!(code, 0, "{query}: {err}");
        out.lines().skip(1).map(|line| line.trim_end().to_owned()).collect()
    }
}

#[test]
fn a_bill_is_loaded_to_the_last_digit_and_every_table_agrees() {
    let books = Books::new();
    let out = books.loaded(CUR, &["--export", "aws-main"]);
    assert!(out.contains("aws-main/2018-07: loaded as revision 1") && out.contains("rows 13380"), "{out}");
    // The sum of the file, by an adder of digits; see ingest/billing/FILES.md.
    const DELIVERED: &str = "143227.76367818761501799105";
    assert!(out.contains(DELIVERED), "{out}");
    let sums = "SELECT count(*), sum(x_DeliveredCost) = sum(BilledCost), sum(BilledCost) FROM costs";
    let [row] = books.ask(sums).try_into().unwrap();
    assert!(row.starts_with("13380,true,143227.763678187615017991"), "{row}");
    let daily = "SELECT sum(x_Rows), sum(BilledCost) FROM costs_daily";
    assert_eq!(books.ask(daily), books.ask(&daily.replace("daily", "hourly")));
    assert_eq!(books.ask(daily), books.ask("SELECT count(*), sum(BilledCost) FROM costs"));
    let by = |table: &str| {
        let count = if table == "costs" { "count(*)" } else { "sum(x_Rows)" };
        books.ask(&format!(
            "SELECT servicename, subaccountid, date_trunc('day', chargeperiodstart) AS day, {count}, sum(BilledCost), sum(EffectiveCost) \
             FROM {table} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ))
    };
    assert!(by("costs").len() > 100);
    assert_eq!(by("costs"), by("costs_daily"));
    let ledger = "SELECT scope, revision, rows, rejects, totals[1]['delivered'] FROM billing_loads";
    let [row] = books.ask(ledger).try_into().unwrap();
    assert!(row.starts_with("aws-main/2018-07,1,13380,0,143227.7636781876150"), "{row}");
}

#[test]
fn a_restatement_takes_the_place_of_the_bill_before_and_says_what_changed() {
    let books = Books::new();
    let options = ["--export", "aws", "--part", "2023-06"];
    books.loaded(NOT_FINAL, &options);
    let before = books.ask("SELECT count(*), sum(BilledCost), count(InvoiceId) FROM costs");
    assert!(before[0].ends_with(",0"), "not on an invoice yet: {before:?}");
    assert!(books.loaded(NOT_FINAL, &options).contains("loaded already"));
    let out = books.loaded(FINAL, &options);
    assert!(out.contains("revision 2"), "{out}");
    let after = books.ask("SELECT count(*), sum(BilledCost), count(InvoiceId) FROM costs");
    assert_ne!(before, after);
    assert_eq!(books.ask("SELECT count(DISTINCT x_Scope) FROM costs"), ["1"]);
    assert_eq!(books.ask("SELECT revision FROM billing_loads ORDER BY revision"), ["1", "2"]);
    // The account was corrected, so what it was charged goes from one to the other.
    let moved = "SELECT sum(NewBilledCost - OldBilledCost), count(*) > 0 FROM costs_changes WHERE revision = 2";
    assert_eq!(books.ask(moved), ["0.0000000000000000000000,true"]);
    // Another export's month stays, and so does another month.
    books.loaded("focus/focus_sample_1.0_anonymized_1000.csv.gz", &["--export", "other"]);
    books.loaded(CUR, &["--export", "aws"]);
    assert_eq!(
        books.ask("SELECT DISTINCT x_Scope FROM costs ORDER BY 1"),
        ["aws/2018-07", "aws/2023-06", "other/2024-09"]
    );
}

#[test]
fn daily_sums_are_those_of_lines_however_they_are_grouped() {
    let books = Books::new();
    books.loaded("focus/focus_sample_1.0_anonymized_1000.csv.gz", &["--export", "focus"]);
    let tags = schemas::SUMMARY_COLUMNS.len() - schemas::MANDATORY_TAGS;
    for seed in 0..5 {
        let mut random = Random(seed);
        let (mut by_lines, mut by_days) = (Vec::new(), Vec::new());
        for (at, name) in schemas::SUMMARY_COLUMNS.iter().enumerate().filter(|_| random.below(4) == 0) {
            by_days.push((*name).to_owned());
            // Tags are found anew, by the rules by which they were found when the bill was loaded.
            by_lines.push(match at < tags {
                true => (*name).to_owned(),
                false => format!("mandatory_tag('{name}', Tags, SubAccountId, ServiceName, ChargePeriodStart)"),
            });
        }
        let sums = |columns: &[String], rows: &str, table: &str| {
            let columns: String = columns.iter().map(|column| format!("{column}, ")).collect();
            let mut rows = books.ask(&format!(
                "SELECT {columns} date_trunc('day', ChargePeriodStart), {rows}, sum(BilledCost), sum(EffectiveCost), sum(ListCost), \
                 sum(ContractedCost), sum(x_DeliveredCost) FROM {table} GROUP BY ALL"
            ));
            rows.sort();
            rows
        };
        let lines = sums(&by_lines, "count(*)", "costs");
        assert!(lines.len() >= 20, "{by_lines:?}");
        assert_eq!(lines, sums(&by_days, "sum(x_Rows)", "costs_daily"), "seed={seed}");
    }
    let tagged = "SELECT count(Environment) > 100, count(Project) > 10, count(CostCenter) > 10 FROM costs_spread";
    assert_eq!(books.ask(tagged), ["true,true,true"]);
}

#[test]
fn a_folder_is_read_as_its_manifest_says() {
    let books = Books::new();
    let folder = "aws-cur/legacy-layout/koku-local/20180801-20180901";
    let out = books.loaded(folder, &[]);
    // The period of the manifest, whatever the rows are of.
    assert!(out.contains("koku-local/2018-08: loaded as revision 1") && out.contains("rows 13380"), "{out}");
    let delivery = books.ask("SELECT delivery FROM billing_loads");
    assert_eq!(delivery, ["16e57707-f9e3-49be-8be6-b84e684b5194"]);
    // The manifest beside the file is of the same delivery.
    let beside = format!("{folder}/16e57707-f9e3-49be-8be6-b84e684b5194/koku-local-Manifest.json");
    assert!(books.loaded(&beside, &[]).contains("loaded already"));
    let half = books.0.path().join("half");
    std::fs::create_dir(&half).unwrap();
    std::fs::copy(bill(folder).join("koku-local-Manifest.json"), half.join("koku-local-Manifest.json")).unwrap();
    let (code, _, err) = run(binary().args(["import", "billing"]).arg(&half).arg("--data-dir").arg(books.0.path()));
    assert!(code == 1 && err.contains("is the delivery whole?") && err.contains("koku-local-1.csv.gz"), "{err}");
}

#[test]
fn a_dry_run_and_a_refusal_load_nothing() {
    let books = Books::new();
    let out = books.loaded(FINAL, &["--export", "aws", "--dry-run"]);
    assert!(out.contains("nothing loaded"), "{out}");
    assert_eq!(books.ask("SELECT count(*) FROM costs"), ["0"]);
    let (code, _, err) = books.import("focus/spec-1.2-examples/commitment_discount_usage_scenario_4.csv", &[]);
    assert!(code == 1 && err.contains("--assume BillingCurrency=USD"), "{err}");
    let other = books.0.path().join("other.csv");
    std::fs::write(&other, "a,b\n1,2\n").unwrap();
    let (code, _, err) = run(binary().args(["import", "billing"]).arg(&other).arg("--data-dir").arg(books.0.path()));
    assert!(code == 1 && err.contains("other.csv"), "{err}");
    assert_eq!(books.ask("SELECT count(*) FROM billing_loads"), ["0"]);
}

#[test]
fn a_load_that_is_killed_leaves_the_old_bill_or_the_new_one() {
    let books = Books::new();
    let options = ["--export", "aws", "--part", "x"];
    books.loaded(FINAL, &options);
    let state = || {
        books.ask(
            "SELECT (SELECT count(*) FROM costs), (SELECT sum(x_Rows) FROM costs_daily), \
             (SELECT sum(x_Rows) FROM costs_hourly), (SELECT max(revision) FROM billing_loads), \
             (SELECT max(revision) FROM costs_changes), (SELECT sum(BilledCost) FROM costs) = (SELECT sum(BilledCost) FROM costs_daily)",
        )
    };
    let (old, mut seen) = (state(), [0, 0]);
    let lines: i64 = old[0].split(',').next().unwrap().parse().unwrap();
    let is_old = format!("{lines},{lines},{lines},1,1,true");
    assert_eq!(old.join("\n"), is_old);
    for round in 0..14_u64 {
        let mut import = binary();
        import
            .args(["import", "billing"])
            .arg(bill(CUR))
            .args(options)
            .args(["--force", "--data-dir"])
            .arg(books.0.path());
        let mut child = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(20 + round * 35));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = state().remove(0);
        if state == is_old {
            seen[0] += 1;
            continue;
        }
        // Once it is there, further rounds make further revisions of the same.
        seen[1] += 1;
        assert!(state.starts_with("13380,13380,13380,") && state.ends_with(",true"), "{state}");
        let revisions: Vec<&str> = state.split(',').collect();
        // A load of the same lines changes nothing.
        assert!(revisions[3] >= revisions[4] && revisions[4] == "2", "{state}");
    }
    books.loaded(CUR, &options);
    assert_eq!(books.ask("SELECT count(*) FROM costs"), ["13380"]);
    println!("killed before the load was done: {}, after it: {}", seen[0], seen[1]);
}

#[test]
fn a_load_that_ends_at_any_step_leaves_the_old_bill_or_the_new_one() {
    let books = Books::new();
    let options = ["--export", "aws", "--part", "x", "--force"];
    let state = || {
        books.ask(
            "SELECT (SELECT count(*) FROM costs), (SELECT sum(x_Rows) FROM costs_daily), (SELECT sum(x_Rows) FROM costs_hourly), \
             (SELECT sum(BilledCost) FROM costs) = (SELECT sum(BilledCost) FROM costs_daily)",
        )
    };
    books.loaded(CUR, &options);
    let new = state();
    assert_eq!(new, ["13380,13380,13380,true"]);
    books.loaded(FINAL, &options);
    let old = state();
    assert!(old != new && old[0].ends_with(",true"), "{old:?}");
    let mut ended = Vec::new();
    // Three datasets are replaced; whatever was not committed is once the folder is opened again.
    for point in ["staged_put", "wal_written", "wal_synced", "replacement_committed", "before_wal_trim"] {
        for nth in 1..=3 {
            let mut import = binary();
            import.env("STREAMGAUGE_CRASH_AT", format!("{point}:{nth}")).args(["import", "billing"]).arg(bill(CUR));
            import.args(options).arg("--data-dir").arg(books.0.path()).stdout(Stdio::null()).stderr(Stdio::null());
            let status = import.status().unwrap();
            let state = state();
            assert!(state == old || state == new, "{point}:{nth}: {state:?}");
            if !status.success() {
                ended.push((point, nth, state == new));
            }
            books.loaded(FINAL, &options);
            assert_eq!(books.ask("SELECT count(*) FROM costs"), [old[0].split(',').next().unwrap()]);
        }
    }
    for (point, is_new) in [("staged_put", false), ("wal_synced", true), ("replacement_committed", true)] {
        assert!(ended.contains(&(point, 1, is_new)), "{point}: {ended:?}");
    }
}
