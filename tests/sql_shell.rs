//! The shell of `streamgauge sql` at a terminal: what people type, and what they see.
//!
//! `script` of util-linux gives the terminal. What needs none is proven beside the code.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::tempdir;

use crate::support::{
    process,
    server::{Server, binary, eventually, now_ms, run},
};

const SETTINGS: &str = "
queries:
  by_job:
    description: Samples of a job.
    sql: SELECT metric, value FROM metrics WHERE labels['job'] = $job
    params: {job: {type: text, default: test}}
";
const PROMPT: &str = "streamgauge> ";
/// What the line editor says to the terminal when a text is typed to its end.
const EDITED: &str = "\u{1b}[?2004l";

/// A shell at a terminal of 24 lines and 120 columns.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    /// How much of that was looked at.
    seen: usize,
}

impl Terminal {
    /// A shell, ready for what is typed.
    fn open(folder: &Path, args: &str) -> Self {
        let mut terminal = Self::run(folder, args);
        terminal.sees(PROMPT);
        terminal
    }

    fn run(folder: &Path, args: &str) -> Self {
        let binary = env!("CARGO_BIN_EXE_streamgauge");
        let command = format!("stty rows 24 cols 120; exec '{binary}' sql {args}");
        let mut child = Command::new("script")
            .args(["-q", "-e", "-c", &command, "/dev/null"])
            .current_dir(folder)
            .envs([("TERM", "xterm"), ("SHELL", "/bin/sh"), ("PAGER", "sed s/^/paged:/")])
            .env("XDG_STATE_HOME", folder.join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let (keys, mut screen) = (child.stdin.take().expect("keys"), child.stdout.take().expect("a screen"));
        let shown = Arc::new(Mutex::new(String::new()));
        let more = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                more.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, keys, shown, seen: 0 }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys are taken");
    }

    /// Types a line, and gives what is shown until the next prompt.
    fn enter(&mut self, line: &str) -> String {
        self.press(line);
        self.press("\r");
        // While it is typed, a line is shown again and again, with its prompt; then the editor leaves the terminal.
        self.sees(EDITED);
        self.sees(PROMPT)
    }

    /// Waits until something is shown; gives all that was shown since the last time.
    fn sees(&mut self, text: &str) -> String {
        let seen = self.seen;
        let found = eventually(|| {
            let shown = self.shown.lock().unwrap();
            shown[seen..].find(text).map(|at| (shown[seen..seen + at + text.len()].to_owned(), seen + at + text.len()))
        });
        let (before, end) = found.unwrap_or_else(|| panic!("no {text:?} in {:?}", &self.shown.lock().unwrap()[seen..]));
        self.seen = end;
        before
    }

    fn leave(mut self) {
        self.press("\\q\r");
        let left = eventually(|| self.child.try_wait().unwrap());
        assert_eq!(left.and_then(|status| status.code()), Some(0), "{}", self.shown.lock().unwrap());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with a sample, for whom there is a terminal.
fn start(folder: &Path) -> Option<Server> {
    if !process::installed("script") {
        process::skipped("there is no terminal without script", "apt-get install util-linux bsdutils");
        return None;
    }
    let config = folder.join("gauge.yaml");
    fs::write(&config, SETTINGS).unwrap();
    let server = Server::start(folder, &["--config", config.to_str().unwrap()]);
    assert_eq!(server.write("load", &[(now_ms() - 1000, 0.5)], None).status, 204);
    Some(server)
}

#[test]
fn statements_and_commands_are_answered_at_a_terminal() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let mut terminal = Terminal::open(folder.path(), &format!("--url {}", server.url("")));
    let answer = terminal.enter("SELECT\r6 * 7 AS answer, NULL AS \"no\", '' AS \"empty\"\r;");
    assert!(answer.contains(" answer | no     | empty\r\n"), "{answer}");
    assert!(answer.contains("     42 | [null] |\r\n(1 row, ") && answer.contains("s)\r\n"), "{answer}");
    let answer = terminal.enter("SELECT 1 AS a; SELECT 2 AS b;");
    assert!(answer.contains(" a\r\n") && answer.contains(" b\r\n"), "{answer}");
    let answer = terminal.enter("SELECT\r  nothing FROM samples;");
    assert!(answer.contains("status=400\r\nLINE 2:   nothing FROM samples\r\n          ^\r\n"), "{answer}");
    assert!(terminal.enter("\\d").contains(" samples "));
    // Names of tables are asked for beside what is typed.
    let completed = eventually(|| terminal.enter("\\d sampl\t").contains(" series_id ").then_some(()));
    completed.expect("a table's name is completed");
    assert!(terminal.enter("\\d nowhere").contains("there is no table nowhere; \\dt lists them"));
    assert!(terminal.enter("\\dq").contains(" by_job | job text = test | Samples of a job.\r\n"));
    assert!(terminal.enter("\\run by_job job=test").contains(" load   |   0.5\r\n(1 row"));
    assert!(terminal.enter("\\timing off").contains("not told"));
    assert!(terminal.enter("\\x").contains("A line a value"));
    assert!(terminal.enter("SELECT 1 AS one;").contains("one | 1\r\n(1 row)\r\n"));
    terminal.enter("\\x off");
    let hostile = terminal.enter("SELECT chr(27) || '[2J' AS x;");
    assert!(hostile.contains(" \u{fffd}[2J\r\n") && !hostile.contains("\u{1b}[2J"), "{hostile:?}");
    let long = terminal.enter("SELECT value FROM generate_series(1, 100);");
    assert!(long.contains("paged:   100\r\n") && long.contains("paged:(100 rows)\r\n"), "{long}");
    let short = terminal.enter("SELECT value FROM generate_series(1, 10);");
    assert!(!short.contains("paged:"), "{short}");
    // A row that is wider than the screen is a line a value, unless somebody wants it otherwise.
    terminal.enter("\\x auto");
    let wide = format!("SELECT 7 AS narrow, '{}' AS wide;", "w".repeat(200));
    let answer = terminal.enter(&wide);
    assert!(answer.contains("-[ 1 ]") && answer.contains("narrow | 7\r\n"), "{answer}");
    terminal.enter("\\x off");
    assert!(!terminal.enter(&wide).contains("-[ 1 ]"));
    terminal.leave();
}

#[test]
fn names_are_completed_where_they_may_stand() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let mut terminal = Terminal::open(folder.path(), &format!("--url {}", server.url("")));
    let completed = |terminal: &mut Terminal, typed: &str, answer: &str| {
        eventually(|| terminal.enter(typed).contains(answer).then_some(())).unwrap_or_else(|| panic!("{typed}"));
    };
    // A statement that is not completed is an error, and typed again: names are asked for beside it.
    let of_metric = "SELECT n FROM (SELECT count(*) AS n FROM metrics WHERE metric = 'lo\t') WHERE n > 0;";
    completed(&mut terminal, of_metric, "(1 row");
    completed(&mut terminal, "SELECT regr_interc\t(1, 1) AS fitted;", "(1 row");
    completed(&mut terminal, "SELECT count(*) FROM samples WHERE series_i\t IS NOT NULL;", "(1 row");
    terminal.leave();
}

#[test]
fn a_file_is_done_up_to_its_first_error() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let script = "-- month end\n\\format csv\nSELECT 1 AS first,\n  2 AS second;\nSELECT nothing\n  FROM samples;\nSELECT 3 AS third;\n";
    fs::write(folder.path().join("month end.sql"), script).unwrap();
    fs::write(folder.path().join("again.sql"), "SELECT 4 AS fourth; \n\\i again.sql\n").unwrap();
    let mut terminal = Terminal::open(folder.path(), &format!("--url {}", server.url("")));
    let answer = terminal.enter("\\i 'month end.sql'");
    assert!(answer.contains("first,second\r\n1,2\r\n"), "{answer}");
    assert!(answer.contains("LINE 1: SELECT nothing\r\n               ^\r\n") && !answer.contains("third"), "{answer}");
    let answer = terminal.enter("\\i again.sql");
    assert!(answer.contains("fourth\r\n4\r\n") && answer.contains("cannot name another"), "{answer}");
    assert!(terminal.enter("\\i nowhere.sql").contains("cannot read nowhere.sql"));
    terminal.leave();
}

#[test]
fn answers_go_into_files_whole() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let mut terminal = Terminal::open(folder.path(), &format!("--url {} --format csv", server.url("")));
    assert!(terminal.enter("SELECT metric FROM samples;").contains("metric\r\nload\r\n(1 row"));
    terminal.enter("\\format parquet");
    let refused = terminal.enter("SELECT 1;");
    assert!(refused.contains("\\o FILE"), "{refused}");
    terminal.enter("\\o many.parquet");
    let failed = terminal.enter("SELECT nothing FROM samples;");
    assert!(failed.contains("status=400"), "{failed}");
    assert!(!folder.path().join("many.parquet").exists());
    let told = terminal.enter("SELECT value FROM generate_series(1, 20000);");
    assert!(told.contains("(20000 rows into many.parquet, "), "{told}");
    let file = File::open(folder.path().join("many.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 20_000);
    terminal.leave();
}

#[test]
fn ctrl_c_ends_a_query_where_it_runs_and_not_the_shell() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let mut terminal = Terminal::open(folder.path(), &format!("--url {}", server.url("")));
    let is_running = || server.get("/api/v1/status/queries", None).body.contains("generate_series");
    terminal.press("SELECT max(value % 7) FROM generate_series(1, 10000000000000);\r");
    eventually(|| is_running().then_some(())).expect("the query runs");
    terminal.press("\u{3}");
    terminal.sees("stopped");
    terminal.sees(PROMPT);
    eventually(|| (!is_running()).then_some(())).expect("the server ends the query");
    // At the prompt it drops what was typed.
    terminal.press("SELECT 1 AS dropped\u{3}");
    terminal.sees(EDITED);
    terminal.sees(PROMPT);
    let answer = terminal.enter("SELECT 6 * 7 AS answer;");
    assert!(answer.contains("     42\r\n"), "{answer}");
    terminal.leave();
}

#[test]
fn a_folder_is_asked_as_a_server_is() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let mut terminal = Terminal::open(folder.path(), "--data-dir data");
    let answer = terminal.enter("SELECT metric, value FROM samples;");
    assert!(answer.contains(" load   |   0.5\r\n(1 row"), "{answer}");
    assert!(terminal.enter("\\d samples").contains(" series_id "));
    let answer = terminal.enter("SELECT nothing FROM samples;");
    assert!(answer.contains("LINE 1: SELECT nothing FROM samples\r\n               ^\r\n"), "{answer}");
    terminal.press("SELECT max(value % 7) FROM generate_series(1, 10000000000000);\r");
    terminal.sees(EDITED);
    terminal.press("\u{3}");
    terminal.sees("stopped");
    terminal.sees(PROMPT);
    assert!(terminal.enter("\\dq").contains("--data-dir"));
    terminal.leave();
    drop(server);
}

#[test]
fn what_was_typed_is_kept_for_its_owner_without_tokens() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    let token = format!("sg_{}", "aB3_-".repeat(8));
    let args = format!("--url {}", server.url(""));
    let mut terminal = Terminal::open(folder.path(), &args);
    terminal.enter("SELECT\r1 AS first;");
    terminal.enter(" SELECT 2 AS led_by_a_blank;");
    terminal.enter(&format!("SELECT '{token}' AS secret;"));
    terminal.leave();
    let file = folder.path().join("state/streamgauge/sql_history");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains("AS first;"), "{kept}");
    assert!(!kept.contains("led_by_a_blank") && !kept.contains("secret") && !kept.contains(&token), "{kept}");
    let mut terminal = Terminal::open(folder.path(), &args);
    // The line before the last, since the last is how the shell was left.
    terminal.press("\u{1b}[A\u{1b}[A");
    let answer = terminal.enter("");
    assert!(answer.contains(" first\r\n"), "{answer}");
    terminal.leave();
}

#[test]
fn one_statement_at_a_terminal_steers_it_no_more_than_the_shell_does() {
    let folder = tempdir().unwrap();
    let Some(server) = start(folder.path()) else { return };
    for format in ["table", "csv", "ndjson"] {
        let question = "SELECT chr(27) || chr(155) || '[2J' AS x";
        let args = format!("--url {} --format {format} \"{question}\"", server.url(""));
        let shown = Terminal::run(folder.path(), &args).sees("[2J");
        assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{format}: {shown:?}");
    }
}

#[test]
fn without_a_terminal_a_statement_is_read_from_stdin_and_that_is_all() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let question = folder.path().join("question.sql");
    fs::write(&question, "SELECT 6 * 7 AS answer;\n").unwrap();
    for args in [&["--format", "csv"][..], &["--format", "csv", "-"]] {
        let stdin = File::open(&question).unwrap();
        let (code, out, err) = run(binary().args(["sql", "--url", &server.url("")]).args(args).stdin(stdin));
        assert_eq!((code, out.replace("\r\n", "\n").as_str()), (0, "answer\n42\n"), "{err}");
    }
    let asked =
        |statement: &str| run(binary().args(["sql", "--url", &server.url(""), "--format", "csv", "-c", statement]));
    let (code, out, err) = asked("SELECT 6 * 7 AS answer");
    assert_eq!((code, out.replace("\r\n", "\n").as_str()), (0, "answer\n42\n"), "{err}");
    let (code, out, err) = asked("SELECT\n  nothing FROM samples");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("status=400\nLINE 2:   nothing FROM samples\n          ^\n"), "{err}");
    let folder = folder.path().join("data").display().to_string();
    let (code, _, err) = run(binary().args(["sql", "--data-dir", &folder, "SELECT nothing FROM samples"]));
    assert!(code == 1 && err.contains("nothing") && err.contains("\nLINE 1: SELECT nothing FROM samples\n"), "{err}");
}
