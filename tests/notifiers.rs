//! Receivers as they are met: samples by hand, PagerDuty that answers back, Slack with blocks, tokens that are borrowed, digests, reminders.

use std::fs;

use tempfile::{TempDir, tempdir};

use crate::support::{
    receiver::{Receiver, Script},
    server::{binary, run},
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
