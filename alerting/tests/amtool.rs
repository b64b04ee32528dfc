//! amtool, the tool that people have, against the API on a port of its own.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::{
    io::{Write as _, stderr},
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use alerting::{
    Config, Result,
    alertmanager::{Alertmanager, Deliver, Delivered, Known, Outside, Plan},
    forward::Forward,
    http::{About, router},
    outbox::{Attempt, Verdict},
    rows::{Promise, Record, Rows},
    watch::Watches,
};
use serde_json::Value;

const CONFIG: &str = "\
route:
  receiver: boss
  group_by: [alertname]
  routes:
    - {receiver: web, matchers: ['team=web'], continue: true}
    - {receiver: night, matchers: ['team=~\"web|db\"']}
receivers:
  - {name: boss}
  - {name: web, pagerduty_configs: [{routing_key: hunter2}]}
  - {name: night}
";

/// Writes down nothing, and tells nobody.
struct Nowhere;

impl Record for Nowhere {
    fn append<'a>(&'a self, _: &'a Rows) -> Promise<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Deliver for Nowhere {
    fn deliver<'a>(&'a self, _: &'a Attempt, _: Vec<Option<String>>) -> Promise<'a, Delivered> {
        Box::pin(std::future::ready(Delivered { verdict: Verdict::Sent, answer: String::new() }))
    }
}

/// amtool compares with its own clock.
#[expect(clippy::disallowed_methods, reason = "time enters here, as it does in the program")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

async fn serve() -> SocketAddr {
    let ids = AtomicU64::new(1);
    let outside = Outside {
        record: Arc::new(Nowhere),
        deliver: Arc::new(Nowhere),
        now_ms: Arc::new(now_ms),
        random: Arc::new(move || u128::from(ids.fetch_add(1, Ordering::Relaxed))),
        forward: Forward::default(),
        watches: Watches::default(),
    };
    let config = Arc::new(Config::parse(CONFIG, Path::new(".")).unwrap());
    let manager = Alertmanager::open(Plan { config, receivers: Default::default() }, Known::default(), outside);
    let about = About { version: "1.2.3".into(), started_ms: now_ms(), ..About::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(manager, about)).await });
    address
}

struct Amtool {
    url: String,
    /// amtool reads settings from the home.
    home: tempfile::TempDir,
}

impl Amtool {
    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("amtool");
        command.env("HOME", self.home.path()).env("TZ", "UTC").current_dir(self.home.path());
        command.args(["--alertmanager.url", &self.url]).args(arguments).output().unwrap()
    }

    /// What it prints, if it is content.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "amtool {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it complains about.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "amtool {arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        serde_json::from_str(&self.run(&[&["-o", "json"], arguments].concat())).unwrap()
    }

    /// Values of `alertname`, sorted.
    fn names(&self, arguments: &[&str]) -> String {
        let all = self.json(&[&["alert", "query"], arguments].concat());
        let mut names: Vec<&str> = all.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap()).collect();
        names.sort_unstable();
        names.join(" ")
    }

    /// Ids of silences, as they are sorted.
    fn ids(&self, arguments: &[&str]) -> Vec<String> {
        let printed = self.run(&[&["silence", "query", "-q"], arguments].concat());
        printed.split_whitespace().map(str::to_owned).collect()
    }
}

/// Runs what asks amtool while the API answers; says so if there is no amtool.
async fn with_amtool(ask: impl FnOnce(&Amtool) + Send + 'static) {
    if Command::new("amtool").arg("--version").output().is_err() {
        // Not by `println!`, which tests that succeed keep to themselves.
        let mut terminal = stderr();
        writeln!(terminal, "SKIPPED amtool: it is not installed; to run it: apt-get install prometheus-alertmanager")
            .unwrap();
        return;
    }
    let url = format!("http://{}", serve().await);
    let asked = tokio::task::spawn_blocking(move || ask(&Amtool { url, home: tempfile::tempdir().unwrap() }));
    asked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_adds_and_queries_alerts() {
    with_amtool(|amtool| {
        amtool.run(&["alert", "add", "alertname=a", "team=web", "--annotation=summary=disk is full"]);
        amtool.run(&["alert", "add", "b", "team=db", "--generator-url=http://prometheus/graph"]);
        amtool.run(&["alert", "add", "c", "--start=2026-01-01T00:00:00Z", "--end=2100-01-01T00:00:00Z"]);
        amtool.run(&["alert", "add", "over", "--start=2026-01-01T00:00:00Z", "--end=2026-01-01T00:00:01Z"]);
        assert_eq!(amtool.names(&[]), "a b c");
        assert_eq!(amtool.names(&["a"]), "a");
        assert_eq!(amtool.names(&["team=~\"web|db\""]), "a b");
        assert_eq!(amtool.names(&["team!=web"]), "b c");
        assert_eq!(amtool.names(&["--receiver=web"]), "a");
        assert_eq!(amtool.names(&["--receiver=boss"]), "c");
        let simple = amtool.run(&["alert", "query", "a"]);
        assert!(simple.contains("disk is full") && simple.contains("active"), "{simple}");
        let extended = amtool.run(&["-o", "extended", "alert", "query", "alertname=~\"b|c\""]);
        for part in [
            "alertname=\"b\" team=\"db\"",
            "http://prometheus/graph",
            "2026-01-01 00:00:00 UTC",
            "2100-01-01 00:00:00 UTC",
        ] {
            assert!(extended.contains(part), "{part}: {extended}");
        }
        amtool.run(&["silence", "add", "alertname=a", "--author=ann", "--comment=moved"]);
        assert_eq!(amtool.names(&[]), "b c", "amtool does not ask for silenced ones");
        assert_eq!(amtool.names(&["--silenced"]), "a");
        assert_eq!(amtool.names(&["--active", "--silenced"]), "a b c");
        assert_eq!(amtool.names(&["--inhibited"]), "");
        let refused = amtool.refused(&["alert", "query", "--receiver=("]);
        assert!(refused.contains("parameter `receiver`"), "{refused}");
        let refused =
            amtool.refused(&["alert", "add", "d", "--start=2026-01-02T00:00:00Z", "--end=2026-01-01T00:00:00Z"]);
        assert!(refused.contains("an alert starts before it ends"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_makes_changes_and_ends_silences() {
    with_amtool(|amtool| {
        let add = |matchers: &[&str], duration: &str| {
            let rest = ["--author=ann", "--comment=moved", "--duration", duration];
            amtool.run(&[&["silence", "add"], matchers, &rest].concat()).trim().to_owned()
        };
        let (first, second) = (add(&["alertname=a", "team!~web.*"], "2h"), add(&["b"], "1h"));
        assert_eq!(amtool.ids(&[]), [&second, &first].map(String::as_str), "what ends first comes first");
        assert_eq!(amtool.ids(&["alertname=a"]), [first.as_str()]);
        assert_eq!(amtool.ids(&["alertname=~a"]), [""; 0]);
        assert_eq!(amtool.ids(&["--created-by=ann", "--within=90m"]), [second.as_str()]);
        let extended = amtool.run(&["-o", "extended", "silence", "query", "alertname=a"]);
        for part in ["{alertname=\"a\",team!~\"web.*\"}", "ann", "moved"] {
            assert!(extended.contains(part), "{part}: {extended}");
        }
        // Longer, and the same one.
        // `-q` prints a pointer of Go instead of the id.
        let updated = amtool.json(&["silence", "update", "--duration=3h", "--comment=again", &second]);
        assert_eq!(updated[0]["id"], second);
        assert_eq!(amtool.ids(&[]), [&first, &second].map(String::as_str));
        let saved = amtool.run(&["-o", "json", "silence", "query"]);
        let file = amtool.home.path().join("silences.json");
        std::fs::write(&file, saved).unwrap();
        amtool.run(&["silence", "expire", &first, &second]);
        assert_eq!(amtool.ids(&[]), [""; 0]);
        assert_eq!(amtool.ids(&["--expired"]).len(), 2);
        amtool.run(&["silence", "import", file.to_str().unwrap()]);
        let imported = amtool.json(&["silence", "query"]);
        let comments: Vec<&str> = imported.iter().map(|silence| silence["comment"].as_str().unwrap()).collect();
        assert_eq!(comments, ["moved", "again"]);
        let unknown = "810ccf7f-c957-474a-b383-7e76d66a4d3b";
        for asked in [["silence", "expire", unknown].as_slice(), &["silence", "update", "--duration=1h", unknown]] {
            let refused = amtool.refused(asked);
            assert!(refused.contains("404") || refused.contains("ot found"), "{refused}");
        }
        let refused = amtool.refused(&["silence", "add", "alertname=~.+", "--author=ann", "--comment=x"]);
        assert!(refused.contains("a silence of everything is refused"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_shows_the_server_and_its_routes() {
    with_amtool(|amtool| {
        assert!(amtool.run(&["cluster", "show"]).contains("disabled"));
        let config = amtool.run(&["config", "show"]);
        assert!(config.contains("receiver: boss") && !config.contains("hunter2"), "{config}");
        let routes = amtool.run(&["config", "routes", "show"]);
        assert!(routes.contains("receiver: night"), "{routes}");
        for (labels, receivers) in [("team=web", "web,night"), ("team=db", "night"), ("team=x", "boss")] {
            assert_eq!(amtool.run(&["config", "routes", "test", labels]).trim(), receivers);
        }
    })
    .await;
}
