//! Other Alertmanagers are told what rules find, and that it is over, also if they were away; life is reported while rules are evaluated; and
//! what another Prometheus should send and does not is an alert.

use std::{fs, path::Path, process::Command, thread::sleep, time::Duration};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::{
    alerting::{get, heat},
    auth,
    support::{
        process::{self, Process},
        receiver::{Receiver, Script, Told},
        server::{Server, eventually, now_ms},
    },
    tls::Authority,
};

const RULES: &str = "\
groups:
  - name: heat
    interval: 1s
    rules:
      - alert: TooHot
        expr: temperature > 90
        labels: {severity: critical, replica: a}
        annotations: {summary: too hot}
";

/// Starts a server with these rules and these settings of alerting.
fn start(folder: &Path, rules: &str, settings: &str) -> Server {
    fs::write(folder.join("rules.yaml"), rules).unwrap();
    let rules = folder.join("rules.yaml").display().to_string();
    let file = folder.join("streamgauge.yaml");
    fs::write(&file, format!("alerting:\n  rules: ['{rules}']\n  external_url: http://gauge.test\n{settings}"))
        .unwrap();
    Server::start(folder, &["--config", file.to_str().unwrap()])
}

/// The value of a metric of the server, by the beginning of its line.
fn metric(server: &Server, begins: &str) -> Option<f64> {
    let text = server.get("/metrics", None).body;
    let line = text.lines().find(|line| line.starts_with(begins))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Has an alert ended, as it is told?
fn is_over(alert: &Value) -> bool {
    let ends = chrono::DateTime::parse_from_rfc3339(alert["endsAt"].as_str().unwrap()).unwrap();
    ends.timestamp_millis() <= now_ms()
}

/// Alerts of requests that were taken.
fn taken(told: &[Told]) -> Vec<Value> {
    told.iter()
        .filter(|told| told.is_taken)
        .flat_map(|told| told.body.as_array().cloned().unwrap_or_default())
        .collect()
}

/// Posts the Watchdog of another Prometheus.
fn bark(server: &Server) {
    let body = json!([{"labels": {"alertname": "Watchdog", "cluster": "eu"}}]).to_string();
    let agent = process::agent(Duration::from_secs(20));
    let post = agent.post(server.url("/api/v2/alerts")).header("Content-Type", "application/json");
    assert_eq!(post.send(body.as_bytes()).unwrap().status().as_u16(), 200);
}

/// A real Alertmanager that tells a receiver; its address.
fn alertmanager(folder: &Path, receiver: &Receiver) -> (Process, String) {
    let config = format!(
        "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: team, webhook_configs: [{{url: '{}', send_resolved: true}}]}}]\n",
        receiver.url("/hook")
    );
    fs::write(folder.join("other.yml"), config).unwrap();
    let port = process::free_port();
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", folder.join("other.yml").display()));
    command.arg(format!("--storage.path={}", folder.join("other").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--cluster.listen-address=");
    command.arg("--web.route-prefix=/alerts");
    let mut process = Process::start("alertmanager", &mut command, folder);
    process.ready(&format!("http://127.0.0.1:{port}/alerts/-/ready")).expect("alertmanager starts");
    (process, format!("127.0.0.1:{port}"))
}

#[test]
fn a_real_alertmanager_tells_of_our_alert_and_of_its_end() {
    if !process::installed("prometheus-alertmanager") {
        let install = "apt-get install prometheus-alertmanager";
        return process::skipped("prometheus-alertmanager is not installed", install);
    }
    let (folder, receiver) = (tempdir().unwrap(), Receiver::start());
    let (other, address) = alertmanager(folder.path(), &receiver);
    // Without a `config` nobody is told here: the other one does it instead.
    let settings = format!(
        "  external_labels: {{site: a}}\n  alert_relabel_configs: [{{action: labeldrop, regex: replica}}]\n  \
         alertmanagers:\n    - path_prefix: /alerts\n      static_configs: [{{targets: ['{address}', 'gone:9093']}}]\n      \
         relabel_configs: [{{action: drop, source_labels: [__address__], regex: gone.*}}]\n"
    );
    let server = start(folder.path(), RULES, &settings);
    let url = format!("http://{address}/alerts/api/v2/alerts");
    let shown = get(&server, "/api/v1/alertmanagers");
    let dropped = json!([{"url": "http://gone:9093/alerts/api/v2/alerts"}]);
    let expected = json!({"activeAlertmanagers": [{"url": url}], "droppedAlertmanagers": dropped});
    assert_eq!(shown, json!({"status": "success", "data": expected}));
    heat(&server, 99.0);
    let told = eventually(|| receiver.told().first().cloned()).expect("its receiver is told");
    let alert = &told.body["alerts"][0];
    let labels = json!({"alertname": "TooHot", "job": "test", "severity": "critical", "site": "a"});
    assert_eq!((&told.body["status"], &alert["labels"]), (&json!("firing"), &labels));
    assert_eq!(alert["annotations"], json!({"summary": "too hot"}));
    assert!(alert["generatorURL"].as_str().unwrap().starts_with("http://gauge.test/graph?g0.expr="), "{alert}");
    // It would end by itself four minutes later.
    let agent = process::agent(Duration::from_secs(20));
    let there: Value = agent.get(&url).call().unwrap().body_mut().read_json().unwrap();
    let ends = chrono::DateTime::parse_from_rfc3339(there[0]["endsAt"].as_str().unwrap()).unwrap();
    let left_ms = ends.timestamp_millis() - now_ms();
    assert!((180_000..=241_000).contains(&left_ms), "{there}");

    heat(&server, 20.0);
    eventually(|| receiver.taken().iter().any(|told| told.starts_with("resolved")).then_some(())).expect("its end");
    assert_eq!(server.sql("SELECT state FROM alerts ORDER BY at"), ["firing", "resolved"]);
    let sent = format!("streamgauge_alertmanagers_sent_total{{alertmanager=\"{url}\"}}");
    eventually(|| metric(&server, &sent).filter(|sent| *sent >= 2.0)).expect("both are counted");
    other.terminate();
}

#[test]
fn an_alertmanager_that_was_away_is_told_of_the_end() {
    let (folder, other) = (tempdir().unwrap(), Receiver::start());
    // It answers nothing, then with an error, for as long as the alert fires.
    other.script([Script::Reset, Script::Answer(503, "", "away"), Script::Answer(503, "", "away")]);
    let settings = format!(
        "  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}']}}], basic_auth: {{username: u, password: p}}}}]\n",
        other.port
    );
    let server = start(folder.path(), RULES, &settings);
    heat(&server, 99.0);
    eventually(|| (!other.told().is_empty()).then_some(())).expect("it is tried");
    heat(&server, 20.0);
    let over = eventually(|| taken(&other.told()).into_iter().find(is_over)).expect("the end");
    assert_eq!((&over["labels"]["alertname"], &over["labels"]["replica"]), (&json!("TooHot"), &json!("a")));
    assert!(other.told().iter().all(|told| told.path == "/api/v2/alerts"));
    let of = |name: &str| {
        let url = format!("http://127.0.0.1:{}/api/v2/alerts", other.port);
        metric(&server, &format!("streamgauge_alertmanagers_{name}{{alertmanager=\"{url}\"}}"))
    };
    assert!(of("errors_total").unwrap() >= 3.0);
    eventually(|| of("queue_length").filter(|waits| *waits < 0.5)).expect("nothing waits any more");
    assert_eq!(of("dropped_total"), Some(0.0));
}

#[test]
fn one_of_ours_is_told_over_tls_and_nothing_is_lost_while_the_token_is_wrong() {
    let (folder, there, receiver) = (tempdir().unwrap(), tempdir().unwrap(), Receiver::start());
    let (authority, (token, entry)) = (Authority::new("own"), auth::token("sender", "write", &[]));
    authority.server().store(there.path());
    authority.client().store(folder.path());
    for (path, text) in [
        (there.path().join("clients.pem"), authority.certificate.pem()),
        (folder.path().join("ca.pem"), authority.certificate.pem()),
        (there.path().join("tokens.yaml"), entry),
        (folder.path().join("token"), format!("{token}x")),
        (
            there.path().join("alertmanager.yml"),
            format!(
                "route: {{receiver: team, group_wait: 0s, group_interval: 1s}}\n\
                 receivers: [{{name: team, webhook_configs: [{{url: '{}', send_resolved: true}}]}}]\n",
                receiver.url("/hook")
            ),
        ),
    ] {
        fs::write(path, text).unwrap();
    }
    let at = |folder: &TempDir, name: &str| folder.path().join(name).display().to_string();
    let settings = format!(
        "  config: {}\n  allowed_networks: [127.0.0.0/8]\ntls: {{cert: {}, key: {}, client_ca: {}}}\nauth: {{tokens_file: {}}}\n",
        at(&there, "alertmanager.yml"),
        at(&there, "cert.pem"),
        at(&there, "key.pem"),
        at(&there, "clients.pem"),
        at(&there, "tokens.yaml")
    );
    let other = start(there.path(), "groups: []", &settings);
    let address = other.url("").trim_start_matches("https://").to_owned();
    let settings = format!(
        "  alertmanagers:\n    - scheme: https\n      static_configs: [{{targets: ['{address}']}}]\n      \
         tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}\n      authorization: {{credentials_file: {}}}\n",
        at(&folder, "ca.pem"),
        at(&folder, "cert.pem"),
        at(&folder, "key.pem"),
        at(&folder, "token")
    );
    let mut server = start(folder.path(), RULES, &settings);
    heat(&server, 99.0);
    let refused = server.event("an Alertmanager does not take alerts");
    assert!(refused["message"].as_str().unwrap().contains("status 401"), "{refused}");
    fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
    let told = eventually(|| receiver.told().first().cloned()).expect("its receiver is told");
    assert_eq!(
        (&told.body["status"], &told.body["alerts"][0]["labels"]["alertname"]),
        (&json!("firing"), &json!("TooHot"))
    );
    assert!(!server.log_text().contains(&token) && !other.log_text().contains(&token), "a token is in the log");
}

#[test]
fn what_waits_is_sent_when_the_server_stops_and_one_that_is_away_does_not_hold_it_up() {
    let (folder, other) = (tempdir().unwrap(), Receiver::start());
    other.script(vec![Script::Answer(503, "", "away"); 4]);
    let nobody = process::free_port();
    let settings = format!(
        "  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}', '127.0.0.1:{nobody}']}}]}}]\n",
        other.port
    );
    let server = start(folder.path(), RULES, &settings);
    heat(&server, 99.0);
    // After the fourth failure it pauses for eight seconds.
    eventually(|| (other.told().len() == 4).then_some(())).expect("it is tried");
    let begun_ms = now_ms();
    assert!(server.terminate().success());
    assert_eq!(taken(&other.told()).len(), 1, "{:?}", other.told());
    let took_ms = now_ms() - begun_ms;
    assert!(took_ms < 9_000, "{took_ms}");
}

#[test]
fn an_end_before_a_kill_is_told_after_it() {
    let (folder, other) = (tempdir().unwrap(), Receiver::start());
    other.script(vec![Script::Answer(503, "", "away"); 1000]);
    let settings = format!("  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n", other.port);
    let server = start(folder.path(), RULES, &settings);
    heat(&server, 99.0);
    eventually(|| (!server.sql("SELECT 1 FROM alerts WHERE state = 'firing'").is_empty()).then_some(())).unwrap();
    heat(&server, 20.0);
    eventually(|| (!server.sql("SELECT 1 FROM alerts WHERE state = 'resolved'").is_empty()).then_some(())).unwrap();
    server.signal("KILL");
    server.wait();
    assert_eq!(taken(&other.told()), [] as [Value; 0]);
    let port = other.port;
    drop(other);
    let other = Receiver::start();
    let settings = settings.replace(&port.to_string(), &other.port.to_string());
    let _server = start(folder.path(), RULES, &settings);
    let over = eventually(|| taken(&other.told()).into_iter().find(is_over)).expect("the end");
    assert_eq!(over["labels"]["alertname"], "TooHot");
}

#[test]
fn life_is_reported_until_rules_cannot_be_evaluated() {
    let (folder, switch) = (tempdir().unwrap(), Receiver::start());
    fs::write(folder.path().join("beat"), switch.url("/beat/hush-hush")).unwrap();
    let settings = format!("  heartbeat: {{url_file: '{}', interval: 1s}}\n", folder.path().join("beat").display());
    let server = start(folder.path(), RULES, &settings);
    eventually(|| (switch.told().len() >= 2).then_some(())).expect("life is reported");
    assert!(switch.told().iter().all(|told| told.path == "/beat/hush-hush"));
    assert_eq!(metric(&server, "streamgauge_heartbeat_healthy "), Some(1.0));
    // It reads well, and has two partners for one series.
    let fails = r#"vector(1) * on() (vector(1) or label_replace(vector(1), "c", "d", "", ""))"#;
    let broken = RULES.replace("temperature > 90", fails);
    fs::write(folder.path().join("rules.yaml"), broken).unwrap();
    assert_eq!(server.call("POST", "/-/reload", None, b"").status, 200);
    let withheld = || metric(&server, "streamgauge_heartbeat_withheld_total ").filter(|count| *count >= 2.0);
    eventually(withheld).expect("it is withheld");
    assert_eq!(metric(&server, "streamgauge_heartbeat_healthy "), Some(0.0));
    let before = switch.told().len();
    sleep(Duration::from_secs(3));
    assert_eq!(switch.told().len(), before);
    assert!(!server.log_text().contains("hush-hush"), "the address is in the log");
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    assert_eq!(server.call("POST", "/-/reload", None, b"").status, 200);
    eventually(|| (switch.told().len() > before).then_some(())).expect("life is reported again");
}

/// A server that waits for the Watchdog of eu for three seconds, and tells a receiver and another Alertmanager.
fn watching(folder: &TempDir, receiver: &Receiver, other: &Receiver) -> Server {
    let config = folder.path().join("alertmanager.yml");
    let routes = format!(
        "route: {{receiver: nobody, routes: [{{matchers: [alertname=PrometheusMissing], receiver: team, group_wait: 0s, group_interval: 1s}}]}}\n\
         receivers: [{{name: nobody}}, {{name: team, webhook_configs: [{{url: '{}', send_resolved: true}}]}}]\n",
        receiver.url("/hook")
    );
    fs::write(&config, routes).unwrap();
    let settings = format!(
        "  config: {}\n  allowed_networks: [127.0.0.0/8]\n  watch:\n    - name: PrometheusMissing\n      matchers: ['alertname=\"Watchdog\"', cluster=eu]\n      \
         within: 3s\n      labels: {{instance: eu}}\n  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n",
        config.display(),
        other.port
    );
    start(folder.path(), "groups: []", &settings)
}

#[test]
fn what_another_prometheus_does_not_send_any_more_fires_and_ends_when_it_does() {
    let (folder, receiver, other) = (tempdir().unwrap(), Receiver::start(), Receiver::start());
    let server = watching(&folder, &receiver, &other);
    for _ in 0..6 {
        bark(&server);
        sleep(Duration::from_secs(1));
    }
    assert_eq!(receiver.told().len(), 0);
    let told = eventually(|| receiver.told().first().cloned()).expect("it is missed");
    let alert = &told.body["alerts"][0];
    assert_eq!(alert["labels"], json!({"alertname": "PrometheusMissing", "instance": "eu"}));
    let summary = r#"no alert {alertname="Watchdog",cluster="eu"} has arrived for 3s"#;
    assert_eq!(alert["annotations"]["summary"], summary);
    let url = alert["generatorURL"].as_str().unwrap();
    assert!(url.starts_with("http://gauge.test/api/v2/alerts?filter=alertname%3D%22Watchdog%22&filter="), "{url}");
    // The link leads to what it waits for.
    let path = url.trim_start_matches("http://gauge.test");
    assert_eq!(get(&server, path)[0]["labels"]["alertname"], "Watchdog");
    // A kill forgets nothing, and tells nothing twice.
    let sent = "SELECT 1 FROM notifications WHERE event = 'sent'";
    eventually(|| (!server.sql(sent).is_empty()).then_some(())).expect("it is written down");
    server.signal("KILL");
    server.wait();
    let server = watching(&folder, &receiver, &other);
    sleep(Duration::from_secs(5));
    assert_eq!(receiver.taken(), ["firing firing:eu"]);
    eventually(|| metric(&server, "streamgauge_watch_missing{watch=\"PrometheusMissing\"}").filter(|is| *is > 0.5))
        .expect("a metric");
    bark(&server);
    eventually(|| (receiver.taken().len() == 2).then_some(())).expect("its end");
    assert_eq!(receiver.taken(), ["firing firing:eu", "resolved resolved:eu"]);
    let rows = "SELECT state FROM alerts WHERE source = 'watch;PrometheusMissing' ORDER BY at LIMIT 2";
    assert_eq!(server.sql(rows), ["firing", "resolved"]);
    // Others are told of it as of what rules find, and not of what was posted.
    let handed_on = eventually(|| Some(taken(&other.told())).filter(|alerts| alerts.iter().any(is_over))).unwrap();
    assert!(handed_on.iter().all(|alert| alert["labels"]["alertname"] == "PrometheusMissing"), "{handed_on:?}");
}
