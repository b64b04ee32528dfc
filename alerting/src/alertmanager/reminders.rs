//! Reminds of silences that end while what they silence fires still.
//!
//! Called every minute by the service. A reminder is an alert like others, so it is routed, told once, kept in rows and shown; it fires until
//! its silence ends, and has ended when the silence is made longer. Its labels are those that all silenced alerts have in common, so that it
//! gets to who would be told of them, but for its severity: nobody is called for it.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use hashbrown::HashMap;

use super::{
    Alertmanager,
    things::{Things, posted_row},
};
use crate::{
    ALERTNAME, Labels, Result,
    alerts::{Alert, Change},
    notify::common,
    rows::Rows,
    silence::{REMINDER, REMINDER_OF, Silence, State},
};

const SEVERITY: (&str, &str) = ("severity", "info");

impl Alertmanager {
    /// Tells of silences that end soon, and takes back what is not so any more.
    ///
    /// # Errors
    /// `Unavailable` if that cannot be written down: nobody was told then.
    pub async fn remind(&self) -> Result<()> {
        let (alerts, rows) = {
            let things = self.0.state.lock();
            let now_ms = (self.0.outside.now_ms)();
            let alerts = things.reminders(now_ms);
            let news = alerts.iter().filter_map(|alert| {
                let (alert, change) = things.alerts.with(alert.clone(), now_ms);
                (change != Change::Same).then(|| posted_row(&alert, "reminded", now_ms))
            });
            let rows = Rows { alerts: news.collect(), ..Rows::default() };
            (alerts, rows)
        };
        if !rows.is_empty() {
            self.0.outside.record.append(&rows).await?;
        }
        self.tell(alerts);
        Ok(())
    }
}

impl Things {
    /// Reminders that begin, change their end, or end.
    fn reminders(&self, now_ms: i64) -> Vec<Alert> {
        let of = |alert: &Alert| alert.labels.get(REMINDER_OF).to_owned();
        let is_reminder = |alert: &Alert| alert.labels.get(ALERTNAME) == REMINDER && !of(alert).is_empty();
        let known = self.alerts.iter().filter(|alert| is_reminder(alert));
        let known = known.filter(|alert| !alert.is_resolved(now_ms));
        let mut known: HashMap<String, Arc<Alert>> = known.map(|alert| (of(alert), Arc::clone(alert))).collect();
        let mut reminders = Vec::new();
        for silence in self.silences.iter().filter(|silence| self.ends_soon(silence, now_ms)) {
            match known.remove(&silence.id) {
                Some(reminder) if reminder.ends_ms == silence.ends_ms => {}
                Some(reminder) => reminders.push(Alert {
                    ends_ms: silence.ends_ms,
                    updated_ms: now_ms,
                    is_timeout: false,
                    once: true,
                    ..Alert::clone(&reminder)
                }),
                None => reminders.extend(self.reminder(silence, now_ms)),
            }
        }
        // Of silences that were made longer, or ended before their time.
        let ended = known.into_values();
        reminders.extend(ended.map(|alert| Alert { ends_ms: now_ms, updated_ms: now_ms, ..Alert::clone(&alert) }));
        reminders
    }

    /// One that lasts no longer than a reminder comes before its end needs none.
    fn ends_soon(&self, silence: &Silence, now_ms: i64) -> bool {
        let before_ms = self.remind_before_ms;
        silence.state(now_ms) == State::Active
            && silence.ends_ms - now_ms <= before_ms
            && silence.ends_ms - silence.starts_ms > before_ms
    }

    /// A reminder of a silence; none if nothing that it silences fires.
    fn reminder(&self, silence: &Silence, now_ms: i64) -> Option<Alert> {
        let is_reminder = |alert: &Alert| alert.labels.get(ALERTNAME) == REMINDER;
        let fires =
            |alert: &&Arc<Alert>| !alert.is_resolved(now_ms) && !is_reminder(alert) && silence.silences(&alert.labels);
        let firing: Vec<&Arc<Alert>> = self.alerts.iter().filter(fires).collect();
        if firing.is_empty() {
            return None;
        }
        let shared: Labels = common(firing.iter().map(|alert| &alert.labels));
        let labels = shared.with([(ALERTNAME, REMINDER), (REMINDER_OF, silence.id.as_str()), SEVERITY]);
        let ends = DateTime::from_timestamp_millis(silence.ends_ms).unwrap_or_default();
        let ends = ends.to_rfc3339_opts(SecondsFormat::Secs, true);
        let Silence { created_by, matchers, comment, .. } = silence;
        let alerts = match firing.len() {
            1 => "an alert that it silences still fires",
            count => &format!("{count} alerts that it silences still fire"),
        };
        let summary = format!("A silence of {created_by} ends at {ends}, and {alerts}");
        let description = format!("{matchers}: {comment}");
        let annotations = [("summary", summary.as_str()), ("description", description.as_str())];
        Some(Alert {
            labels,
            annotations: annotations.into_iter().collect(),
            starts_ms: now_ms,
            ends_ms: silence.ends_ms,
            generator_url: Arc::default(),
            updated_ms: now_ms,
            is_timeout: false,
            once: true,
        })
    }
}
