//! Tells receivers: makes a message of what is owed, sends it, and says what became of it.
//!
//! Called by the service for each attempt, on a thread that may wait. What a message is, `alerting::notify` knows; how it travels, `carrier`
//! and `mailer`.

use std::sync::Arc;

use alerting::{
    Config, Error, ErrorKind, Result,
    alertmanager::{Deliver, Delivered, Plan},
    config::{
        built::SigV4,
        receiver::{Integration, Receiver},
        slack::Slack,
    },
    dispatch,
    notify::{
        Answer, Credentials, Extra, Notification, Outgoing, Render, Request, before,
        borrowed::sts,
        delivered, delivered_nothing, destination,
        guard::Allowed,
        hears_of_silence, http_config, message, not_sent, rate,
        report::{File, Report},
        slack::{self, Uploading},
        sns, unspoken, wants_new_message,
    },
    outbox::{Attempt, Verdict},
    rows::Promise,
    schedule::Slot,
    template::{AlertData, DEFAULT, Env, Flavour, NotificationData, Set},
};
use anyhow::Context as _;
use chrono::DateTime;
use parking_lot::RwLock;
use storage::Clock;

use super::{carrier::Carrier, kept::Kept, mailer, meter::Meter, questions::Questions};
use crate::config;

/// A configuration in force, with its templates.
#[derive(Clone)]
struct Live {
    config: Arc<Config>,
    templates: Set,
}

/// Tells receivers.
pub struct Teller {
    live: RwLock<Live>,
    carrier: Carrier,
    allowed: Allowed,
    external_url: Arc<str>,
    clock: Clock,
    hostname: String,
    meter: Meter,
    /// Credentials of roles that were assumed.
    roles: Kept<SigV4, Credentials>,
    /// Who knows the answers that are told; nobody where no server runs.
    questions: Option<Questions>,
}

/// A configuration made ready: its plan, and its templates.
pub struct Ready {
    /// How alerts are routed.
    pub plan: Plan,
    templates: Set,
}

/// Makes a configuration ready. Blocks.
///
/// # Errors
/// If a template cannot be read, a route leads to a kind of receiver that we cannot tell, or one is to be told as we cannot.
pub fn ready(config: Config) -> anyhow::Result<Ready> {
    if let Some((receiver, kind)) = config.unbuilt_reachable().first() {
        anyhow::bail!(
            "receiver `{receiver}` has {}_configs, which cannot be told yet: use a webhook, or route nothing to it",
            kind.name()
        );
    }
    for receiver in config.receivers() {
        if let Some(reason) = receiver.integrations().find_map(|(_, integration)| unspoken(integration)) {
            anyhow::bail!("receiver `{}`: {reason}", receiver.name);
        }
    }
    let mut templates = Set::new(Flavour::Notification);
    templates.parse("default.tmpl", DEFAULT)?;
    for pattern in config.templates() {
        let folder = if pattern.is_absolute() { "/" } else { "." };
        for path in alerting::glob::files(folder.as_ref(), &pattern.to_string_lossy())? {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            templates.parse(&path.file_name().unwrap_or_default().to_string_lossy(), &text)?;
        }
    }
    let receivers = config.receivers().map(|receiver| {
        let integrations = receiver.integrations().map(|(_, integration)| dispatch::Integration {
            kind: integration.kind(),
            // A digest shares its message with nobody else.
            destination: match receiver.digest {
                Some(_) => format!("digest of {}: {}", receiver.name, destination(integration)).into(),
                None => destination(integration).into(),
            },
            // What ended is a part of the day.
            sends_resolved: integration.send_resolved() || receiver.digest.is_some(),
            rate: rate(integration, receiver.rate.as_ref()),
            digest: receiver.digest,
            hears_of_silence: hears_of_silence(integration),
        });
        (receiver.name.as_str().into(), integrations.collect())
    });
    let receivers = receivers.collect();
    Ok(Ready { plan: Plan { config: Arc::new(config), receivers }, templates })
}

impl Teller {
    /// By a configuration.
    #[must_use]
    pub fn new(ready: &Ready, (allowed, external_url): (Allowed, Arc<str>), clock: Clock, meter: Meter) -> Self {
        let live = Live { config: Arc::clone(&ready.plan.config), templates: ready.templates.clone() };
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let carrier = Carrier::new(allowed.clone());
        let roles = Kept::default();
        let questions = None;
        Self { live: RwLock::new(live), carrier, allowed, external_url, clock, hostname, meter, roles, questions }
    }

    /// The same with answers to scheduled queries.
    #[must_use]
    pub fn with(self, questions: Questions) -> Self {
        Self { questions: Some(questions), ..self }
    }

    /// By another configuration from now on.
    pub fn reload(&self, ready: &Ready) {
        *self.live.write() = Live { config: Arc::clone(&ready.plan.config), templates: ready.templates.clone() };
    }

    /// Tells one attempt. Blocks.
    fn tell(&self, attempt: &Attempt, answers: &[Option<String>]) -> Delivered {
        let gone = |why: &str| Delivered { verdict: Verdict::Refused(why.to_owned()), answer: String::new() };
        let live = self.live.read().clone();
        let now_ms = self.clock.now_ms();
        let first = match attempt {
            Attempt::One(owed) => Some(owed),
            Attempt::Summary(all) => all.first(),
        };
        let (Some(first), Some(notification)) = (first, Notification::of(attempt, answers, &self.external_url, now_ms))
        else {
            return gone("there is nothing to tell");
        };
        let receiver = live.config.receiver(&first.key.receiver);
        let integration = receiver.and_then(|receiver| receiver.integration(first.key.kind, first.key.integration));
        let Some(integration) = integration else { return gone("the receiver is not configured any more") };
        if let Some(slot) = Slot::of(&first.key.group) {
            let Some(questions) = &self.questions else { return gone("nobody knows the answer") };
            let told = match questions.report(&slot, now_ms - first.since_ms, &self.external_url) {
                Ok(report) => self.tell_report(integration, &live, first.id, (notification, report)),
                // What was told before a failure stays told.
                Err(verdict) => Delivered { verdict, answer: notification.answer.unwrap_or_default() },
            };
            self.meter.told(integration.kind().name(), &told.verdict);
            return told;
        }
        let told = self.tell_by(integration, &live, first.id, notification);
        self.meter.told(integration.kind().name(), &told.verdict);
        told
    }

    /// Tells an answer, or that there is none: then whoever asks the history reads that, too.
    fn tell_report(
        &self,
        integration: Integration<'_>,
        live: &Live,
        id: u128,
        (notification, report): (Notification, Report),
    ) -> Delivered {
        let failure = report.failure.clone().map(|why| Verdict::Refused(format!("the query has no answer: {why}")));
        if let (Some(verdict), Some(_)) = (&failure, slack::posted(&notification)) {
            // The message is there, and lacks its file alone.
            return Delivered { verdict: verdict.clone(), answer: String::new() };
        }
        let told = self.tell_by(integration, live, id, Notification { report: Some(Arc::new(report)), ..notification });
        match failure {
            Some(verdict) if told.verdict == Verdict::Sent => Delivered { verdict, ..told },
            _ => told,
        }
    }

    /// Tells all integrations of a receiver something that nobody is owed, and its end those that are told of ends; says what became of each.
    /// Blocks.
    #[must_use]
    pub fn sample(&self, sample: &Notification, id: u128) -> Vec<(String, Verdict)> {
        let live = self.live.read().clone();
        let mut all = Vec::new();
        for (nth, integration) in live.config.receiver(&sample.receiver).into_iter().flat_map(Receiver::integrations) {
            let name = format!("{}[{nth}]", integration.kind().name());
            let Delivered { verdict, answer } = self.tell_by(integration, &live, id, sample.clone());
            let is_sent = verdict == Verdict::Sent;
            all.push((format!("{name} firing"), verdict));
            if is_sent && integration.send_resolved() {
                let ended = self.tell_by(integration, &live, id, sample.ended(&answer));
                all.push((format!("{name} resolved"), ended.verdict));
            }
        }
        all
    }

    /// Tells by one integration.
    fn tell_by(&self, integration: Integration<'_>, live: &Live, id: u128, notification: Notification) -> Delivered {
        let aws = match self.aws(integration, notification.now_ms) {
            Ok(aws) => aws,
            Err(error) => return not_sent(&error),
        };
        let extra = Extra { id, hostname: self.hostname.clone(), aws };
        if let Integration::Slack(config) = integration
            && let Some(file) = notification.report.as_ref().and_then(|report| report.file.as_ref())
        {
            let told = self.tell_with_file(config, (&notification, file), &live.templates, &extra);
            return told.unwrap_or_else(|failed| failed);
        }
        match self.send(integration, &notification, &live.templates, &extra) {
            Ok(None) => delivered_nothing(&notification),
            Ok(Some(answer)) if notification.answer.is_some() && wants_new_message(integration, &answer) => {
                let anew = Notification { answer: None, ..notification };
                match self.send(integration, &anew, &live.templates, &extra) {
                    Ok(Some(answer)) => delivered(integration, &anew, &answer),
                    Ok(None) => delivered_nothing(&anew),
                    Err(failed) => failed,
                }
            }
            Ok(Some(answer)) => delivered(integration, &notification, &answer),
            Err(failed) => failed,
        }
    }

    /// Tells an answer with its file, if it is a bot of Slack that tells; nobody sees the file before it stands under the message.
    fn tell_with_file(
        &self,
        config: &Slack,
        (notification, file): (&Notification, &File),
        templates: &Set,
        extra: &Extra,
    ) -> std::result::Result<Delivered, Delivered> {
        let (integration, wrong) = (Integration::Slack(config), |error: Error| not_sent(&error));
        let post = |request: &Request| self.post(integration, request, notification);
        let send = |notification: &Notification| -> std::result::Result<Delivered, Delivered> {
            let answer = self.send(integration, notification, templates, extra)?;
            let told = answer.map(|answer| delivered(integration, notification, &answer));
            Ok(told.unwrap_or_else(|| delivered_nothing(notification)))
        };
        let bring = || -> std::result::Result<Option<Uploading>, Delivered> {
            let Some(request) = slack::upload(config, file).map_err(wrong)? else { return Ok(None) };
            let uploading = slack::began(&post(&request)?)?;
            uploading.has_bytes(&post(&uploading.bytes(file))?)?;
            Ok(Some(uploading))
        };
        let before = slack::posted(notification);
        let uploading = match bring() {
            Ok(uploading) => uploading,
            Err(failed) => {
                let Some(report) = notification.report.as_ref().filter(|_| before.is_none()) else {
                    return Err(failed);
                };
                let why = match &failed.verdict {
                    Verdict::Refused(why) => why,
                    Verdict::Failed(why) | Verdict::Limited(_, why) if report.is_late => why,
                    _ => return Err(failed),
                };
                // What can be told is told; that the file could not be is what becomes of it.
                let told =
                    send(&Notification { report: Some(Arc::new(report.without_file(why))), ..notification.clone() })?;
                let verdict = Verdict::Refused(why.clone());
                return Ok(if told.verdict == Verdict::Sent { Delivered { verdict, ..told } } else { told });
            }
        };
        let told = match before {
            Some(before) => Delivered { verdict: Verdict::Sent, answer: before.to_owned() },
            None => send(notification)?,
        };
        let Some(uploading) = uploading.filter(|_| told.verdict == Verdict::Sent) else { return Ok(told) };
        // The message is there, whatever becomes of the file: it is not posted again.
        let shared =
            slack::share(config, &uploading, file, &told.answer).map_err(wrong).and_then(|request| post(&request));
        let verdict = shared.map_or_else(|failed| failed.verdict, |answer| slack::shared(&answer));
        Ok(Delivered { verdict, answer: told.answer })
    }

    /// Who signs requests to AWS: the role that is to be assumed, or whoever the environment says.
    fn aws(&self, integration: Integration<'_>, now_ms: i64) -> Result<Option<Credentials>> {
        let aws = aws();
        let Integration::Sns(config) = integration else { return Ok(aws) };
        if let Some(role) = self.roles.get(&config.sigv4, now_ms) {
            return Ok(Some(role));
        }
        let Some(request) = sns::role_request(config, aws.as_ref(), now_ms)? else { return Ok(aws) };
        let (now, default) = (DateTime::from_timestamp_millis(now_ms).unwrap_or_default(), Default::default());
        let answer = self.carrier.send(&request, config.http_config.as_ref().unwrap_or(&default), now);
        let answer = answer.map_err(|why| Error::new(ErrorKind::Unavailable, format!("no role of AWS: {why}")))?;
        Ok(Some(self.roles.put(&config.sigv4, sts::credentials(&answer, now_ms)?)))
    }

    /// Sends a message; none if there is nothing to say.
    fn send(
        &self,
        integration: Integration<'_>,
        notification: &Notification,
        templates: &Set,
        extra: &Extra,
    ) -> std::result::Result<Option<Answer>, Delivered> {
        let render = Renderer { templates };
        let wrong = |error: Error| not_sent(&error);
        let outgoing = message(integration, notification, &render, extra).map_err(wrong)?;
        if let Some(request) = before(integration, notification, &render).map_err(wrong)? {
            let answer = self.post(integration, &request, notification)?;
            let Delivered { verdict, answer } = delivered(integration, notification, &answer);
            if verdict != Verdict::Sent {
                return Err(Delivered { verdict, answer });
            }
        }
        let sent = match outgoing {
            None => return Ok(None),
            Some(Outgoing::Http(request)) => self.post(integration, &request, notification),
            Some(Outgoing::Mail(mail)) => {
                let tls = match integration {
                    Integration::Email(config) => config.tls_config.as_ref(),
                    _ => None,
                };
                mailer::send(&mail, tls, &self.allowed).map_err(failed)
            }
        };
        sent.map(Some)
    }

    fn post(
        &self,
        integration: Integration<'_>,
        request: &Request,
        notification: &Notification,
    ) -> std::result::Result<Answer, Delivered> {
        let (now, default) =
            (DateTime::from_timestamp_millis(notification.now_ms).unwrap_or_default(), Default::default());
        self.carrier.send(request, http_config(integration).unwrap_or(&default), now).map_err(failed)
    }
}

fn failed(why: String) -> Delivered {
    Delivered { verdict: Verdict::Failed(why), answer: String::new() }
}

/// Tells receivers from threads that may wait.
pub struct Telling(pub Arc<Teller>);

impl Deliver for Telling {
    fn deliver<'a>(&'a self, attempt: &'a Attempt, answers: Vec<Option<String>>) -> Promise<'a, Delivered> {
        let (teller, attempt) = (Arc::clone(&self.0), attempt.clone());
        Box::pin(async move {
            let told = tokio::task::spawn_blocking(move || teller.tell(&attempt, &answers)).await;
            told.unwrap_or_else(|_| {
                let why = "a message broke off; this is a defect of ours".to_owned();
                Delivered { verdict: Verdict::Failed(why), answer: String::new() }
            })
        })
    }
}

/// Who signs requests to AWS if the configuration does not say, by the names that AWS' own tools have.
fn aws() -> Option<Credentials> {
    let [access_key, secret_key] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(config::variable);
    let session_token = config::variable("AWS_SESSION_TOKEN").unwrap_or_default();
    Some(Credentials { access_key: access_key?, secret_key: secret_key?, session_token })
}

/// Renders the templates of a configuration.
struct Renderer<'a> {
    templates: &'a Set,
}

impl Renderer<'_> {
    fn render(&self, template: &str, told: &Notification, html: bool) -> Result<String> {
        let time = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default();
        let alert = |alert: &alerting::notify::Shown| {
            let is_firing = !alert.is_resolved(told.now_ms);
            AlertData {
                is_firing,
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: time(alert.starts_ms),
                ends_at: (!is_firing).then(|| time(alert.ends_ms)),
                generator_url: alert.generator_url.to_string(),
            }
        };
        let data = NotificationData {
            receiver: told.receiver_pattern(),
            alerts: told.alerts.iter().map(alert).collect(),
            group_labels: told.group_labels.clone(),
            route_labels: told.route_labels.clone(),
            external_url: told.external_url.to_string(),
            reason: told.reason.text().to_owned(),
        };
        let env = Env { html, ..Env::new(time(told.now_ms), &told.external_url) };
        self.templates.render_text(template, data.try_into()?, &env)
    }
}

impl Render for Renderer<'_> {
    fn text(&self, template: &str, data: &Notification) -> Result<String> {
        self.render(template, data, false)
    }

    fn html(&self, template: &str, data: &Notification) -> Result<String> {
        self.render(template, data, true)
    }
}
