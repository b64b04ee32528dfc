//! Rules that are written through Mimir's API, as Grafana and mimirtool do: in force at once, on disk, and never half.

use std::fs;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    receiver::Receiver,
    server::{Answer, Server, eventually, now_ms},
};

const CONFIGURED: &str = "groups: [{name: own, rules: [{alert: Own, expr: 'up == 0'}]}]\n";

const GROUP: &str = "\
name: heat
interval: 1s
rules:
  - alert: TooHot
    expr: temperature > 90
    labels:
      instance: hall
    annotations:
      summary: '{{ $labels.job }} has {{ $value }} degrees'
";

struct Bench {
    folder: TempDir,
    receiver: Receiver,
}

impl Bench {
    fn new() -> Self {
        let (folder, receiver) = (tempdir().unwrap(), Receiver::start());
        let config = format!(
            "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers:\n  - name: team\n    webhook_configs: [{{url: '{}', send_resolved: true}}]\n",
            receiver.url("/hook")
        );
        let bench = Self { folder, receiver };
        fs::write(bench.path("alertmanager.yml"), config).unwrap();
        fs::write(bench.path("own.yaml"), CONFIGURED).unwrap();
        let settings = format!(
            "alerting:\n  config: {}\n  rules: ['{}']\n  allowed_networks: [127.0.0.0/8]\n",
            bench.path("alertmanager.yml"),
            bench.path("own.yaml")
        );
        fs::write(bench.path("streamgauge.yaml"), settings).unwrap();
        bench
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn start(&self) -> Server {
        Server::start(self.folder.path(), &["--config", &self.path("streamgauge.yaml")])
    }
}

fn put(server: &Server, namespace: &str, group: &str) -> Answer {
    server.call("POST", &format!("/config/v1/rules/{namespace}"), None, group.as_bytes())
}

/// Files with the names of their groups, as they are in force.
fn in_force(server: &Server) -> Vec<String> {
    let rules: Value = serde_json::from_str(&server.get("/api/v1/rules", None).body).unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let name = |group: &Value| format!("{} {}", group["file"].as_str().unwrap(), group["name"].as_str().unwrap());
    groups.iter().map(name).collect()
}

/// Those of them that were written.
fn written(server: &Server) -> Vec<String> {
    in_force(server).into_iter().filter(|name| !name.ends_with(" own")).collect()
}

#[test]
fn a_group_that_is_written_is_in_force_at_once_and_after_a_kill() {
    let bench = Bench::new();
    let server = bench.start();
    let heat = |server: &Server| assert_eq!(server.write("temperature", &[(now_ms(), 99.0)], None).status, 204);
    let taken = put(&server, "team%20a", GROUP);
    assert_eq!((taken.status, taken.body.contains("success")), (202, true), "{}", taken.body);
    assert_eq!(written(&server), ["team a heat"]);
    heat(&server);
    eventually(|| bench.receiver.taken().first().cloned()).expect("it fires, and somebody is told");
    for path in ["/config/v1/rules", "/prometheus/config/v1/rules", "/rules", "/config/v1/rules/team%20a"] {
        let shown = server.get(path, None);
        assert_eq!((shown.status, shown.headers["content-type"].to_str().unwrap()), (200, "application/yaml"));
        assert!(
            shown.body.contains("team a:") && shown.body.contains("{{ $value }} degrees"),
            "{path}: {}",
            shown.body
        );
    }
    // What is read can be written again, and is the same: the alert goes on.
    let group = server.get("/config/v1/rules/team%20a/heat", None).body;
    assert_eq!(put(&server, "team%20a", &group).status, 202);
    let sent = "SELECT 1 FROM notifications WHERE event = 'sent'";
    eventually(|| (!server.sql(sent).is_empty()).then_some(())).expect("it is on disk that it was told");
    server.signal("KILL");
    server.wait();
    let server = bench.start();
    assert_eq!(written(&server), ["team a heat"]);
    heat(&server);
    let active = || serde_json::from_str::<Value>(&server.get("/api/v1/alerts", None).body).unwrap();
    let alerts = eventually(|| Some(active()).filter(|all| all["data"]["alerts"][0]["state"] == "firing"));
    assert!(alerts.is_some(), "{}", active());
    assert_eq!(bench.receiver.taken(), ["firing firing:hall"]);
}

#[test]
fn what_is_wrong_changes_nothing_and_is_told_with_its_place() {
    let bench = Bench::new();
    let server = bench.start();
    assert_eq!(put(&server, "team", GROUP).status, 202);
    let files = || -> Vec<String> {
        let names = fs::read_dir(bench.folder.path().join("data/rules")).unwrap();
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let before = (in_force(&server), server.get("/config/v1/rules/team", None).body, files());
    for (group, why) in [
        (GROUP.replace("> 90", "> > 90"), "5:11: group"),
        (GROUP.replace("$value }}", "$value }"), "template of"),
        (GROUP.replace("interval", "intervall"), "intervall"),
        (GROUP.replace("name: heat\n", ""), "name"),
        ("- a".to_owned(), "1:1"),
        ("\u{0}".to_owned(), ""),
        (format!("{GROUP}#{}", "x".repeat(5 << 20)), ""),
    ] {
        let refused = put(&server, "team", &group);
        assert!([400, 413].contains(&refused.status) && refused.body.contains(why), "{why}: {}", refused.body);
    }
    assert_eq!(put(&server, &"a".repeat(250), GROUP).status, 400);
    assert_eq!((in_force(&server), server.get("/config/v1/rules/team", None).body, files()), before);
    assert_eq!(files(), ["team.yaml"]);
}

#[test]
fn files_of_the_settings_are_shown_and_changed_by_nobody() {
    let bench = Bench::new();
    let server = bench.start();
    let own = bench.path("own.yaml");
    let namespace = own.replace('/', "%2F");
    assert!(server.get(&format!("/config/v1/rules/{namespace}/own"), None).body.contains("alert: Own"));
    let refused = put(&server, &namespace, GROUP);
    assert!(refused.status == 409 && refused.body.contains("alerting.rules"), "{}", refused.body);
    assert_eq!(server.call("DELETE", &format!("/config/v1/rules/{namespace}"), None, b"").status, 409);
    assert_eq!(fs::read_to_string(&own).unwrap(), CONFIGURED);
    // One that is broken meanwhile holds up nobody.
    fs::write(&own, "groups: [{name: a, rules: [{alert: x}]}]").unwrap();
    assert_eq!(put(&server, "team", GROUP).status, 202);
    assert_eq!(in_force(&server), [format!("{own} own"), "team heat".to_owned()]);
    fs::write(&own, CONFIGURED).unwrap();
}

#[test]
fn groups_and_namespaces_are_taken_out() {
    let bench = Bench::new();
    let server = bench.start();
    let call = |method: &str, path: &str| server.call(method, &format!("/config/v1/rules/{path}"), None, b"").status;
    for (namespace, name) in [("a", "heat"), ("a", "cold"), ("..%2Fb", "heat")] {
        assert_eq!(put(&server, namespace, &GROUP.replace("heat", name)).status, 202);
    }
    assert!(!bench.folder.path().join("data/b.yaml").exists());
    assert_eq!(written(&server), ["../b heat", "a cold", "a heat"]);
    assert_eq!(
        (call("DELETE", "a/none"), call("DELETE", "none"), call("GET", "none"), call("GET", "a/none")),
        (404, 404, 404, 404)
    );
    assert!(server.get("/rules/test/test", None).body.contains("\"message\":\"group does not exist\""));
    assert_eq!((call("DELETE", "a/heat"), call("GET", "a/heat"), call("GET", "a/cold")), (202, 404, 200));
    assert_eq!((call("DELETE", "a"), call("GET", "a")), (202, 404));
    assert_eq!(written(&server), ["../b heat"]);
    assert_eq!((call("DELETE", "..%2Fb"), in_force(&server).len()), (202, 1));
    assert_eq!(fs::read_dir(bench.folder.path().join("data/rules")).unwrap().count(), 0);
}
