//! The PostgreSQL protocol of the real server: with psql where it is installed, and message by message where it matters what is refused.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use crate::{
    auth::token,
    support::{
        postgres::started,
        process::{installed, skipped},
        server::eventually,
    },
};

/// What psql prints, and what it complains of.
fn psql(port: &str, user: &str, password: &str, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", port, "-U", user, "-d", "streamgauge"]).args(args);
    let output = command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").output().expect("psql runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn psql_asks_describes_and_copies() {
    if !installed("psql") {
        return skipped("psql is not installed", "apt-get install postgresql-client");
    }
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = started(folder.path(), &[]);
    let ask = |args: &[&str]| {
        let (is_good, out, err) = psql(&port, "anybody", "", args);
        assert!(is_good && err.is_empty(), "{args:?}: {out}{err}");
        out
    };
    assert_eq!(ask(&["-c", "SELECT 1 + 1 AS two, 'x'"]), "2|x\n");
    assert_eq!(ask(&["-c", "BEGIN; SELECT count(*) FROM costs; COMMIT"]), "BEGIN\n0\nCOMMIT\n");
    assert!(ask(&["-c", "\\dt"]).contains("public|costs|table|streamgauge"), "tables are listed");
    let described = ask(&["-c", "\\d costs"]);
    assert!(described.contains("BilledCost|numeric("), "{described}");
    let more = ask(&["-c", "\\d+ costs"]);
    assert!(more.contains("ChargePeriodStart|timestamp with time zone"), "{more}");
    let file = folder.path().join("out.csv");
    ask(&["-c", &format!("\\copy (SELECT 1 AS a, 'b,c' AS d) TO '{}' CSV HEADER", file.display())]);
    assert_eq!(fs::read_to_string(file).unwrap(), "a,d\n1,\"b,c\"\n");
    let (is_good, _, err) = psql(&port, "anybody", "", &["-c", "DELETE FROM costs"]);
    assert!(!is_good && err.contains("queries only read"), "{err}");
}

#[test]
fn drivers_ask_and_understand() {
    const INSTALL: &str = "python3 -m pip install 'psycopg[binary]' asyncpg sqlalchemy";
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = started(folder.path(), &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pg_clients.py");
    for client in ["psycopg", "asyncpg", "sqlalchemy"] {
        let Ok(output) = Command::new("python3").args([script, &port, client]).output() else {
            return skipped("python3 is not installed", &format!("apt-get install -y python3-pip && {INSTALL}"));
        };
        let told = String::from_utf8_lossy(&output.stdout);
        if told.starts_with("missing") {
            skipped(&format!("{client} is not installed for python3"), INSTALL);
        } else {
            assert!(
                output.status.success() && told.contains("done"),
                "{client}: {told}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn a_token_opens_the_door_by_scram_and_only_with_the_scope_to_read() {
    if !installed("psql") {
        return skipped("psql is not installed", "apt-get install postgresql-client");
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut entries, mut secrets) = (String::new(), Vec::new());
    for (name, scope) in [("grafana", "read"), ("prometheus", "write")] {
        let (secret, entry) = token(name, scope, &[]);
        secrets.push(secret);
        entries.push_str(&entry);
    }
    assert!(entries.contains("scram: SCRAM-SHA-256$4096:"), "{entries}");
    let (tokens, config) = (folder.path().join("tokens.yaml"), folder.path().join("streamgauge.yaml"));
    fs::write(&tokens, &entries).unwrap();
    fs::write(&config, format!("auth: {{tokens_file: {}}}\n", tokens.display())).unwrap();
    let (_server, port) = started(folder.path(), &["--config", config.to_str().unwrap()]);
    let ask = |user: &str, password: &str| psql(&port, user, password, &["-c", "SELECT 7"]);
    assert_eq!(ask("grafana", &secrets[0]), (true, "7\n".to_owned(), String::new()));
    for (user, password, reason) in [
        ("grafana", "sg_wrong", "password authentication failed"),
        ("nobody", secrets[0].as_str(), "password authentication failed"),
        ("prometheus", secrets[1].as_str(), "lacks the scope `read`"),
    ] {
        let (is_good, _, err) = ask(user, password);
        assert!(!is_good && err.contains(reason), "{user}: {err}");
    }
    // Of a token whose hash alone is known, the password is asked for as it is, from this machine or under TLS.
    let without: String =
        entries.lines().filter(|line| !line.contains("scram:")).fold(String::new(), |all, line| all + line + "\n");
    fs::write(&tokens, without).unwrap();
    eventually(|| ask("grafana", &secrets[0]).0.then_some(())).expect("the changed file is taken");
}

#[test]
fn messages_that_lie_and_strangers_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = started(folder.path(), &[]);
    for hostile in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0, 0, 0, 3, 0], &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]]
    {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.write_all(hostile).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    }
    let is_empty = || server.get("/metrics", None).body.contains("streamgauge_pg_connections 0").then_some(());
    eventually(is_empty).expect("no connection is left");
}
