//! Conversations over a stream in memory, message by message, with an engine whose tables are empty.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod clients;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use query::{Catalog, Config, Engine, Random};
use storage::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::{Access, Guard, Server, scram::Verifier};

/// What is known of users: everybody may come in, or one.
struct Door(Option<(&'static str, Access)>);

impl Guard for Door {
    fn access(&self, user: &str) -> Option<Access> {
        match &self.0 {
            None => Some(Access::Open),
            Some((name, access)) if *name == user => Some(match access {
                Access::Scram(verifier) => Access::Scram(verifier.clone()),
                Access::Password => Access::Password,
                Access::Open => Access::Open,
            }),
            Some(_) => None,
        }
    }

    fn is_password(&self, _: &str, password: &[u8]) -> bool {
        password == b"secret"
    }

    fn admit(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

pub(super) fn server(door: Option<(&'static str, Access)>) -> Server {
    let registry = prometheus::Registry::new();
    let clock = Clock::new(|| 1_795_305_600_000_000);
    let engine = Engine::new(Config::default(), Catalog::empty(schemas::all()), clock, &registry).unwrap();
    let next = AtomicU64::new(1);
    let random = Random::new(move || u128::from(next.fetch_add(1, Ordering::Relaxed)) << 96);
    Server::new(engine, (Arc::new(Door(door)), None), random, Duration::from_secs(60), &registry).unwrap()
}

/// A client of a connection.
pub(super) struct Client {
    stream: DuplexStream,
    pub key: (u32, u32),
}

/// A message of the server: its kind and what is in it.
pub(super) type Told = (char, Vec<u8>);

impl Client {
    fn dial(server: &Server) -> Self {
        let (stream, theirs) = tokio::io::duplex(1 << 20);
        let server = server.clone();
        tokio::spawn(async move { server.serve(theirs, true).await });
        Self { stream, key: (0, 0) }
    }

    /// A connection that is let in.
    pub async fn open(server: &Server) -> Self {
        let mut client = Self::dial(server);
        client.hello("anna").await;
        let told = client.until('Z').await;
        let key = told.iter().find(|(kind, _)| *kind == 'K').unwrap();
        client.key = (number(&key.1[..4]), number(&key.1[4..]));
        client
    }

    async fn hello(&mut self, user: &str) {
        let body = [&196_608_u32.to_be_bytes()[..], b"user\0", user.as_bytes(), b"\0database\0x\0\0"].concat();
        self.raw(&body).await;
    }

    /// A message without a kind.
    async fn raw(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.stream.write_all(&[&length.to_be_bytes()[..], body].concat()).await.unwrap();
    }

    pub async fn say(&mut self, kind: u8, body: &[u8]) {
        self.stream.write_all(&[kind]).await.unwrap();
        self.raw(body).await;
    }

    async fn hear(&mut self) -> Option<Told> {
        let kind = self.stream.read_u8().await.ok()?;
        let length = usize::try_from(self.stream.read_u32().await.ok()?).unwrap();
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((char::from(kind), body))
    }

    /// Messages up to one of a kind, or the end.
    pub async fn until(&mut self, last: char) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(message) = self.hear().await {
            let is_last = message.0 == last;
            told.push(message);
            if is_last {
                break;
            }
        }
        told
    }

    /// What the server tells of a string of statements.
    pub async fn ask(&mut self, text: &str) -> Vec<Told> {
        self.say(b'Q', &[text.as_bytes(), b"\0"].concat()).await;
        self.until('Z').await
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// Kinds of messages, one character each.
fn kinds(told: &[Told]) -> String {
    told.iter().map(|(kind, _)| *kind).collect()
}

/// The values of rows, as text; null is `NULL`.
pub(super) fn rows(told: &[Told]) -> Vec<Vec<String>> {
    let row = |body: &[u8]| {
        let (mut values, mut at) = (Vec::new(), 2);
        while at < body.len() {
            let length = number(&body[at..at + 4]);
            at += 4;
            if length == u32::MAX {
                values.push("NULL".to_owned());
                continue;
            }
            let end = at + usize::try_from(length).unwrap();
            values.push(String::from_utf8_lossy(&body[at..end]).into_owned());
            at = end;
        }
        values
    };
    told.iter().filter(|(kind, _)| *kind == 'D').map(|(_, body)| row(body)).collect()
}

/// Fields of an error.
pub(super) fn error(told: &[Told]) -> BTreeMap<char, String> {
    let Some((_, body)) = told.iter().find(|(kind, _)| *kind == 'E') else { return BTreeMap::new() };
    let fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    fields.map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned())).collect()
}

fn tag(told: &[Told]) -> String {
    let (_, body) = told.iter().find(|(kind, _)| *kind == 'C').unwrap();
    String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()
}

#[tokio::test]
async fn rows_come_with_their_types_and_their_number() {
    let mut client = Client::open(&server(None)).await;
    let told = client.ask("SELECT 1 AS n, 'é' AS t, CAST(1.50 AS DECIMAL(10, 2)) AS d, NULL AS nothing").await;
    assert_eq!(kinds(&told), "TDCZ");
    assert_eq!(rows(&told), [["1", "é", "1.50", "NULL"]]);
    assert_eq!(tag(&told), "SELECT 1");
    let types = [20_u32, 25, 1700].map(u32::to_be_bytes);
    let columns = &told[0].1;
    for oid in types {
        assert!(columns.windows(4).any(|window| window == oid), "{columns:?}");
    }
}

#[tokio::test]
async fn a_string_of_statements_ends_at_the_first_that_fails() {
    let mut client = Client::open(&server(None)).await;
    let told = client.ask("SELECT 1; SELECT nix FROM samples; SELECT 3").await;
    assert_eq!(kinds(&told), "TDCEZ");
    let error = error(&told);
    assert_eq!(error[&'C'], "42703", "{error:?}");
    assert_eq!(error[&'P'], "18", "{error:?}");
    assert_eq!(kinds(&client.ask("  ; ").await), "IZ");
}

#[tokio::test]
async fn nothing_is_written_and_the_connection_goes_on() {
    let mut client = Client::open(&server(None)).await;
    for (text, code) in [
        ("INSERT INTO samples VALUES (1)", "25006"),
        ("CREATE TABLE t (a int)", "25006"),
        ("COPY samples FROM STDIN", "0A000"),
        ("SELECT * FROM nix", "42P01"),
        ("SELECT * FROM 'https://example.com/x.parquet'", "42000"),
        ("SET nix = 1", "42704"),
    ] {
        let told = client.ask(text).await;
        assert_eq!(error(&told).get(&'C').map(String::as_str), Some(code), "{text}: {:?}", error(&told));
    }
    assert_eq!(rows(&client.ask("SHOW server_version").await), [["15.0"]]);
}

#[tokio::test]
async fn a_transaction_that_failed_answers_only_its_end() {
    let mut client = Client::open(&server(None)).await;
    let state = |told: &[Told]| char::from(told.last().unwrap().1[0]);
    assert_eq!(state(&client.ask("BEGIN").await), 'T');
    assert_eq!(state(&client.ask("SELECT nix").await), 'E');
    assert_eq!(error(&client.ask("SELECT 1").await)[&'C'], "25P02");
    let ended = client.ask("COMMIT").await;
    assert_eq!((tag(&ended).as_str(), state(&ended)), ("ROLLBACK", 'I'));
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn bind(portal: &str, statement: &str, values: &[&[u8]], is_binary: bool) -> Vec<u8> {
    let mut body = [text(portal), text(statement), vec![0, 1, 0, u8::from(is_binary)]].concat();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
    }
    body.extend([0, 1, 0, u8::from(is_binary)]);
    body
}

#[tokio::test]
async fn parameters_are_described_and_taken_in_both_formats() {
    let mut client = Client::open(&server(None)).await;
    let parse = [text("s"), text("SELECT CAST($1 AS BIGINT) + 1, $2"), vec![0, 1, 0, 0, 0, 20]].concat();
    client.say(b'P', &parse).await;
    client.say(b'D', b"Ss\0").await;
    client.say(b'B', &bind("", "s", &[b"41", b"x'; DROP"], false)).await;
    client.say(b'E', b"\0\0\0\0\0").await;
    client.say(b'B', &bind("", "s", &[&41_i64.to_be_bytes(), b"y"], true)).await;
    client.say(b'E', b"\0\0\0\0\0").await;
    client.say(b'S', b"").await;
    let told = client.until('Z').await;
    assert_eq!(kinds(&told), "1tT2DC2DCZ", "{:?}", error(&told));
    let described = &told[1].1;
    assert_eq!((number(&described[2..6]), number(&described[6..10])), (20, 25));
    let rows = rows(&told);
    assert_eq!(rows[0], ["42", "x'; DROP"]);
    assert_eq!(rows[1][0].as_bytes(), 42_i64.to_be_bytes());
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_pieces() {
    let mut client = Client::open(&server(None)).await;
    client.say(b'P', &[text(""), text("SELECT value FROM generate_series(1, 5)"), vec![0, 0]].concat()).await;
    client.say(b'B', &bind("p", "", &[], false)).await;
    for _ in 0..3 {
        client.say(b'E', b"p\0\0\0\0\x02").await;
    }
    client.say(b'S', b"").await;
    let told = client.until('Z').await;
    assert_eq!(kinds(&told), "12DDsDDsDCZ", "{:?}", error(&told));
    assert_eq!(tag(&told), "SELECT 1");
}

#[tokio::test]
async fn after_an_error_messages_are_skipped_up_to_the_next_sync() {
    let mut client = Client::open(&server(None)).await;
    client.say(b'P', &[text(""), text("SELECT nix FROM samples"), vec![0, 0]].concat()).await;
    client.say(b'D', b"S\0").await;
    client.say(b'B', &bind("", "", &[], false)).await;
    client.say(b'S', b"").await;
    let told = client.until('Z').await;
    assert_eq!(kinds(&told), "1EZ");
    assert_eq!(kinds(&client.ask("SELECT 1").await), "TDCZ");
}

#[tokio::test]
async fn a_copy_is_lines_of_text_or_csv() {
    let mut client = Client::open(&server(None)).await;
    let told = client.ask("COPY (SELECT 'a,b' AS x, NULL AS y) TO STDOUT (FORMAT csv, HEADER)").await;
    assert_eq!(kinds(&told), "HddcCZ", "{:?}", error(&told));
    assert_eq!((told[1].1.as_slice(), told[2].1.as_slice()), (&b"x,y\n"[..], &b"\"a,b\",\n"[..]));
    assert_eq!(tag(&told), "COPY 1");
    let told = client.ask("COPY (SELECT 'a\tb', NULL) TO STDOUT").await;
    assert_eq!(told[1].1, b"a\\tb\t\\N\n");
}

/// As PostgreSQL 15 copies them.
#[tokio::test]
async fn what_would_be_read_otherwise_is_escaped_in_a_copy() {
    let mut client = Client::open(&server(None)).await;
    let values =
        "SELECT concat('b', chr(8), 'f', chr(12), 'v', chr(11), 'r', chr(13), 'n', chr(10)), 'c:\\d', -12, 1.5, true";
    for (options, line) in [
        ("", &b"b\\bf\\fv\\vr\\rn\\n\tc:\\\\d\t-12\t1.5\tt\n"[..]),
        (" (DELIMITER ':')", b"b\\bf\\fv\\vr\\rn\\n:c\\:\\\\d:-12:1.5:t\n"),
        (" (DELIMITER '-')", b"b\\bf\\fv\\vr\\rn\\n-c:\\\\d-\\-12-1.5-t\n"),
        (" (FORMAT csv)", b"\"b\x08f\x0cv\x0br\rn\n\",c:\\d,-12,1.5,t\n"),
        (" (FORMAT csv, NULL 't', DELIMITER '-')", b"\"b\x08f\x0cv\x0br\rn\n\"-c:\\d-\"-12\"-1.5-\"t\"\n"),
    ] {
        let told = client.ask(&format!("COPY ({values}) TO STDOUT{options}")).await;
        let lines: Vec<&[u8]> = told.iter().filter(|(kind, _)| *kind == 'd').map(|(_, line)| line.as_slice()).collect();
        assert_eq!(lines, [line], "{options}: {:?}", error(&told));
    }
}

#[tokio::test]
async fn a_second_connection_ends_what_the_first_is_doing() {
    let server = server(None);
    let mut client = Client::open(&server).await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b\0";
    client.say(b'Q', endless.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (id, secret) = client.key;
    let request = [80_877_102_u32, id, secret].map(u32::to_be_bytes).concat();
    Client::dial(&server).raw(&request).await;
    let told = tokio::time::timeout(Duration::from_secs(20), client.until('Z')).await.expect("it was canceled");
    assert_eq!(error(&told)[&'C'], "57014");
}

#[tokio::test]
async fn a_statement_has_the_time_that_the_client_gives_it() {
    let mut client = Client::open(&server(None)).await;
    client.ask("SET statement_timeout = '200ms'").await;
    let told =
        client.ask("SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b").await;
    assert_eq!(error(&told)[&'C'], "57014");
    client.ask("RESET statement_timeout").await;
    assert_eq!(kinds(&client.ask("SELECT 1").await), "TDCZ");
}

#[tokio::test]
async fn a_password_opens_the_door_and_nothing_else_does() {
    let door = || Some(("anna", Access::Password));
    let mut right = Client::dial(&server(door()));
    right.hello("anna").await;
    assert_eq!(right.until('R').await[0].1, [0, 0, 0, 3]);
    right.say(b'p', b"secret\0").await;
    assert!(kinds(&right.until('Z').await).starts_with("RS"));
    let mut wrong = Client::dial(&server(door()));
    wrong.hello("anna").await;
    wrong.until('R').await;
    wrong.say(b'p', b"guess\0").await;
    assert_eq!(error(&wrong.until('Z').await)[&'C'], "28P01");
    let mut nobody = Client::dial(&server(Some(("anna", Access::Scram(Verifier::new(b"secret", b"salt"))))));
    nobody.hello("eve").await;
    assert_eq!(nobody.until('R').await[0].1[..4], [0, 0, 0, 10], "as if there were such a user");
}
