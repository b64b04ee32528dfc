//! What is asked of the API is answered as Alertmanager answers.

use std::{path::Path, sync::atomic::Ordering};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::{
    Config,
    alertmanager::{Plan, world::World},
};

/// A moment of 2026, milliseconds.
const NOW_MS: i64 = 1_773_230_000_000;

const TEAMS: &str = "\
route:
  receiver: boss
  group_by: [alertname]
  routes:
    - {receiver: web, matchers: ['team=web'], continue: true}
    - {receiver: night, matchers: ['team=web'], mute_time_intervals: [always]}
inhibit_rules:
  - {source_matchers: ['severity=critical'], target_matchers: ['severity=warning'], equal: [team]}
time_intervals:
  - {name: always, time_intervals: [{years: ['2000:2100']}]}
receivers:
  - {name: boss}
  - {name: web, labels: {kind: chat}}
  - {name: night, labels: {kind: pager}}
";

struct Api {
    world: Arc<World>,
    router: Router,
}

impl Api {
    fn of(config: &str) -> Self {
        let world = Arc::new(World::default());
        world.now_ms.store(NOW_MS, Ordering::Relaxed);
        let config = Arc::new(Config::parse(config, Path::new(".")).unwrap());
        let manager = world.start(Plan { config, receivers: Default::default() });
        let about = About { version: "1.2.3".into(), started_ms: NOW_MS, ..About::default() };
        Self { world, router: router(manager, about) }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let status = response.status();
        assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, response.headers().contains_key(header::RETRY_AFTER));
        let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(is_json, !body.is_empty(), "JSON, or nothing");
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Request::get(format!("/api/v2{path}")).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Status, and what a string says.
    async fn refused(&self, path: &str) -> (u16, String) {
        let (status, body) = self.send(Request::get(format!("/api/v2{path}")).body(Body::empty()).unwrap()).await;
        (status.as_u16(), serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {body}: {error}")))
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let (status, body) = self.send(posting(path, "application/json", body.to_string())).await;
        (status.as_u16(), body)
    }

    /// Alerts with labels, each `name=value …`.
    async fn fire(&self, alerts: &[&str]) {
        let alerts: Vec<Value> = alerts.iter().map(|labels| json!({ "labels": labelled(labels) })).collect();
        assert_eq!(self.post("/alerts", &json!(alerts)).await, (200, String::new()));
    }

    /// Names of the alerts that are answered, with what keeps them quiet.
    async fn names(&self, query: &str) -> Vec<String> {
        let mut names: Vec<String> = self.get(query).await.as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    }

    async fn silence(&self, matcher: [&str; 2], hours: std::ops::Range<i64>) -> String {
        let (status, body) = self.post("/silences", &silence(matcher, hours)).await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["silenceID"].as_str().unwrap().to_owned()
    }
}

fn posting(path: &str, kind: &str, body: String) -> Request<Body> {
    let request = Request::post(format!("/api/v2{path}")).header(header::CONTENT_TYPE, kind);
    request.body(Body::from(body)).unwrap()
}

fn labelled(text: &str) -> Value {
    text.split(' ')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn name(alert: &Value) -> String {
    alert["labels"]["alertname"].as_str().unwrap().to_owned()
}

fn silence([name, value]: [&str; 2], hours: std::ops::Range<i64>) -> Value {
    let time = |hours: i64| Time(NOW_MS + hours * 3_600_000);
    json!({
        "matchers": [{ "name": name, "value": value, "isRegex": false }],
        "startsAt": time(hours.start), "endsAt": time(hours.end), "createdBy": "ann", "comment": "moved",
    })
}

/// Alerts and silences of which a real Alertmanager told, told to ours, are answered as that one did, to the order of the fields.
#[tokio::test]
async fn what_alertmanager_answered_is_answered() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/karma");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let json = |name: &str| serde_json::from_str::<Vec<Value>>(&read(name)).unwrap();
    let ms = |value: &Value| serde_json::from_value::<Time>(value.clone()).unwrap().0;
    for version in ["0.27.0", "0.31.0"] {
        let (mut groups, mut silences) =
            (json(&format!("{version}/alerts_groups.json")), json(&format!("{version}/silences.json")));
        let api = Api::of(&read("alertmanager.yml"));
        let mut ids = Vec::new();
        for silence in &mut silences {
            // Until 2063 is too long for ours.
            silence["endsAt"] = json!(Time(ms(&silence["updatedAt"]) + 86_400_000));
            api.world.now_ms.store(ms(&silence["updatedAt"]), Ordering::Relaxed);
            let mut posted = silence.clone();
            posted.as_object_mut().unwrap().shift_remove("id");
            let (status, answer) = api.post("/silences", &posted).await;
            assert_eq!(status, 200, "{answer}");
            let id = serde_json::from_str::<Value>(&answer).unwrap()["silenceID"].clone();
            ids.push((std::mem::replace(&mut silence["id"], id.clone()), id));
        }
        for group in &mut groups {
            let alerts = group["alerts"].as_array_mut().unwrap();
            for alert in &mut *alerts {
                api.world.now_ms.store(ms(&alert["updatedAt"]), Ordering::Relaxed);
                let posted = json!({
                    "labels": alert["labels"], "annotations": alert["annotations"], "startsAt": alert["startsAt"],
                    "endsAt": "0001-01-01T00:00:00Z", "generatorURL": alert["generatorURL"],
                });
                assert_eq!(api.post("/alerts", &json!([posted])).await.0, 200);
                for (theirs, ours) in &ids {
                    let by = alert["status"]["silencedBy"].as_array_mut().unwrap();
                    by.iter_mut().filter(|id| *id == theirs).for_each(|id| *id = ours.clone());
                }
                let status = alert["status"].as_object_mut().unwrap();
                if version == "0.27.0" {
                    // It came with 0.28.
                    status.shift_insert(1, "mutedBy".to_owned(), json!([]));
                }
                status["silencedBy"].as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            // Alertmanager has them in the order of a map.
            alerts.sort_by_key(|alert| alert["fingerprint"].to_string());
        }
        let asked = api.get("/alerts/groups").await;
        assert_eq!(asked.to_string(), json!(groups).to_string(), "{version}");
        let fingerprints = |value: &Value| -> std::collections::BTreeSet<String> {
            value.as_array().unwrap().iter().map(|alert| alert["fingerprint"].to_string()).collect()
        };
        let all = groups.iter().flat_map(|group| fingerprints(&group["alerts"])).collect();
        assert_eq!(fingerprints(&api.get("/alerts").await), all);
        silences.sort_by_key(|silence| ms(&silence["endsAt"]));
        let by_id = |mut all: Vec<Value>| {
            all.sort_by_key(|silence| silence["id"].to_string());
            json!(all).to_string()
        };
        let asked = api.get("/silences").await.as_array().unwrap().clone();
        assert_eq!(by_id(asked), by_id(silences), "{version}");
    }
}

#[tokio::test]
async fn alerts_are_chosen_by_how_they_are_and_whom_they_tell() {
    let api = Api::of(TEAMS);
    api.fire(&[
        "alertname=a team=web severity=critical",
        "alertname=b team=web severity=warning",
        "alertname=c team=db",
    ])
    .await;
    let id = api.silence(["alertname", "c"], 0..1).await;
    for (query, names) in [
        ("", "a b c"),
        ("?active=false", "b c"),
        ("?silenced=false", "a b"),
        ("?inhibited=false&unprocessed=0", "a c"),
        ("?silenced=false&inhibited=false&silenced=&other=x", "a c"),
        ("?filter=team%3Dweb&filter=severity!%3Dwarning", "a"),
        ("?filter=%7Bteam%3D~%22w.*%22%2Calertname%3D%22b%22%7D", "b"),
        ("?filter=severity%3D%22%22", "c"),
        ("?receiver=we", ""),
        ("?receiver=we.", "a b"),
        ("?receiver=boss%7Cnight", "a b c"),
        ("?receiver_matchers=kind%3Dchat", "a b"),
        ("?receiver_matchers=kind%3D%22%22", "c"),
    ] {
        assert_eq!(api.names(&format!("/alerts{query}")).await.join(" "), names, "{query}");
    }
    let all = api.get("/alerts").await;
    let of = |wanted: &str| all.as_array().unwrap().iter().find(|alert| name(alert) == wanted).unwrap().clone();
    assert_eq!(of("a")["status"], json!({"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"}));
    assert_eq!(of("a")["receivers"], json!([{"name": "web"}, {"name": "night"}]));
    assert_eq!(of("b")["status"]["inhibitedBy"], json!([of("a")["fingerprint"]]));
    assert_eq!((&of("b")["status"]["state"], &of("c")["status"]["silencedBy"]), (&json!("suppressed"), &json!([id])));
    let fingerprints: Vec<String> =
        all.as_array().unwrap().iter().map(|alert| alert["fingerprint"].to_string()).collect();
    assert!(fingerprints.is_sorted());
    // What ends is not answered any more.
    api.world.now_ms.fetch_add(300_000, Ordering::Relaxed);
    assert_eq!(api.get("/alerts").await, json!([]));
    assert_eq!(api.get("/alerts/groups").await, json!([]));
}

#[tokio::test]
async fn groups_are_chosen_by_receiver_and_mute() {
    let api = Api::of(TEAMS);
    api.fire(&["alertname=a team=web", "alertname=b team=web", "alertname=c team=db"]).await;
    let groups = |answer: Value| -> Vec<String> {
        let text =
            |group: &Value| format!("{} {}", group["receiver"]["name"], group["labels"]["alertname"]).replace('"', "");
        answer.as_array().unwrap().iter().map(text).collect()
    };
    let all = api.get("/alerts/groups").await;
    let (first, second) = (&all[0]["alerts"][0], &all[1]["alerts"][0]);
    assert_eq!((&first["status"]["mutedBy"], &first["status"]["state"]), (&json!(["always"]), &json!("suppressed")));
    assert_eq!((&second["status"]["mutedBy"], &second["status"]["state"]), (&json!([]), &json!("active")));
    assert_eq!(groups(all), ["night a", "web a", "night b", "web b", "boss c"]);
    assert_eq!(groups(api.get("/alerts/groups?muted=false").await), ["web a", "web b", "boss c"]);
    assert_eq!(groups(api.get("/alerts/groups?receiver_matchers=kind%3D~chat%7Cx").await), ["web a", "web b"]);
    let asked = api.get("/alerts/groups?receiver=web&filter=alertname%3Db").await;
    assert_eq!(asked[0]["alerts"][0]["receivers"], json!([{"name": "web"}]));
    assert_eq!(groups(asked), ["web b"]);
    assert_eq!(api.get("/receivers").await, json!([{"name": "boss"}, {"name": "web"}, {"name": "night"}]));
    assert_eq!(api.get("/receivers?receiver_matchers=kind%3Dpager").await, json!([{"name": "night"}]));
}

#[tokio::test]
async fn what_cannot_be_read_names_the_parameter() {
    let api = Api::of(TEAMS);
    for (path, message) in [
        ("/alerts?filter=a%20b", "parameter `filter`: "),
        ("/alerts/groups?filter=a%3D%22", "parameter `filter`: "),
        ("/silences?filter=a", "parameter `filter`: "),
        ("/alerts?receiver=(", "parameter `receiver`: "),
        ("/alerts/groups?receiver_matchers=%3D", "parameter `receiver_matchers`: "),
        ("/receivers?receiver_matchers=x", "parameter `receiver_matchers`: "),
        ("/alerts?silenced=maybe", "parameter `silenced`: `maybe` is neither true nor false"),
    ] {
        let (status, said) = api.refused(path).await;
        assert!(status == 400 && said.starts_with(message), "{path}: {status} {said}");
    }
    let many = format!("/alerts?{}", "filter=a%3Db&".repeat(101));
    assert_eq!(api.refused(&many).await, (400, "parameter `filter`: it is given too often max=100".to_owned()));
}

#[tokio::test]
async fn a_wrong_alert_does_not_cost_its_neighbours() {
    let api = Api::of(TEAMS);
    let mixed = json!([
        {"labels": {"alertname": "a", "gone": ""}, "annotations": {"note": "x", "gone": ""}, "generatorURL": "http://x/y"},
        {"labels": {"gone": ""}},
        {"labels": {"alertname": "b"}, "startsAt": "yesterday"},
        {"labels": {"alertname": 1}},
        {"annotations": {}},
        {"labels": {"alertname": "c", "": "x"}},
        "alert",
        {"labels": {"alertname": "d"}, "startsAt": Time(NOW_MS), "endsAt": Time(NOW_MS - 1)},
        {"labels": {"alertname": "e"}, "startsAt": null, "endsAt": "2026-03-11T20:00:00+02:00", "unknown": [1]},
    ]);
    let (status, said) = api.post("/alerts", &mixed).await;
    let said: String = serde_json::from_str(&said).unwrap();
    let each: Vec<&str> = said.split("; ").collect();
    assert_eq!((status, each.len()), (400, 7), "{said}");
    for (why, expected) in each.iter().zip([
        "alert 2 of the body: an alert needs at least one label",
        "alert 3 of the body: `yesterday` is no time",
        "alert 4 of the body: invalid type: integer",
        "alert 5 of the body: missing field `labels`",
        "alert 6 of the body: labels and annotations need a name",
        "alert 7 of the body: invalid type: string",
        "an alert starts before it ends",
    ]) {
        assert!(why.starts_with(expected), "{why}");
    }
    let all = api.get("/alerts").await;
    let a = all.as_array().unwrap().iter().find(|alert| name(alert) == "a").unwrap();
    assert_eq!((&a["labels"], &a["annotations"]), (&json!({"alertname": "a"}), &json!({"note": "x"})));
    assert_eq!((&a["startsAt"], &a["endsAt"]), (&json!(Time(NOW_MS)), &json!(Time(NOW_MS + 300_000))));
    let e = all.as_array().unwrap().iter().find(|alert| name(alert) == "e").unwrap();
    assert_eq!((&e["endsAt"], e.get("generatorURL")), (&json!("2026-03-11T18:00:00.000Z"), None));
    assert_eq!(all.as_array().unwrap().len(), 2);
    // Of many that are wrong some are named.
    let (_, said) = api.post("/alerts", &json!(vec![json!({}); 25])).await;
    assert!(said.contains("alert 10 of the body") && said.ends_with("; and 15 more\""), "{said}");
}

#[tokio::test]
async fn bodies_are_json_of_a_bounded_size() {
    let api = Api::of(TEAMS);
    let send = async |path: &str, kind: &str, body: &str| {
        let (status, said) = api.send(posting(path, kind, body.to_owned())).await;
        (status.as_u16(), said)
    };
    let alert = "[{\"labels\":{\"alertname\":\"a\"}}]";
    assert_eq!(send("/alerts", "application/x-www-form-urlencoded", alert).await.0, 415);
    assert_eq!(send("/silences", "text/plain", "{}").await.0, 415);
    assert_eq!(api.get("/alerts").await, json!([]));
    assert_eq!(send("/alerts", "Application/JSON; charset=utf-8", alert).await.0, 200);
    let untyped = Request::post("/api/v2/alerts").body(Body::from(alert)).unwrap();
    assert_eq!(api.send(untyped).await.0, 200);
    assert_eq!(send("/alerts", "application/json", "null").await.0, 200);
    for body in ["", "{}", "[{\"labels\":{\"alertname\":\"z\"}}", "[{\"labels\":{\"alertname\":\"z\"}},]"] {
        let (status, said) = send("/alerts", "application/json", body).await;
        assert!(status == 400 && said.starts_with("\"the body is not a JSON array of alerts: "), "{body}: {said}");
    }
    assert_eq!(api.names("/alerts").await, ["a"], "of half a body nothing is taken");
    let large = " ".repeat((64 << 20) + 1);
    let (status, said) = send("/alerts", "application/json", &large).await;
    assert_eq!((status, said.contains("bytes_max=67108864")), (413, true), "{said}");
    assert_eq!(send("/silences", "application/json", &large[..(1 << 20) + 1]).await.0, 413);
    let many = format!("[{}null]", "null,".repeat(250_000));
    let (status, said) = send("/alerts", "application/json", &many).await;
    assert_eq!((status, said.contains("alerts_max=250000")), (413, true), "{said}");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_sent_again() {
    let api = Api::of(TEAMS);
    api.world.is_full.store(true, Ordering::Relaxed);
    let alert = json!([{ "labels": { "alertname": "a" } }]);
    assert_eq!(api.post("/alerts", &alert).await, (503, "\"disk full\"".to_owned()));
    assert_eq!(api.post("/silences", &silence(["a", "b"], 0..1)).await.0, 503);
    assert_eq!(api.get("/silences").await, json!([]));
    api.world.is_full.store(false, Ordering::Relaxed);
    assert_eq!(api.post("/alerts", &alert).await.0, 200);
    assert_eq!(api.world.disk.lock().alerts.len(), 1);
}

#[tokio::test]
async fn silences_are_made_changed_and_ended() {
    let api = Api::of(TEAMS);
    let id = api.silence(["alertname", "a"], -5..1).await;
    let one = api.get(&format!("/silence/{id}")).await;
    assert_eq!(
        one.to_string(),
        json!({
            "id": id, "status": {"state": "active"}, "updatedAt": Time(NOW_MS), "comment": "moved", "createdBy": "ann",
            "endsAt": Time(NOW_MS + 3_600_000),
            "matchers": [{"isEqual": true, "isRegex": false, "name": "alertname", "value": "a"}], "startsAt": Time(NOW_MS),
        })
        .to_string()
    );
    // Longer: the same. Of something else: another one, and the end of this.
    let mut longer = one.clone();
    longer["endsAt"] = json!(Time(NOW_MS + 7_200_000));
    assert_eq!(api.post("/silences", &longer).await, (200, json!({ "silenceID": id }).to_string()));
    let mut other = longer.clone();
    other["matchers"][0]["value"] = json!("b");
    let (status, said) = api.post("/silences", &other).await;
    assert!(status == 200 && !said.contains(&id), "{said}");
    assert_eq!(api.get(&format!("/silence/{id}")).await["status"]["state"], "expired");
    other["id"] = json!("810ccf7f-c957-474a-b383-7e76d66a4d3b");
    assert_eq!(api.post("/silences", &other).await, (404, "\"silence not found\"".to_owned()));
    let delete = async |id: &str| {
        let (status, said) =
            api.send(Request::delete(format!("/api/v2/silence/{id}")).body(Body::empty()).unwrap()).await;
        (status.as_u16(), said)
    };
    let ends = api.get(&format!("/silence/{id}")).await["endsAt"].clone();
    api.world.now_ms.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(delete(&id).await, (200, String::new()), "it has ended, which is what is wanted");
    assert_eq!(api.get(&format!("/silence/{id}")).await["endsAt"], ends);
    assert_eq!(delete("nobody").await, (404, "\"silence not found\"".to_owned()));
    assert_eq!(api.refused("/silence/nobody").await, (404, "silence not found".to_owned()));
    for (name, value, expected) in [
        ("endsAt", json!(Time(NOW_MS - 3_600_000)), "a silence starts before it ends"),
        ("startsAt", json!("now"), "the body is no silence: `now` is no time"),
        ("createdBy", json!(" "), "a silence needs to say who silences"),
        ("matchers", json!([]), "a silence needs a matcher"),
        ("matchers", json!([{"name": "a", "value": "(", "isRegex": true}]), "`(` is no regular expression"),
        ("matchers", json!([{"value": "b", "isRegex": true}]), "the body is no silence: missing field `name`"),
        ("comment", json!(null), "the body is no silence: invalid type: null"),
    ] {
        let mut wrong = silence(["a", "b"], 0..1);
        wrong[name] = value;
        let (status, said) = api.post("/silences", &wrong).await;
        let said: String = serde_json::from_str(&said).unwrap();
        assert!(status == 400 && said.starts_with(expected), "{name}: {status} {said}");
    }
}

#[tokio::test]
async fn silences_are_sorted_by_what_comes_next() {
    let api = Api::of(TEAMS);
    let mut ids = Vec::new();
    for (value, hours) in [("a", 0..9), ("b", 0..8), ("c", 5..6), ("d", 4..6), ("e", 0..2), ("f", 0..1)] {
        ids.push((api.silence(["alertname", value], hours).await, value));
    }
    api.world.now_ms.fetch_add(3 * 3_600_000, Ordering::Relaxed);
    for (query, values) in [
        ("", "b a d c e f"),
        ("?expired=false", "b a d c"),
        ("?active=false&pending=false", "e f"),
        ("?filter=alertname%3Dd", "d"),
        ("?filter=alertname%3D~d", ""),
        ("?filter=alertname%3Dd&filter=alertname%3Da", ""),
    ] {
        let all = api.get(&format!("/silences{query}")).await;
        let of = |silence: &Value| silence["matchers"][0]["value"].as_str().unwrap().to_owned();
        let asked: Vec<String> = all.as_array().unwrap().iter().map(of).collect();
        assert_eq!(asked.join(" "), values, "{query}");
    }
}

#[tokio::test]
async fn status_has_no_cluster_and_no_secrets() {
    let api =
        Api::of("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://user:hunter2@x/'}]}]");
    let status = api.get("/status").await;
    let keys: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["cluster", "config", "uptime", "versionInfo"]);
    assert_eq!(status["cluster"], json!({ "peers": [], "status": "disabled" }));
    let about: Vec<&str> = status["versionInfo"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(about, ["branch", "buildDate", "buildUser", "goVersion", "revision", "version"]);
    assert_eq!((&status["versionInfo"]["version"], &status["uptime"]), (&json!("1.2.3"), &json!(Time(NOW_MS))));
    let original = status["config"]["original"].as_str().unwrap();
    assert!(original.contains("receiver: a") && !original.contains("hunter2"), "{original}");
    assert!(Config::parse(original, Path::new(".")).is_ok(), "{original}");
}

/// More than fits into a piece of an answer, told at once.
#[tokio::test]
async fn many_alerts_are_answered_whole() {
    const COUNT: usize = 3_000;
    let api = Api::of(TEAMS);
    let alert = |nth: usize| json!({ "labels": { "alertname": format!("a{}", nth % 3), "instance": nth.to_string() } });
    let all: Vec<Value> = (0..COUNT).map(alert).collect();
    assert_eq!(api.post("/alerts", &json!(all)).await.0, 200);
    assert_eq!(api.get("/alerts").await.as_array().unwrap().len(), COUNT);
    let groups = api.get("/alerts/groups").await;
    let counts: Vec<usize> =
        groups.as_array().unwrap().iter().map(|group| group["alerts"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [COUNT / 3; 3]);
}
