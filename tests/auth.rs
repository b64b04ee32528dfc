//! Who may do what: every endpoint with every kind of token, changes of the tokens file, and silence about secrets.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tempfile::tempdir;

use crate::support::server::{Server, binary, body, eventually, run};

/// A token as `streamgauge token` makes it: its text, and its entry for the file.
pub fn token(name: &str, scope: &str, more: &[&str]) -> (String, String) {
    let (code, out, err) = run(binary().args(["token", "--name", name, "--scope", scope]).args(more));
    assert_eq!(code, 0, "{err}");
    let text = out.lines().find(|line| line.starts_with("sg_")).expect("a token").to_owned();
    let entry = out.split_once("- name:").map(|(_, entry)| format!("- name:{entry}")).expect("an entry");
    assert!(!entry.contains(&text), "{entry}");
    (text, entry)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(name: &str, token: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{token}")))
}

fn settings(folder: &Path, entries: &[&str]) -> String {
    fs::write(folder.join("tokens.yaml"), entries.concat()).unwrap();
    let file = folder.join("gauge.yaml");
    fs::write(&file, format!("auth: {{tokens_file: {}}}\n", folder.join("tokens.yaml").display())).unwrap();
    file.display().to_string()
}

/// Method, path, the scope it needs, and the status it has with that scope.
const ENDPOINTS: [(&str, &str, Option<&str>, u16); 27] = [
    ("GET", "/-/healthy", None, 200),
    ("GET", "/-/ready", None, 200),
    ("POST", "/api/v1/write", Some("write"), 204),
    ("POST", "/api/v1/sql", Some("read"), 200),
    ("GET", "/api/v1/sql?query=SELECT%201", Some("read"), 200),
    ("GET", "/metrics", Some("read"), 200),
    ("GET", "/api/v1/status/buildinfo", Some("read"), 200),
    ("GET", "/api/v1/status/config", Some("read"), 200),
    ("GET", "/federate?match[]=up", Some("read"), 200),
    ("POST", "/api/v1/read", Some("read"), 400),
    ("GET", "/api/v1/status/queries", Some("read"), 200),
    ("DELETE", "/api/v1/status/queries/1", Some("admin"), 404),
    ("GET", "/api/v1/metadata", Some("read"), 200),
    ("GET", "/", Some("read"), 200),
    ("GET", "/graph?g0.expr=1", Some("read"), 200),
    ("GET", "/sql?query=SELECT%201", Some("read"), 200),
    ("GET", "/login", None, 200),
    ("POST", "/logout", None, 403),
    ("POST", "/api/v1/admin/flush?wait=true", Some("admin"), 200),
    ("GET", "/config/v1/rules", Some("read"), 200),
    ("POST", "/config/v1/rules/team", Some("admin"), 400),
    ("POST", "/prometheus/config/v1/rules/team", Some("admin"), 400),
    ("POST", "/rules/team", Some("admin"), 400),
    ("DELETE", "/config/v1/rules/team", Some("admin"), 404),
    ("POST", "/api/v1/rules/backtest", Some("read"), 400),
    ("POST", "/api/v1/rules/replay", Some("admin"), 400),
    ("GET", "/no/such/path", Some("read"), 404),
];

#[test]
fn every_endpoint_asks_for_its_scope_and_for_nothing_else() {
    let folder = tempdir().unwrap();
    let scopes = ["write", "read", "admin"];
    let tokens = scopes.map(|scope| token(scope, scope, &[]));
    let old = token("old", "write", &["--scope", "read", "--scope", "admin", "--expires", "2020-01-01T00:00:00Z"]);
    let (stranger, _) = token("stranger", "read", &[]);
    let entries: Vec<&str> = tokens.iter().map(|(_, entry)| entry.as_str()).chain([old.1.as_str()]).collect();
    let config = settings(folder.path(), &entries);
    let server = Server::start(folder.path(), &["--config", &config, "--log-level", "trace"]);

    for (method, path, needs, allowed) in ENDPOINTS {
        let call = |authorization: Option<&str>| match path {
            "/api/v1/write" => server.write("up", &[(crate::support::server::now_ms(), 1.0)], authorization),
            "/api/v1/sql" => server.call(method, path, authorization, b"SELECT 1"),
            _ => server.call(method, path, authorization, &[]),
        };
        for (scope, (text, _)) in scopes.iter().zip(&tokens) {
            for authorization in [bearer(text), basic(scope, text)] {
                let answer = call(Some(&authorization));
                let what = format!("{method} {path} with {scope}: {} {}", answer.status, answer.body);
                if needs.is_none_or(|needs| needs == *scope) {
                    assert_eq!(answer.status, allowed, "{what}");
                } else {
                    assert_eq!(answer.status, 403, "{what}");
                    assert!(
                        answer.body.contains(&format!("lacks the scope `{}`", needs.unwrap_or_default())),
                        "{what}"
                    );
                }
            }
        }
        let bad = [
            None,
            Some(bearer(&stranger)),
            Some(bearer(&old.0)),
            Some(basic("old", &old.0)),
            Some(basic("admin", &tokens[1].0)),
            Some(tokens[1].0.clone()),
            Some("Bearer".to_owned()),
            Some("Basic !!!".to_owned()),
        ];
        for authorization in bad {
            let answer = call(authorization.as_deref());
            let what = format!("{method} {path} with {authorization:?}: {} {}", answer.status, answer.body);
            if needs.is_none() {
                assert_eq!(answer.status, allowed, "{what}");
                continue;
            }
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 2, "{what}");
            let expired = authorization.is_some_and(|value| value == bearer(&old.0) || value == basic("old", &old.0));
            assert_eq!(answer.body.contains("expired"), expired, "{what}");
        }
    }

    let log = server.log_text();
    assert!(log.contains("\"token\":\"read\""), "the access log names the token");
    for secret in tokens.iter().map(|(text, _)| text).chain([&old.0, &stranger]) {
        let encoded = BASE64_STANDARD.encode(secret);
        assert!(!log.contains(secret.as_str()) && !log.contains(&encoded[..20]), "a secret is in the log");
    }
    let hash = tokens[0].1.lines().find_map(|line| line.trim().strip_prefix("sha256: ")).expect("a hash");
    assert!(!log.contains(hash), "a hash is in the log");
}

#[test]
fn the_tokens_file_is_read_again_and_a_bad_one_changes_nothing() {
    let folder = tempdir().unwrap();
    let (first, first_entry) = token("first", "read", &[]);
    let (second, second_entry) = token("second", "read", &[]);
    let config = settings(folder.path(), &[&first_entry]);
    let mut server = Server::start(folder.path(), &["--config", &config]);
    let file = folder.path().join("tokens.yaml");
    let status = |server: &Server, token: &str| server.get("/metrics", Some(&bearer(token))).status;
    assert_eq!((status(&server, &first), status(&server, &second)), (200, 401));

    fs::write(&file, &second_entry).unwrap();
    eventually(|| (status(&server, &second) == 200).then_some(())).expect("the new token is taken");
    assert_eq!(status(&server, &first), 401);

    fs::write(&file, format!("{second_entry}- name: broken\n")).unwrap();
    server.event("tokens changed and are refused");
    assert!(server.log_text().contains("tokens.yaml:"), "the log says where");
    assert_eq!((status(&server, &first), status(&server, &second)), (401, 200));

    fs::remove_file(&file).unwrap();
    server.event("tokens cannot be read");
    assert_eq!((status(&server, &first), status(&server, &second)), (401, 200));

    fs::write(&file, "").unwrap();
    eventually(|| (status(&server, &second) == 401).then_some(())).expect("an empty file lets nobody in");
    assert_eq!(server.get("/metrics", None).status, 401);
}

#[test]
fn a_token_from_the_environment_opens_a_reachable_server_and_the_sql_command_sends_it() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("gauge.yaml");
    fs::write(&file, "auth:\n  tokens:\n    - {name: all, scopes: [read, write], token: '${SG_TEST_TOKEN}'}\n")
        .unwrap();
    let (text, _) = token("unused", "read", &[]);
    let args = ["--config", file.to_str().unwrap(), "--listen", "0.0.0.0:0"];
    let server = Server::start_with(folder.path(), &args, &[("SG_TEST_TOKEN", &text)]);
    let url = server.url("");
    let sql =
        |args: &[&str]| run(binary().args(["sql", "--url", &url, "SELECT 1"]).args(args).env("SG_TEST_TOKEN", &text));
    let (code, _, err) = sql(&[]);
    assert!(code == 1 && err.contains("--token-file") && err.contains("status=401"), "{err}");
    assert_eq!(sql(&["--token-env", "SG_TEST_TOKEN"]).0, 0);
    let secret = folder.path().join("secret");
    fs::write(&secret, format!("{text}\n")).unwrap();
    assert_eq!(sql(&["--token-file", secret.to_str().unwrap()]).0, 0);
    assert!(!server.log_text().contains(&text));
}

#[test]
fn a_request_without_a_token_is_refused_before_its_body_is_looked_at() {
    let folder = tempdir().unwrap();
    let (_, entry) = token("writer", "write", &[]);
    let config = settings(folder.path(), &[&entry]);
    let server = Server::start(folder.path(), &["--config", &config]);
    let half = &body("up", &[(0, 1.0)])[..5];
    assert_eq!(server.call("POST", "/api/v1/write", None, half).status, 401);
}
