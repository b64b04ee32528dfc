//! A bad network between our server and an HTTP server: answers that are lost after the work was done, refusals, delays, hangs,
//! broken bodies, and times when nothing goes through.
//!
//! One request per connection: it is read whole, so that a fault meets a request and not some bytes. Which fault meets which
//! request follows from a seed and the order of requests. What was done to whom is counted, so that a test can say that it
//! happened at all.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::random::Random;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a request hangs, unless the client goes before.
const HANG: Duration = Duration::from_secs(6);

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The server does what it is asked, and the connection breaks before it can say so.
    AnswerLost,
    /// 500, and nothing is done.
    Broken,
    /// 503 with S3's `SlowDown`, and nothing is done.
    SlowDown,
    /// The answer takes its time.
    Slow,
    /// The server does what it is asked, and no answer ever comes.
    Hang,
    /// The answer breaks off in the middle.
    Cut,
    /// The connection is closed at once, as all others are.
    Outage,
}

const FAULTS: [Fault; 6] = [Fault::AnswerLost, Fault::Broken, Fault::SlowDown, Fault::Slow, Fault::Hang, Fault::Cut];

/// A bad network. Good as long as nobody says otherwise.
pub struct Proxy {
    /// Port to connect to.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    /// Requests of a hundred that something happens to.
    percent: AtomicU64,
    down: AtomicBool,
    stopped: AtomicBool,
    random: Mutex<Random>,
    /// Faults that wait for the next puts whose path contains a text.
    waiting: Mutex<Vec<(&'static str, Fault)>>,
    done: Mutex<BTreeMap<(Fault, String), u64>>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub fn start(upstream: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            upstream,
            percent: AtomicU64::new(0),
            down: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            random: Mutex::new(Random(seed)),
            waiting: Mutex::default(),
            done: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&accepting)) else { continue };
                // What goes wrong with a connection is what the client is tested with.
                thread::spawn(move || drop(shared.serve(&client)));
            }
        });
        Self { port, shared }
    }

    /// From now on something happens to so many of a hundred requests.
    pub fn harm(&self, percent: u64) {
        self.shared.percent.store(percent, Ordering::Relaxed);
    }

    /// This happens to the next put whose path contains `part`.
    pub fn next_put(&self, part: &'static str, fault: Fault) {
        self.shared.waiting.lock().expect("no panic").push((part, fault));
    }

    /// Nothing goes through until it is told otherwise.
    pub fn down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Relaxed);
    }

    /// How often a fault happened to requests whose method and path contain these texts.
    pub fn count(&self, fault: Fault, method: &str, path: &str) -> u64 {
        let done = self.shared.done.lock().expect("no panic");
        let meant = |what: &str| what.starts_with(method) && what.contains(path);
        done.iter().filter(|((done, what), _)| *done == fault && meant(what)).map(|(_, count)| count).sum()
    }

    /// Everything that was done, by fault and method.
    pub fn summary(&self) -> BTreeMap<String, u64> {
        let mut summary = BTreeMap::new();
        for ((fault, what), count) in &*self.shared.done.lock().expect("no panic") {
            let method = what.split(' ').next().unwrap_or_default();
            *summary.entry(format!("{method} {fault:?}")).or_default() += count;
        }
        summary
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(&self, mut client: &TcpStream) -> io::Result<()> {
        if self.down.load(Ordering::Relaxed) {
            self.count(Fault::Outage, "");
            return client.shutdown(Shutdown::Both);
        }
        let Some((head, body)) = read_request(client)? else { return Ok(()) };
        let line = head.lines().next().unwrap_or_default().to_owned();
        let fault = self.fault_for(&line);
        if let Some(fault) = fault {
            self.count(fault, &line);
        }
        match fault {
            Some(Fault::Broken) => return client.write_all(&refusal("500 Internal Server Error", "InternalError")),
            Some(Fault::SlowDown) => return client.write_all(&refusal("503 Slow Down", "SlowDown")),
            Some(Fault::Outage) => return client.shutdown(Shutdown::Both),
            _ => {}
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        // The end of the answer is the end of the connection.
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, "\r\n"));
        server.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes())?;
        server.write_all(&body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        match fault {
            Some(Fault::AnswerLost) => client.shutdown(Shutdown::Both),
            Some(Fault::Hang) => {
                client.set_read_timeout(Some(HANG))?;
                // Ends when the client gives up.
                let _ = client.read(&mut [0]);
                client.shutdown(Shutdown::Both)
            }
            Some(Fault::Cut) => {
                client.write_all(&answer[..answer.len() - answer.len() / 3])?;
                client.shutdown(Shutdown::Both)
            }
            Some(Fault::Slow) => {
                thread::sleep(Duration::from_millis(300));
                client.write_all(&answer)
            }
            _ => client.write_all(&answer),
        }
    }

    fn fault_for(&self, line: &str) -> Option<Fault> {
        let mut waiting = self.waiting.lock().expect("no panic");
        if let Some(at) = waiting.iter().position(|(part, _)| line.starts_with("PUT") && line.contains(part)) {
            return Some(waiting.remove(at).1);
        }
        let mut random = self.random.lock().expect("no panic");
        let harmed = random.below(100) < self.percent.load(Ordering::Relaxed);
        let any = FAULTS[usize::try_from(random.below(FAULTS.len() as u64)).expect("few")];
        harmed.then_some(any)
    }

    fn count(&self, fault: Fault, line: &str) {
        *self.done.lock().expect("no panic").entry((fault, line.to_owned())).or_default() += 1;
    }
}

/// Head, with its empty line, and body of a request; none if the client had nothing to say.
fn read_request(mut client: &TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let read = client.read(&mut buffer)?;
        if read == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..read]);
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let missing = length.unwrap_or(0).saturating_sub(body.len());
    client.take(missing as u64).read_to_end(&mut body)?;
    Ok(Some((head, body)))
}

fn refusal(status: &str, code: &str) -> Vec<u8> {
    let body = format!("<Error><Code>{code}</Code><Message>A test said so.</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}
