//! Receivers: a name, and the ways in which those behind it are notified.
//!
//! Called by `config`, which settles them after `global`, and by notifiers, which go through [`Receiver::integrations`].
//!
//! Invariant: after settling, what an integration needs is in it; nobody looks at `global` again.
//! Not here: what is sent.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#receiver>

use std::{collections::BTreeMap, fmt, path::Path};

use serde_saphyr::Spanned;

use super::{
    built::{Discord, Email, MsTeamsFlow, PagerDuty, Sns, Webhook},
    global::Global,
    http::HttpConfig,
    section::section,
    slack::Slack,
    unbuilt::{
        IncidentIo, Jira, Mattermost, MsTeams, OpsGenie, Pushover, RocketChat, Telegram, VictorOps, WeChat, Webex,
    },
    values::Rate,
};
use crate::{Daily, Error, Result};

/// What integrations are settled with.
pub(super) struct Given<'a> {
    pub(super) global: &'a Global,
    /// Folder that relative paths are in.
    pub(super) base: &'a Path,
}

/// An integration as it was written becomes one that is whole, or is refused.
pub(super) trait Settle {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String>;
}

impl Given<'_> {
    /// The integration's own way to speak HTTP, or that of all.
    pub(super) fn http(&self, own: &mut Option<HttpConfig>) -> Result<(), String> {
        match own {
            Some(own) => own.settle(self.base),
            None => {
                *own = Some(self.global.http_config.clone());
                Ok(())
            }
        }
    }
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident $list:ident $key:literal $name:literal $built:literal;)*) => {
        /// The kinds of integrations, in the order in which a receiver's are notified.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReceiverKind {
            $(#[doc = concat!("`", $key, "`")] $kind,)*
        }

        /// One way to notify.
        #[derive(Debug, Clone, Copy)]
        pub enum Integration<'a> {
            $(#[doc = concat!("`", $key, "`")] $kind(&'a $kind),)*
        }

        section! {
            /// `receivers`. `fallback`, `rate` and `digest` are ours: the receiver that gets what this one could not deliver, how much
            /// each integration sends at most, and when it is told of the whole day instead of each change.
            pub struct Receiver {
                name: String = String::new(),
                labels: BTreeMap<String, String> = BTreeMap::new(),
                fallback: Option<Spanned<String>> = None,
                rate: Option<Rate> = None,
                digest: Option<Daily> = None,
                $($list($key): Vec<Spanned<$kind>> = Vec::new(),)*
            }
        }

        impl ReceiverKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name that keys of notifications and metrics have.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Can we notify this way? The others are read and checked, so that a file can be.
            #[must_use]
            pub fn is_built(self) -> bool {
                match self { $(Self::$kind => $built,)* }
            }
        }

        impl Integration<'_> {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> ReceiverKind {
                match self { $(Self::$kind(_) => ReceiverKind::$kind,)* }
            }

            /// Are resolved alerts told?
            #[must_use]
            pub fn send_resolved(&self) -> bool {
                match self { $(Self::$kind(of) => of.send_resolved,)* }
            }
        }

        impl Receiver {
            /// Each integration with its index among those of its kind, in the order in which they are notified.
            pub fn integrations(&self) -> impl Iterator<Item = (usize, Integration<'_>)> {
                std::iter::empty()
                    $(.chain(self.$list.iter().enumerate().map(|(at, of)| (at, Integration::$kind(&of.value)))))*
            }

            /// The integration of a kind and an index among those of its kind.
            #[must_use]
            pub fn integration(&self, kind: ReceiverKind, nth: usize) -> Option<Integration<'_>> {
                let mut all = self.integrations().filter(|(_, integration)| integration.kind() == kind);
                Some(all.nth(nth)?.1)
            }

            fn settle_integrations(&mut self, given: &Given<'_>) -> Result<()> {
                $(for integration in &mut self.$list {
                    integration.value.settle(given).map_err(|reason| {
                        let message = format!("receiver `{}`, `{}`: {reason}", self.name, $key);
                        Error::invalid(message).at(integration.referenced.line(), integration.referenced.column())
                    })?;
                })*
                Ok(())
            }
        }
    };
}

kinds! {
    Webhook webhook "webhook_configs" "webhook" true;
    Email email "email_configs" "email" true;
    PagerDuty pagerduty "pagerduty_configs" "pagerduty" true;
    IncidentIo incidentio "incidentio_configs" "incidentio" false;
    OpsGenie opsgenie "opsgenie_configs" "opsgenie" false;
    WeChat wechat "wechat_configs" "wechat" false;
    Slack slack "slack_configs" "slack" true;
    VictorOps victorops "victorops_configs" "victorops" false;
    Pushover pushover "pushover_configs" "pushover" false;
    Sns sns "sns_configs" "sns" true;
    Telegram telegram "telegram_configs" "telegram" false;
    Discord discord "discord_configs" "discord" true;
    Webex webex "webex_configs" "webex" false;
    MsTeams msteams "msteams_configs" "msteams" false;
    MsTeamsFlow msteamsv2 "msteamsv2_configs" "msteamsv2" true;
    Jira jira "jira_configs" "jira" false;
    RocketChat rocketchat "rocketchat_configs" "rocketchat" false;
    Mattermost mattermost "mattermost_configs" "mattermost" false;
}

impl Receiver {
    pub(super) fn settle(&mut self, given: &Given<'_>) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid("a receiver needs a `name`"));
        }
        let calls = self.integrations().find(|(_, integration)| !integration.kind().takes_digests());
        if let (Some(_), Some((_, integration))) = (self.digest, calls) {
            let (name, kind) = (&self.name, integration.kind());
            let reason =
                format!("receiver `{name}`: nobody reads a digest by `{kind}`; give its alerts another receiver");
            return Err(Error::invalid(reason));
        }
        self.settle_integrations(given)
    }
}

impl ReceiverKind {
    /// The kind of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Can it be told of a whole day in one message?
    #[must_use]
    pub fn takes_digests(self) -> bool {
        matches!(self, Self::Slack | Self::Email | Self::Webhook | Self::Discord | Self::MsTeamsFlow)
    }

    /// Can it be told the answer to a question, a table and a file?
    #[must_use]
    pub fn takes_answers(self) -> bool {
        matches!(self, Self::Slack | Self::Email)
    }
}

impl fmt::Display for ReceiverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
