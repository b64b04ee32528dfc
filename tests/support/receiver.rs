//! Somebody who is told: an HTTP server that keeps what it gets and answers as a script says.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::Value;

/// What is answered instead of `200 ok`.
#[derive(Debug, Clone)]
pub enum Script {
    /// A status with headers and a body.
    Answer(u16, &'static str, &'static str),
    /// Nothing: the connection is closed once the body is read.
    Reset,
}

/// A message that came.
#[derive(Debug, Clone)]
pub struct Told {
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

/// Answers that are given at a path whenever no script says another.
type Fixed = Arc<Mutex<Vec<(&'static str, Script)>>>;

/// A receiver.
pub struct Receiver {
    pub port: u16,
    told: Arc<Mutex<Vec<Told>>>,
    scripts: Arc<Mutex<VecDeque<Script>>>,
    fixed: Fixed,
    ends: Arc<AtomicBool>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let scripts: Arc<Mutex<VecDeque<Script>>> = Arc::default();
        let (ends, fixed): (Arc<AtomicBool>, Fixed) = Default::default();
        let at = Arc::clone(&fixed);
        let (keeps, reads, stops) = (Arc::clone(&told), Arc::clone(&scripts), Arc::clone(&ends));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                let (keeps, reads, at) = (Arc::clone(&keeps), Arc::clone(&reads), Arc::clone(&at));
                thread::spawn(move || serve(stream, &keeps, (&reads, &at)));
            }
        });
        Self { port, told, scripts, fixed, ends }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers the next messages so.
    pub fn script(&self, scripts: impl IntoIterator<Item = Script>) {
        self.scripts.lock().unwrap().extend(scripts);
    }

    /// Answers so at a path, unless a script says something else.
    pub fn answers(&self, path: &'static str, status: u16, body: &'static str) {
        self.fixed.lock().unwrap().push((path, Script::Answer(status, "", body)));
    }

    /// Everything that came.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
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
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, told: &Mutex<Vec<Told>>, (scripts, fixed): (&Mutex<VecDeque<Script>>, &Fixed)) {
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
        let at_path = || fixed.lock().unwrap().iter().find(|(at, _)| *at == path).map(|(_, script)| script.clone());
        let script = scripts.lock().unwrap().pop_front().or_else(at_path).unwrap_or(Script::Answer(200, "", "ok"));
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let is_taken = matches!(script, Script::Answer(200..=299, ..));
        told.lock().unwrap().push(Told { path, headers, text, body, is_taken });
        match script {
            Script::Reset => return,
            Script::Answer(status, headers, text) => {
                let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{text}", text.len());
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}
