//! Rules and notifications of a server: opened with it, run beside it, and read anew when their files change.
//!
//! Called by `app`. Files are looked at every few seconds, at SIGHUP and at `POST /-/reload`. Invariant: files that are refused change nothing,
//! and are told once.

pub mod ruler;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alerting::{
    Config,
    alertmanager::{Alertmanager, Known, Outside},
    forward::Forward,
    notify::guard::Allowed,
    schedule::Schedule,
    watch::{Watch, Watches},
};
use anyhow::{Context, Result, bail};
use ingest::remote_write::RemoteWrite;
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use query::Engine;
use sha2::{Digest, Sha256};
use storage::{Clock, Storage};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tracing::{info, warn};

use super::{
    carrier::Carrier,
    forward::forward,
    heartbeat::{self, Heart},
    meter::Meter,
    questions::Questions,
    record::{self, Recorder},
    rules::{self, Loaded, Parts, READ_BACK_MS, Rules},
    telling::{Ready, Teller, Telling, ready},
};
use crate::{
    config::{self, alerting::Alerting, outbound::Others, queries::Scheduled},
    http::pagerduty,
};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Who is told if nobody is configured: nobody.
const NOBODY: &str = "route: {receiver: nobody, group_by: [alertname]}\nreceivers: [{name: nobody}]\n";

/// Rules and notifications. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    settings: Alerting,
    manager: Alertmanager,
    rules: Rules,
    teller: Arc<Teller>,
    meter: Meter,
    forward: Forward,
    heart: Mutex<Option<(Heart, heartbeat::Meter)>>,
    /// Is told to look at the files now.
    look: Notify,
    /// Of what is in force.
    seen: Mutex<Digests>,
    /// Held while what is in force changes.
    in_force: tokio::sync::Mutex<InForce>,
    started_ms: i64,
}

/// What is in the files.
struct Contents {
    ready: Ready,
    rules: InForce,
    digests: Digests,
}

/// Of the contents of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digests {
    /// Who is told, and how.
    notifications: [u8; 32],
    /// Rules of the files that the settings name.
    files: [u8; 32],
    /// Rules of the folder that the API writes.
    own: [u8; 32],
}

/// Groups of rules.
struct InForce {
    /// Of the files that the settings name.
    files: Vec<Loaded>,
    /// Of the folder that the API writes.
    own: Vec<Loaded>,
}

impl InForce {
    fn all(&self) -> Vec<Loaded> {
        self.files.iter().chain(&self.own).cloned().collect()
    }
}

/// Parts of the server that rules and notifications work with.
pub struct Server {
    /// Answers queries.
    pub engine: Engine,
    /// Keeps samples of rules.
    pub remote_write: RemoteWrite,
    /// Keeps everything else.
    pub storage: Storage,
    /// What time it is.
    pub clock: Clock,
    /// Where it listens, as a URL.
    pub url: String,
}

impl Service {
    /// Goes on where it was left.
    ///
    /// # Errors
    /// If a file is wrong, or what was written down before cannot be read.
    pub async fn open(settings: Alerting, server: Server, registry: &prometheus::Registry) -> Result<Self> {
        let Server { engine, remote_write, storage, clock, url } = server;
        let started_ms = clock.now_ms();
        let external_url = settings.external_url.clone().unwrap_or(url);
        let contents = {
            let settings = settings.clone();
            tokio::task::spawn_blocking(move || contents(&settings)).await??
        };
        let now_us = clock.now_us();
        let since_us = now_us.saturating_sub(READ_BACK_MS.saturating_mul(1000));
        let known =
            record::known(&engine, (since_us, since_us), now_us).await.context("what was written down about alerts")?;
        let meter = Meter::register(registry)?;
        let ways = (settings.allowed.clone(), external_url.as_str().into());
        let teller = Teller::new(&contents.ready, ways, clock.clone(), meter.clone());
        let questions = Questions::new(engine.clone(), Handle::current(), settings.scheduled.clone());
        let teller = Arc::new(teller.with(questions));
        let carrier = Arc::new(Carrier::new(Allowed::all()));
        let forward = forward(&settings.others, &carrier, &clock, registry)?;
        forward.restore(&known.alerts, started_ms);
        let watches = Watches::new(watches(&settings, &external_url), &known.alerts, started_ms);
        let record: Arc<Recorder> = Arc::new(Recorder(storage.clone()));
        let (now, random) = (clock.clone(), crate::app::env().random);
        let outside = Outside {
            record: Arc::<Recorder>::clone(&record),
            deliver: Arc::new(Telling(Arc::clone(&teller))),
            now_ms: Arc::new(move || now.now_ms()),
            random: Arc::new(move || random.bits()),
            forward: forward.clone(),
            watches,
        };
        let of_rules = known.alerts.clone();
        let known = Known {
            alerts: known.alerts,
            ends: known.ends,
            notifications: known.notifications,
            silences: known.silences,
            limits: settings.silences,
            remind_before_ms: settings.remind_before_ms,
            schedules: settings.scheduled.iter().map(|scheduled| scheduled.schedule.clone()).collect(),
            slots: known.slots,
        };
        let manager = Alertmanager::open(contents.ready.plan, known, outside);
        let parts = Parts {
            engine,
            remote_write,
            record,
            manager: manager.clone(),
            clock: clock.clone(),
            settings: settings.clone(),
            external_url,
        };
        let rules = Rules::new(parts, of_rules, registry)?;
        rules.apply(contents.rules.all());
        let heart = settings.heartbeat.clone().map(|settings| -> Result<_> {
            let (rules, manager) = (rules.clone(), manager.clone());
            let heart = Heart { settings, carrier, rules, manager, storage, clock };
            Ok((heart, heartbeat::Meter::register(registry)?))
        });
        let heart = Mutex::new(heart.transpose()?);
        let (look, seen) = (Notify::new(), Mutex::new(contents.digests));
        let in_force = tokio::sync::Mutex::new(contents.rules);
        let inner = Inner { settings, manager, rules, teller, meter, forward, heart, look, seen, in_force, started_ms };
        Ok(Self(Arc::new(inner)))
    }

    /// Other Alertmanagers that are told of alerts.
    #[must_use]
    pub fn others(&self) -> &Others {
        &self.0.settings.others
    }

    /// Sends other Alertmanagers what waits for them, for the last time, and waits for messages under way.
    pub async fn close(&self) {
        tokio::join!(self.0.forward.close(), self.0.manager.close());
    }

    /// Alerts, silences and notifications.
    #[must_use]
    pub fn manager(&self) -> &Alertmanager {
        &self.0.manager
    }

    /// The file with secrets by which PagerDuty signs what it tells, if it may tell something.
    #[must_use]
    pub fn pagerduty_secrets(&self) -> Option<&Path> {
        self.0.settings.pagerduty_secrets_file.as_deref()
    }

    /// When it began, milliseconds.
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.0.started_ms
    }

    /// Rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Tells whoever is to be told, and looks at the files, until it is dropped.
    pub async fn run(self) {
        let hangup = signal(SignalKind::hangup());
        let looking = async {
            let Ok(mut hangup) = hangup else { return };
            let mut refused = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.0.look.notified() => {}
                    _ = hangup.recv() => info!("SIGHUP: looking at the files of rules and notifications"),
                }
                self.0.meter.show(&self.0.manager);
                let now = self.reload().await.err().map(|error| format!("{error:#}"));
                if let Some(error) = now.as_ref().filter(|_| now != refused) {
                    warn!("files of rules or notifications are refused, and what was in force stays: {error}");
                }
                refused = now;
            }
        };
        let heart = self.0.heart.lock().take();
        let beating = async {
            if let Some((heart, meter)) = heart {
                heart.run(meter).await;
            }
        };
        // In one task: what ends one of them ends the heartbeat.
        tokio::join!(self.0.manager.run(), looking, self.0.forward.run(), beating);
    }

    /// Puts the files into force if they have changed.
    ///
    /// # Errors
    /// What is wrong with them; nothing changes then, and they are read again the next time.
    pub async fn reload(&self) -> Result<()> {
        let mut in_force = self.0.in_force.lock().await;
        let settings = self.0.settings.clone();
        let seen = *self.0.seen.lock();
        let read = move || if Digests::of(&settings)? == seen { Ok(None) } else { contents(&settings).map(Some) };
        let Some(Contents { ready, rules, digests }) = tokio::task::spawn_blocking(read).await?? else { return Ok(()) };
        // Whoever is told goes on undisturbed when rules change.
        if digests.notifications != seen.notifications {
            self.0.teller.reload(&ready);
            self.0.manager.reload(ready.plan);
        }
        *in_force = rules;
        self.0.rules.apply(in_force.all());
        *self.0.seen.lock() = digests;
        info!("files of rules and notifications changed and are in force");
        Ok(())
    }
}

/// The watches of the settings, with where to look.
fn watches(settings: &Alerting, external_url: &str) -> Vec<Watch> {
    let watch = |watch: &Watch| {
        let filters: Vec<String> = watch
            .matchers
            .iter()
            .map(|matcher| utf8_percent_encode(&matcher.to_string(), NON_ALPHANUMERIC).to_string())
            .collect();
        let generator_url = format!("{external_url}/api/v2/alerts?filter={}", filters.join("&filter="));
        Watch { generator_url: generator_url.into(), ..watch.clone() }
    };
    settings.watches.iter().map(watch).collect()
}

/// Reads and checks the files that settings name, and the server's own. Blocks.
fn contents(settings: &Alerting) -> Result<Contents> {
    check_secrets(settings)?;
    let digests = Digests::of(settings)?;
    let config = config_of(settings)?;
    check_scheduled(settings, &config)?;
    let mut rules = InForce { files: of_settings(settings)?, own: rules::folder::read(&settings.rules_folder)? };
    // A file that the settings name since has the last word.
    rules.own.retain(|own| rules.files.iter().all(|file| file.file != own.file));
    Ok(Contents { ready: ready(config)?, rules, digests })
}

fn check_secrets(settings: &Alerting) -> Result<()> {
    let Some(file) = &settings.pagerduty_secrets_file else { return Ok(()) };
    pagerduty::secrets(file).context("`alerting.pagerduty_secrets_file`").map(drop)
}

/// Is everybody there who is told answers, and can be?
fn check_scheduled(settings: &Alerting, config: &Config) -> Result<()> {
    for Scheduled { schedule: Schedule { query, receiver: name, .. }, place, .. } in &settings.scheduled {
        let Some(receiver) = config.receiver(name) else {
            let known: Vec<&str> = config.receivers().map(|receiver| receiver.name.as_str()).collect();
            bail!("{place}: there is no receiver `{name}` in `alerting.config`; there are {}", known.join(", "));
        };
        let mut kinds = receiver.integrations().map(|(_, integration)| integration.kind());
        if let Some(kind) = kinds.find(|kind| !kind.takes_answers()) {
            bail!(
                "{place}: receiver `{name}` has {kind}_configs, and the answer to query `{query}` is told by Slack or e-mail \
                 alone: name a receiver that has only slack_configs and email_configs"
            );
        }
        if receiver.integrations().next().is_none() {
            bail!(
                "{place}: receiver `{name}` has no integrations, so nobody would be told the answer to query `{query}`"
            );
        }
    }
    Ok(())
}

fn of_settings(settings: &Alerting) -> Result<Vec<Loaded>> {
    rules::load(Path::new("."), &settings.rules)
}

/// The configuration that settings name. Blocks.
///
/// # Errors
/// What is wrong with it: file, line and column.
pub fn config_of(settings: &Alerting) -> Result<Config> {
    let Some(file) = &settings.config else { return Ok(Config::parse(NOBODY, Path::new("."))?) };
    let text = config::read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    Config::parse(&text, folder).map_err(|error| anyhow::anyhow!("{}:{error}", file.display()))
}

/// Checks the files that settings name; gives how many rules there are. Blocks.
///
/// # Errors
/// All that is wrong with them.
pub fn check(settings: &Alerting) -> Result<usize> {
    check_secrets(settings)?;
    let config = config_of(settings)?;
    check_scheduled(settings, &config)?;
    ready(config)?;
    Ok(of_settings(settings)?.iter().flat_map(|loaded| &loaded.groups).map(|group| group.rules.len()).sum())
}

impl Digests {
    /// Of what is in the files now. Blocks.
    fn of(settings: &Alerting) -> Result<Self> {
        let mut of_notifications = Sha256::new();
        add(&mut of_notifications, settings.config.iter());
        if let Ok(config) = config_of(settings) {
            for pattern in config.templates() {
                let files = alerting::glob::files(Path::new("/"), &pattern.to_string_lossy())?;
                add(&mut of_notifications, files.iter());
            }
        }
        let mut of_files = Sha256::new();
        for pattern in &settings.rules {
            add(&mut of_files, alerting::glob::files(Path::new("."), pattern)?.iter());
        }
        let own = Self::own(settings);
        Ok(Self { notifications: of_notifications.finalize().into(), files: of_files.finalize().into(), own })
    }

    fn own(settings: &Alerting) -> [u8; 32] {
        let mut hash = Sha256::new();
        add(&mut hash, alerting::glob::files(&settings.rules_folder, "*.yaml").unwrap_or_default().iter());
        hash.finalize().into()
    }
}

fn add<'a>(hash: &mut Sha256, files: impl Iterator<Item = &'a PathBuf>) {
    for file in files {
        let text = std::fs::read(file).unwrap_or_default();
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
}
