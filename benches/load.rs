//! Load generator: sends the samples of a made-up fleet by remote write and says what was accepted, how fast and at
//! what cost.
//!
//! Run by `benches/peers.sh` against each server in turn, or by hand: `cargo run --release --example load -- --help`.
//! Requests are encoded before the clock starts, so on a small machine the generator takes little of the processor it
//! shares with the server; a sample stream is cut every `--samples-per-request` samples, as Prometheus' queues do,
//! and every series stays on one connection, which has one request in flight. Prints `key=value` lines.

#![allow(clippy::disallowed_methods, reason = "a program of its own: it measures time")]
#![allow(clippy::expect_used, reason = "a measurement that cannot go on stops")]

#[path = "load/fleet.rs"]
mod fleet;
#[path = "../tests/support/wire.rs"]
mod wire;

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use fleet::{Precision, Series};
use hdrhistogram::Histogram;
use prost::{Message as _, encode_length_delimiter, length_delimiter_len};

/// All requests are held in memory, about 80 bytes a sample.
const SAMPLES_MAX: u64 = 100_000_000;
/// A server that stays away for longer than this has failed the run.
const RETRIES_MAX: u32 = 200;

/// Sends the samples of a fleet of machines by Prometheus remote write, as fast as they are accepted or at a given
/// rate.
#[derive(Parser)]
struct Args {
    /// Where to send.
    #[arg(long, default_value = "http://127.0.0.1:4090/api/v1/write")]
    url: String,
    /// Number of series; one machine has 500.
    #[arg(long, default_value_t = 20_000)]
    series: usize,
    /// Number of samples of each series.
    #[arg(long, default_value_t = 240)]
    scrapes: usize,
    /// Milliseconds between two samples of a series.
    #[arg(long, default_value_t = 15_000)]
    interval_ms: i64,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Samples in a request; the last one of a connection may have fewer.
    #[arg(long, default_value_t = 2_000)]
    samples_per_request: usize,
    /// Samples of one series that stand together in a request, as a sender with few series has them.
    #[arg(long, default_value_t = 1)]
    samples_per_series: usize,
    /// Scrapes after which every series has another pod label, as after a rollout; 0 is never.
    #[arg(long, default_value_t = 0)]
    churn: usize,
    /// Protocol version.
    #[arg(long, value_enum, default_value_t = Proto::V1)]
    proto: Proto,
    /// Unix time of the first scrape, seconds [default: so that the last scrape is now].
    #[arg(long)]
    start_time: Option<i64>,
    /// Samples a second over all connections; 0 is as fast as they are accepted.
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Machines serve requests: classic histograms of them, several jobs, and teams.
    #[arg(long)]
    requests: bool,
    /// Everything about series and values follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Proto {
    V1,
    V2,
}

/// One encoded request.
struct Request {
    body: Vec<u8>,
    samples: u64,
}

/// What became of the requests of one connection.
struct Outcome {
    latency_us: Histogram<u64>,
    accepted: u64,
    retried_429: u64,
    retried_5xx: u64,
    retried_io: u64,
}

/// Samples put together into a request.
enum Draft {
    /// The message as bytes: labels of a series never change and are encoded once.
    V1(Vec<u8>),
    /// Series, and the symbol of the request that each string of the connection has, if it has one yet.
    V2 { timeseries: Vec<wire::v2::TimeSeries>, symbols: Vec<String>, symbol_of: Vec<u32> },
}

/// Labels of one series, ready to be put into requests.
enum Labels {
    V1(Vec<u8>),
    V2(Vec<usize>),
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.connections > 0 && args.samples_per_request > 0 && args.samples_per_series > 0,
        "connections, samples-per-request and samples-per-series begin at 1"
    );
    let samples = (args.series * args.scrapes) as u64;
    ensure!(samples <= SAMPLES_MAX, "too many samples to hold in memory samples={samples} max={SAMPLES_MAX}");

    let series = fleet::series(args.series, args.interval_ms, args.seed, args.requests);
    print_mix(&series);
    let started_cpu_s = cpu_seconds()?;
    let requests = encode_all(series, &args)?;
    let encoded_cpu_s = cpu_seconds()?;
    print_requests(&args, &requests);
    println!("encode_cpu_s={:.2}", encoded_cpu_s - started_cpu_s);

    let start = Instant::now();
    let outcome = send_all(&requests, &args, start)?;
    let wall_s = start.elapsed().as_secs_f64();
    ensure!(outcome.accepted == samples, "not all accepted accepted={} samples={samples}", outcome.accepted);
    print_outcome(&outcome, wall_s);
    println!("send_cpu_s={:.2}", cpu_seconds()? - encoded_cpu_s);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "shown as a percentage")]
fn print_mix(series: &[Series]) {
    let share = |precision| {
        100.0 * series.iter().filter(|s| s.precision() == precision).count() as f64 / series.len().max(1) as f64
    };
    println!("values_integral_percent={:.1}", share(Precision::Integral));
    println!("values_decimal_percent={:.1}", share(Precision::Decimal));
    println!("values_full_precision_percent={:.1}", share(Precision::Full));
}

fn print_requests(args: &Args, requests: &[Vec<Request>]) {
    println!("series={}\nscrapes={}\nconnections={}", args.series, args.scrapes, args.connections);
    println!("requests={}", requests.iter().map(Vec::len).sum::<usize>());
    println!("sent_bytes={}", requests.iter().flatten().map(|request| request.body.len()).sum::<usize>());
}

#[allow(clippy::cast_precision_loss, reason = "shown rounded")]
fn print_outcome(outcome: &Outcome, wall_s: f64) {
    println!("accepted_samples={}", outcome.accepted);
    println!("wall_s={wall_s:.3}");
    println!("samples_per_s={:.0}", outcome.accepted as f64 / wall_s);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        println!("{name}_ms={:.3}", outcome.latency_us.value_at_quantile(quantile) as f64 / 1e3);
    }
    println!("retried_429={}", outcome.retried_429);
    println!("retried_5xx={}", outcome.retried_5xx);
    println!("retried_io={}", outcome.retried_io);
}

/// Encodes all requests, one list per connection.
fn encode_all(mut series: Vec<Series>, args: &Args) -> Result<Vec<Vec<Request>>> {
    let start_ms = match args.start_time {
        Some(seconds) => seconds * 1000,
        None => {
            let now_ms = i64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
            now_ms - i64::try_from(args.scrapes)? * args.interval_ms
        }
    };
    let per_connection = series.len().div_ceil(args.connections).max(1);
    thread::scope(|scope| {
        let encoders: Vec<_> =
            series.chunks_mut(per_connection).map(|part| scope.spawn(move || encode(part, start_ms, args))).collect();
        encoders.into_iter().map(|encoder| encoder.join().map_err(|_| anyhow::anyhow!("an encoder failed"))?).collect()
    })
}

/// Encodes the requests of one connection: scrape after scrape, cut every so many samples.
fn encode(series: &mut [Series], start_ms: i64, args: &Args) -> Result<Vec<Request>> {
    let mut requests = Vec::new();
    let mut samples = 0;
    let scrapes: Vec<usize> = (0..args.scrapes).collect();
    // Labels stay the same within a stretch; each is encoded once.
    let stretch = if args.churn > 0 { args.churn } else { args.scrapes.max(1) };
    for (generation, scrapes) in scrapes.chunks(stretch).enumerate() {
        if args.churn > 0 {
            series.iter_mut().for_each(|one| one.roll_out(generation));
        }
        let mut strings = Vec::new();
        let labels: Vec<Labels> = match args.proto {
            Proto::V1 => series.iter().map(|s| Labels::V1(encode_labels(&s.labels))).collect(),
            Proto::V2 => intern(series, &mut strings).into_iter().map(Labels::V2).collect(),
        };
        let mut draft = Draft::new(args.proto, strings.len());
        for together in scrapes.chunks(args.samples_per_series) {
            for (one, labels) in series.iter_mut().zip(&labels) {
                let points: Result<Vec<(f64, i64)>> = together
                    .iter()
                    .map(|scrape| {
                        let scrape_ms = start_ms + i64::try_from(*scrape)? * args.interval_ms;
                        Ok((one.sample(), scrape_ms + one.offset_ms - args.interval_ms))
                    })
                    .collect();
                let points = points?;
                draft.add(labels, &strings, &points);
                samples += points.len();
                if samples >= args.samples_per_request {
                    requests.push(draft.finish(samples as u64)?);
                    samples = 0;
                }
            }
        }
        if samples > 0 {
            requests.push(draft.finish(samples as u64)?);
            samples = 0;
        }
    }
    Ok(requests)
}

/// The label fields of a version 1 series.
fn encode_labels(labels: &[(String, String)]) -> Vec<u8> {
    let labels = labels.iter().map(|(name, value)| wire::v1::Label { name: name.clone(), value: value.clone() });
    wire::v1::TimeSeries { labels: labels.collect(), ..Default::default() }.encode_to_vec()
}

/// For each series, the strings of its labels as indexes into `strings`.
fn intern(series: &[Series], strings: &mut Vec<String>) -> Vec<Vec<usize>> {
    let mut known = std::collections::HashMap::new();
    let mut of = |text: &String| {
        *known.entry(text.clone()).or_insert_with(|| {
            strings.push(text.clone());
            strings.len() - 1
        })
    };
    series.iter().map(|s| s.labels.iter().flat_map(|(name, value)| [of(name), of(value)]).collect()).collect()
}

impl Draft {
    fn new(proto: Proto, strings: usize) -> Self {
        match proto {
            Proto::V1 => Self::V1(Vec::new()),
            Proto::V2 => Self::V2 { timeseries: Vec::new(), symbols: vec![String::new()], symbol_of: vec![0; strings] },
        }
    }

    fn add(&mut self, labels: &Labels, strings: &[String], points: &[(f64, i64)]) {
        match (self, labels) {
            (Self::V1(message), Labels::V1(labels)) => {
                put_series(message, labels, points);
            }
            (Self::V2 { timeseries, symbols, symbol_of }, Labels::V2(labels)) => {
                let symbol = |&string: &usize| {
                    if symbol_of[string] == 0 {
                        symbol_of[string] = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
                        symbols.push(strings[string].clone());
                    }
                    symbol_of[string]
                };
                let labels_refs = labels.iter().map(symbol).collect();
                let sample =
                    |&(value, timestamp): &(f64, i64)| wire::v2::Sample { value, timestamp, start_timestamp: 0 };
                let samples = points.iter().map(sample).collect();
                timeseries.push(wire::v2::TimeSeries { labels_refs, samples, ..Default::default() });
            }
            _ => unreachable!("labels are made for the version of the draft"),
        }
    }

    /// The request; the draft is empty afterwards.
    fn finish(&mut self, samples: u64) -> Result<Request> {
        let message = match self {
            Self::V1(message) => std::mem::take(message),
            Self::V2 { timeseries, symbols, symbol_of } => {
                symbol_of.fill(0);
                let symbols = std::mem::replace(symbols, vec![String::new()]);
                wire::v2::Request { symbols, timeseries: std::mem::take(timeseries) }.encode_to_vec()
            }
        };
        Ok(Request { body: snap::raw::Encoder::new().compress_vec(&message).context("snappy failed")?, samples })
    }
}

/// Appends a version 1 series to a message: field 1, with the encoded labels and the samples as field 2.
fn put_series(message: &mut Vec<u8>, labels: &[u8], points: &[(f64, i64)]) {
    let sample = |&(value, timestamp): &(f64, i64)| wire::v1::Sample { value, timestamp };
    let sample_len = |point| {
        let len = sample(point).encoded_len();
        1 + length_delimiter_len(len) + len
    };
    message.push(0x0a);
    let len = labels.len() + points.iter().map(sample_len).sum::<usize>();
    encode_length_delimiter(len, message).expect("a vector grows");
    message.extend_from_slice(labels);
    for point in points {
        message.push(0x12);
        sample(point).encode_length_delimited(message).expect("a vector grows");
    }
}

/// Sends the requests of all connections at the same time.
fn send_all(requests: &[Vec<Request>], args: &Args, start: Instant) -> Result<Outcome> {
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let senders: Vec<_> =
            requests.iter().map(|requests| scope.spawn(move || send(requests, args, start))).collect();
        senders.into_iter().map(|sender| sender.join().map_err(|_| anyhow::anyhow!("a sender failed"))?).collect()
    });
    let mut total = Outcome::new()?;
    for outcome in outcomes {
        let outcome = outcome?;
        total.latency_us.add(&outcome.latency_us)?;
        total.accepted += outcome.accepted;
        total.retried_429 += outcome.retried_429;
        total.retried_5xx += outcome.retried_5xx;
        total.retried_io += outcome.retried_io;
    }
    Ok(total)
}

/// Sends the requests of one connection one after the other, each until it is accepted. With a rate, latency counts
/// from the time at which a request was due, so that a stall is seen in every request it delays.
fn send(requests: &[Request], args: &Args, start: Instant) -> Result<Outcome> {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
    let agent = ureq::Agent::from(config.build());
    let connections = u32::try_from(args.connections)?;
    let mut outcome = Outcome::new()?;
    let mut sent = 0_u64;
    for request in requests {
        let mut begin = Instant::now();
        if args.rate > 0 {
            let due_ms = sent * u64::from(connections) * 1000 / u64::from(args.rate);
            begin = start + Duration::from_millis(due_ms);
            thread::sleep(begin.saturating_duration_since(Instant::now()));
        }
        deliver(&agent, args, request, &mut outcome)?;
        outcome.latency_us.record(u64::try_from(begin.elapsed().as_micros())?.max(1))?;
        outcome.accepted += request.samples;
        sent += request.samples;
    }
    Ok(outcome)
}

/// Posts a request until it is accepted.
fn deliver(agent: &ureq::Agent, args: &Args, request: &Request, outcome: &mut Outcome) -> Result<()> {
    let headers = if args.proto == Proto::V1 { wire::V1_HEADERS } else { wire::V2_HEADERS };
    for retry in 0..RETRIES_MAX {
        let mut post = agent.post(&args.url).header("Content-Encoding", "snappy").header("User-Agent", "load/1");
        for (name, value) in headers {
            post = post.header(name, value);
        }
        match post.send(&request.body[..]) {
            Ok(mut response) => {
                let status = response.status().as_u16();
                let text = response.body_mut().read_to_string().unwrap_or_default();
                match status {
                    200..=299 => return Ok(()),
                    429 => outcome.retried_429 += 1,
                    500..=599 => outcome.retried_5xx += 1,
                    _ => bail!("refused status={status} answer={}", text.trim()),
                }
            }
            Err(_) => outcome.retried_io += 1,
        }
        thread::sleep(Duration::from_millis(30 << retry.min(6)));
    }
    bail!("not accepted url={} retries={RETRIES_MAX}", args.url)
}

impl Outcome {
    fn new() -> Result<Self> {
        let latency_us = Histogram::new_with_bounds(1, 3_600_000_000, 3)?;
        Ok(Self { latency_us, accepted: 0, retried_429: 0, retried_5xx: 0, retried_io: 0 })
    }
}

/// User and system time of this process, by the kernel's accounting.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("no /proc: this program needs linux")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // Fields 14 and 15 of the line, counted from 1; the name is field 2. A tick is 10 ms on every Linux.
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
