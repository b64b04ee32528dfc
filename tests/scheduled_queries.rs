//! Saved queries whose answers are told at their times, by Slack and by mail, whatever ends in between.

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::DateTime;
use tempfile::{TempDir, tempdir};

use crate::support::{
    mail::Mailbox,
    receiver::{Receiver, Told},
    server::{Server, binary, eventually, now_ms, run, within},
};

/// 25 rows, of which a text looks like a formula.
const NUMBERS: &str = "SELECT '=' || CAST(value AS VARCHAR) AS formula, value AS number, now() AS asked, $team AS team \
                       FROM generate_series(1, $rows) ORDER BY number";

/// A folder with settings and receivers.
struct Files {
    folder: TempDir,
    receiver: Receiver,
    mailbox: Mailbox,
}

impl Files {
    /// `queries` are those of the settings; receivers are `bot` with `by_mail`, `hook`, and `pager`, which takes no answers.
    fn new(queries: &str) -> Self {
        let (folder, receiver, mailbox) = (tempdir().unwrap(), Receiver::start(), Mailbox::start());
        let config = format!(
            "global: {{smtp_smarthost: '127.0.0.1:{mail}', smtp_from: gauge@b.c, smtp_require_tls: false}}\n\
             route: {{receiver: nobody}}\n\
             receivers:\n\
             - {{name: nobody}}\n\
             - name: bot\n\
             \x20 slack_configs: [{{channel: '#money', app_token: xoxb-secret, app_url: '{url}/api/chat.postMessage'}}]\n\
             \x20 email_configs: [{{to: 'finance@b.c'}}]\n\
             - name: hook\n\
             \x20 slack_configs: [{{api_url: '{url}/hook'}}]\n\
             - name: pager\n\
             \x20 slack_configs: [{{api_url: '{url}/hook'}}]\n\
             \x20 webhook_configs: [{{url: '{url}/web'}}]\n",
            mail = mailbox.port,
            url = receiver.url("")
        );
        fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
        let settings = format!(
            "alerting:\n  config: {}\n  allowed_networks: [127.0.0.0/8]\n  external_url: http://gauge.test\nqueries:\n{queries}",
            folder.path().join("alertmanager.yml").display()
        );
        fs::write(folder.path().join("streamgauge.yaml"), settings).unwrap();
        Self { folder, receiver, mailbox }
    }

    fn settings(&self) -> String {
        self.folder.path().join("streamgauge.yaml").display().to_string()
    }

    fn start(&self) -> Server {
        Server::start(self.folder.path(), &["--config", &self.settings()])
    }

    /// What came at a path.
    fn told(&self, path: &str) -> Vec<Told> {
        self.receiver.told().into_iter().filter(|told| told.path == path).collect()
    }
}

/// A query of the settings at a time of the day.
fn query(name: &str, receiver: &str, at: &str) -> String {
    format!(
        "  {name}:\n    description: Numbers of a team.\n    sql: \"{NUMBERS}\"\n    params: {{team: {{type: text}}, rows: {{type: integer, default: 25}}}}\n\
         \x20   schedule: {{at: '{at}', receiver: {receiver}, parameters: {{team: pay & co}}}}\n"
    )
}

/// The next minute that is far enough away, milliseconds, and how it is written.
fn soon() -> (i64, String) {
    let at_ms = (now_ms() + 15_000) / 60_000 * 60_000 + 60_000;
    (at_ms, DateTime::from_timestamp_millis(at_ms).unwrap().format("%H:%M").to_string())
}

/// A text that lives as long as the tests, for answers of a receiver that knows its port.
fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// How many rows of `notifications` there are of an event.
fn rows(server: &Server, event: &str) -> usize {
    let count = format!("SELECT count(*) FROM notifications WHERE reason = 'scheduled query' AND event = '{event}'");
    server.sql(&count)[0].parse().unwrap()
}

/// Up to the time, and a while after it.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn an_answer_is_told_at_its_time_and_again_if_nobody_took_it() {
    let (at_ms, at) = soon();
    let files = Files::new(&query("numbers", "hook", &at));
    files.receiver.answers("/hook", 503, "down");
    let server = files.start();
    within(PATIENCE, || files.told("/hook").first().cloned()).expect("a message at its time");
    assert!(now_ms() >= at_ms, "not before its time");
    files.receiver.answers("/hook", 200, "ok");
    eventually(|| (rows(&server, "sent") == 1).then_some(())).expect("it is taken at last");
    assert!(rows(&server, "waits") >= 1);
    let told = files.told("/hook").pop().unwrap();
    let text = told.body["text"].as_str().unwrap();
    let in_utc = |format: &str| DateTime::from_timestamp_millis(at_ms).unwrap().format(format).to_string();
    let (slot, shown) = (in_utc("%Y-%m-%dT%H:%M:%SZ"), in_utc("%Y-%m-%d %H:%M UTC"));
    assert!(text.starts_with(&format!("*Numbers of a team, as of {shown}*\n```\nformula")), "{text}");
    assert!(text.contains("\n=20") && !text.contains("\n=21"), "twenty rows: {text}");
    assert!(text.contains("pay &amp; co") && text.contains("These are the first 20 of 25 rows."), "{text}");
    assert!(text.contains("<http://gauge.test/sql?saved=numbers&amp;team=pay+%26+co|Ask again>"), "{text}");
    let (_, rest) = text.split_once("<http://gauge.test").unwrap();
    let link = rest.split('|').next().unwrap().replace("&amp;", "&");
    let page = server.get(&link, None).body;
    assert!(page.contains("<h2>Numbers of a team.</h2>") && page.contains("Rows: 25."), "{page}");
    let asked = server.sql("SELECT group_labels['query'], group_labels['slot'], receiver, integration FROM notifications WHERE event = 'sent'");
    assert_eq!(asked, [format!("numbers,{slot},hook,slack[0]")]);
}

#[test]
fn a_slot_that_was_missed_is_told_once_with_its_file_and_a_message_is_not_posted_twice() {
    let (at_ms, at) = soon();
    let files = Files::new(&query("numbers", "bot", &at));
    let place = format!(r#"{{"ok":true,"upload_url":"{}","file_id":"F1"}}"#, files.receiver.url("/up/1"));
    files.receiver.answers("/api/files.getUploadURLExternal", 200, leaked(place));
    files.receiver.answers("/api/chat.postMessage", 200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#);
    files.receiver.answers("/api/files.completeUploadExternal", 200, r#"{"ok":false,"error":"internal_error"}"#);
    let server = files.start();
    eventually(|| (rows(&server, "kept") == 1).then_some(())).expect("the schedule is seen");
    server.signal("KILL");
    server.wait();
    within(PATIENCE, || (now_ms() > at_ms + 1_000).then_some(())).expect("time goes by");
    assert!(files.receiver.told().is_empty());
    let server = files.start();
    let has_both = || rows(&server, "waits") >= 1 && rows(&server, "sent") == 1;
    eventually(|| has_both().then_some(())).expect("the mail is sent, and the file not shown");
    assert_eq!(files.told("/api/chat.postMessage").len(), 1);
    server.signal("KILL");
    server.wait();
    files.receiver.answers("/api/files.completeUploadExternal", 200, r#"{"ok":true,"files":[{"id":"F1"}]}"#);
    let server = files.start();
    eventually(|| (rows(&server, "sent") == 2).then_some(())).expect("by Slack and by mail");
    let messages = files.told("/api/chat.postMessage");
    assert_eq!(messages.len(), 1, "what was posted is not posted again");
    assert_eq!(
        (messages[0].header("authorization"), &messages[0].body["channel"]),
        ("Bearer xoxb-secret", &"#money".into())
    );
    let (bytes, shared) =
        (files.told("/up/1").pop().unwrap(), files.told("/api/files.completeUploadExternal").pop().unwrap());
    assert_eq!(bytes.header("authorization"), "", "the token is for Slack alone");
    assert_eq!((&shared.body["channel_id"], &shared.body["thread_ts"]), (&"C1".into(), &"1.2".into()));
    let day = DateTime::from_timestamp_millis(at_ms).unwrap().format("%Y-%m-%d").to_string();
    assert_eq!(shared.body["files"][0]["title"], format!("numbers-{day}.csv"));
    let begin = files.told("/api/files.getUploadURLExternal").pop().unwrap();
    assert_eq!(begin.text, format!("filename=numbers-{day}.csv&length={}", bytes.text.len()));
    // Asked as of the slot, with all rows, and nothing that a spreadsheet runs.
    let minute = DateTime::from_timestamp_millis(at_ms).unwrap().format("%Y-%m-%dT%H:%M:00").to_string();
    let lines: Vec<&str> = bytes.text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (26, "formula,number,asked,team"));
    assert!(lines[25].starts_with(&format!("'=25,25,{minute}")), "{}", lines[25]);
    let mails = files.mailbox.mails();
    assert_eq!(mails.len(), 1, "a mail is not sent again");
    let (_, encoded) = mails[0].split_once("Content-Transfer-Encoding: base64\r\n\r\n").expect("a file");
    let (encoded, _) = encoded.split_once("--").unwrap();
    assert_eq!(String::from_utf8(STANDARD.decode(encoded.replace("\r\n", "")).unwrap()).unwrap(), bytes.text);
    assert!(mails[0].contains(&format!("filename=\"numbers-{day}.csv\"")), "{}", mails[0]);
    server.terminate();
    let server = files.start();
    assert!(
        within(Duration::from_secs(3), || (rows(&server, "intent") != 2).then_some(())).is_none(),
        "nothing is new"
    );
    assert_eq!((files.told("/api/chat.postMessage").len(), files.mailbox.mails().len()), (1, 1));
}

#[test]
fn a_file_that_slack_does_not_take_holds_up_no_message() {
    let (_, at) = soon();
    let files = Files::new(&query("numbers", "bot", &at));
    files.receiver.answers("/api/files.getUploadURLExternal", 200, r#"{"ok":false,"error":"missing_scope"}"#);
    files.receiver.answers("/api/chat.postMessage", 200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#);
    let server = files.start();
    let ended = || rows(&server, "dead") == 1 && rows(&server, "sent") == 1;
    within(PATIENCE, || ended().then_some(())).expect("the mail is sent, and why Slack has no file is written down");
    let messages = files.told("/api/chat.postMessage");
    assert_eq!(messages.len(), 1);
    let text = messages[0].body["text"].as_str().unwrap();
    let why = "no place for the file: Slack answered: missing_scope";
    assert!(text.contains("\n=20") && text.contains(&format!("There is no file: {why}. <http")), "{text}");
    assert_eq!(server.sql("SELECT error FROM notifications WHERE event = 'dead'"), [why]);
    assert!(files.told("/api/files.completeUploadExternal").is_empty());
}

#[test]
fn schedules_are_checked_before_anything_runs() {
    for (queries, why) in [
        (
            query("numbers", "somebody", "08:00"),
            "there is no receiver `somebody` in `alerting.config`; there are nobody, bot",
        ),
        (
            query("numbers", "pager", "08:00"),
            "has webhook_configs, and the answer to query `numbers` is told by Slack or e-mail alone",
        ),
        (query("numbers", "nobody", "08:00"), "has no integrations"),
        (query("numbers", "hook", "25:00"), "no time of day"),
        (query("numbers", "hook", "08:00").replace("team: pay & co", "teams: pay"), "no such parameter"),
    ] {
        let files = Files::new(&queries);
        let (code, out, err) = run(binary().args(["check", "--config", &files.settings()]));
        assert_ne!(code, 0, "{out}");
        assert!(err.contains(why) && err.contains("streamgauge.yaml:10:"), "{why}: {err}");
    }
    let files = Files::new(&query("numbers", "bot", "08:00").replace("{at: '08:00'", "{at: '08:00', days: [monday]"));
    let (code, out, err) = run(binary().args(["check", "--config", &files.settings()]));
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("scheduled      numbers for bot: 08:00 UTC monday\n"), "{out}");
}
