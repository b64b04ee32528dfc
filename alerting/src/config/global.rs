//! What holds for all receivers that do not say otherwise.
//!
//! Called by `config`, which settles it before the receivers.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#file-layout-and-global-settings>

use std::path::{Path, PathBuf};

use super::{
    http::{HttpConfig, TlsConfig},
    section::section,
    values::{HIDDEN, HostPort, Secret, Span, Url},
};

section! {
    /// `global`.
    pub struct Global {
        resolve_timeout: Span = Span::seconds(300),
        http_config: HttpConfig = HttpConfig::default(),
        smtp_from: String = String::new(),
        smtp_hello: String = "localhost".to_owned(),
        smtp_smarthost: Option<Smarthost> = None,
        smtp_auth_username: String = String::new(),
        smtp_auth_password: Option<Secret> = None,
        smtp_auth_password_file: Option<PathBuf> = None,
        smtp_auth_secret: Option<Secret> = None,
        smtp_auth_secret_file: Option<PathBuf> = None,
        smtp_auth_identity: String = String::new(),
        smtp_require_tls: bool = true,
        smtp_tls_config: TlsConfig = TlsConfig::default(),
        smtp_force_implicit_tls: Option<bool> = None,
        slack_api_url: Option<Secret> = None,
        slack_api_url_file: Option<PathBuf> = None,
        slack_app_token: Option<Secret> = None,
        slack_app_token_file: Option<PathBuf> = None,
        slack_app_url: Option<Url> = Url::constant("https://slack.com/api/chat.postMessage"),
        pagerduty_url: Option<Url> = Url::constant("https://events.pagerduty.com/v2/enqueue"),
        opsgenie_api_url: Option<Url> = Url::constant("https://api.opsgenie.com/"),
        opsgenie_api_key: Option<Secret> = None,
        opsgenie_api_key_file: Option<PathBuf> = None,
        wechat_api_url: Option<Url> = Url::constant("https://qyapi.weixin.qq.com/cgi-bin/"),
        wechat_api_secret: Option<Secret> = None,
        wechat_api_secret_file: Option<PathBuf> = None,
        wechat_api_corp_id: String = String::new(),
        victorops_api_url: Option<Url> = Url::constant("https://alert.victorops.com/integrations/generic/20131114/alert/"),
        victorops_api_key: Option<Secret> = None,
        victorops_api_key_file: Option<PathBuf> = None,
        telegram_api_url: Option<Url> = Url::constant("https://api.telegram.org"),
        telegram_bot_token: Option<Secret> = None,
        telegram_bot_token_file: Option<PathBuf> = None,
        webex_api_url: Option<Url> = Url::constant("https://webexapis.com/v1/messages"),
        rocketchat_api_url: Option<Url> = Url::constant("https://open.rocket.chat/"),
        rocketchat_token: Option<Secret> = None,
        rocketchat_token_file: Option<PathBuf> = None,
        rocketchat_token_id: Option<Secret> = None,
        rocketchat_token_id_file: Option<PathBuf> = None,
        mattermost_webhook_url: Option<Secret> = None,
        mattermost_webhook_url_file: Option<PathBuf> = None,
        jira_api_url: Option<Url> = None,
    }
}

/// The address of a mail server; an empty text is none.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(transparent)]
pub struct Smarthost(pub Option<HostPort>);

impl Global {
    pub(super) fn settle(&mut self, base: &Path) -> Result<(), String> {
        self.http_config.settle(base)?;
        self.smtp_tls_config.settle(base)?;
        macro_rules! settle {
            ($($key:ident $file:ident),*) => {
                $(Secret::settle(&mut self.$key, &mut self.$file, base, stringify!($key))?;)*
            };
        }
        settle!(
            smtp_auth_password smtp_auth_password_file,
            smtp_auth_secret smtp_auth_secret_file,
            slack_api_url slack_api_url_file,
            slack_app_token slack_app_token_file,
            opsgenie_api_key opsgenie_api_key_file,
            wechat_api_secret wechat_api_secret_file,
            victorops_api_key victorops_api_key_file,
            telegram_bot_token telegram_bot_token_file,
            rocketchat_token rocketchat_token_file,
            rocketchat_token_id rocketchat_token_id_file,
            mattermost_webhook_url mattermost_webhook_url_file
        );
        Secret::check_url(self.slack_api_url.as_ref(), "slack_api_url")?;
        Secret::check_url(self.mattermost_webhook_url.as_ref(), "mattermost_webhook_url")?;
        // The older way to use a bot: its URL here, its token in each receiver. It may stay while the token moves here.
        let is_app_url = matches!((&self.slack_api_url, &self.slack_app_url),
            (Some(Secret::Text(url)), Some(app)) if url == app.as_str() || url == HIDDEN);
        if self.slack_app_token.is_some() && self.slack_api_url.is_some() && !is_app_url {
            return Err("at most one of `slack_app_token` and `slack_api_url` can be given".to_owned());
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Smarthost {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        HostPort::parse(&text).map(|address| Self(Some(address))).map_err(serde::de::Error::custom)
    }
}
