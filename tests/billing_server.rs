//! Bills that a running server loads: sent file by file, fetched from where a provider delivers them, decoded again, closed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use object_store::{ObjectStoreExt as _, aws::AmazonS3Builder, path};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    process,
    seaweed::{KEY, SECRET, Seaweed},
    server::{Server, binary, eventually, run},
};

const LAYOUT: &str = "aws-cur/legacy-layout/koku-local/20180801-20180901";
const ASSEMBLY: &str = "16e57707-f9e3-49be-8be6-b84e684b5194";
/// Sum of the report's lines, by an adder of digits; see ingest/billing/FILES.md.
const SUM: &str = "143227.76367818761501799105";

/// A sample bill.
fn bill(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/billing/tests/data").join(name)
}

fn report() -> Vec<u8> {
    fs::read(bill(LAYOUT).join(ASSEMBLY).join("koku-local-1.csv.gz")).unwrap()
}

/// Sends something to the endpoints of bills; gives the answer's data, or its error.
fn post(server: &Server, path: &str, body: &[u8]) -> Result<Value, String> {
    let answer = server.call("POST", &format!("/api/v1/billing/{path}"), None, body);
    let mut json: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    if answer.status == 200 { Ok(json["data"].take()) } else { Err(json["error"].as_str().unwrap().to_owned()) }
}

/// Runs a command against a server.
fn command(server: &Server, args: &[&str]) -> (i32, String) {
    let (code, out, err) = run(binary().args(args).args(["--url", &server.url("")]));
    (code, out + &err)
}

#[test]
fn files_that_are_sent_one_by_one_are_seen_when_all_are_there_whatever_crashes() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let sent = post(&server, "aws-main/2018-08?file=koku-local-1.csv.gz", &report()).unwrap();
    assert_eq!(sent["bytes"], report().len());
    let count = "SELECT count(*) FROM costs";
    assert_eq!(server.sql(count), ["0"]);
    server.signal("KILL");
    server.wait();

    let server = Server::start(folder.path(), &[]);
    let listed = server.get("/api/v1/billing/aws-main/2018-08", None).body;
    assert!(listed.contains("koku-local-1.csv.gz") && listed.contains(sent["sha256"].as_str().unwrap()), "{listed}");
    let commit = json!({"delivery": ASSEMBLY, "delivered_at": "2018-09-03T04:05:06Z"}).to_string();
    let told = post(&server, "aws-main/2018-08/commit", commit.as_bytes()).unwrap();
    assert_eq!(
        (&told["scope"], &told["revision"], &told["rows"]),
        (&json!("aws-main/2018-08"), &json!(1), &json!(13380))
    );
    let sum = format!("SELECT sum(BilledCost) = {SUM} FROM costs");
    assert_eq!(server.sql(&sum), ["true"]);
    let again = post(&server, "aws-main/2018-08/commit", b"{}").unwrap_err();
    assert!(again.contains("no files were sent"), "{again}");

    // The same file twice would count twice, whatever it is called.
    for name in ["a.csv.gz", "b.csv.gz"] {
        post(&server, &format!("aws-main/2018-08?file={name}"), &report()).unwrap();
    }
    let twice = post(&server, "aws-main/2018-08/commit", b"{\"delivery\": \"new\"}").unwrap_err();
    assert!(twice.contains("two files are the same"), "{twice}");
    let one = json!({"delivery": ASSEMBLY, "files": [{"name": "c.csv.gz", "bytes": 1, "sha256": "0"}]}).to_string();
    let missing = post(&server, "aws-main/2018-08/commit", one.as_bytes()).unwrap_err();
    assert!(missing.contains("send it again file=c.csv.gz"), "{missing}");
    assert_eq!(server.call("DELETE", "/api/v1/billing/aws-main/2018-08", None, &[]).status, 204);

    // The same delivery is no load; what was delivered earlier is refused.
    for (commit, wanted) in
        [(commit, Ok(true)), (json!({"delivered_at": "2018-09-01T00:00:00Z"}).to_string(), Err("later"))]
    {
        post(&server, "aws-main/2018-08?file=a.csv.gz", &report()).unwrap();
        match (post(&server, "aws-main/2018-08/commit", commit.as_bytes()), wanted) {
            (Ok(told), Ok(_)) => assert_eq!(told["is_same"], true),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (told, _) => panic!("{told:?}"),
        }
    }
    let gone = server.call("DELETE", "/api/v1/billing/aws-main/2018-08", None, &[]);
    assert_eq!(gone.status, 204, "{gone:?}");

    let (code, out) = command(&server, &["billing", "reprocess", "aws-main/2018-08"]);
    assert!(code == 0 && out.contains("aws-main/2018-08: loaded as revision 2"), "{out}");
    let (code, out) = command(&server, &["billing", "reprocess", "aws-main/2018-09"]);
    assert!(code == 1 && out.contains("there are: aws-main/2018-08"), "{out}");
    assert_eq!(server.sql(&sum), ["true"]);
    let kept = "SELECT files[1]['path'], files[1]['digest'] FROM billing_loads ORDER BY revision DESC LIMIT 1";
    assert_eq!(server.sql(kept), [format!("koku-local-1.csv.gz,{}", sent["sha256"].as_str().unwrap())]);
}

#[test]
fn what_is_sent_badly_is_refused_with_what_to_do() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (path, body, part) in [
        ("aws/2018-08", "x", "?file=NAME"),
        ("aws/2018-08/commit", "{\"froce\": true}", "unknown field `froce`"),
        ("a%2Fb/2018-08/commit", "{}", "no files were sent"),
        ("aws/2018-08/commit", "{}", "POST them to /api/v1/billing/aws/2018-08?file=NAME first"),
        ("aws/2018-13/close", "", "no month: write it as 2026-11"),
        ("aws/2018-08/close", "", "nothing is loaded of this month"),
        ("aws/2018-08/reprocess", "", "nothing is loaded of this scope"),
    ] {
        let error = post(&server, path, body.as_bytes()).unwrap_err();
        assert!(error.contains(part), "{path}: {error}");
    }
    post(&server, "aws/2018-08?file=x.csv", b"what,is,this\n1,2,3\n").unwrap();
    let error = post(&server, "aws/2018-08/commit", b"{}").unwrap_err();
    assert!(error.contains("x.csv"), "{error}");
    // What is refused is in the ledger, once, and is nothing that is loaded.
    assert!(post(&server, "aws/2018-08/commit", b"{}").is_err());
    let ledger =
        "SELECT scope, revision, rows, outcome, findings[1] LIKE '%x.csv%', cardinality(files) FROM billing_loads";
    assert_eq!(server.sql(ledger), ["aws/2018-08,0,0,refused,true,1"]);
    assert_eq!(server.sql("SELECT (SELECT count(*) FROM costs) + (SELECT count(*) FROM billing_freshness)"), ["0"]);
    let error = post(&server, "aws/2018-08/reprocess", b"").unwrap_err();
    assert!(error.contains("nothing is loaded of this scope"), "{error}");
}

#[test]
fn the_command_line_sends_a_delivery_with_its_manifest() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let delivery = bill(LAYOUT).join(ASSEMBLY);
    let import = ["import", "billing", delivery.to_str().unwrap(), "--export", "aws-main"];
    let (code, out) = command(&server, &import);
    assert!(code == 0 && out.contains("aws-main/2018-08: loaded as revision 1") && out.contains(SUM), "{out}");
    let (code, out) = command(&server, &import);
    assert!(code == 0 && out.contains("loaded already"), "{out}");

    // Months of 2018 are over; this report, which has lines of three, has no invoices yet.
    let periods = "SELECT status, count(*) FROM billing_period_changes GROUP BY 1 ORDER BY 1";
    assert_eq!(server.sql(periods), ["Closing,3"]);
    let month = server.sql("SELECT to_char(min(BillingMonth), '%Y-%m') FROM billing_period_changes").remove(0);
    let (code, out) = command(&server, &["billing", "close", "aws-main", &month]);
    assert!(code == 0 && out.contains("is Closed: closed by hand"), "{out}");
    let (code, out) = command(&server, &["billing", "close", "aws-main", &month]);
    assert!(code == 1 && out.contains("Closed already"), "{out}");
    assert_eq!(server.sql(periods), ["Closed,1", "Closing,3"]);

    // A bill that changes after it was final says so: this one has nothing of the month any more.
    let other = bill("koku-aws/2023-06-01.csv");
    let other = ["import", "billing", other.to_str().unwrap(), "--export", "aws-main", "--part", "2018-08"];
    let (code, out) = command(&server, &other);
    let reopened = format!("{month} of aws-main is Reopened: amounts changed after it was final");
    assert!(code == 0 && out.contains(&reopened) && out.contains("is all of it there?"), "{out}");
    let (code, out) = command(&server, &[&import[..], &["--force"]].concat());
    assert!(code == 0, "{out}");

    // The same costs from another export would count twice.
    let twice = ["import", "billing", delivery.to_str().unwrap(), "--export", "aws-copy"];
    let (code, out) = command(&server, &twice);
    assert!(code == 1 && out.contains("aws-copy and aws-main have costs of the same account and month"), "{out}");
    let refused = "SELECT outcome, rows, totals[1]['rows'] FROM billing_loads WHERE export = 'aws-copy'";
    assert_eq!(server.sql(refused), ["refused,0,13380"]);
    let (code, out) = command(&server, &[&twice[..], &["--uncounted"]].concat());
    assert!(code == 0, "{out}");
    let both = "SELECT (SELECT count(*) FROM costs) AS a, (SELECT count(*) FROM costs_uncounted) AS b, (SELECT sum(x_Rows) FROM costs_daily) AS c";
    assert_eq!(server.sql(both), ["13380,13380,13380"]);

    // What has another name now leaves, and is no rival any more.
    let (code, out) = command(&server, &["billing", "forget", "aws-main/2018-08"]);
    assert!(code == 0 && out.contains("aws-main/2018-08: loaded as revision"), "{out}");
    let (code, out) = command(&server, &[&twice[..], &["--force"]].concat());
    assert!(code == 0, "{out}");
    assert_eq!(server.sql(both), ["13380,0,13380"]);
}

/// Settings of a server that fetches an export.
fn settings(folder: &Path, exports: &str) -> String {
    let file = folder.join("settings.yaml");
    fs::write(&file, format!("billing: {{look_every: 1s, exports: [{exports}]}}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Revisions that are loaded of the export, with their rows.
fn loads(server: &Server) -> Vec<String> {
    server.sql("SELECT scope, revision, rows FROM billing_loads ORDER BY loaded_at")
}

#[test]
fn an_export_in_a_folder_is_fetched_as_its_manifest_says() {
    let folder = tempdir().unwrap();
    let place = folder.path().join("bucket/koku-local/20180801-20180901");
    fs::create_dir_all(place.join(ASSEMBLY)).unwrap();
    let manifest = fs::read_to_string(bill(LAYOUT).join("koku-local-Manifest.json")).unwrap();
    // The manifest first, as it could be seen half way; nothing is loaded before its file is there.
    fs::write(place.join("koku-local-Manifest.json"), &manifest).unwrap();
    let from = folder.path().join("bucket");
    let file = settings(folder.path(), &format!("{{name: aws-main, from: {}}}", from.display()));
    let server = Server::start(folder.path(), &["--config", &file]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(loads(&server), [""; 0]);
    fs::write(place.join(ASSEMBLY).join("koku-local-1.csv.gz"), report()).unwrap();
    let first = eventually(|| Some(loads(&server)).filter(|loads| !loads.is_empty())).unwrap();
    assert_eq!(first, ["aws-main/2018-08,1,13380"]);

    // A new version lies beside the old one; that its manifest names is the truth.
    let newer = place.join("f0000000-0000-0000-0000-000000000000");
    fs::create_dir_all(&newer).unwrap();
    fs::copy(bill("koku-aws/2023-06-01.csv"), newer.join("koku-local-1.csv")).unwrap();
    let keys = manifest
        .replace(ASSEMBLY, "f0000000-0000-0000-0000-000000000000")
        .replace("koku-local-1.csv.gz", "koku-local-1.csv");
    fs::write(place.join("koku-local-Manifest.json"), keys).unwrap();
    let second = eventually(|| Some(loads(&server)).filter(|loads| loads.len() > 1)).unwrap();
    assert!(second[1].starts_with("aws-main/2018-08,2,"), "{second:?}");
    let metrics = server.get("/metrics", None).body;
    for metric in [
        "streamgauge_billing_loads_total{export=\"aws-main\"} 2",
        "streamgauge_billing_half_deliveries{export=\"aws-main\"} 0",
        "streamgauge_billing_last_delivery_timestamp_seconds{export=\"aws-main\"} ",
        "streamgauge_billing_complete_through_timestamp_seconds{export=\"aws-main\"} ",
    ] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    // What was fetched is there to be decoded again, and the place is what it was.
    let (code, out) = command(&server, &["billing", "reprocess", "aws-main/2018-08"]);
    assert!(code == 0 && out.contains("revision 3"), "{out}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 3);
}

#[test]
fn an_export_in_a_bucket_is_fetched_with_credentials_of_its_own() {
    let folder = tempdir().unwrap();
    let Some(seaweed) = Seaweed::start(folder.path()) else { return };
    seaweed.bucket("bills");
    let endpoint = format!("http://127.0.0.1:{}", seaweed.port);
    let store = AmazonS3Builder::new().with_bucket_name("bills").with_endpoint(&endpoint).with_allow_http(true);
    let store = store.with_access_key_id(KEY).with_secret_access_key(SECRET).build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let put = |key: String, bytes: Vec<u8>| runtime.block_on(store.put(&path::Path::from(key), bytes.into())).unwrap();
    let month = "cur/koku-local/20180801-20180901";
    put(format!("{month}/{ASSEMBLY}/koku-local-1.csv.gz"), report());
    put(format!("{month}/koku-local-Manifest.json"), fs::read(bill(LAYOUT).join("koku-local-Manifest.json")).unwrap());
    put("focus/2024-09/sample.csv.gz".into(), fs::read(bill("focus/focus_sample_1.0_anonymized_1000.csv.gz")).unwrap());
    let s3 = format!("endpoint: '{endpoint}', region: us-east-1, credentials_prefix: BILLS_");
    let exports = format!(
        "{{name: aws-main, from: 's3://bills/cur', {s3}}}, {{name: focus, from: 's3://bills/focus', quiet: 0s, {s3}}}, \
         {{name: nobody, from: 's3://bills/cur', endpoint: '{endpoint}', credentials_prefix: NOBODY_}}"
    );
    let file = settings(folder.path(), &exports);
    let env = [("BILLS_AWS_ACCESS_KEY_ID", KEY), ("BILLS_AWS_SECRET_ACCESS_KEY", SECRET)];
    let nobody = [("NOBODY_AWS_ACCESS_KEY_ID", "nobody"), ("NOBODY_AWS_SECRET_ACCESS_KEY", "knows")];
    let server = Server::start_with(folder.path(), &["--config", &file], &[&env[..], &nobody[..]].concat());
    let both = eventually(|| Some(loads(&server)).filter(|loads| loads.len() > 1)).unwrap();
    assert_eq!(both, ["aws-main/2018-08,1,13380", "focus/2024-09,1,1000"]);
    let etags = "SELECT count(*) FROM billing_loads WHERE files[1]['etag'] IS NOT NULL AND files[1]['path'] LIKE 's3://bills/%'";
    assert_eq!(server.sql(etags), ["2"]);
    // One that may not read costs the others nothing, and nobody's secret is in the log.
    let failed = eventually(|| server.log_text().contains("an export cannot be looked at").then_some(()));
    assert!(failed.is_some() && !server.log_text().contains(SECRET), "{}", server.log_text());
    let metrics = server.get("/metrics", None).body;
    assert!(metrics.contains("streamgauge_billing_failures_total{export=\"aws-main\"} 0"), "{metrics}");
}

#[test]
fn rules_of_alerts_about_bills_are_right() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rules");
    if !process::installed("promtool") {
        process::skipped("promtool is not installed", "apt-get install prometheus");
        return;
    }
    let mut promtool = std::process::Command::new("promtool");
    let (code, out, err) = run(promtool.args(["test", "rules", "billing_test.yaml"]).current_dir(rules));
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn rules_of_tags_that_change_are_applied_to_open_months_and_to_them_alone() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let sample = bill("focus/focus_sample_1.0_anonymized_1000.csv.gz");
    let config = |text: &str| {
        let file = folder.path().join("settings.yaml");
        fs::write(&file, text).unwrap();
        file
    };
    let cli = |args: &[&str], file: &Path| {
        let (code, out, err) = run(binary().args(args).arg("--data-dir").arg(&data).arg("--config").arg(file));
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    };
    let teams = |file: &Path| {
        let query = "SELECT DISTINCT Team FROM costs_daily ORDER BY 1";
        cli(&["sql", "--format", "csv", query], file)
            .lines()
            .skip(1)
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let sums = |file: &Path| {
        let sums = "SELECT (SELECT sum(BilledCost) FROM costs) = (SELECT sum(BilledCost) FROM costs_daily), \
                    (SELECT sum(EffectiveCost) FROM costs_hourly) = (SELECT sum(EffectiveCost) FROM costs_daily)";
        assert!(cli(&["sql", "--format", "csv", sums], file).contains("true,true"));
    };
    let plain = config("{}");
    cli(&["import", "billing", sample.to_str().unwrap(), "--export", "focus"], &plain);
    assert!(!teams(&plain).contains(&"nobody".to_owned()));
    let ruled = config(
        "billing: {tags: {Team: {defaults: [{value: nobody}]}}, accounts: [{id: '0012', owner: ann, from: 2026-01-01}]}",
    );
    // Any command that works on bills applies the rules of its settings.
    let rates = folder.path().join("ecb.csv");
    fs::write(&rates, "month,from,to,rate\n2024-09,USD,EUR,0.9\n").unwrap();
    cli(&["import", "rates", rates.to_str().unwrap()], &ruled);
    assert!(teams(&ruled).contains(&"nobody".to_owned()), "{:?}", teams(&ruled));
    assert!(!teams(&ruled).contains(&String::new()));
    sums(&ruled);
    let owner = "SELECT SubAccountId, Owner, ValidFrom FROM accounts";
    assert!(cli(&["sql", "--format", "csv", owner], &ruled).contains("0012,ann,2026-01-01T00:00:00"));
    let month = cli(
        &["sql", "--format", "csv", "SELECT DISTINCT to_char(BillingMonth, '%Y-%m') FROM billing_period_changes"],
        &ruled,
    );
    for month in month.lines().skip(1) {
        cli(&["billing", "close", "focus", month.trim()], &ruled);
    }
    let other = config("billing: {tags: {Team: {defaults: [{value: somebody}]}}}");
    cli(&["import", "rates", rates.to_str().unwrap()], &other);
    assert!(!cli(&["sql", "--format", "csv", owner], &other).contains("ann"), "what the settings say no more is gone");
    assert!(teams(&other).contains(&"nobody".to_owned()), "a month that is final stays as it was reported");
    sums(&other);
}

#[test]
fn reference_tables_are_replaced_by_source_or_not_at_all() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let rates = folder.path().join("ecb.csv");
    let load = |text: &str| {
        fs::write(&rates, text).unwrap();
        command(&server, &["import", "rates", rates.to_str().unwrap()])
    };
    let (code, out) = load("month,from,to,rate,note\n2026-10,USD,EUR,0.9,x\n2026-11,USD,EUR,0.92,y\n");
    assert!(
        code == 0 && out.contains("exchange_rates: 2 rows of source ecb") && out.contains("not used: note"),
        "{out}"
    );
    let (code, out) = load("month,from,to,rate\n2026-10,USD,EUR,0.8\n2026-11,USD,EUR,none\n");
    assert!(code == 1 && out.contains("nothing is replaced; line 3, Rate"), "{out}");
    let all = "SELECT source, FromCurrency, Rate FROM exchange_rates ORDER BY Month";
    assert_eq!(server.sql(all), ["ecb,USD,0.900000000", "ecb,USD,0.920000000"]);
    let (code, out) = load("month,from,to,rate\n2026-12,USD,EUR,0.95\n");
    assert!(code == 0, "{out}");
    assert_eq!(server.sql(all), ["ecb,USD,0.950000000"]);
    let bad = server.call("PUT", "/api/v1/reference/costs/x", None, b"a\n1\n");
    assert!(bad.status == 400 && bad.body.contains("there are accounts, exchange_rates and invoices"), "{bad:?}");
}

#[test]
fn merges_that_race_restatements_change_no_answer() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let bills =
        [bill("koku-aws/2023-06-01-not-final.csv"), bill("koku-aws/2023-06-01.csv"), bill(LAYOUT).join(ASSEMBLY)];
    let load = |nth: usize| {
        let path = bills[nth % bills.len()].to_str().unwrap();
        let (code, out) = command(&server, &["import", "billing", path, "--export", "aws", "--part", "x", "--force"]);
        assert_eq!(code, 0, "{out}");
    };
    let state = || {
        server.sql(
            "SELECT (SELECT count(*) FROM costs), (SELECT sum(x_Rows) FROM costs_daily), (SELECT sum(BilledCost) FROM costs), \
             (SELECT sum(BilledCost) FROM costs) = (SELECT sum(BilledCost) FROM costs_daily)",
        )
        .remove(0)
    };
    // What each of the bills comes to.
    let whole: Vec<String> = (0..bills.len())
        .map(|nth| {
            load(nth);
            state()
        })
        .collect();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let done = || is_done.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        let merging = scope.spawn(|| {
            let mut merges = 0;
            while !done() {
                let answer = server.call("POST", "/api/v1/admin/compact?wait=true", None, &[]);
                assert!(answer.status == 200 && !answer.body.contains("\"error\""), "{answer:?}");
                merges += 1;
            }
            merges
        });
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !done() {
                let now = state();
                assert!(whole.contains(&now), "{now} is none of {whole:?}");
                asked += 1;
            }
            asked
        });
        for nth in 0..9 {
            load(nth);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(merging.join().unwrap() > 3 && asking.join().unwrap() > 3);
    });
    assert_eq!(state(), whole[2], "the last bill stands");
}
