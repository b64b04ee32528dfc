//! Somebody who is told: an HTTP server that keeps what it gets and answers as a script says.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::server::now_ms;

/// What is answered instead of `200 ok`.
#[derive(Debug, Clone)]
pub enum Script {
    /// A status with headers and a body.
    Answer(u16, &'static str, &'static str),
    /// Nothing: the connection is closed once the body is read.
    Reset,
    /// Nothing for so long, and then the same.
    Late(Duration),
}

/// A message that came.
#[derive(Debug, Clone)]
pub struct Told {
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub text: String,
    /// The text, if it is JSON.
    pub body: Value,
    /// Was it answered with success?
    pub is_taken: bool,
}

impl Told {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// A receiver.
pub struct Receiver {
    pub port: u16,
    has: Arc<Has>,
}

/// What its threads share.
#[derive(Default)]
struct Has {
    told: Mutex<Vec<Told>>,
    scripts: Mutex<VecDeque<Script>>,
    /// Answers of paths, unless a script says something else.
    fixed: Mutex<BTreeMap<String, Script>>,
    ends: AtomicBool,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let has: Arc<Has> = Arc::default();
        let shared = Arc::clone(&has);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.ends.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { port, has }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers the next messages so.
    pub fn script(&self, scripts: impl IntoIterator<Item = Script>) {
        self.has.scripts.lock().unwrap().extend(scripts);
    }

    /// Is a path out of order from now on?
    pub fn down(&self, path: &str, is_down: bool) {
        if is_down {
            self.answers(path, 503, "down");
        } else {
            self.has.fixed.lock().unwrap().remove(path);
        }
    }

    /// Answers so at a path, unless a script says something else.
    pub fn answers(&self, path: &str, status: u16, body: &'static str) {
        self.has.fixed.lock().unwrap().insert(path.to_owned(), Script::Answer(status, "", body));
    }

    /// Everything that came.
    pub fn told(&self) -> Vec<Told> {
        self.has.told.lock().unwrap().clone()
    }

    /// Messages that were taken, as `status name…`.
    pub fn taken(&self) -> Vec<String> {
        let taken = self.told().into_iter().filter(|told| told.is_taken);
        let text = |told: Told| {
            let alerts = told.body["alerts"].as_array().cloned().unwrap_or_default();
            let names: Vec<String> = alerts
                .iter()
                .map(|alert| {
                    format!(
                        "{}:{}",
                        alert["status"].as_str().unwrap(),
                        alert["labels"]["instance"].as_str().unwrap_or("-")
                    )
                })
                .collect();
            format!("{} {}", told.body["status"].as_str().unwrap_or("-"), names.join(" "))
        };
        taken.map(text).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.has.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, has: &Has) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut headers) = (0, Vec::new());
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let at_path = || has.fixed.lock().unwrap().get(&path).cloned();
        let script = has.scripts.lock().unwrap().pop_front().or_else(at_path).unwrap_or(Script::Answer(200, "", "ok"));
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let is_taken = matches!(script, Script::Answer(200..=299, ..));
        has.told.lock().unwrap().push(Told { at_ms: now_ms(), path, headers, text, body, is_taken });
        match script {
            Script::Reset => return,
            Script::Late(pause) => return thread::sleep(pause),
            Script::Answer(status, headers, text) => {
                let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{text}", text.len());
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}
