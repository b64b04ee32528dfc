//! Programs that tests run: our own binary and the peers it is proven against.
//!
//! A program writes to a log file, is asked until it is ready, and is ended by its process id: at the latest when its
//! value is dropped. Not here: what is sent to it and asked of it, which is the tests' business.

#![allow(clippy::disallowed_methods, reason = "tests are the outside world: they read clock and environment")]

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::wire;

/// Number of the signal by which a process ends itself on a fatal condition.
pub const SIGABRT: i32 = 6;
/// Longest wait for a program to get ready; debug logs of a slow machine included.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longest wait for an orderly end; the server promises 30 s.
const END_MAX: Duration = Duration::from_secs(30);

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output appended to `<folder>/<name>.log`.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stderr(out.try_clone().expect("a second handle"))
            .stdout(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name: name.into(), log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `url` answers 200. Gives the exit status if the program ends before.
    ///
    /// # Panics
    /// If neither happens for a minute.
    pub fn ready(&mut self, url: &str) -> Result<(), ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < READY_MAX {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Err(status);
            }
            if agent(Duration::from_secs(2)).get(url).call().is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{} is not ready after {READY_MAX:?}: {}", self.name, self.log_tail())
    }

    /// Waits for the program to end by itself.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            let status = self.child.try_wait().expect("a child");
            if status.is_some() || begun.elapsed() > within {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("a running child");
        let status = self.child.wait().expect("a child");
        assert_eq!(status.signal(), Some(9), "{} had ended before: {}", self.name, self.log_tail());
    }

    /// Sends SIGTERM and waits for an orderly end.
    pub fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.end()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.expect("a shell").success(), "{} had ended before: {}", self.name, self.log_tail());
    }

    /// Waits for an orderly end.
    pub fn end(mut self) -> ExitStatus {
        self.ended(END_MAX).unwrap_or_else(|| panic!("{} does not end: {}", self.name, self.log_tail()))
    }

    /// The last lines the program wrote.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("last lines of {}:\n{}", self.log.display(), lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A place where our server can be started again and again: data folder, address and settings stay.
pub struct Home {
    /// Everything is below this folder, logs included.
    pub folder: PathBuf,
    port: u16,
}

impl Home {
    /// A new home below `folder`, with settings in YAML over the defaults.
    pub fn new(folder: &Path, settings: &str) -> Self {
        let home = Self { folder: folder.into(), port: free_port() };
        fs::write(home.config(), settings).expect("a settings file");
        home
    }

    /// Starts the server with variables in its environment. Gives its exit status if it ends before it is ready.
    pub fn start(&self, env: &[(&str, &str)]) -> Result<Process, ExitStatus> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
        command.arg("serve").arg("--config").arg(self.config()).arg("--data-dir").arg(self.data());
        command
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--pg-listen", "off", "--flight-listen", "off"])
            .envs(env.iter().copied());
        let mut process = Process::start("streamgauge", &mut command, &self.folder);
        process.ready(&self.url("/-/ready")).map(|()| process)
    }

    /// Address of a path of the server.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Asks the running server; rows of the CSV answer without the header.
    pub fn sql(&self, query: &str) -> Vec<String> {
        let text = self.ask(query, "csv").map(|bytes| String::from_utf8(bytes).expect("text"));
        rows(&text.unwrap_or_else(|answer| panic!("{query}: {answer}")))
    }

    /// Asks the running server; the body of the answer, or what it said is wrong.
    pub fn ask(&self, query: &str, format: &str) -> Result<Vec<u8>, String> {
        let url = self.url(&format!("/api/v1/sql?format={format}"));
        let mut answer = agent(Duration::from_secs(120)).post(&url).send(query).map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(body) } else { Err(String::from_utf8_lossy(&body).into_owned()) }
    }

    /// Asks the data folder without a server; rows as from [`Home::sql`].
    pub fn sql_offline(&self, query: &str) -> Vec<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
        command.arg("sql").arg("--data-dir").arg(self.data()).args(["--format", "csv", query]);
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        rows(&String::from_utf8(output.stdout).expect("text"))
    }

    /// Commits all rows to files.
    pub fn flush(&self) {
        let answer = agent(Duration::from_secs(60)).post(self.url("/api/v1/admin/flush?wait=true")).send_empty();
        let status = answer.expect("the server answers").status();
        assert!(status.is_success(), "flush answers {status}");
    }

    /// Sends a remote write body of version 1 in snappy; the status code, if there is an answer.
    pub fn write(&self, agent: &ureq::Agent, body: &[u8]) -> Result<u16, ureq::Error> {
        let mut post = agent.post(self.url(wire::PATH)).header("Content-Encoding", "snappy");
        for (name, value) in wire::V1_HEADERS {
            post = post.header(name, value);
        }
        let mut answer = post.send(body)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string()?;
        assert!(!(400..500).contains(&status) || status == 429, "refused status={status} answer={text}");
        Ok(status)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("streamgauge.yaml")
    }
}

fn rows(csv: &str) -> Vec<String> {
    csv.lines().skip(1).map(ToOwned::to_owned).collect()
}

/// Prometheus with these settings and options, its data below `folder`; its address.
pub fn prometheus(folder: &Path, port: u16, config: &str, options: &[&str]) -> (Process, String) {
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).expect("a settings file");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display())).args(options);
    command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start("prometheus", &mut command, folder);
    let url = format!("http://127.0.0.1:{port}");
    process.ready(&format!("{url}/-/ready")).expect("prometheus starts");
    (process, url)
}

/// An HTTP client that gives every status code back as an answer.
pub fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(timeout)).build().into()
}

/// A port of the loopback interface that nobody listens on, below the range the kernel takes outgoing ports from, so
/// that it stays free while a server restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 15_000 + u16::try_from(std::process::id() % 10_000).expect("below 10,000");
    (0..5_000)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}

/// Is a program on the path?
pub fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Says why a test does nothing, and what changes that. Written to the stream itself: the harness hides what the
/// printing macros write in tests that pass.
pub fn skipped(why: &str, install: &str) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    writeln!(io::stderr(), "SKIPPED {name}: {why}; to run it: {install}").expect("stderr");
}

/// A number from the environment, for running a test for longer.
pub fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no whole number"))
}
