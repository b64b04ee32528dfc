//! Imports into a server that answers as it is told, and remembers what it was sent.

#[path = "../../tests/support/wire.rs"]
pub(super) mod wire;

mod answers;
mod remote;
mod states;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use clap::Parser;
use prost::Message;

use super::*;

/// Answers in order: status line with headers, and text. After them: 204. The headers that say how much was written are added to a 204
/// that has none.
type Answers = VecDeque<(&'static str, &'static str)>;

#[derive(Default)]
struct Heard {
    answers: Answers,
    /// Samples of accepted requests: times by series, in the order in which they came.
    times: BTreeMap<String, Vec<i64>>,
    requests: usize,
    /// Who asked, in each request.
    authorizations: Vec<String>,
    /// Ranges that were asked for by remote read, both ends included.
    asked: Vec<(i64, i64)>,
}

/// Listens until the test ends.
fn server(answers: &[(&'static str, &'static str)]) -> (String, Arc<Mutex<Heard>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Heard { answers: answers.iter().copied().collect(), ..Heard::default() }));
    let shared = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || answer(&stream.unwrap(), &shared));
        }
    });
    (url, heard)
}

/// A request: its path, who asked, and the body.
fn request(reader: &mut impl BufRead) -> Option<(String, String, Vec<u8>)> {
    let (mut line, mut path, mut authorization, mut length) = (String::new(), None, String::new(), 0);
    while reader.read_line(&mut line).unwrap_or(0) > 0 && !line.trim().is_empty() {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => value.trim().clone_into(&mut authorization),
            _ => {}
        }
        path.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or_default().to_owned());
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some((path?, authorization, body))
}

fn answer(mut stream: &TcpStream, heard: &Mutex<Heard>) {
    let mut reader = BufReader::new(stream);
    while let Some((path, authorization, body)) = request(&mut reader) {
        let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let mut heard = heard.lock().unwrap();
        heard.requests += 1;
        heard.authorizations.push(authorization);
        if path == "/api/v1/read" {
            let body = remote::answer(&body, &mut heard.asked);
            drop(heard);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(&body).unwrap();
            continue;
        }
        assert_eq!(path, "/api/v1/write");
        let request = wire::v2::Request::decode(&*body).unwrap();
        let (status, text) = heard.answers.pop_front().unwrap_or(("204 No Content", ""));
        let mut written = String::new();
        if status.starts_with("204") && !status.contains('\n') {
            let (mut samples, mut histograms, mut exemplars) = (0, 0, 0);
            for series in &request.timeseries {
                let label = |symbol: &u32| request.symbols[*symbol as usize].as_str();
                let name: Vec<_> = series.labels_refs.iter().map(label).collect();
                let times = series.samples.iter().map(|sample| sample.timestamp);
                heard.times.entry(name.join(" ")).or_default().extend(times);
                samples += series.samples.len();
                histograms += series.histograms.len();
                exemplars += series.exemplars.len();
            }
            written = answers::written(samples, histograms, exemplars);
        }
        drop(heard);
        write!(stream, "HTTP/1.1 {status}{written}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    prometheus: Prometheus,
}

fn run(source: &Path, to: &str, more: &[&str]) -> Result<Outcome> {
    run_with(source.to_str().unwrap(), to, more, "")
}

fn run_with(source: &str, to: &str, more: &[&str], stdin: &str) -> Result<Outcome> {
    let arguments = ["import", source, "--to", to];
    Command::parse_from(arguments.iter().chain(more)).prometheus.import(stdin.as_bytes())
}

/// `series` series with a sample every ten minutes from some midnight on, one series after the other.
fn text(series: usize, samples: i64) -> String {
    let mut text = "# TYPE walk gauge\n".to_owned();
    for series in 0..series {
        for i in 0..samples {
            writeln!(text, "walk{{series=\"{series:02}\"}} {i} {}", 1_699_920_000 + i * 600).unwrap();
        }
    }
    text + "# EOF\n"
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("walk.om");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_busy_server_gets_everything_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(3, 60_000));
    let busy = ("503 Service Unavailable\r\nRetry-After: 1", "busy");
    let (url, heard) = server(&[busy, ("204 No Content", ""), ("429 Too Many Requests", ""), busy]);
    let state = folder.path().join("state.json");
    let outcome = run(&path, &url, &["--state", state.to_str().unwrap()]).unwrap();
    assert_eq!((outcome.taken.samples, outcome.refused, outcome.damaged), (180_000, 0, 0));
    let heard = heard.lock().unwrap();
    assert!(heard.requests >= 5, "{}", heard.requests);
    assert_eq!(heard.times.len(), 3);
    for times in heard.times.values() {
        assert_eq!(times.len(), 60_000);
        assert!(times.is_sorted(), "the samples of a series come in order");
    }
}

#[test]
fn an_import_that_broke_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    const SAMPLES: usize = 40 * 144;
    let path = file(folder.path(), &text(100, 40 * 144));
    let (url, heard) = server(&[("204 No Content", ""), ("204 No Content", ""), ("401 Unauthorized", "no token")]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap(), "--concurrency", "1"];
    let error = run(&path, &url, &more).unwrap_err();
    assert!(format!("{error:#}").contains("no token"), "{error:#}");
    let before = heard.lock().unwrap().times.values().map(Vec::len).sum::<usize>();
    assert!(before > 100_000 && before < 100 * SAMPLES, "{before}");
    let outcome = run(&path, &url, &more).unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.times.len(), 100);
    for times in heard.times.values() {
        let mut times = times.clone();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), SAMPLES);
    }
    let twice = usize::try_from(outcome.taken.samples).unwrap() + before - 100 * SAMPLES;
    assert!(twice <= 50_000, "as many as are gathered at once, at most: {twice}");
    drop(heard);
    assert!(run(&path, &url, &more).unwrap().nothing_new);
    let other = run(&path, &url, &["--state", state.to_str().unwrap(), "--end", "1"]).unwrap_err();
    assert!(other.to_string().contains("state of another import"), "{other}");
}

#[test]
fn only_what_is_chosen_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(5, 300));
    let (url, heard) = server(&[]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap(), "--start", "1699920600", "--end", "2023-11-14T00:30:00Z"];
    let chosen = ["--match", "walk{series=\"01\"}", "--match", "{series=~\"03|04\",series!=\"04\"}"];
    run(&path, &url, &[&more[..], &chosen].concat()).unwrap();
    let heard = heard.lock().unwrap();
    let expected = |series| (format!("__name__ walk series {series}"), vec![1_699_920_600_000, 1_699_921_200_000]);
    assert_eq!(heard.times, BTreeMap::from([expected("01"), expected("03")]));
}

#[test]
fn a_dry_run_counts_and_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(5, 300));
    let (url, heard) = server(&[]);
    let outcome = run(&path, &url, &["--dry-run"]).unwrap();
    assert_eq!((outcome.series, outcome.taken.samples), (Some(5), 1500));
    assert_eq!(heard.lock().unwrap().requests, 0);
    let block = Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/tests/tsdb/01HCHVNKS0EVERYENC0D1NG000");
    let outcome = run(&block, &url, &["--dry-run", "--match", "{__name__=~\"h|f_xor\"}"]).unwrap();
    assert!(outcome.taken.histograms > 100 && outcome.taken.samples > 50 && outcome.damaged == 0);
    assert!(run(folder.path(), &url, &["--dry-run"]).is_err(), "a folder without blocks");
}
