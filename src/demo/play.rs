//! What the demo does while its server runs: sends the history and the bills, tells of the incident, and goes on live.
//!
//! Runs on a thread beside the server, and asks it over HTTP as everybody does: remote write as `import prometheus` sends it, bills as `import
//! billing` does, alerts and silences by Alertmanager's API. Invariant: history goes oldest first, and ends before anything live is sent.

use std::{
    fmt,
    io::{self, Write},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use ingest::billing::{Commit, Replaced, Told, Uploaded};
use serde_json::{Value, json};
use storage::Clock;

use super::{
    bills::{Bills, Delivery, LIVE, Stage},
    calendar::{Calendar, STEP_MS, date},
    fleet::{DOWN, Fleet, INCIDENT_ALERT, INCIDENT_SERVICE, send_recorded},
    guide::{Guide, Sent},
    scrape,
};
use crate::{
    app::Reached,
    books::{Books, encoded},
    client::{Access, Client},
    import,
    times::{DAY_MS, show, slices},
};

/// Requests that are sent at once: the server has two of them in work, and one comes in.
const AT_ONCE: usize = 3;
/// How often everything has a new value, milliseconds.
const LIVE_MS: i64 = 15_000;
/// How often a bill is delivered anew, milliseconds.
const BILL_MS: i64 = 3_600_000;
/// For how long what is known is silenced, milliseconds.
const SILENCE_MS: i64 = 7 * DAY_MS;

/// What the demo needs beside its server.
pub(super) struct Play {
    /// The server.
    pub(super) reached: Reached,
    /// When it all is.
    pub(super) calendar: Calendar,
    /// What is billed.
    pub(super) bills: Bills,
    /// What receivers were told.
    pub(super) lines: Receiver<String>,
    /// What is printed when everything is there.
    pub(super) guide: Guide,
    /// The real clock.
    pub(super) clock: Clock,
}

impl Play {
    /// Goes on until the process ends.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn run(self) -> Result<()> {
        let mut fleet = Fleet::new(self.calendar.clone());
        let alert_ms = self.calendar.alert_ms();
        self.tell_of_incident(alert_ms.start, None)?;
        self.silence_what_is_known()?;
        let samples = self.history(&mut fleet)?;
        self.step(&mut fleet)?;
        eprintln!("the metrics are there; loading the bills of a year");
        let lines = self.all_bills()?;
        self.tell_of_incident(alert_ms.start, Some(alert_ms.end))?;
        let sent = Sent { samples, series: fleet.len(), lines };
        say(self.guide.text(&self.reached, &self.calendar, (&sent, self.now_ms())))?;
        self.live(fleet)
    }

    /// Sends the metrics of all days; gives how many samples the server has of them.
    fn history(&self, fleet: &mut Fleet) -> Result<u64> {
        let history = &self.calendar.history_ms;
        let days = (history.end - history.start).div_euclid(DAY_MS);
        let outcome = import::send(&self.reached.url, AT_ONCE, &self.clock, |sink| {
            for (number, day) in (0..).zip(slices(history.clone(), DAY_MS)) {
                sink.progress.of(format!("metrics of {}", date(day.start)));
                sink.progress.at(crate::times::length(&(0..number)) / crate::times::length(&(0..days)), false);
                let times: Vec<i64> = slices(day, STEP_MS).map(|step| step.start).collect();
                fleet.send(&times, sink)?;
            }
            send_recorded(&self.calendar, sink)
        })?;
        ensure!(outcome.refused == 0, "the server refused samples of the demo: refused={}", outcome.refused);
        Ok(outcome.taken.samples)
    }

    /// Sends what there is now, the server's own metrics among it.
    fn step(&self, fleet: &mut Fleet) -> Result<()> {
        let client = self.client();
        let own = client.answered(client.get("/metrics")?.call())?.read_to_string()?;
        let instance = self.reached.url.rsplit('/').next().unwrap_or_default();
        let at_ms = self.now_ms();
        import::send(&self.reached.url, 1, &self.clock, |sink| {
            fleet.send(&[at_ms], sink)?;
            scrape::send(&own, (instance, at_ms), sink)
        })?;
        Ok(())
    }

    /// Delivers all months, oldest first; gives how many lines are loaded.
    fn all_bills(&self) -> Result<u64> {
        let (books, mut lines) = (self.books(), 0);
        let now_ms = self.calendar.history_ms.end;
        for (month, stages) in self.bills.months() {
            for export in self.bills.exports() {
                let mut loaded = 0;
                for stage in stages {
                    if let Some(delivery) = self.bills.delivery(export, month, (*stage, now_ms))? {
                        loaded = deliver(&books, &delivery)?.rows;
                    }
                }
                lines += loaded;
            }
        }
        for (table, csv) in [("accounts", Bills::accounts()), ("exchange_rates", self.bills.rates())] {
            let _: Replaced = books.put(&[table, "demo"], csv.as_bytes())?;
        }
        Ok(lines)
    }

    /// Posts the alert of the incident, as the Prometheus of that time would have.
    fn tell_of_incident(&self, starts_ms: i64, ends_ms: Option<i64>) -> Result<()> {
        let mut alert = json!({
            "labels": {"alertname": INCIDENT_ALERT, "job": INCIDENT_SERVICE, "severity": "critical"},
            "annotations": {"summary": format!("{INCIDENT_SERVICE} fails one request in ten.")},
            "startsAt": show(starts_ms),
        });
        if let Some(ends_ms) = ends_ms {
            alert["endsAt"] = show(ends_ms).into();
        }
        self.post("/api/v2/alerts", &json!([alert]))
    }

    /// Somebody knows that a node is down, and wants to hear no more of it.
    fn silence_what_is_known(&self) -> Result<()> {
        let now_ms = self.now_ms();
        self.post(
            "/api/v2/silences",
            &json!({
                "matchers": [{"name": "instance", "value": DOWN, "isRegex": false, "isEqual": true}],
                "startsAt": show(now_ms),
                "endsAt": show(now_ms + SILENCE_MS),
                "createdBy": "bob",
                "comment": "is being replaced",
            }),
        )
    }

    /// New values every few seconds, a new bill every hour, and what receivers are told as it comes.
    fn live(&self, mut fleet: Fleet) -> Result<()> {
        let now_ms = self.now_ms();
        let (mut step_ms, mut bill_ms) = (now_ms + LIVE_MS, now_ms + BILL_MS);
        loop {
            let now_ms = self.now_ms();
            if now_ms >= bill_ms {
                bill_ms += BILL_MS;
                let month = Bills::month(now_ms);
                if let Some(delivery) = self.bills.delivery(LIVE, month, (Stage::Whole, now_ms))? {
                    deliver(&self.books(), &delivery)?;
                }
            }
            if now_ms >= step_ms {
                step_ms = now_ms + LIVE_MS;
                self.step(&mut fleet)?;
            }
            let left = u64::try_from(step_ms - self.now_ms()).unwrap_or_default();
            match self.lines.recv_timeout(Duration::from_millis(left)) {
                Ok(line) => say(format_args!("{}  {line}", show(self.now_ms())))?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the demo's receiver ended"),
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> Result<()> {
        let client = self.client();
        let sent = client.post(path)?.header("Content-Type", "application/json").send(body.to_string());
        client.answered(sent).with_context(|| path.to_owned())?;
        Ok(())
    }

    fn client(&self) -> Client {
        Client::new(self.reached.url.clone(), Access::default())
    }

    fn books(&self) -> Books {
        Books::of(self.client())
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_us().div_euclid(1000)
    }
}

/// Sends a bill, and has it loaded.
fn deliver(books: &Books, delivery: &Delivery) -> Result<Told> {
    let Delivery { export, part, file } = delivery;
    let name = format!("{export}-{part}.csv.gz");
    let query = format!("?file={}", encoded(&[&name]));
    let uploaded: Uploaded = books.post(&[export, part], &query, file.as_slice())?;
    let commit = Commit { files: Some(vec![uploaded]), ..Commit::default() };
    let told: Told = books.post(&[export, part, "commit"], "", serde_json::to_string(&commit)?)?;
    ensure!(told.rejects == 0, "lines of the demo's bills were refused: {}", told.refused.join("; "));
    Ok(told)
}

fn say(text: impl fmt::Display) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}
