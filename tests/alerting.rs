//! Rules and notifications as on-call meets them: samples come, rules fire, somebody is told; and nobody is told twice, or not at all, because
//! a process was killed.

use std::{fs, path::Path, process::Command, thread::sleep, time::Duration};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{
    process,
    random::Random,
    receiver::{Receiver, Script},
    server::{Server, eventually, now_ms, run},
};

/// A server's files: rules, routes, settings.
struct Files {
    folder: TempDir,
    receiver: Receiver,
}

const RULES: &str = r#"
groups:
  - name: heat
    interval: 1s
    rules:
      - record: job:temperature:max
        expr: max by (job) (temperature)
      - alert: TooHot
        expr: job:temperature:max > 90
        labels: {severity: critical, instance: "{{ $labels.job }}"}
        annotations: {summary: "{{ $labels.job }} has {{ $value | printf \"%.1f\" }} degrees"}
"#;

impl Files {
    fn new(rules: &str) -> Self {
        let (folder, receiver) = (tempdir().unwrap(), Receiver::start());
        let config = format!(
            "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers:\n  - name: team\n    webhook_configs: [{{url: '{}', send_resolved: true}}]\n",
            receiver.url("/hook")
        );
        fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
        fs::write(folder.path().join("rules.yaml"), rules).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let settings = format!(
            "alerting:\n  config: {}\n  rules: ['{}']\n  allowed_networks: [127.0.0.0/8]\n  external_url: http://gauge.test\n",
            path("alertmanager.yml"),
            path("rules.yaml")
        );
        fs::write(folder.path().join("streamgauge.yaml"), settings).unwrap();
        Self { folder, receiver }
    }

    fn start(&self) -> Server {
        let settings = self.folder.path().join("streamgauge.yaml");
        Server::start(self.folder.path(), &["--config", settings.to_str().unwrap()])
    }
}

pub fn heat(server: &Server, value: f64) {
    let answer = server.write("temperature", &[(now_ms(), value)], None);
    assert_eq!(answer.status, 204, "{}", answer.body);
}

pub fn get(server: &Server, path: &str) -> Value {
    let answer = server.get(path, None);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Posts alerts; each is an instance with the time at which it ended, if it did.
fn post(server: &Server, alerts: &[(&str, Option<i64>)]) {
    let time = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
    let alert = |(instance, ended): &(&str, Option<i64>)| {
        let mut alert = json!({"labels": {"alertname": "posted", "instance": instance}});
        if let Some(ms) = ended {
            alert["startsAt"] = time(ms - 10_000).into();
            alert["endsAt"] = time(*ms).into();
        }
        alert
    };
    let body = Value::from(alerts.iter().map(alert).collect::<Vec<_>>()).to_string();
    let agent = process::agent(Duration::from_secs(20));
    let post = agent.post(server.url("/api/v2/alerts")).header("Content-Type", "application/json");
    let answer = post.send(body.as_bytes()).unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[test]
fn a_rule_fires_and_ends_and_a_receiver_is_told_of_both() {
    let files = Files::new(RULES);
    let server = files.start();
    heat(&server, 99.25);
    let told = eventually(|| files.receiver.told().first().cloned()).expect("somebody is told");
    assert_eq!(told.path, "/hook");
    let alert = &told.body["alerts"][0];
    assert_eq!(told.body["status"], "firing");
    assert_eq!(
        alert["labels"],
        json!({"alertname": "TooHot", "instance": "test", "job": "test", "severity": "critical"})
    );
    assert_eq!(alert["annotations"]["summary"], "test has 99.2 degrees");
    let url = alert["generatorURL"].as_str().unwrap();
    assert!(url.starts_with("http://gauge.test/graph?g0.expr=job%3Atemperature%3Amax"), "{url}");
    let history = get(&server, "/api/v1/notifications?receiver=team&event=intent");
    assert_eq!(history["data"][0]["reason"], "first notification", "{history}");
    // What Grafana asks for.
    let rules = get(&server, "/api/v1/rules");
    let group = &rules["data"]["groups"][0];
    assert_eq!((&group["name"], &group["interval"]), (&json!("heat"), &json!(1)));
    let (record, alerting) = (&group["rules"][0], &group["rules"][1]);
    assert_eq!((&record["type"], &record["health"]), (&json!("recording"), &json!("ok")), "{rules}");
    assert_eq!(
        (&alerting["state"], &alerting["alerts"][0]["value"]),
        (&json!("firing"), &json!("9.925e+01")),
        "{rules}"
    );
    assert_eq!(get(&server, "/api/v1/rules?type=record")["data"]["groups"][0]["rules"].as_array().unwrap().len(), 1);
    let alerts = get(&server, "/api/v1/alerts");
    assert_eq!(alerts["data"]["alerts"][0]["state"], "firing", "{alerts}");
    let series = get(&server, "/api/v1/query?query=ALERTS%7Balertname=%22TooHot%22%7D");
    assert_eq!(series["data"]["result"][0]["metric"]["alertstate"], "firing", "{series}");
    let api = get(&server, "/api/v2/alerts");
    assert_eq!(
        (&api[0]["status"]["state"], &api[0]["receivers"][0]["name"]),
        (&json!("active"), &json!("team")),
        "{api}"
    );

    heat(&server, 20.0);
    eventually(|| files.receiver.taken().iter().any(|told| told.starts_with("resolved")).then_some(()))
        .expect("its end");
    assert_eq!(files.receiver.taken(), ["firing firing:test", "resolved resolved:test"]);
    let times = ["--from", "2026-01-01T00:00:00Z", "--to", "2126-01-01T00:00:00Z", "--format", "csv", "--url"];
    let url = server.url("");
    let (code, out, err) = run(crate::support::server::binary().args(["incident", "timeline"]).args(times).arg(&url));
    assert!(code == 0 && out.contains("alert,TooHot") && out.contains("notification,\"team"), "{out}{err}");
    let changes = "SELECT state, reason FROM alerts WHERE alertname = 'TooHot' ORDER BY at";
    assert_eq!(server.sql(changes), ["firing,evaluated", "resolved,evaluated"]);
    let steps = "SELECT event, reason, attempt FROM notifications WHERE event <> 'kept' ORDER BY at, attempt";
    assert_eq!(
        eventually(|| Some(server.sql(steps)).filter(|steps| steps.len() == 4)).unwrap(),
        [
            "intent,first notification,0",
            "sent,first notification,1",
            "intent,all alerts resolved,0",
            "sent,all alerts resolved,1"
        ]
    );
}

#[test]
fn files_that_are_wrong_change_nothing_and_good_ones_are_in_force_at_once() {
    let files = Files::new(RULES);
    let server = files.start();
    let path = files.folder.path().join("rules.yaml");
    fs::write(&path, RULES.replace("> 90", "> > 90")).unwrap();
    let refused = server.call("POST", "/-/reload", None, b"");
    assert!(refused.status == 500 && refused.body.contains("rules.yaml:9:15: group"), "{}", refused.body);
    let names = |server: &Server| {
        let rules = get(server, "/api/v1/rules");
        let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
        rules.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&server), ["job:temperature:max", "TooHot"]);
    fs::write(&path, RULES.replace("TooHot", "MuchTooHot")).unwrap();
    assert_eq!(server.call("POST", "/-/reload", None, b"").status, 200);
    assert_eq!(names(&server), ["job:temperature:max", "MuchTooHot"]);
    // At a start they end it.
    fs::write(&path, "groups: [{name: a, rules: [{alert: x}]}]").unwrap();
    let settings = files.folder.path().join("streamgauge.yaml");
    let (code, _, err) = run(crate::support::server::binary().args(["check", "--config"]).arg(&settings));
    assert!(code == 1 && err.contains("rules.yaml:1:"), "{err}");
}

#[test]
fn one_that_is_limited_is_told_after_its_pause() {
    let files = Files::new("groups: []");
    let server = files.start();
    files.receiver.script([Script::Answer(429, "Retry-After: 1\r\n", "slow down"), Script::Reset]);
    post(&server, &[("1", None)]);
    eventually(|| (!files.receiver.taken().is_empty()).then_some(())).expect("it is told");
    assert_eq!(files.receiver.told().len(), 3, "limited, reset, taken");
    assert_eq!(files.receiver.taken(), ["firing firing:1"]);
    let waits = "SELECT count(*), bool_or(error LIKE '%429%') FROM notifications WHERE event = 'waits'";
    assert_eq!(server.sql(waits), ["2,true"]);
}

#[test]
fn a_kill_after_a_message_tells_nothing_twice_and_an_end_meanwhile_is_told() {
    let files = Files::new("groups: []");
    let server = files.start();
    post(&server, &[("1", None), ("2", None)]);
    eventually(|| (!server.sql("SELECT 1 FROM notifications WHERE event = 'sent'").is_empty()).then_some(())).unwrap();
    assert_eq!(files.receiver.taken().len(), 1);
    server.signal("KILL");
    server.wait();
    let server = files.start();
    post(&server, &[("1", None), ("2", None)]);
    sleep(Duration::from_secs(3));
    assert_eq!(files.receiver.taken(), ["firing firing:1 firing:2"]);
    server.signal("KILL");
    server.wait();
    // One ends while nothing runs.
    let server = files.start();
    post(&server, &[("1", Some(now_ms() - 1_000)), ("2", None)]);
    eventually(|| (files.receiver.taken().len() == 2).then_some(())).expect("the end is told");
    assert_eq!(files.receiver.taken()[1], "firing resolved:1 firing:2");
}

#[test]
fn every_owed_change_is_told_however_often_the_process_is_killed() {
    let rounds = process::setting("STREAMGAUGE_KILLS", 12);
    let files = Files::new("groups: []");
    let mut random = Random(7);
    let mut ended = Vec::new();
    for round in 0..rounds {
        let server = files.start();
        let name = format!("i{round}");
        let mut all: Vec<(&str, Option<i64>)> =
            ended.iter().map(|(name, ms): &(String, i64)| (name.as_str(), Some(*ms))).collect();
        all.push((&name, None));
        post(&server, &all);
        sleep(Duration::from_millis(random.below(1_500)));
        server.signal("KILL");
        server.wait();
        ended.push((name, now_ms()));
    }
    let server = files.start();
    let all: Vec<(&str, Option<i64>)> = ended.iter().map(|(name, ms)| (name.as_str(), Some(*ms))).collect();
    post(&server, &all);
    // What the receiver knows at last.
    let knows = || {
        let mut firing = std::collections::BTreeSet::new();
        let mut seen = std::collections::BTreeSet::new();
        for told in files.receiver.taken() {
            for word in told.split(' ').skip(1) {
                let (status, name) = word.split_once(':').unwrap();
                seen.insert(name.to_owned());
                match status {
                    "firing" => firing.insert(name.to_owned()),
                    _ => firing.remove(name),
                };
            }
        }
        (seen, firing)
    };
    eventually(|| knows().1.is_empty().then_some(())).unwrap_or_else(|| panic!("{:?}", knows()));
    let owed = "SELECT count(DISTINCT id) FROM notifications WHERE event = 'intent' \
                AND id NOT IN (SELECT id FROM notifications WHERE event IN ('sent', 'dead'))";
    assert_eq!(eventually(|| Some(server.sql(owed)).filter(|owed| *owed == ["0"])).unwrap(), ["0"]);
    let (taken, sent) =
        (files.receiver.taken().len(), "SELECT count(DISTINCT id) FROM notifications WHERE event = 'sent'");
    let sent: usize = server.sql(sent)[0].parse().unwrap();
    assert!(taken <= sent + usize::try_from(rounds).unwrap(), "{taken} messages, {sent} owed, {rounds} kills");
    println!("{rounds} kills: {taken} messages of {sent} that were owed, {} instances were told of", knows().0.len());
}

#[test]
fn an_outage_and_a_senders_backlog_after_it_tell_nothing_that_is_not_so() {
    // Minutes as seconds: what is older than two counts for nothing, and nothing for two is gone.
    const OUTAGE: Duration = Duration::from_secs(6);
    let files = Files::new(
        "groups:\n  - name: heat\n    interval: 1s\n    rules:\n      \
         - {alert: TooHot, expr: temperature > 90, labels: {instance: hot}}\n      \
         - {alert: Gone, expr: absent(temperature), labels: {instance: gone}}\n",
    );
    let path = files.folder.path().join("streamgauge.yaml");
    let settings = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{settings}promql: {{lookback: 2s}}\n")).unwrap();
    let sample = |server: &Server, at_ms: i64, value: f64| {
        assert_eq!(server.write("temperature", &[(at_ms, value)], None).status, 204);
    };
    let server = files.start();
    // A server that is asked before its first sample has none: that is told, and over.
    let told = eventually(|| {
        heat(&server, 99.0);
        let taken = files.receiver.taken();
        let count = |text: &str| taken.iter().filter(|told| *told == text).count();
        let is_settled = count("firing firing:gone") == count("resolved resolved:gone");
        (count("firing firing:hot") == 1 && is_settled).then_some(taken)
    });
    let told = told.expect("it fires");
    let mut sent_ms = now_ms();
    server.signal("KILL");
    server.wait();
    sleep(OUTAGE);
    let server = files.start();
    // The sender has kept a sample of each quarter of a second, and sends the oldest first, five times as fast as they came.
    while sent_ms < now_ms() {
        sent_ms += 250;
        sample(&server, sent_ms, 99.0);
        sleep(Duration::from_millis(50));
    }
    for _ in 0..16 {
        heat(&server, 99.0);
        sleep(Duration::from_millis(250));
    }
    assert_eq!(files.receiver.taken(), told, "neither over nor gone");
    let ended = eventually(|| {
        heat(&server, 20.0);
        files.receiver.taken().get(told.len()).cloned()
    });
    assert_eq!(ended.as_deref(), Some("resolved resolved:hot"));
}

#[test]
fn a_real_prometheus_posts_its_alerts() {
    if !process::installed("prometheus") {
        return process::skipped("prometheus is not installed", "apt-get install prometheus");
    }
    let files = Files::new("groups: []");
    let server = files.start();
    let rules = files.folder.path().join("prometheus-rules.yml");
    fs::write(
        &rules,
        "groups: [{name: a, interval: 1s, rules: [{alert: Watchdog, expr: vector(1), labels: {instance: w}}]}]",
    )
    .unwrap();
    let address = server.url("").trim_start_matches("http://").to_owned();
    let config = format!(
        "global: {{evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n",
        rules.display()
    );
    // It finds whom to tell after it has told for the first time.
    let options = ["--rules.alert.resend-delay=2s"];
    let (prometheus, _) = process::prometheus(files.folder.path(), process::free_port(), &config, &options);
    eventually(|| (!files.receiver.taken().is_empty()).then_some(())).expect("somebody is told");
    assert_eq!(files.receiver.taken(), ["firing firing:w"]);
    prometheus.terminate();
}

#[test]
fn amtool_asks_and_silences() {
    if !process::installed("amtool") {
        return process::skipped("amtool is not installed", "apt-get install prometheus-alertmanager");
    }
    let files = Files::new("groups: []");
    let server = files.start();
    let amtool = |args: &[&str]| {
        let (code, out, err) =
            run(Command::new("amtool").arg(format!("--alertmanager.url={}", server.url(""))).args(args));
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    };
    amtool(&["alert", "add", "disk", "instance=d1", "--annotation=summary=full"]);
    assert!(amtool(&["alert", "query", "instance=d1"]).contains("disk"));
    let id = amtool(&["silence", "add", "--author=ann", "--comment=replaced", "--duration=1h", "alertname=disk"]);
    assert!(amtool(&["silence", "query"]).contains("replaced"));
    assert!(
        !amtool(&["alert", "query"]).contains("disk") && amtool(&["alert", "query", "--silenced"]).contains("disk")
    );
    let kept = "SELECT reason, \"by\"[1] FROM notifications WHERE event = 'kept' AND reason = 'silenced'";
    let kept = eventually(|| server.sql(kept).first().cloned()).expect("a reason");
    assert_eq!(kept, format!("silenced,{}", id.trim()));
    amtool(&["silence", "expire", id.trim()]);
    assert!(amtool(&["config", "show"]).contains("receiver: team"));
    assert!(amtool(&["cluster", "show"]).to_lowercase().contains("disabled"));
    assert!(Path::new("/usr/bin/amtool").exists());
}

#[test]
fn shipped_rules_pass_their_tests() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rules");
    let files = fs::read_dir(rules).unwrap().map(|entry| entry.unwrap().path());
    let (tests, rules): (Vec<_>, Vec<_>) =
        files.partition(|path| path.file_stem().unwrap().to_str().unwrap().ends_with("_test"));
    assert_eq!(tests.len(), rules.len(), "rules without tests: {rules:?}");
    for tests in tests {
        let (code, out, err) = run(crate::support::server::binary().args(["test", "rules"]).arg(&tests));
        assert!(code == 0 && out.contains("SUCCESS"), "{}: {out}{err}", tests.display());
    }
    let routes = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alertmanager.yml");
    let (code, out, err) = run(crate::support::server::binary().args(["check", "alertmanager", routes]));
    assert!(code == 0 && out.contains("SUCCESS"), "{out}{err}");
}
