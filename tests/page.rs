//! The page for people, over HTTP as a browser meets it: what it shows, what it lets in, and that names of others stay texts.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use chrono::{Datelike as _, Months, NaiveDate};
use serde_json::json;
use tempfile::tempdir;
use ureq::http::HeaderMap;

use crate::{
    auth::token,
    support::{
        process::{agent, installed, skipped},
        server::{Server, binary, eventually, now_ms, run},
        wire::{self, v1},
    },
};

/// What somebody may call a label.
const HOSTILE: &str = "</td><script>document.title='owned'</script>\" onmouseover='x'";
const HOSTILE_ESCAPED: &str = "&lt;/td&gt;&lt;script&gt;document.title=";

/// An answer: status, headers, body.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    /// Name and id of the cookie that it sets.
    fn cookie(&self) -> &str {
        self.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap()
    }

    fn proof(&self) -> &str {
        let (_, rest) = self.body.split_once("name=\"proof\" value=\"").unwrap_or_else(|| panic!("{}", self.body));
        rest.split('"').next().unwrap()
    }
}

/// Asks as a browser does, but follows nothing.
fn browse(server: &Server, method: &str, path: &str, cookie: &str, form: &str) -> Seen {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    let agent: ureq::Agent =
        config.max_redirects_will_error(false).timeout_global(Some(Duration::from_secs(60))).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(server.url(path));
    request = request.header("Accept", "text/html").header("Content-Type", "application/x-www-form-urlencoded");
    if !cookie.is_empty() {
        request = request.header("Cookie", cookie);
    }
    let mut answer = agent.run(request.body(form.as_bytes()).unwrap()).unwrap();
    let body = answer.body_mut().with_config().limit(1 << 26).read_to_string().unwrap();
    Seen { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

fn get(server: &Server, path: &str) -> Seen {
    browse(server, "GET", path, "", "")
}

/// Series of hostile labels, an alert and a silence with them.
fn fill(server: &Server) {
    let labels = [("__name__", "evil_seconds"), ("host", HOSTILE)];
    let points: Vec<(i64, f64)> = (0..60).map(|at| (now_ms() - (59 - at) * 15_000, at as f64)).collect();
    let body = wire::snappy(&v1::WriteRequest { timeseries: vec![v1::series(&labels, &points)], metadata: Vec::new() });
    let post = agent(Duration::from_secs(20)).post(server.url(wire::PATH)).header("Content-Encoding", "snappy");
    let post = wire::V1_HEADERS.iter().fold(post, |post, (name, value)| post.header(*name, *value));
    assert_eq!(post.send(body).unwrap().status().as_u16(), 204);

    let alert = json!([{
        "labels": {"alertname": "Evil", "host": HOSTILE},
        "annotations": {"summary": HOSTILE},
        "generatorURL": "javascript:alert(1)",
    }]);
    post_json(server, "/api/v2/alerts", &alert.to_string());
    let time = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
    let silence = json!({
        "matchers": [{"name": "host", "value": HOSTILE, "isRegex": false}],
        "startsAt": time(now_ms()), "endsAt": time(now_ms() + 3_600_000), "createdBy": HOSTILE, "comment": HOSTILE,
    });
    post_json(server, "/api/v2/silences", &silence.to_string());
}

fn post_json(server: &Server, path: &str, body: &str) {
    let post = agent(Duration::from_secs(20)).post(server.url(path)).header("Content-Type", "application/json");
    let mut answer = post.send(body.as_bytes()).unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{path}: {}", answer.body_mut().read_to_string().unwrap());
}

/// Loads a bill of this month: 130 and 5 USD.
fn bill(server: &Server, folder: &Path) {
    let today = chrono::DateTime::from_timestamp_millis(now_ms()).unwrap().date_naive();
    let month = NaiveDate::from_ymd_opt(today.year(), today.month(), 1).unwrap();
    let next = month.checked_add_months(Months::new(1)).unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cookbook/aws-2026-11.csv"));
    let text = text.unwrap().lines().take(3).collect::<Vec<_>>().join("\n") + "\n";
    let text = text.replace("2026-12-01", &next.to_string()).replace("2026-11-", &month.format("%Y-%m-").to_string());
    let file = folder.join("bill.csv");
    fs::write(&file, text).unwrap();
    let (code, out, err) = run(binary()
        .args(["import", "billing"])
        .arg(&file)
        .args(["--export", "aws", "--part", &month.format("%Y-%m").to_string()])
        .args(["--url", &server.url("")]));
    assert_eq!(code, 0, "{out}{err}");
}

/// One script, ours, and no other way to run something.
fn assert_harmless(path: &str, seen: &Seen) {
    let policy = seen.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{path}: {policy}");
    assert!(!policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!(seen.body.matches("<script").count(), 1, "{path}: {}", seen.body);
    assert!(!seen.body.contains("onmouseover='") && !seen.body.contains("href=\"javascript"), "{path}: {}", seen.body);
}

#[test]
fn names_that_others_choose_are_texts_on_every_page() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    fill(&server);
    let sql = "/sql?query=SELECT+labels+FROM+metrics+LIMIT+1";
    for path in ["/", "/graph?g0.expr=evil_seconds", "/graph?g0.expr=evil_seconds&g0.tab=1", sql] {
        let seen = get(&server, path);
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
        assert!(seen.body.contains(HOSTILE_ESCAPED), "{path}: {}", seen.body);
        assert_harmless(path, &seen);
    }
    // What is asked is shown again, and what is wrong with it.
    for path in [
        "/graph?g0.expr=%3Cscript%3E",
        "/sql?query=%3C/textarea%3E%3Cscript%3E",
        "/sql?query=SELECT+1+AS+%22%3Cscript%3E%22",
    ] {
        let seen = get(&server, path);
        assert!(seen.status == 200 && seen.body.contains("&lt;script&gt;"), "{path}: {}", seen.body);
        assert_harmless(path, &seen);
    }
}

#[test]
fn the_overview_shows_health_rates_storage_series_spend_alerts_and_silences() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let empty = get(&server, "/").body;
    for text in
        [">ready</p>", "Nothing fires.", "Nothing is silenced.", "no bill has costs of", "no series in the last"]
    {
        assert!(empty.contains(text), "{text}: {empty}");
    }
    fill(&server);
    bill(&server, folder.path());
    assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, &[]).status, 200);
    // On a machine that is busy a part may say that it takes too long.
    let whole = || Some(get(&server, "/").body).filter(|body| !body.contains("class=\"reason\""));
    let body = eventually(whole).expect("every part is there");
    for text in [
        "<strong>135.00 USD</strong>",
        "aria-label=\"Cost of each day in USD\"",
        "<td class=\"t\">Amazon EC2</td>",
        "href=\"graph?g0.expr=%7B__name__%3D%22evil_seconds%22%7D\"",
        ">silenced</span>",
        "<td class=\"t\">silences</td>",
        "<td class=\"t\"><time>20",
        ">samples</a>",
        ">costs_daily</a>",
        "Samples a second",
        "href=\"docs/grafana.md\"",
        "href=\"dashboards/executive.json\"",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
    assert!(get(&server, "/docs/grafana.md").body.starts_with("# Grafana"));
}

#[test]
fn links_of_alerts_open_the_console_with_their_answer() {
    let folder = tempdir().unwrap();
    let rules = "groups:\n  - name: g\n    interval: 5s\n    rules:\n      - {alert: Evil, expr: 'evil_seconds > 50', labels: {by: rule}}\n      \
                 - {alert: Many, sql: 'SELECT count(*) AS n FROM series HAVING count(*) > 0', value: n}\n";
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let settings = folder.path().join("streamgauge.yaml");
    fs::write(&settings, format!("alerting: {{rules: ['{}']}}\n", folder.path().join("rules.yaml").display())).unwrap();
    let server = Server::start(folder.path(), &["--config", settings.to_str().unwrap()]);
    fill(&server);
    let links = eventually(|| {
        let alerts: serde_json::Value = serde_json::from_str(&server.get("/api/v2/alerts", None).body).unwrap();
        let link = |name: &str| {
            let mut found = alerts.as_array().unwrap().iter();
            let by_rule = |alert: &&serde_json::Value| {
                alert["labels"]["alertname"] == name
                    && alert["generatorURL"].as_str().unwrap_or_default().starts_with("http")
            };
            Some(found.find(by_rule)?["generatorURL"].as_str().unwrap().to_owned())
        };
        Some([link("Evil")?, link("Many")?])
    });
    let [promql, sql] =
        links.expect("both fire").map(|url| url.strip_prefix(&server.url("")).expect("here").to_owned());
    assert!(promql.starts_with("/graph?g0.expr=evil") && sql.starts_with("/sql?query=SELECT"), "{promql} {sql}");
    let seen = get(&server, &promql).body;
    assert!(seen.contains("evil_seconds &gt; 50</textarea>") && seen.contains("<td class=\"n\">59</td>"), "{seen}");
    let seen = get(&server, &sql).body;
    assert!(
        seen.contains("<th scope=\"col\" class=\"n\">n</th>") && seen.contains("<p role=\"status\">Rows: 1."),
        "{seen}"
    );

    let graph = get(&server, "/graph?g0.expr=evil_seconds&g0.tab=0&g0.range_input=30m").body;
    assert!(
        graph.contains("<svg ") && graph.contains("class=\"line c0\" d=\"M") && graph.contains("swatch c0"),
        "{graph}"
    );
}

#[test]
fn a_console_says_what_is_wrong_and_reads_only() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (path, part) in [
        ("/graph?g0.expr=rate(", "parse error: unclosed left parenthesis"),
        ("/graph?g0.expr=up%5B5m%5D", "invalid expression type"),
        ("/graph?g0.expr=up&g0.range_input=99y&g0.step_input=1s", "11,000"),
        ("/graph?g0.expr=up&g0.end_input=soon", "no time"),
        ("/sql?query=DROP+TABLE+samples", "queries only read: DROP TABLE is refused"),
        ("/sql?query=SELECT+nothing+FROM+samples", "line 1, column 8"),
    ] {
        let seen = get(&server, path);
        let (_, why) = seen.body.split_once("class=\"reason\"").unwrap_or_else(|| panic!("{path}: {}", seen.body));
        assert!(seen.status == 200 && why.contains(part), "{path}: {why}");
    }
    let rows = get(&server, "/sql?query=SELECT+value+FROM+generate_series(1,5000)").body;
    assert!(rows.contains("Rows: 1000, and there are more"), "{rows}");
    let exact = "/sql?query=SELECT+CAST('12345678901234567.89'+AS+DECIMAL(20,2))+AS+a,+CAST(NULL+AS+VARCHAR)+AS+b";
    let exact = get(&server, exact).body;
    assert!(exact.contains(">12345678901234567.89</td>") && exact.contains("class=\"null\">null"), "{exact}");
}

#[test]
fn with_tokens_a_browser_logs_in_until_its_token_is_taken_out() {
    let folder = tempdir().unwrap();
    let (reads, entry) = token("ann", "read", &[]);
    let (writes, other) = token("bob", "write", &[]);
    let tokens = folder.path().join("tokens.yaml");
    fs::write(&tokens, format!("{entry}{other}")).unwrap();
    let settings = folder.path().join("streamgauge.yaml");
    fs::write(&settings, format!("auth: {{tokens_file: {}}}\n", tokens.display())).unwrap();
    let server = Server::start(folder.path(), &["--config", settings.to_str().unwrap(), "--log-level", "trace"]);

    let asked = get(&server, "/graph?g0.expr=vector(7)");
    assert_eq!(asked.status, 401);
    let visit = asked.cookie().to_owned();
    let attributes = asked.headers["set-cookie"].to_str().unwrap();
    assert!(attributes.contains("; HttpOnly; SameSite=Strict") && !attributes.contains("Secure"), "{attributes}");
    let form = |token: &str| format!("proof={}&next=.%2Fgraph%3Fg0.expr%3Dvector(7)&token={token}", asked.proof());
    assert_eq!(browse(&server, "POST", "/login", &visit, &format!("token={reads}")).status, 403, "no proof");
    assert_eq!(browse(&server, "POST", "/login", "", &form(&reads)).status, 403, "no cookie");
    let (wrong, weak) = (form("sg_wrong"), form(&writes));
    assert_eq!(browse(&server, "POST", "/login", &visit, &wrong).status, 401);
    let denied = browse(&server, "POST", "/login", &visit, &weak);
    assert!(denied.status == 401 && denied.body.contains("lacks the scope `read`"), "{}", denied.body);
    assert_eq!(browse(&server, "GET", "/", &visit, "").status, 401, "nobody was let in");

    let entered = browse(&server, "POST", "/login", &visit, &form(&reads));
    assert_eq!((entered.status, entered.headers["location"].to_str().unwrap()), (303, "./graph?g0.expr=vector(7)"));
    let session = entered.cookie().to_owned();
    let seen = browse(&server, "GET", "/graph?g0.expr=vector(7)", &session, "");
    assert!(seen.status == 200 && seen.body.contains("<span>ann</span>"), "{}", seen.body);
    assert_eq!(browse(&server, "GET", "/api/v1/query?query=up", &session, "").status, 401, "an API takes tokens only");
    assert_eq!(browse(&server, "POST", "/logout", &session, "").status, 403, "no proof");
    let left = browse(&server, "POST", "/logout", &session, &format!("proof={}", seen.proof()));
    assert_eq!((left.status, left.cookie()), (303, "streamgauge="));
    assert_eq!(browse(&server, "GET", "/", &session, "").status, 401);

    let session = browse(&server, "POST", "/login", &visit, &form(&reads)).cookie().to_owned();
    assert_eq!(browse(&server, "GET", "/", &session, "").status, 200);
    fs::write(&tokens, &other).unwrap();
    eventually(|| (browse(&server, "GET", "/", &session, "").status == 401).then_some(())).expect("its end");

    let log = server.log_text();
    assert!(log.contains("logged in to the page"), "{log}");
    for secret in [reads.as_str(), &writes, session.split_once('=').unwrap().1, visit.split_once('=').unwrap().1] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a browser waits in real time")]
fn the_overview_is_there_in_two_seconds() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    fill(&server);
    bill(&server, folder.path());
    let load = |_| {
        let begun = Instant::now();
        assert_eq!(get(&server, "/").status, 200);
        begun.elapsed()
    };
    let mut loads: Vec<Duration> = (0..100).map(load).collect();
    loads.sort();
    assert!(loads[98] < Duration::from_secs(2), "{loads:?}");
}

#[test]
fn a_browser_draws_the_pages_and_runs_nothing_of_others() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| installed(name))
    else {
        return skipped("there is no Chromium", "apt-get install chromium");
    };
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    fill(&server);
    bill(&server, folder.path());
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&shots).unwrap();
    for (page, path) in [
        ("overview", "/"),
        ("graph", "/graph?g0.expr=evil_seconds&g0.range_input=30m"),
        ("sql", "/sql?query=SELECT+*+FROM+metrics+LIMIT+20"),
        ("endpoints", "/endpoints"),
    ] {
        let headless = || {
            let mut command = Command::new(browser);
            let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
            command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &profile]);
            command
        };
        let (code, dom, err) = run(headless().arg("--dump-dom").arg(server.url(path)));
        assert_eq!(code, 0, "{err}");
        assert!(dom.contains("· Streamgauge</title>") && !dom.contains("<title>owned"), "{page}: {dom}");
        for (device, size) in [("desk", "1280,1600"), ("phone", "390,1600")] {
            let file = shots.join(format!("{page}-{device}.png"));
            let shot = format!("--screenshot={}", file.display());
            let (code, _, err) = run(headless().args([&shot, &format!("--window-size={size}")]).arg(server.url(path)));
            assert_eq!(code, 0, "{err}");
            let bytes = fs::metadata(&file).unwrap().len();
            assert!(bytes > 10_000, "{} is empty: {bytes} bytes", file.display());
        }
    }
}
