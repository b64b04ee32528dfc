//! Receivers as they are met: samples by hand, PagerDuty that answers back, Slack with blocks, tokens that are borrowed, digests, reminders.

use std::{fs, thread::sleep, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use crate::support::{
    process,
    receiver::{Receiver, Script, Told},
    server::{Server, binary, eventually, now_ms, run},
};

/// A folder with an `alertmanager.yml` and settings that let its receivers be local ones.
struct Files {
    folder: TempDir,
    receiver: Receiver,
}

impl Files {
    /// `{url}` in the configuration is the receiver's address, `{dir}` the folder; `more` is added to `alerting`.
    fn new(config: &str, more: &str) -> Self {
        let (folder, receiver) = (tempdir().unwrap(), Receiver::start());
        let config = config.replace("{url}", &receiver.url("")).replace("{dir}", &folder.path().display().to_string());
        fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
        let more = more.replace("{url}", &receiver.url("")).replace("{dir}", &folder.path().display().to_string());
        let settings = format!(
            "alerting:\n  config: {}\n  allowed_networks: [127.0.0.0/8]\n  external_url: http://gauge.test\n{more}",
            folder.path().join("alertmanager.yml").display()
        );
        fs::write(folder.path().join("streamgauge.yaml"), settings).unwrap();
        Self { folder, receiver }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn start(&self) -> Server {
        Server::start(self.folder.path(), &["--config", &self.path("streamgauge.yaml")])
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// What came at a path.
    fn told(&self, path: &str) -> Vec<Told> {
        self.receiver.told().into_iter().filter(|told| told.path == path).collect()
    }

    /// Sends a sample: exit code, stdout, stderr.
    fn sample(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = binary();
        command.args([
            "alertmanager",
            "test",
            &self.path("alertmanager.yml"),
            "--config",
            &self.path("streamgauge.yaml"),
        ]);
        run(command.args(args))
    }
}

/// Posts with headers; the status of the answer.
fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let agent = process::agent(Duration::from_secs(20));
    let post = agent.post(server.url(path)).header("Content-Type", "application/json");
    let post = headers.iter().fold(post, |post, (name, value)| post.header(*name, *value));
    post.send(body.as_bytes()).unwrap().status().as_u16()
}

/// Posts one alert that fires.
fn alert(server: &Server, headers: &[(&str, &str)], labels: Value) {
    let body = json!([{"labels": labels, "annotations": {"summary": "it is hot"}}]).to_string();
    assert_eq!(post(server, "/api/v2/alerts", headers, &body), 200);
}

#[test]
fn a_sample_is_sent_where_labels_lead_and_failures_are_told_without_secrets() {
    let files = Files::new(
        "route: {receiver: all, routes: [{receiver: db, matchers: ['team=db']}]}\n\
         receivers:\n\
         - {name: all}\n\
         - name: db\n  webhook_configs: [{url: '{url}/hook'}]\n  slack_configs: [{api_url: '{url}/services/T0/B0/secret-of-slack'}]\n",
        "",
    );
    // To the webhook, its end, and to Slack.
    files.receiver.script([
        Script::Answer(200, "", ""),
        Script::Answer(200, "", ""),
        Script::Answer(404, "", "no_service /services/T0/B0/secret-of-slack"),
    ]);
    let (code, out, err) = files.sample(&["team=db", "severity=critical"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("db webhook[0] firing: sent\ndb webhook[0] resolved: sent\n"), "{out}");
    assert!(out.contains("db slack[0] firing: refused: status 404: no_service"), "{out}");
    assert!(!out.contains("secret-of-slack") && !err.contains("secret-of-slack"), "{out}{err}");
    let told = files.receiver.told();
    assert_eq!(told[0].body["alerts"][0]["labels"]["alertname"], "StreamgaugeTest");
    assert_eq!(told[0].body["groupKey"], told[1].body["groupKey"]);
    assert_eq!((told.len(), told[1].body["status"].as_str()), (3, Some("resolved")));
    // One that is named, and works.
    let (code, out, err) = files.sample(&["--receiver", "db"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}{err}");
    let (code, out, _) = files.sample(&["team=other"]);
    assert!(code == 0 && out.starts_with("all: it has no integrations"), "{out}");
}

/// An event of PagerDuty's V3 webhooks, and its HMAC-SHA-256 with the secret `webhook-secret`, made with Python.
const ACKNOWLEDGED: (&str, &str) = (
    r#"{"event":{"id":"01","event_type":"incident.acknowledged","resource_type":"incident","occurred_at":"2026-10-02T18:45:22.169Z","agent":{"type":"user_reference","summary":"Ann"},"data":{"id":"PX","type":"incident","incident_key":"k1"}}}"#,
    "435b9c5225fe3a9e968f4ec7a829c05878c02a608c530f3325c4a7a989c9173e",
);
/// The same of now, with an id and a type, and its signature.
fn event(id: &str, kind: &str) -> (String, String) {
    let now = chrono::DateTime::from_timestamp_millis(now_ms()).unwrap().to_rfc3339();
    let body = ACKNOWLEDGED.0.replace("\"01\"", &format!("{id:?}")).replace("incident.acknowledged", kind);
    let body = body.replace("2026-10-02T18:45:22.169Z", &now);
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip("webhook-secret".bytes()).for_each(|(at, of_secret)| *at ^= of_secret);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(&body).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    (body, outer.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn an_incident_that_somebody_took_at_pagerduty_is_not_repeated_there_and_slack_hears_of_it() {
    let files = Files::new(
        "global: {slack_app_url: '{url}/api/chat.postMessage', slack_app_token: xoxb-1}\n\
         route: {receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}\n\
         receivers:\n- name: team\n  rate: 100 per 1s\n\
         \x20 pagerduty_configs: [{routing_key: abc, url: '{url}/v2/enqueue'}]\n\
         \x20 slack_configs: [{channel: '#a', thread_replies: true, blocks: true}]\n",
        "  pagerduty_secrets_file: '{dir}/webhook'\nauth:\n  tokens:\n  - {name: all, scopes: [read, write], token: '${SECRET}'}\n",
    );
    files.write("webhook", "old-secret\nwebhook-secret\n");
    files.receiver.answers("/v2/enqueue", 202, r#"{"status":"success","dedup_key":"k1"}"#);
    files.receiver.answers("/api/chat.postMessage", 200, r#"{"ok":true,"ts":"1.1","channel":"C1"}"#);
    let token = "t".repeat(40);
    let settings = files.path("streamgauge.yaml");
    let server = Server::start_with(files.folder.path(), &["--config", &settings], &[("SECRET", &token)]);
    let authorization = format!("Bearer {token}");
    let authorized = [("Authorization", authorization.as_str())];
    alert(&server, &authorized, json!({"alertname": "Hot"}));
    let sql = |statement: &str| {
        let answer = server.call("POST", "/api/v1/sql?format=csv", Some(&authorization), statement.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    // Both have it, and what they answered is known.
    let both = "SELECT count(DISTINCT integration) FROM notifications WHERE event = 'sent'";
    eventually(|| (sql(both) == ["2"]).then_some(())).expect("both are told");

    let hook = |body: &str, signature: &str| {
        let header = format!("v1={}, v1={signature}", "0".repeat(64));
        post(&server, "/api/v1/pagerduty/webhook", &[("X-PagerDuty-Signature", &header)], body)
    };
    let (taken, signature) = event("02", "incident.acknowledged");
    assert_eq!(hook(ACKNOWLEDGED.0, &signature), 401, "signed for something else");
    assert_eq!(post(&server, "/api/v1/pagerduty/webhook", &authorized, ACKNOWLEDGED.0), 401, "a token is no signature");
    let steps = "SELECT event, \"by\"[1], integration FROM notifications WHERE event = 'acknowledged'";
    assert_eq!((hook(ACKNOWLEDGED.0, ACKNOWLEDGED.1), sql(steps).len()), (204, 0), "of an incident before");
    assert_eq!((hook(&taken, &signature), hook(&taken, &signature)), (204, 204), "it comes twice");
    assert_eq!(sql(steps), ["acknowledged,Ann,pagerduty[0]"]);
    let kept = "SELECT \"by\"[1] FROM notifications WHERE event = 'kept' AND reason = 'acknowledged'";
    assert_eq!(eventually(|| Some(sql(kept)).filter(|kept| !kept.is_empty())).expect("a reason"), ["Ann"]);
    let first = &files.told("/api/chat.postMessage")[0].body;
    assert_eq!((&first["blocks"][0]["type"], &first["attachments"]), (&json!("header"), &json!([])), "{first:#}");
    let (pages, messages) = (files.told("/v2/enqueue").len(), files.told("/api/chat.postMessage").len());
    sleep(Duration::from_secs(4));
    assert_eq!(files.told("/v2/enqueue").len(), pages, "it is not repeated");
    assert!(files.told("/api/chat.postMessage").len() > messages, "others are told again");
    let remarks = files.told("/api/chat.postMessage");
    let remarks: Vec<_> = remarks.iter().filter(|told| told.body["text"] == "Acknowledged by Ann.").collect();
    assert_eq!(remarks.len(), 1, "once");
    assert_eq!((&remarks[0].body["thread_ts"], &remarks[0].body["channel"]), (&json!("1.1"), &json!("C1")));
    assert!(remarks[0].header("authorization") == "Bearer xoxb-1" && !remarks[0].text.contains("xoxb-1"));
    let history = server.get("/api/v1/notifications?event=acknowledged", Some(&authorization));
    assert!(history.body.contains("\"Ann\""), "{}", history.body);
    let url = server.url("");
    let mut timeline = binary();
    timeline.args(["incident", "timeline", "--from", "2026-01-01T00:00:00Z", "--to", "2126-01-01T00:00:00Z"]);
    timeline.args(["--format", "csv", "--token-env", "SECRET", "--url", &url]).env("SECRET", &token);
    let (code, out, err) = run(&mut timeline);
    assert!(code == 0 && out.contains("acknowledged,at the receiver by Ann"), "{out}{err}");
    // Closed there, and still firing here: it is told again.
    let (closed, signature) = event("03", "incident.resolved");
    assert_eq!(hook(&closed, &signature), 204);
    eventually(|| (files.told("/v2/enqueue").len() > pages).then_some(())).expect("it is told again");
}

#[test]
fn an_incident_is_acknowledged_at_pagerduty_once_all_of_it_is_silenced() {
    let files = Files::new(
        "route: {receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}\n\
         receivers: [{name: team, pagerduty_configs: [{routing_key: abc, url: '{url}/v2/enqueue', acknowledge_silenced: true}]}]\n",
        "",
    );
    files.receiver.answers("/v2/enqueue", 202, r#"{"status":"success","dedup_key":"k1"}"#);
    let server = files.start();
    alert(&server, &[], json!({"alertname": "Hot"}));
    let actions = |action: &str| {
        let told = files.told("/v2/enqueue").into_iter();
        told.filter(|told| told.body["event_action"] == action).collect::<Vec<_>>()
    };
    eventually(|| (!actions("trigger").is_empty()).then_some(())).expect("it is told");
    let silence = |ends_ms: i64| {
        let time = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
        let body = json!({
            "matchers": [{"name": "alertname", "value": "Hot", "isRegex": false}],
            "startsAt": time(now_ms()), "endsAt": time(ends_ms), "createdBy": "Ann", "comment": "known",
        });
        assert_eq!(post(&server, "/api/v2/silences", &[], &body.to_string()), 200);
    };
    silence(now_ms() + 8_000);
    let acknowledged =
        eventually(|| Some(actions("acknowledge")).filter(|told| !told.is_empty())).expect("it is taken");
    let told = actions("trigger");
    assert_eq!(acknowledged[0].body["dedup_key"], told[0].body["dedup_key"]);
    eventually(|| (actions("trigger").len() > told.len()).then_some(())).expect("after the silence it is told again");
    let all: Vec<_> = files.told("/v2/enqueue").iter().map(|told| told.body["event_action"].clone()).collect();
    let after = all.iter().skip_while(|action| **action != "acknowledge").take(3).collect::<Vec<_>>();
    assert_eq!(after, ["acknowledge", "resolve", "trigger"], "it begins anew: {all:?}");
    assert_eq!(actions("acknowledge").len(), 1, "once");
    let history = server.get("/api/v1/notifications?event=intent", None);
    assert!(history.body.contains("all alerts silenced"), "{}", history.body);
}

#[test]
fn pagerduty_tells_nothing_unless_it_has_a_secret() {
    let files = Files::new("route: {receiver: team}\nreceivers: [{name: team}]\n", "");
    let server = files.start();
    let header = format!("v1={}", ACKNOWLEDGED.1);
    assert_eq!(post(&server, "/api/v1/pagerduty/webhook", &[("X-PagerDuty-Signature", &header)], ACKNOWLEDGED.0), 404);
    let missing =
        Files::new("route: {receiver: team}\nreceivers: [{name: team}]\n", "  pagerduty_secrets_file: '{dir}/none'\n");
    let (code, _, err) = run(binary().args(["check", "--config", &missing.path("streamgauge.yaml")]));
    assert!(code == 1 && err.contains("pagerduty_secrets_file"), "{err}");
}

#[test]
fn a_webhook_behind_oauth2_and_a_topic_behind_a_role_are_told() {
    let files = Files::new(
        "route: {receiver: team}\n\
         receivers:\n\
         - name: team\n\
         \x20 webhook_configs:\n\
         \x20 - url: '{url}/hook'\n\
         \x20   http_config: {oauth2: {client_id: me, client_secret_file: '{dir}/secret', token_url: '{url}/token', scopes: [tell]}}\n\
         \x20 sns_configs:\n\
         \x20 - api_url: '{url}/sns/'\n\
         \x20   topic_arn: 'arn:aws:sns:eu-west-1:1:alerts'\n\
         \x20   message: hot\n\
         \x20   sigv4: {access_key: AKIDBASE, secret_key: base-secret, role_arn: 'arn:aws:iam::2:role/tell', sts_url: '{url}/sts/'}\n",
        "",
    );
    files.write("secret", "s3cret\n");
    files.receiver.answers("/token", 200, r#"{"access_token":"token-1","token_type":"Bearer","expires_in":3600}"#);
    files.receiver.answers(
        "/sts/",
        200,
        "<AssumeRoleResponse><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
         <SessionToken>session</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResponse>",
    );
    let (code, out, err) = files.sample(&[]);
    assert_eq!((code, out.matches(": sent").count()), (0, 4), "{out}{err}");
    let tokens = files.told("/token");
    assert_eq!((tokens.len(), tokens[0].text.as_str()), (1, "grant_type=client_credentials&scope=tell"), "once");
    let hooks = files.told("/hook");
    assert!(hooks.len() == 2 && hooks.iter().all(|told| told.header("authorization") == "Bearer token-1"));
    let roles = files.told("/sts/");
    assert_eq!(roles.len(), 1, "once");
    assert!(roles[0].text.contains("Action=AssumeRole") && roles[0].header("authorization").contains("AKIDBASE/"));
    let topic = files.told("/sns/");
    assert!(topic.len() == 2 && topic[0].header("authorization").contains("Credential=ASIAROLE/"), "{topic:?}");
    assert_eq!(topic[0].header("x-amz-security-token"), "session");
    // Who may not assume the role is told so, and nobody's secret is.
    files.receiver.script([Script::Answer(
        403,
        "",
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>",
    )]);
    let both = fs::read_to_string(files.path("alertmanager.yml")).unwrap();
    let (before, rest) = both.split_once("  webhook_configs:").unwrap();
    let (_, after) = rest.split_once("  sns_configs:").unwrap();
    files.write("alertmanager.yml", &format!("{before}  sns_configs:{after}"));
    let (code, out, err) = files.sample(&[]);
    assert!(code == 1 && out.contains("the role cannot be assumed: status 403 AccessDenied not you"), "{out}{err}");
    assert!(!out.contains("base-secret"), "{out}");
}

#[test]
fn a_digest_comes_at_its_time_though_the_server_was_killed_before() {
    // The next minute that is far enough away to be killed before.
    let at_ms = (now_ms() + 15_000) / 60_000 * 60_000 + 60_000;
    let at = chrono::DateTime::from_timestamp_millis(at_ms).unwrap().format("%H:%M");
    let config = format!(
        "route: {{receiver: day, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: day, digest: {{at: '{at}'}}, webhook_configs: [{{url: '{{url}}/hook'}}]}}]\n"
    );
    let files = Files::new(&config, "");
    let server = files.start();
    alert(&server, &[], json!({"alertname": "Hot"}));
    alert(&server, &[], json!({"alertname": "Cold"}));
    let owed = "SELECT count(DISTINCT group_key) FROM notifications WHERE event = 'intent'";
    eventually(|| (server.sql(owed) == ["2"]).then_some(())).expect("both are owed");
    assert!(files.receiver.told().is_empty(), "before its time");
    server.signal("KILL");
    server.wait();
    let server = files.start();
    // Up to 75 s.
    let told = eventually(|| files.receiver.told().first().cloned());
    let told = told.or_else(|| eventually(|| files.receiver.told().first().cloned())).expect("a digest");
    assert!(now_ms() >= at_ms, "not before its time");
    let digest = told.body["digest"].as_array().unwrap();
    let names: Vec<&str> = digest.iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names.contains(&"alertname=Hot")), (2, true), "{:#}", told.body);
    assert!(digest.iter().all(|group| group["times"] == 1 && group["firing"] == 1), "{:#}", told.body);
    let sent = "SELECT count(*) FROM notifications WHERE event = 'sent'";
    assert_eq!(eventually(|| Some(server.sql(sent)).filter(|sent| *sent == ["2"])).unwrap(), ["2"]);
    assert_eq!(files.receiver.told().len(), 1, "one message");
}

#[test]
fn silences_have_limits_and_somebody_is_reminded_before_one_ends() {
    let files = Files::new(
        "route: {receiver: none, routes: [{receiver: team, matchers: ['alertname=SilenceEnds'], group_wait: 0s}]}\n\
         receivers: [{name: none}, {name: team, webhook_configs: [{url: '{url}/hook'}]}]\n",
        "  silences: {duration_max: 1h, alerts_max: 1, remind_before: 1m}\n",
    );
    let server = files.start();
    alert(&server, &[], json!({"alertname": "Hot", "team": "db", "instance": "1"}));
    alert(&server, &[], json!({"alertname": "Hot", "team": "db", "instance": "2"}));
    let silence = |name: &str, value: &str, seconds: i64| {
        let time = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
        let now = now_ms();
        let matchers = json!([{"name": name, "value": value, "isRegex": false}]);
        let body = json!({"matchers": matchers, "startsAt": time(now), "endsAt": time(now + seconds * 1_000),
            "createdBy": "ann", "comment": "c"});
        post(&server, "/api/v2/silences", &[], &body.to_string())
    };
    assert_eq!(silence("instance", "1", 7_200), 400, "too long");
    assert_eq!(silence("team", "db", 600), 400, "of two alerts");
    assert_eq!(silence("instance", "1", 110), 200);
    // It is looked at every minute, and ends in less than two.
    let reminded = || files.told("/hook").first().cloned();
    let told = eventually(reminded).or_else(|| eventually(reminded)).expect("a reminder");
    let labels = &told.body["alerts"][0]["labels"];
    assert_eq!(
        (&labels["team"], &labels["instance"], &labels["severity"]),
        (&json!("db"), &json!("1"), &json!("info"))
    );
    let summary = told.body["alerts"][0]["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("A silence of ann ends at "), "{summary}");
}

#[test]
fn a_deploy_that_is_posted_as_an_alert_is_a_change_at_pagerduty() {
    let files = Files::new(
        "route: {receiver: none, routes: [{receiver: changes, matchers: ['alertname=Deploy'], group_by: ['...'], group_wait: 0s, \
         group_interval: 1s, repeat_interval: 1s}]}\n\
         receivers:\n- {name: none}\n- name: changes\n\
         \x20 pagerduty_configs: [{routing_key: abc, url: '{url}/v2/enqueue', change_events: true, description: '{{ .CommonAnnotations.summary }}'}]\n",
        "",
    );
    files.receiver.answers("/v2/change/enqueue", 202, r#"{"status":"success","message":"Change event processed"}"#);
    let server = files.start();
    alert(&server, &[], json!({"alertname": "Deploy", "service": "checkout", "version": "1.2.3"}));
    let told = eventually(|| files.told("/v2/change/enqueue").first().cloned()).expect("a change");
    assert_eq!((&told.body["routing_key"], &told.body["payload"]["summary"]), (&json!("abc"), &json!("it is hot")));
    // It goes on and is repeated by the route, and is no other change.
    let repeats = "SELECT count(*) > 0 FROM notifications WHERE event = 'sent' AND reason = 'repeat interval elapsed'";
    eventually(|| (server.sql(repeats) == ["true"]).then_some(())).expect("a repetition of which nothing is told");
    assert_eq!(files.receiver.told().len(), 1, "once, and no incident");
}
