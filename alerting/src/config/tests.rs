//! Files of upstream and of ours: what is accepted, what is refused and why, and what never shows.

use std::fs;

use super::{receiver::Integration, values::*, *};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/alertmanager");
const SHIPPED: &str = include_str!("../../../deploy/alertmanager.yml");

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("/etc/alerting"))
}

/// A file around one receiver.
fn with(receiver: &str) -> Result<Config> {
    parse(&format!("route: {{receiver: a}}\nreceivers:\n- name: a\n{receiver}"))
}

fn reason(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// Every file of upstream's tests and examples, with what 0.34 says of it: nothing, or a part of our reason to refuse it.
const VERDICTS: &[(&str, &str)] = &[
    ("cli-config-testdata/amtool.bad.yml", "expected"),
    // Settings of amtool and of an HTTP client, not of Alertmanager.
    ("cli-config-testdata/amtool.good1.yml", "unknown field `id`"),
    ("cli-config-testdata/amtool.good2.yml", "unknown field `old-id`"),
    ("cli-config-testdata/http_config.bad.yml", "unknown field `authorization`"),
    ("cli-config-testdata/http_config.basic_auth.good.yml", "unknown field `basic_auth`"),
    ("cli-config-testdata/http_config.good.yml", "unknown field `authorization`"),
    ("cli-testdata/conf.bad.yml", "expected"),
    ("cli-testdata/conf.good.yml", ""),
    ("cli-testdata/conf.routing-reverted.yml", ""),
    ("cli-testdata/conf.routing.yml", ""),
    ("config-testdata/conf.empty-fields.yml", ""),
    ("config-testdata/conf.good.yml", ""),
    ("config-testdata/conf.group-by-all.yml", ""),
    ("config-testdata/conf.http-config.good.yml", ""),
    ("config-testdata/conf.mattermost-both-webhook-url-and-file.yml", "`mattermost_webhook_url_file` can be given"),
    ("config-testdata/conf.mattermost-default-webhook-url-file.yml", ""),
    ("config-testdata/conf.mattermost-default-webhook-url.yml", ""),
    ("config-testdata/conf.mattermost-no-webhook-url.yml", "needs `webhook_url`"),
    ("config-testdata/conf.mattermost-valid-receiver-both-webhook-url-and-file.yml", "`mattermost_webhook_url_file`"),
    ("config-testdata/conf.nil-match_re-route.yml", "null"),
    ("config-testdata/conf.nil-source_match_re-inhibition.yml", "null"),
    ("config-testdata/conf.nil-target_match_re-inhibition.yml", "null"),
    ("config-testdata/conf.opsgenie-both-file-and-apikey.yml", "`opsgenie_api_key_file` can be given"),
    ("config-testdata/conf.opsgenie-default-apikey-file.yml", ""),
    ("config-testdata/conf.opsgenie-default-apikey-old-team.yml", "unknown field `teams`"),
    ("config-testdata/conf.opsgenie-default-apikey.yml", ""),
    ("config-testdata/conf.opsgenie-no-apikey.yml", "needs `api_key`"),
    ("config-testdata/conf.rocketchat-both-token-and-tokenfile.yml", "`rocketchat_token_file` can be given"),
    ("config-testdata/conf.rocketchat-both-tokenid-and-tokenidfile.yml", "`rocketchat_token_id_file` can be given"),
    ("config-testdata/conf.rocketchat-default-token-file.yml", ""),
    ("config-testdata/conf.rocketchat-default-token.yml", ""),
    ("config-testdata/conf.rocketchat-no-token.yml", "needs `token`"),
    ("config-testdata/conf.slack-both-file-and-token.yml", "`slack_app_token_file` can be given"),
    ("config-testdata/conf.slack-both-file-and-url.yml", "`slack_api_url_file` can be given"),
    ("config-testdata/conf.slack-both-url-and-token.yml", "`slack_app_token` and `slack_api_url`"),
    ("config-testdata/conf.slack-default-api-url-file.yml", ""),
    ("config-testdata/conf.slack-default-app-token.yml", ""),
    ("config-testdata/conf.slack-no-api-url-or-token.yml", "needs an `api_url` or an `app_token`"),
    ("config-testdata/conf.slack-update-message-and-webhook.yml", "`update_message` needs a bot's token"),
    ("config-testdata/conf.smtp-both-password-and-file.yml", "`smtp_auth_password_file` can be given"),
    ("config-testdata/conf.smtp-no-username-or-password.yml", ""),
    ("config-testdata/conf.smtp-password-global-and-local.yml", ""),
    ("config-testdata/conf.sns-invalid.yml", "needs one of `topic_arn`"),
    ("config-testdata/conf.sns-topic-arn.yml", ""),
    ("config-testdata/conf.telegram-both-bot-token-and-file.yml", "`telegram_bot_token_file` can be given"),
    ("config-testdata/conf.telegram-default-bot-token-file.yml", ""),
    ("config-testdata/conf.telegram-default-bot-token.yml", ""),
    ("config-testdata/conf.telegram-no-bot-token.yml", "needs `bot_token`"),
    ("config-testdata/conf.telegram-valid-receiver-both-bot-token-and-file.yml", "`telegram_bot_token_file`"),
    ("config-testdata/conf.victorops-both-file-and-apikey.yml", "`victorops_api_key_file` can be given"),
    ("config-testdata/conf.victorops-default-apikey-file.yml", ""),
    ("config-testdata/conf.victorops-default-apikey.yml", ""),
    ("config-testdata/conf.victorops-no-apikey.yml", "needs `api_key`"),
    ("config-testdata/conf.wechat-both-file-and-secret.yml", "`wechat_api_secret_file` can be given"),
    ("config-testdata/conf.wechat-default-api-secret-file.yml", ""),
    ("config-testdata/conf.wechat-no-api-secret.yml", "needs `api_secret`"),
    ("doc-examples/ha-alertmanager.yml", ""),
    ("doc-examples/route_labels.yml", ""),
    ("doc-examples/simple.yml", ""),
];

#[test]
fn files_of_upstream_are_accepted_and_refused_as_there() {
    let mut files = 0;
    for folder in fs::read_dir(FIXTURES).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        files += fs::read_dir(folder.path()).unwrap().count();
    }
    assert_eq!(files, VERDICTS.len(), "a file is not in the table");
    for (name, why) in VERDICTS {
        let text = fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap();
        match (parse(&text), why.is_empty()) {
            (Ok(config), true) => {
                // What is shown has no secret in it, and is a configuration.
                let shown = config.redacted_yaml().unwrap();
                assert!(!shown.contains("mysecret") && !shown.contains("xoxb"), "{name}: {shown}");
                parse(&shown).unwrap_or_else(|error| panic!("{name}: {error}\n{shown}"));
            }
            (Err(error), false) => {
                assert!(error.to_string().contains(why), "{name}: {error}");
                assert!(error.place.is_some(), "{name}: {error}");
            }
            (Ok(_), false) => panic!("{name} was accepted"),
            (Err(error), true) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn settings_of_http_clients_are_checked() {
    let of_file = |name: &str| fs::read_to_string(format!("{FIXTURES}/cli-config-testdata/{name}")).unwrap();
    for (http, right) in [
        (of_file("http_config.good.yml").as_str(), true),
        (&of_file("http_config.basic_auth.good.yml"), true),
        (&of_file("http_config.bad.yml"), false),
        ("basic_auth: {password: a, password_file: b}", false),
        ("basic_auth: {username: a, username_file: b}", false),
        ("basic_auth: {}\nauthorization: {}", false),
        ("bearer_token: a\nauthorization: {}", false),
        ("bearer_token: a", true),
        ("authorization: {credentials: a, credentials_file: b}", false),
        ("oauth2: {client_id: a, client_secret: b, token_url: 'http://x/'}", true),
        ("oauth2: {client_id: a, client_secret: b, client_secret_file: c, token_url: 'http://x/'}", false),
        ("oauth2: {client_id: a}", false),
        ("oauth2: {token_url: 'http://x/'}", false),
        ("tls_config: {cert_file: a}", false),
        ("tls_config: {cert_file: a, key_file: b, min_version: TLS12}", true),
        ("tls_config: {ca: a, ca_file: b}", false),
        ("tls_config: {min_version: TLS14}", false),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", false),
        ("proxy_url: http://a:b@c/\nproxy_from_environment: true", false),
        ("no_proxy: a", false),
        ("proxy_url: http://a\nno_proxy: b\nproxy_connect_header: {X: [y]}", true),
        ("proxy_connect_header: {X: [y]}", false),
        ("http_headers: {X-Scope: {values: [a], secrets: [b], files: [c]}}", true),
        ("http_headers: {authorization: {values: [a]}}", false),
        ("follow_redirects: false\nenable_http2: false", true),
        ("unknown: 1", false),
    ] {
        let indented: String = http.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!("global:\n  http_config:\n{indented}route: {{receiver: a}}\nreceivers: [{{name: a}}]\n");
        assert_eq!(parse(&text).is_ok(), right, "{http}: {:?}", parse(&text).err());
    }
}

#[test]
fn integrations_are_checked() {
    for (integration, why) in [
        ("webhook_configs: [{}]", "needs a `url`"),
        ("webhook_configs: [{url: 'ftp://x/'}]", "not a URL"),
        ("webhook_configs: [{url: 'http:///x'}]", "not a URL"),
        ("webhook_configs: [{url: 'http://x/', url_file: y}]", "`url_file` can be given"),
        ("webhook_configs: [{url: 'http://{{ .x }}/', timeout: 1.5s, max_alerts: 2, payload: {a: [1]}}]", ""),
        ("webhook_configs: [{url: 'http://x/', timeout: 10}]", "no duration"),
        ("discord_configs: [{}]", "needs a `webhook_url`"),
        ("msteamsv2_configs: [{webhook_url_file: x}]", ""),
        ("msteams_configs: [{webhook_url: x}]", "not a URL"),
        ("pagerduty_configs: [{}]", "needs a `routing_key`"),
        ("pagerduty_configs: [{routing_key: x, routing_key_file: y}]", "`routing_key_file` can be given"),
        ("pagerduty_configs: [{routing_key: x, details: {a: {b: [c]}}, images: [{src: a}], links: [{href: b}]}]", ""),
        ("email_configs: [{to: ''}]", "needs an address `to`"),
        ("email_configs: [{to: a@b}]", "needs a `smarthost`"),
        ("email_configs: [{to: a@b, smarthost: 'x:25'}]", "needs an address `from`"),
        ("email_configs: [{to: a@b, smarthost: 'x', from: c}]", "no address"),
        ("email_configs: [{to: a@b, smarthost: '[::1]:25', from: c}]", ""),
        ("email_configs: [{to: a@b, smarthost: 'x:25', from: c, headers: {subject: a, Subject: b}}]", "given twice"),
        ("sns_configs: [{topic_arn: a, sigv4: {access_key: a}}]", "given together"),
        ("sns_configs: [{topic_arn: a, phone_number: b}]", "needs one of"),
        ("slack_configs: [{api_url: 'http://x/', app_token: a}]", "`api_url` and `app_token`"),
        ("slack_configs: [{api_url: 'http://x/', actions: [{type: a, text: b}]}]", "needs a `url` or a `name`"),
        ("slack_configs: [{api_url: 'http://x/', fields: [{title: a}]}]", "needs a `title` and a `value`"),
        ("slack_configs: [{app_token: a, http_config: {authorization: {credentials: b}}}]", "no `http_config.auth"),
        ("slack_configs: [{app_token: a, update_message: true}]", ""),
        ("opsgenie_configs: [{api_key: a, responders: [{type: team}]}]", "an `id`, `name` or `username`"),
        ("opsgenie_configs: [{api_key: a, responders: [{name: b, type: x}]}]", "a `type` of `responders`"),
        ("opsgenie_configs: [{api_key: a, responders: [{name: b, type: '{{ x }}'}]}]", ""),
        ("victorops_configs: [{api_key: a}]", "needs a `routing_key`"),
        ("victorops_configs: [{api_key: a, routing_key: b, custom_fields: {entity_id: c}}]", "`entity_id` cannot"),
        ("pushover_configs: [{user_key: a}]", "needs a `token`"),
        ("pushover_configs: [{user_key: a, token: b, html: true, monospace: true}]", "`html` and `monospace`"),
        ("telegram_configs: [{bot_token: a}]", "`chat_id`"),
        ("telegram_configs: [{bot_token: a, chat_id: -5, parse_mode: x}]", "a `parse_mode`"),
        ("webex_configs: [{room_id: a}]", "`http_config.authorization`"),
        ("webex_configs: [{http_config: {authorization: {credentials: a}}}]", "needs a `room_id`"),
        ("jira_configs: [{project: a, issue_type: b}]", "needs an `api_url`"),
        ("jira_configs: [{project: a, issue_type: b, api_url: 'https://x/', reopen_duration: 1d}]", ""),
        ("wechat_configs: [{api_secret: a}]", "`corp_id`"),
        ("wechat_configs: [{api_secret: a, corp_id: b, message_type: c}]", "a `message_type`"),
        ("incidentio_configs: [{url: 'https://x/'}]", "one of `alert_source_token`"),
        ("incidentio_configs: [{url: 'https://x/', alert_source_token: a}]", ""),
        ("mattermost_configs: [{webhook_url: 'https://x/', priority: {priority: urgent}}]", ""),
        ("rate: 0 per 1m", "no rate"),
        ("rate: 30 per 1m", ""),
        ("fallback: b", "`b` is not defined"),
        ("teams_configs: []", "unknown field `teams_configs`"),
    ] {
        match with(&format!("  {integration}\n")) {
            Ok(_) => assert_eq!(why, "", "{integration} was accepted"),
            Err(error) => {
                assert!(!why.is_empty() && error.to_string().contains(why), "{integration}: {error}");
                assert_eq!(error.place.map(|(line, _)| line), Some(4), "{integration}: {error}");
            }
        }
    }
}

#[test]
fn the_tree_is_checked_and_errors_have_places() {
    let rest = "\nreceivers: [{name: a}]\ntime_intervals: [{name: t}]\n";
    for (route, expected) in [
        ("{}", "1:8: the root route needs a `receiver`"),
        ("{receiver: b}", "1:19: receiver `b` is not defined"),
        ("{receiver: a, matchers: [a=b]}", "1:8: the root route cannot have matchers: it takes every alert"),
        ("{receiver: a, continue: true}", "1:8: the root route cannot `continue`"),
        ("{receiver: a, mute_time_intervals: [t]}", "1:8: the root route cannot be muted or active at times"),
        ("{receiver: a, group_by: [x, x]}", "1:36: label `x` is given twice in `group_by`"),
        ("{receiver: a, group_by: [x, '...']}", "1:36: `group_by` can have `...` alone, or labels"),
        ("{receiver: a, group_interval: 0s}", "1:38: `group_interval` cannot be zero"),
        ("{receiver: a, repeat_interval: 0s}", "1:39: `repeat_interval` cannot be zero"),
        ("{receiver: a, routes: [{active_time_intervals: [u]}]}", "1:56: time interval `u` is not defined"),
        ("{receiver: a, routes: [{match: {a-b: c}}]}", "1:31: `a-b` is no label name"),
        (
            "{receiver: a, routes: [{match_re: {a: '['}}]}",
            "1:46: `[` is no regular expression: unclosed character class",
        ),
        (
            "{receiver: a, routes: [{matchers: [a]}]}",
            "1:43: `a`: expected one of `=`, `!=`, `=~` and `!~`, found the end after 1 characters",
        ),
    ] {
        assert_eq!(reason(&format!("route: {route}{rest}")), expected, "{route}");
    }
    assert!(parse(&format!("route: {{receiver: a, routes: [{{mute_time_intervals: [t]}}]}}{rest}")).is_ok());
    for (text, expected) in [
        ("", "there is no `route`"),
        ("# nothing\n", "there is no `route`"),
        ("receivers: [{name: a}, {name: a}]", "1:24: receiver `a` is given twice"),
        ("receivers: [{}]", "1:13: a receiver needs a `name`"),
        ("time_intervals: [{name: a}]\nmute_time_intervals: [{name: a}]", "1:18: time interval `a` is given twice"),
        ("tracing: {insecure: true}", "1:10: `tracing` needs an `endpoint`"),
        ("inhibit_rules: [{equal: ['']}]\nroute: {receiver: a}\nreceivers: [{name: a}]", "1:26: `` is no label name"),
    ] {
        assert_eq!(reason(text), expected, "{text}");
    }
    assert!(reason("route:\n  receiver: a\n  recevier: b\n").starts_with("3:3: unknown field `recevier`"));
}

#[test]
fn keys_without_values_leave_defaults() {
    let text = "global:\nroute: {receiver: a, routes: , group_wait: , matchers: }\ninhibit_rules:\ntemplates:\nreceivers:\n\
                - name: a\n  slack_configs:\n  webhook_configs: [{url: 'http://x/', send_resolved: }]\n";
    let config = parse(text).unwrap();
    assert_eq!(config.global().resolve_timeout, Span::seconds(300));
    assert!(config.receiver("a").unwrap().integrations().all(|(_, of)| of.send_resolved()));
}

#[test]
fn what_is_missing_comes_from_global() {
    let config = parse(SHIPPED).unwrap();
    let kinds: Vec<_> = config.receiver("critical").unwrap().integrations().map(|(_, of)| of.kind().name()).collect();
    assert_eq!(kinds, ["pagerduty", "slack"]);
    let high = config.receiver("high").unwrap();
    let (_, Integration::Email(email)) = high.integrations().next().unwrap() else { panic!("no mail") };
    assert_eq!(email.address().unwrap().to_string(), "smtp.example.org:587");
    assert_eq!((email.from.as_str(), email.require_tls), ("streamgauge@example.org", Some(true)));
    assert_eq!(email.auth_password, Some(Secret::File("/etc/alerting/secrets/smtp_password".into())));
    let (_, Integration::Slack(slack)) = high.integrations().nth(1).unwrap() else { panic!("no Slack") };
    assert_eq!(slack.api_url, Some(Secret::File("/etc/alerting/secrets/slack_url".into())));

    let text = fs::read_to_string(format!("{FIXTURES}/config-testdata/conf.slack-default-app-token.yml")).unwrap();
    let config = parse(&text).unwrap();
    let token_of = |(_, of): (usize, Integration<'_>)| {
        let Integration::Slack(slack) = of else { panic!("not Slack") };
        let authorization = slack.http_config.as_ref().unwrap().authorization.as_ref();
        let token = authorization.map(|of| of.credentials.as_ref().unwrap().read().unwrap());
        (token.unwrap_or_default(), slack.api_url.as_ref().unwrap().read().unwrap())
    };
    let tokens: Vec<_> = config.receivers().next().unwrap().integrations().map(token_of).collect();
    let post = "https://slack.com/api/chat.postMessage".to_owned();
    assert_eq!(
        tokens[..4],
        [
            ("xoxb-1234-abcdefgh".to_owned(), post.clone()),
            ("xoxb-1234-xxxxxx".to_owned(), post.clone()),
            ("xoxb-1234-abcdefgh".to_owned(), "http://api.fakeslack.example/".to_owned()),
            ("xoxb-my-bot-token".to_owned(), post),
        ]
    );
    assert_eq!(tokens[4].0, "");
}

#[test]
fn the_shipped_configuration_routes_by_severity() {
    let config = parse(SHIPPED).unwrap();
    assert!(config.unbuilt_reachable().is_empty());
    for (severity, receiver) in
        [("critical", "critical"), ("high", "high"), ("warning", "warning"), ("medium", "medium"), ("low", "history")]
    {
        let labels = [("alertname", "x"), ("severity", severity)].into_iter().collect();
        assert_eq!(config.routes.receivers(&labels), [receiver]);
    }
    assert_eq!(config.receiver("history").unwrap().integrations().count(), 0);
    assert_eq!(config.inhibit_rules.len(), 1);
}

#[test]
fn integrations_that_are_not_built_are_told_if_alerts_get_there() {
    let telegram = "telegram_configs: [{bot_token: a, chat_id: 1}]";
    let text = format!(
        "route: {{receiver: a, routes: [{{matchers: [x=y], receiver: b}}]}}\nreceivers:\n- {{name: a}}\n- {{name: b, fallback: c}}\n\
         - {{name: c, {telegram}, fallback: d}}\n- {{name: d, {telegram}}}\n- {{name: e, {telegram}}}\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.unbuilt_reachable(), [("c", ReceiverKind::Telegram), ("d", ReceiverKind::Telegram)]);
    let built: Vec<_> = ReceiverKind::ALL.iter().filter(|kind| kind.is_built()).map(|kind| kind.name()).collect();
    assert_eq!(built, ["webhook", "email", "pagerduty", "slack", "sns", "discord", "msteamsv2"]);
    assert_eq!(ReceiverKind::ALL.len(), 18);
}

#[test]
fn secrets_are_not_printed_however_they_are_printed() {
    let config = parse(
        "global: {slack_api_url: 'https://hush.example/a', smtp_auth_password: hush, http_config: {proxy_url: 'http://u:hush@p/', \
         basic_auth: {username: u, password: hush}, http_headers: {X: {secrets: [hush]}}}}\nroute: {receiver: a}\nreceivers:\n- name: a\n  \
         slack_configs: [{channel: c}]\n  webhook_configs: [{url: 'http://hush/'}]\n  sns_configs: [{topic_arn: t, sigv4: {access_key: k, \
         secret_key: hush}}]\n  pagerduty_configs: [{routing_key: hush, url: 'http://u:hush@x/'}]\n",
    )
    .unwrap();
    let shown = config.redacted_yaml().unwrap();
    assert!(!shown.contains("hush") && shown.contains("<secret>") && shown.contains("xxxxx"), "{shown}");
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(Secret::Text("hush".into()).to_string(), "<secret>");
}

#[test]
fn secrets_in_files_are_read_when_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let secret = Secret::File(path.clone());
    assert_eq!(secret.read().unwrap_err().kind, ErrorKind::Unavailable);
    fs::write(&path, " \n").unwrap();
    assert!(secret.read().unwrap_err().to_string().contains("it is empty"));
    fs::write(&path, "hush\n").unwrap();
    assert_eq!(secret.read().unwrap(), "hush");
    assert_eq!(Secret::Text(" as it is ".into()).read().unwrap(), " as it is ");
}

#[test]
fn a_digest_has_a_time_and_a_reader() {
    let of = |receiver: &str| {
        let text = format!("route: {{receiver: a}}\nreceivers:\n- {{name: a, {receiver}}}");
        Config::parse(&text, Path::new("/etc")).map_err(|error| error.to_string())
    };
    let hook = "webhook_configs: [{url: 'http://h/'}]";
    let config = of(&format!("digest: {{at: '09:00', location: Europe/Berlin}}, {hook}")).unwrap();
    let shown = config.redacted_yaml().unwrap();
    assert!(shown.contains("digest:") && shown.contains("Europe/Berlin") && shown.contains("09:00"), "{shown}");
    for (wrong, expected) in [
        (format!("digest: {{location: UTC}}, {hook}"), "needs a time `at`"),
        (format!("digest: {{at: '9'}}, {hook}"), "no time of day"),
        (format!("digest: {{at: '09:00', location: Mars}}, {hook}"), "no time zone"),
        (
            "digest: {at: '09:00'}, pagerduty_configs: [{routing_key: k}]".to_owned(),
            "nobody reads a digest by `pagerduty`",
        ),
    ] {
        let error = of(&wrong).unwrap_err();
        assert!(error.contains(expected), "{wrong}: {error}");
    }
}

#[test]
fn durations_are_printed_as_they_are_written() {
    for (ms, text) in [
        (0, "0s"),
        (90_000, "1m30s"),
        (129_600_000, "36h"),
        (86_400_000, "1d"),
        (1, "1ms"),
        (694_861_001, "193h1m1s1ms"),
    ] {
        assert_eq!(Span(std::time::Duration::from_millis(ms)).to_string(), text);
    }
}
