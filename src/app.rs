//! The composition root: builds every part from its settings, runs them, and stops them in order.
//!
//! Called by the `serve` and `check` commands. Start: bind → answer probes → open storage → open the rest → ready.
//! Stop, within 30 s of the first signal: no new connections → requests end → rows are committed → the log is closed.
//! Invariants: an address that is taken or a setting that is wrong ends the start before anything is written; a second
//! signal ends at once, and what was acknowledged is in the log; the real clock and real randomness enter here and nowhere
//! else.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail};
use axum_server::tls_rustls::RustlsConfig;
use ingest::{
    billing::{
        Loads,
        pull::{Meter, Pull},
    },
    remote_write::RemoteWrite,
};
use prometheus::{IntCounter, IntGauge, Registry};
use query::{Catalog, Engine};
use storage::{Clock, Env, Probe, Random, Storage};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinError, JoinHandle},
};
use tracing::{info, warn};

use crate::{
    auth::{self, Auth, Token},
    config::{self, Config},
    flight_sql, folder,
    glue::service::{Server, Service},
    http::{
        self, Shared,
        about::About,
        listen::{self, Seats, Serving},
        metrics::Metrics,
        page::Parts,
    },
    postgres::{self, Listener},
    reload::Watched,
    retention, tls,
};

/// Time for running requests to end. Longer than a write takes on a slow disk; queries beyond it are cut.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Time for rows to be committed after that. Both together leave a margin to the 30 s that process supervisors wait.
const COMMIT_MAX: Duration = Duration::from_secs(18);
/// How often a slow stop says what it waits for.
const REMIND_EVERY: Duration = Duration::from_secs(3);

/// Where a server is reached.
#[derive(Debug, Clone)]
pub struct Reached {
    /// Over HTTP: scheme, address and port.
    pub url: String,
    /// Over the PostgreSQL protocol; none if nobody listens.
    pub pg: Option<SocketAddr>,
}

/// Runs the server until a signal ends it. `beside` begins when the server is ready; if it ends before, the server stops as well.
///
/// # Errors
/// Why it could not start, what it could not finish, or those of `beside`.
pub async fn serve(config: Config, beside: impl AsyncFnOnce(Reached) -> Result<()>) -> Result<()> {
    let mut signals = Signals::install()?;
    let (registry, env) = (Registry::new(), Env { probe: crash_probe()?, ..env() });
    let (auth, tokens) = open_auth(&config.auth, env.clock.clone())?;
    let (tls, certificates) = open_tls(config.tls.as_ref())?;
    check_queries(&config).await?;
    let listener = listen::bind(config.listen)
        .with_context(|| format!("cannot listen on {}: is another server running there?", config.listen))?;
    let address = listener.local_addr()?;
    let pg = Listener::bind(&config.pg)?;
    let flight = flight_sql::Listener::bind(&config.flight)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (data_dir, tables) = (config.storage.data_dir.display(), &config.storage.tables.root);
    info!(%address, scheme, %data_dir, %tables, "listening; reading the log");
    if !config.auth.is_closed() && !address.ip().to_canonical().is_loopback() {
        warn!(%address, "open to every machine that reaches this address: no tokens are configured (--insecure)");
    }

    let refused = own_metrics(&registry)?;
    let about = About::new(&config, env.clock.clone())?;
    let shared = Shared::new(about, auth.clone(), Metrics::register(&registry, env.clock.clone())?, registry.clone());
    let seats = Seats::new(listen::CONNECTIONS_MAX, refused);
    let mut server = listen::serve(listener, tls.clone(), http::router(shared.clone()), seats);
    let watches = [tokens, certificates].into_iter().flatten().map(tokio::spawn).collect();
    let _watches = Watches(watches);

    let reached = Reached { url: format!("{scheme}://{address}"), pg: pg.as_ref().map(Listener::address).transpose()? };
    let random = env.random.clone();
    let (storage, pull, service, engine) = tokio::select! {
        opened = open(&config, &shared, (env, reached.url.clone()), &registry) => opened?,
        name = signals.next() => {
            info!(signal = name, "stopping before the log was read: nothing is lost");
            return Ok(());
        }
        ended = server.ended() => return Err(broken("HTTP", ended)),
    };
    let rates = shared.rates().run();
    let _beside = Watches(vec![tokio::spawn(pull.run()), tokio::spawn(service.clone().run()), tokio::spawn(rates)]);
    let open = (auth.clone(), tls.clone());
    let pg = pg.map(|pg| pg.serve(engine.clone(), open, random.clone(), &registry)).transpose()?;
    let mut flight = flight.map(|flight| flight.serve(engine, (auth, tls), random, &registry)).transpose()?;
    let url = format!("{}/api/v1/write", reached.url);
    info!(url, "ready; to send metrics, give Prometheus `remote_write: [{{url: \"{url}\"}}]`");

    let mut done = Ok(());
    tokio::select! {
        name = signals.next() => info!(signal = name, "stopping; a second signal stops at once"),
        error = closed(&mut server, flight.as_mut()) => {
            warn!(error = format!("{error:#}"), "stopping: connections are no longer accepted");
        }
        ended = beside(reached) => done = ended,
    }
    tokio::select! {
        stopped = stop((&server, flight.as_ref(), pg.as_ref()), &storage, &service) => done.and(stopped),
        name = signals.next() => bail!("stopped at once by a second signal: acknowledged rows are in the log signal={name}"),
    }
}

/// Opens storage and what works on it, and lets requests in.
async fn open(
    config: &Config,
    shared: &Shared,
    (env, url): (Env, String),
    registry: &Registry,
) -> Result<(Storage, Pull, Service, Engine)> {
    let clock = env.clock.clone();
    let storage = Storage::open(config.storage.clone(), schemas::all(), env, registry)
        .await
        .with_context(|| format!("storage cannot be opened data_dir={}", config.storage.data_dir.display()))?;
    let remote_write = RemoteWrite::open(config.remote_write.clone(), storage.clone(), clock.clone(), registry).await?;
    if let Some(spill_dir) = &config.query.spill_dir {
        // What queries of a process that was killed left behind. The folder is ours: storage holds its lock.
        let _ = std::fs::remove_dir_all(spill_dir);
        std::fs::create_dir(spill_dir).with_context(|| format!("{} cannot be made", spill_dir.display()))?;
    }
    let engine = engine(config.query.clone(), &storage, clock.clone(), registry)?;
    retention::apply(&config.retention_rules, &engine, &storage);
    let config::billing::Billing { loads, accounts, exports, look_every_us } = config.billing.clone();
    let loads = Loads::open(loads, storage.clone(), clock.clone()).await?;
    loads.settle(&accounts).await?;
    let tsdb = http::tsdb::router(engine.clone(), remote_write.clone(), storage.clone());
    let server =
        Server { engine: engine.clone(), remote_write: remote_write.clone(), storage: storage.clone(), clock, url };
    let service = Service::open(config.alerting.clone(), server, registry).await?;
    let router = remote_write
        .router()
        .merge(http::notifications::router(engine.clone()))
        .merge(query::router(engine.clone()))
        .merge(tsdb)
        .merge(http::billing::router(loads.clone()))
        .merge(http::alerting::router(service.clone()));
    let page = Parts { engine: engine.clone(), service: service.clone() };
    shared.open(storage.clone(), page, router);
    Ok((storage, Pull::new(loads, exports, look_every_us, Meter::register(registry)?), service, engine))
}

/// Storage for a command that works on a data folder without a server, and the clock.
pub(crate) async fn alone(settings: storage::Config, registry: &Registry) -> Result<(Storage, Clock)> {
    let data_dir = settings.data_dir.clone();
    let settings = storage::Config { upkeep: false, ..settings };
    let env = Env { probe: crash_probe()?, ..env() };
    let clock = env.clock.clone();
    let storage = Storage::open(settings, schemas::all(), env, registry)
        .await
        .with_context(|| format!("the data folder cannot be opened data_dir={}", data_dir.display()))?;
    Ok((storage, clock))
}

/// An engine over open storage.
pub(crate) fn engine(
    config: query::Config,
    storage: &Storage,
    clock: Clock,
    registry: &Registry,
) -> query::Result<Engine> {
    let (store, views) = (storage.store(), storage.clone());
    let catalog = Catalog { store, datasets: schemas::all(), views: Arc::new(move |datasets| views.views(datasets)) };
    Engine::new(config, catalog, clock, registry)
}

/// Ends requests, commits and closes, each in its time.
async fn stop(
    (server, flight, pg): (&Serving, Option<&Serving>, Option<&postgres::Serving>),
    storage: &Storage,
    service: &Service,
) -> Result<()> {
    // Connections that are still there after the time are closed by the servers themselves.
    let drained = waiting("requests", DRAIN_MAX + Duration::from_secs(1), async {
        let flight = async {
            if let Some(flight) = flight {
                flight.stop(DRAIN_MAX).await;
            }
        };
        tokio::join!(server.stop(DRAIN_MAX), flight);
    });
    // What waits for other Alertmanagers goes out meanwhile, and messages under way end.
    let told = waiting("notifications", DRAIN_MAX, service.close());
    let answered = waiting("queries of the PostgreSQL protocol", DRAIN_MAX, async {
        if let Some(pg) = pg {
            pg.stop().await;
        }
    });
    let (drained, told, answered) = tokio::join!(drained, told, answered);
    if answered.is_none() {
        warn!("queries of the PostgreSQL protocol were cut");
    }
    if told.is_none() {
        warn!("not all notifications under way ended: they are told again after the next start");
    }
    if drained.is_none() {
        let connections = server.connections() + flight.map_or(0, Serving::connections);
        warn!(connections, "requests were cut");
    }
    match waiting("storage", COMMIT_MAX, storage.close()).await {
        Some(closed) => closed.context("not everything could be committed: the rest is in the log")?,
        None => bail!("committing took too long: the rest is in the log seconds={}", COMMIT_MAX.as_secs()),
    }
    info!("stopped; all rows are committed");
    Ok(())
}

/// Waits for a part to end and says from time to time that it does; none if its time is up.
async fn waiting<T>(what: &str, most: Duration, ending: impl Future<Output = T>) -> Option<T> {
    let mut reminder = tokio::time::interval(REMIND_EVERY);
    reminder.tick().await;
    let deadline = tokio::time::sleep(most);
    tokio::pin!(deadline, ending);
    loop {
        tokio::select! {
            ended = &mut ending => return Some(ended),
            () = &mut deadline => return None,
            _ = reminder.tick() => info!(waiting_for = what, "still stopping"),
        }
    }
}

/// The tokens in force, and what keeps them fresh.
fn open_auth(config: &auth::Config, clock: Clock) -> Result<(Auth, Option<JoinTask>)> {
    let own = config.tokens.clone();
    let Some(file) = config.tokens_file.clone() else {
        return Ok((Auth::new(own, !config.is_closed(), clock), None));
    };
    let (watched, contents) = Watched::open("tokens", vec![file.clone()])?;
    let read = move |contents: &[String]| -> Result<Vec<Token>> {
        let text = contents.first().map(String::as_str).unwrap_or_default();
        let more = auth::parse_file(&file, text, &config::variable)?;
        auth::joined(&own, more).with_context(|| file.display().to_string())
    };
    let auth = Auth::new(read(&contents)?, false, clock);
    let live = auth.clone();
    let task = watched.follow(move |contents| read(contents).map(|tokens| live.set(tokens)));
    Ok((auth, Some(Box::pin(task))))
}

/// The certificate in force, and what keeps it fresh.
fn open_tls(config: Option<&tls::Config>) -> Result<(Option<RustlsConfig>, Option<JoinTask>)> {
    let Some(config) = config.cloned() else { return Ok((None, None)) };
    let (watched, contents) = Watched::open("certificate and key", config.files())?;
    let live = RustlsConfig::from_config(config.build(&contents)?);
    let reloaded = live.clone();
    let task = watched.follow(move |contents| config.reload(contents, &reloaded));
    Ok((Some(live), Some(Box::pin(task))))
}

/// Checks what only files outside the settings can tell, and says what tokens there are; changes nothing.
///
/// # Errors
/// What would end the start.
pub fn check(config: &Config) -> Result<Vec<Token>> {
    open_tls(config.tls.as_ref())?;
    let (auth, _) = open_auth(&config.auth, env().clock)?;
    Ok(auth.tokens().to_vec())
}

/// Plans the saved queries over tables without rows.
///
/// # Errors
/// Of the first that cannot be planned.
pub async fn check_queries(config: &Config) -> Result<()> {
    if config.query.queries.is_empty() {
        return Ok(());
    }
    let limits = query::Config { spill_dir: None, ..config.query.clone() };
    let engine = Engine::new(limits, Catalog::empty(schemas::all()), env().clock, &Registry::new())?;
    engine.check_queries().await.map_err(folder::told).context("a saved query cannot be planned")
}

/// Metrics of the process itself; gives the counter of refused connections.
fn own_metrics(registry: &Registry) -> Result<IntCounter> {
    registry.register(Box::new(http::process::Process::new()?))?;
    let labels = [("version", http::status::VERSION), ("revision", http::status::REVISION)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let opts = prometheus::Opts::new("streamgauge_build_info", "Always 1; its labels say what was built.");
    let build = IntGauge::with_opts(opts.const_labels(labels))?;
    build.set(1);
    registry.register(Box::new(build))?;
    let help = "Connections refused because there were too many.";
    let refused = IntCounter::new("streamgauge_http_connections_refused_total", help)?;
    registry.register(Box::new(refused.clone()))?;
    Ok(refused)
}

/// The real clock and real randomness.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is where clock and randomness enter")]
pub fn env() -> Env {
    let now_us = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    };
    Env { clock: Clock::new(now_us), random: Random::new(|| uuid::Uuid::new_v4().as_u128()), probe: Probe::default() }
}

/// Ends the process the n-th time a row reaches a point of its way, if `STREAMGAUGE_CRASH_AT=<point>:<n>` says so. For the
/// tests that prove what is left after a crash; nothing else sets it.
fn crash_probe() -> Result<Probe> {
    let Some(setting) = config::variable("STREAMGAUGE_CRASH_AT") else { return Ok(Probe::default()) };
    let parts = setting.split_once(':').and_then(|(point, n)| Some((point.to_owned(), n.parse::<u64>().ok()?)));
    let (point, hit) = parts.context("STREAMGAUGE_CRASH_AT is not <point>:<number>")?;
    let hits = AtomicU64::new(0);
    warn!(point, hit, "this server ends itself on purpose: STREAMGAUGE_CRASH_AT is set");
    Ok(Probe::new(move |reached| {
        if reached == point && hits.fetch_add(1, Ordering::Relaxed) + 1 == hit {
            std::process::abort();
        }
    }))
}

type JoinTask = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why the HTTP server ended, which it does not by itself.
/// Waits for a server to end by itself, which none does while all is well; and says how.
async fn closed(http: &mut Serving, flight: Option<&mut Serving>) -> anyhow::Error {
    let Some(flight) = flight else { return broken("HTTP", http.ended().await) };
    tokio::select! {
        ended = http.ended() => broken("HTTP", ended),
        ended = flight.ended() => broken("Flight SQL", ended),
    }
}

fn broken(what: &str, ended: Result<std::io::Result<()>, JoinError>) -> anyhow::Error {
    let failed = || format!("the server of {what} failed");
    match ended {
        Ok(Ok(())) => anyhow!("the server of {what} ended"),
        Ok(Err(error)) => anyhow!(error).context(failed()),
        Err(error) => anyhow!(error).context(failed()),
    }
}

/// Tasks that end with the scope they are held in.
struct Watches(Vec<JoinHandle<()>>);

impl Drop for Watches {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Signals that ask the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Result<Self> {
        let install = |kind| signal(kind).context("signals cannot be received");
        Ok(Self { terminate: install(SignalKind::terminate())?, interrupt: install(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
