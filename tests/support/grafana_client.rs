//! The real client code of Grafana's data source for Prometheus, npm's `@grafana/prometheus`, run headless by node.
//!
//! A test says what a user does and gets what Grafana would show, with every call that reached the server. The script
//! is `grafana_client/client.cjs`; its modules are not in the repository, and without them a test is skipped.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::process;

const FOLDER: &str = "tests/support/grafana_client";

/// What came of it.
pub struct Shown {
    /// What each step gave, or what it was refused with.
    pub answers: Vec<Result<Value, String>>,
    /// Calls that reached the server, such as `GET api/v1/labels 200 limit=40000`.
    pub sent: Vec<String>,
}

/// Is everything there that it takes? Says what is missing if not.
pub fn is_there() -> bool {
    let is_there = process::installed("node")
        && Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join("node_modules/@grafana/prometheus").is_dir();
    if !is_there {
        let install = format!("install node 20 or newer, and `npm ci --ignore-scripts --prefix {FOLDER}`");
        process::skipped("Grafana's client is not installed", &install);
    }
    is_there
}

/// Does the steps of `input`, whose form the script describes, in one session of Grafana. `folder` is for its files.
pub fn run(url: &str, authorization: &str, input: &Value, folder: &Path) -> Shown {
    let asked = folder.join("grafana.json");
    fs::write(&asked, input.to_string()).expect("a file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join("client.cjs");
    let mut command = Command::new("node");
    command.arg(script).arg(url.trim_end_matches('/')).env("AUTHORIZATION", authorization);
    let output = command.stdin(File::open(&asked).expect("a file")).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut shown: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let answer = |mut answer: Value| match answer["error"].take() {
        Value::Null => Ok(answer["answer"].take()),
        error => Err(error.as_str().expect("a text").to_owned()),
    };
    let Value::Array(answers) = shown["answers"].take() else { panic!("no answers: {shown}") };
    let sent = shown["sent"].as_array().expect("calls").iter();
    Shown {
        answers: answers.into_iter().map(answer).collect(),
        sent: sent.map(|call| call.as_str().expect("a text").to_owned()).collect(),
    }
}
