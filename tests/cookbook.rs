//! Runs the page of questions that finance and operations ask, `docs/sql-cookbook.md`, over bills that are small enough to be computed by hand.
//!
//! Each block of SQL is followed by its answer. `UPDATE=1 cargo test --workspace --test main cookbook` writes the answers anew; whoever does
//! so computes those that changed by hand.

use std::{collections::BTreeMap, env, fs, path::Path, sync::Arc};

use ingest::billing::{Config, Input, Loads, Request, TagRules};
use prometheus::Registry;
use query::{Catalog, Engine};
use schemas::Dataset;
use serde_json::{Value, json};
use storage::{Batch, Clock, Lane, Storage};
use tempfile::{TempDir, tempdir};

use crate::support::rows::batch;

const PAGE: &str = "docs/sql-cookbook.md";
/// 2026-11-22T12:00:00Z.
const NOW_US: i64 = 1_795_348_800_000_000;

/// The books of a small company.
struct Books {
    storage: Storage,
    engine: Engine,
    clock: Clock,
    folder: TempDir,
}

impl Books {
    async fn open() -> Self {
        let (folder, registry) = (tempdir().unwrap(), Registry::new());
        let clock = Clock::new(|| NOW_US);
        let config = storage::Config {
            tables: storage::Tables::default(),
            data_dir: folder.path().to_owned(),
            tenant: "default".to_owned(),
            flush_bytes: 64 << 20,
            flush_age_ms: 600_000,
            head_bytes_max: 256 << 20,
            wal_segment_bytes: 4 << 20,
            upkeep: false,
            retention_days: BTreeMap::new(),
        };
        let env = storage::Env { clock: clock.clone(), ..streamgauge::app::env() };
        let storage = Storage::open(config, schemas::all(), env, &registry).await.unwrap();
        let views = storage.clone();
        let catalog = Catalog {
            store: storage.store(),
            datasets: schemas::all(),
            views: Arc::new(move |datasets| views.views(datasets)),
        };
        let engine = Engine::new(query::Config::default(), catalog, clock.clone(), &registry).unwrap();
        Self { storage, engine, clock, folder }
    }

    async fn load(&self, file: &str, export: &str, part: &str) {
        let config = Config {
            tags: TagRules::default(),
            archive_dir: self.folder.path().join("raw"),
            archive_us: i64::MAX / 2,
            close_after_us: 15 * 86_400_000_000,
            kept_days: 20 * 365,
        };
        let loads = Loads::open(config, self.storage.clone(), self.clock.clone()).await.unwrap();
        let request = Request {
            export: export.to_owned(),
            part: Some(part.to_owned()),
            files: vec![Input::at(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))],
            ..Request::default()
        };
        loads.load(request, |_| {}).await.unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    async fn append(&self, dataset: &'static Dataset, rows: &[Value]) {
        let rows = batch(dataset, rows);
        let room = self.storage.reserve(rows.get_array_memory_size()).await.unwrap();
        self.storage.append(room, vec![Batch::append(dataset, rows, Lane::InOrder)]).done().await.unwrap();
    }

    /// The answer to a question, as a table of the page.
    async fn answer(&self, sql: &str) -> query::Result<String> {
        let answer = self.engine.sql(sql).await?;
        let schema = Arc::clone(&answer.schema);
        let json: Value = serde_json::from_str(&query::format::json(&schema, &answer.collect().await?)?).unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut lines = vec![names.join(" | "), vec!["---"; names.len()].join(" | ")];
        let rows = json["data"]["rows"].as_array().unwrap();
        assert!(!rows.is_empty(), "{sql}\nhas no answer");
        lines.extend(rows.iter().map(|row| row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(" | ")));
        Ok(lines.iter().map(|line| format!("| {line} |\n")).collect())
    }
}

/// A value as it is shown on the page: decimals without zeros at their end, times without milliseconds.
fn cell(value: &Value) -> String {
    let Value::String(text) = value else { return if value.is_null() { String::new() } else { value.to_string() } };
    let is_decimal = text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    if is_decimal {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text.strip_suffix(".000Z").map_or_else(|| text.clone(), |time| format!("{time}Z"))
}

async fn books() -> Books {
    let books = Books::open().await;
    let own = |name: &str| format!("tests/data/cookbook/{name}");
    let sample = |name: &str| format!("ingest/billing/tests/data/{name}");
    books.load(&own("aws-2026-10.csv"), "aws-main", "2026-10").await;
    books.load(&own("aws-2026-11-first.csv"), "aws-main", "2026-11").await;
    books.load(&own("aws-2026-11.csv"), "aws-main", "2026-11").await;
    books.load(&own("azure-2026-11.csv"), "azure-data", "2026-11").await;
    books.load(&sample("focus/focus_sample_1.0_anonymized_1000.csv.gz"), "sample-focus", "2024-09").await;
    books.load(&sample("koku-gcp/202011_2020-11-08_2020-11-11.csv"), "sample-gcp", "2020-11").await;

    let account = |id: &str, name: &str, path: &str, owner: &str, until: Value| json!({"source": "accounts.csv", "SubAccountId": id, "Name": name, "Path": path, "Owner": owner, "ValidUntil": until});
    let accounts = [
        account("111", "payments", "Root/Shop/Payments", "ann", json!(null)),
        account("222", "platform", "Root/Platform", "carl", json!("2026-07-01T00:00:00Z")),
        account("333", "data", "Root/Data", "eve", json!(null)),
    ];
    books.append(schemas::accounts(), &accounts).await;
    let since = json!({"source": "accounts.csv", "SubAccountId": "222", "Name": "platform", "Path": "Root/Platform", "Owner": "bob",
                       "ValidFrom": "2026-07-01T00:00:00Z"});
    books.append(schemas::accounts(), &[since]).await;
    let rate =
        json!({"source": "ecb.csv", "Month": "2026-10-01", "FromCurrency": "USD", "ToCurrency": "EUR", "Rate": "0.9"});
    books.append(schemas::exchange_rates(), &[rate]).await;
    let invoice = |id: &str, cost: &str| {
        json!({"source": "invoices.csv", "InvoiceId": id, "InvoiceIssuerName": "Amazon Web Services EMEA SARL", "BillingAccountId": "999",
               "BillingCurrency": "USD", "BilledCost": cost})
    };
    books.append(schemas::invoices(), &[invoice("EUINDE26-0901", "231.17"), invoice("EUINDE26-1001", "246.00")]).await;
    let change = |month: &str, status: &str, reason: &str| json!({"export": "aws-main", "BillingMonth": month, "status": status, "reason": reason, "changed_at": "2026-11-22T13:00:00Z"});
    let changes =
        [change("2026-10-01", "Closed", "invoices matched"), change("2026-11-01", "Open", "the month is not over")];
    books.append(schemas::billing_period_changes(), &changes).await;
    metrics(&books).await;
    books
}

/// What machines did, and how much was ordered.
async fn metrics(books: &Books) {
    let series = |day: &str, metric: &str, id: i64, labels: Value| json!({"day": day, "metric": metric, "series_id": id, "labels": labels, "first_ts": format!("{day}T00:00:00Z")});
    let sample = |metric: &str, id: i64, at: &str, value: f64| json!({"metric": metric, "series_id": id, "ts": at, "value": value});
    let (cpu, orders, requests) = ("instance_cpu_ratio", "shop_orders", "http_requests_total");
    let (pay, plat) = (json!({"instance_id": "i-0pay"}), json!({"instance_id": "i-0plat"}));
    let all = [
        series("2026-11-02", cpu, 1, pay.clone()),
        series("2026-11-03", cpu, 2, plat),
        series("2026-11-04", cpu, 1, pay),
        series("2026-11-02", orders, 3, json!({"team": "payments"})),
        series("2026-11-02", requests, 4, json!({"team": "payments"})),
    ];
    for row in all {
        // Rows of a batch are of one partition or sorted by it; one by one they are always.
        books.append(schemas::series(), &[row]).await;
    }
    let samples = [
        sample(cpu, 1, "2026-11-02T06:00:00Z", 0.5),
        sample(cpu, 1, "2026-11-02T18:00:00Z", 0.25),
        sample(cpu, 2, "2026-11-03T12:00:00Z", 0.0625),
        sample(cpu, 1, "2026-11-04T13:30:00Z", 0.875),
        sample(orders, 3, "2026-11-02T12:00:00Z", 600.0),
        sample(orders, 3, "2026-11-02T20:00:00Z", 2000.0),
        sample(requests, 4, "2026-11-02T06:00:00Z", 100.0),
        sample(requests, 4, "2026-11-02T12:00:00Z", 250.0),
        // Restarted.
        sample(requests, 4, "2026-11-02T18:00:00Z", 40.0),
    ];
    for row in samples {
        books.append(schemas::samples(), &[row]).await;
    }
}

/// The page with the answers that its questions have, and how many there are.
async fn answered(page: &str, books: &Books) -> (String, usize) {
    const BEGIN: &str = "```sql\n";
    let mut parts = page.split(BEGIN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    let (mut asked, mut failed) = (0, Vec::new());
    for part in parts {
        let (sql, rest) = part.split_once("```\n").unwrap();
        // The answer is the table that follows.
        let rest = rest.trim_start_matches('\n');
        let after: String = rest.split_inclusive('\n').skip_while(|line| line.starts_with('|')).collect();
        let gap = if after.starts_with('\n') || after.is_empty() { "" } else { "\n" };
        match books.answer(sql).await {
            Ok(answer) => out += &format!("{BEGIN}{sql}```\n\n{answer}{gap}{after}"),
            Err(error) => failed.push(format!("{sql}\n{error}")),
        }
        asked += 1;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    (out, asked)
}

#[test]
fn every_question_of_the_cookbook_has_the_answer_that_it_shows() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let books = books().await;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        let page = fs::read_to_string(&path).unwrap();
        let (fresh, asked) = answered(&page, &books).await;
        assert!(asked >= 20, "{asked}");
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &fresh).unwrap();
        }
        let differ = fresh.lines().zip(page.lines()).find(|(fresh, page)| fresh != page);
        assert!(fresh == page || env::var_os("UPDATE").is_some(), "{PAGE} shows another answer: {differ:#?}");
        books.storage.close().await.unwrap();
    });
}
