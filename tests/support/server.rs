//! The real binary, started for one test: a free port, a folder of its own, answers as values, the log as text.
//!
//! The port is chosen by the server (`--listen 127.0.0.1:0`) and read from its JSON log, so tests never fight for one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use ureq::{Agent, RequestBuilder, typestate::WithBody};

use super::{
    process::{self, Process},
    wire::{self, v1},
};

/// Longest wait for anything a server does in the background. Generous, because tests share two cores.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a demo, which on two cores of its own is there within 20 s.
const DEMO_PATIENCE: Duration = Duration::from_secs(240);

/// A running server.
pub struct Server {
    process: Process,
    /// The log of this run.
    pub log: PathBuf,
    address: String,
    scheme: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Server {
    /// Starts a server whose data is in `<folder>/data`, and waits until it is ready.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same with variables in its environment.
    pub fn start_with(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let name = format!("server-{}", RUNS.fetch_add(1, Ordering::Relaxed));
        let mut command = binary();
        command.arg("serve").arg("--data-dir").arg(folder.join("data")).args(["--log-format", "json"]);
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        for listener in ["--pg-listen", "--flight-listen"] {
            if !args.contains(&listener) {
                command.args([listener, "off"]);
            }
        }
        let process = Process::start(&name, command.args(args).envs(env.iter().copied()), folder);
        let log = folder.join(format!("{name}.log"));
        let mut server = Self { process, log, address: String::new(), scheme: String::new() };
        let listening = server.event("listening");
        server.address = listening["address"].as_str().expect("an address").to_owned();
        server.scheme = listening["scheme"].as_str().expect("a scheme").to_owned();
        server.event("ready");
        server
    }

    /// Starts a demo whose temporary folder is below `folder`, and waits until everything is there. Its log is what it prints.
    pub fn demo(folder: &Path, args: &[&str]) -> Self {
        let mut command = binary();
        command.args(["demo", "--listen", "127.0.0.1:0"]).args(args).env("TMPDIR", folder);
        for listener in ["--pg-listen", "--flight-listen"] {
            if !args.contains(&listener) {
                command.args([listener, "off"]);
            }
        }
        let mut process = Process::start("demo", &mut command, folder);
        let log = folder.join("demo.log");
        let printed = within(DEMO_PATIENCE, || {
            let is_ended = process.ended(Duration::ZERO).is_some();
            let text = fs::read_to_string(&log).expect("a log");
            let is_ready = text.contains("What receivers are told:\n");
            assert!(is_ready || !is_ended, "the demo ended: {text}");
            is_ready.then_some(text)
        });
        let printed = printed.unwrap_or_else(|| panic!("the demo is not ready: {}", process.log_tail()));
        let address =
            printed.split("Open\n  http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Self { process, log, address: address.to_owned(), scheme: "http".to_owned() }
    }

    /// Waits for a line of the log whose message begins like this.
    pub fn event(&mut self, begins: &str) -> serde_json::Value {
        let found = eventually(|| {
            let ended = self.process.ended(Duration::ZERO);
            let found = self
                .events()
                .into_iter()
                .find(|event| event["message"].as_str().is_some_and(|message| message.starts_with(begins)));
            assert!(found.is_some() || ended.is_none(), "ended before `{begins}`: {}", self.process.log_tail());
            found
        });
        found.unwrap_or_else(|| panic!("no `{begins}`: {}", self.process.log_tail()))
    }

    /// Every line of the log; each is one JSON object.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let text = self.log_text();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The log as it is.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Address of a path of the server.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Gets a path, with an `Authorization` header if there is one.
    pub fn get(&self, path: &str, authorization: Option<&str>) -> Answer {
        self.call("GET", path, authorization, &[])
    }

    /// Sends any method; a body goes with POST alone.
    pub fn call(&self, method: &str, path: &str, authorization: Option<&str>, body: &[u8]) -> Answer {
        let agent = process::agent(PATIENCE);
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        if let Some(value) = authorization {
            request = request.header("Authorization", value);
        }
        answer(agent.run(request.body(body).expect("a request")).expect("an answer"))
    }

    /// Asks in SQL; the CSV answer's rows without the header.
    pub fn sql(&self, statement: &str) -> Vec<String> {
        let answer = self.call("POST", "/api/v1/sql?format=csv", None, statement.as_bytes());
        assert_eq!(answer.status, 200, "{statement}: {}", answer.body);
        answer.body.lines().skip(1).map(ToOwned::to_owned).collect()
    }

    /// Sends samples `(milliseconds, value)` of one series.
    pub fn write(&self, metric: &str, samples: &[(i64, f64)], authorization: Option<&str>) -> Answer {
        let mut post = post(&process::agent(PATIENCE), &self.url(wire::PATH));
        if let Some(value) = authorization {
            post = post.header("Authorization", value);
        }
        answer(post.send(body(metric, samples)).expect("an answer"))
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for the end that a signal asked for; panics if it takes longer than the promised 30 s.
    pub fn wait(self) -> ExitStatus {
        self.process.end()
    }

    /// Sends SIGTERM; how it ended. Panics if that takes longer than the promised 30 s.
    pub fn terminate(self) -> ExitStatus {
        self.process.terminate()
    }
}

/// Remote write request of one series.
pub fn body(metric: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    let series = v1::series(&[("__name__", metric), ("job", "test")], samples);
    wire::snappy(&v1::WriteRequest { timeseries: vec![series], metadata: Vec::new() })
}

fn post(agent: &Agent, url: &str) -> RequestBuilder<WithBody> {
    let post = agent.post(url).header("Content-Encoding", "snappy");
    wire::V1_HEADERS.iter().fold(post, |post, (name, value)| post.header(*name, *value))
}

fn answer(mut answer: ureq::http::Response<ureq::Body>) -> Answer {
    let body = answer.body_mut().with_config().limit(1 << 26).read_to_string().expect("a body of text");
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

/// The binary under test.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_streamgauge"))
}

/// Runs a command to its end: exit code, stdout, stderr.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

/// Asks again and again until there is something.
pub fn eventually<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    within(PATIENCE, ask)
}

/// The same for as long as it may take.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
pub fn within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = ask();
        if found.is_some() || begun.elapsed() > patience {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "tests send samples of now")]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}
