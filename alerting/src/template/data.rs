//! The data that templates are rendered with: a rule's sample, a notification's alerts.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::value::{ListKind, Record, Value};
use crate::{Labels, Result};

/// What a rule's template is about. Gives `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`, `.Values`, and the
/// variables of such names.
#[derive(Debug, Clone)]
pub struct RuleData {
    /// Labels of the sample, before the rule's own are laid over them.
    pub labels: Labels,
    /// Labels of this whole system.
    pub external_labels: Labels,
    /// Where this system is reached from outside.
    pub external_url: String,
    /// The sample's value: a number, or a text for a histogram.
    pub value: Value,
    /// Of a rule in SQL: the other columns of its row, as exact texts.
    pub values: Labels,
}

impl From<RuleData> for Value {
    fn from(data: RuleData) -> Self {
        let fields = vec![
            ("Labels", "Labels", Self::Labels(data.labels)),
            ("ExternalLabels", "ExternalLabels", Self::Labels(data.external_labels)),
            ("ExternalURL", "ExternalURL", Self::text(data.external_url)),
            ("Value", "Value", data.value),
            ("Values", "Values", Self::Labels(data.values)),
        ];
        Self::Record(Arc::new(Record { type_name: "struct", fields }))
    }
}

/// An alert as notifications show it.
#[derive(Debug, Clone)]
pub struct AlertData {
    /// Does it fire? Otherwise it is resolved.
    pub is_firing: bool,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// When it began.
    pub starts_at: DateTime<Utc>,
    /// When it ended or will be taken for ended; nothing if that is not known.
    pub ends_at: Option<DateTime<Utc>>,
    /// Where the expression is seen.
    pub generator_url: String,
}

/// What a notification's template is about. Labels and annotations that all alerts have in common are found here.
#[derive(Debug, Clone)]
pub struct NotificationData {
    /// Name of who is notified.
    pub receiver: String,
    /// The alerts of the group.
    pub alerts: Vec<AlertData>,
    /// Labels they are grouped by.
    pub group_labels: Labels,
    /// Labels of the route.
    pub route_labels: Labels,
    /// Where this system is reached from outside.
    pub external_url: String,
    /// Why it is sent now.
    pub reason: String,
}

impl TryFrom<NotificationData> for Value {
    type Error = crate::Error;

    fn try_from(data: NotificationData) -> Result<Self> {
        let common_labels = common(data.alerts.iter().map(|alert| &alert.labels));
        let common_annotations = common(data.alerts.iter().map(|alert| &alert.annotations));
        let status = status(data.alerts.iter().any(|alert| alert.is_firing));
        let alerts = Self::list(ListKind::Alerts, data.alerts.into_iter().map(Self::from).collect())?;
        let fields = vec![
            ("Receiver", "receiver", Self::text(data.receiver)),
            ("Status", "status", status),
            ("Alerts", "alerts", alerts),
            ("GroupLabels", "groupLabels", Self::Kv(data.group_labels)),
            ("CommonLabels", "commonLabels", Self::Kv(common_labels)),
            ("CommonAnnotations", "commonAnnotations", Self::Kv(common_annotations)),
            ("RouteLabels", "routeLabels", Self::Kv(data.route_labels)),
            ("ExternalURL", "externalURL", Self::text(data.external_url)),
            ("NotificationReason", "notificationReason", Self::text(data.reason)),
        ];
        Ok(Self::Record(Arc::new(Record { type_name: "*template.Data", fields })))
    }
}

impl From<AlertData> for Value {
    fn from(alert: AlertData) -> Self {
        let fingerprint = format!("{:016x}", alert.labels.fingerprint());
        let fields = vec![
            ("Status", "status", status(alert.is_firing)),
            ("Labels", "labels", Self::Kv(alert.labels)),
            ("Annotations", "annotations", Self::Kv(alert.annotations)),
            ("StartsAt", "startsAt", alert.starts_at.into()),
            ("EndsAt", "endsAt", alert.ends_at.map_or(Self::Time(super::time::Time::zero()), Self::from)),
            ("GeneratorURL", "generatorURL", Self::text(alert.generator_url)),
            ("Fingerprint", "fingerprint", Self::text(fingerprint)),
        ];
        Self::Record(Arc::new(Record { type_name: "template.Alert", fields }))
    }
}

fn status(is_firing: bool) -> Value {
    Value::text(if is_firing { "firing" } else { "resolved" })
}

/// What all have in common.
fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = all.next() else { return Labels::default() };
    let mut kept: Vec<(&str, &str)> = first.iter().collect();
    for labels in all {
        kept.retain(|(name, value)| labels.get(name) == *value);
    }
    kept.into_iter().collect()
}
