//! The kinds of integrations that are read and checked, but not built: their keys, and what upstream asks of them.
//!
//! Used by `receiver`, so that a file that names them can be checked. Templates have no defaults here, since nothing is expanded.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings>

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{
    built::hook,
    http::HttpConfig,
    receiver::{Given, Settle},
    section::section,
    values::{Secret, Span, Timeout, Url},
};

section! {
    /// `incidentio_configs`.
    pub struct IncidentIo {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        url: Option<Url> = None,
        url_file: Option<PathBuf> = None,
        alert_source_token: Option<Secret> = None,
        alert_source_token_file: Option<PathBuf> = None,
        max_alerts: u64 = 0,
        timeout: Timeout = Timeout::default(),
        metadata: BTreeMap<String, String> = BTreeMap::new(),
    }
}

section! {
    /// `opsgenie_configs`.
    pub struct OpsGenie {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        api_key: Option<Secret> = None,
        api_key_file: Option<PathBuf> = None,
        api_url: Option<Url> = None,
        message: String = String::new(),
        description: String = String::new(),
        source: String = String::new(),
        details: BTreeMap<String, String> = BTreeMap::new(),
        entity: String = String::new(),
        responders: Vec<Responder> = Vec::new(),
        actions: String = String::new(),
        tags: String = String::new(),
        note: String = String::new(),
        priority: String = String::new(),
        update_alerts: bool = false,
    }
}

section! {
    /// An entry of `responders`.
    pub struct Responder {
        id: String = String::new(),
        name: String = String::new(),
        username: String = String::new(),
        kind("type"): String = String::new(),
    }
}

section! {
    /// `wechat_configs`.
    pub struct WeChat {
        send_resolved: bool = false,
        http_config: Option<HttpConfig> = None,
        api_secret: Option<Secret> = None,
        api_secret_file: Option<PathBuf> = None,
        corp_id: String = String::new(),
        message: String = String::new(),
        api_url: Option<Url> = None,
        to_user: String = String::new(),
        to_party: String = String::new(),
        to_tag: String = String::new(),
        agent_id: String = String::new(),
        message_type: String = "text".to_owned(),
    }
}

section! {
    /// `victorops_configs`.
    pub struct VictorOps {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        api_key: Option<Secret> = None,
        api_key_file: Option<PathBuf> = None,
        api_url: Option<Url> = None,
        routing_key: String = String::new(),
        message_type: String = "CRITICAL".to_owned(),
        state_message: String = String::new(),
        entity_display_name: String = String::new(),
        monitoring_tool: String = String::new(),
        custom_fields: BTreeMap<String, String> = BTreeMap::new(),
    }
}

section! {
    /// `pushover_configs`.
    pub struct Pushover {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        user_key: Option<Secret> = None,
        user_key_file: Option<PathBuf> = None,
        token: Option<Secret> = None,
        token_file: Option<PathBuf> = None,
        title: String = String::new(),
        message: String = String::new(),
        url: String = String::new(),
        url_title: String = String::new(),
        device: String = String::new(),
        sound: String = String::new(),
        priority: String = String::new(),
        retry: Timeout = Timeout(std::time::Duration::from_secs(60)),
        expire: Timeout = Timeout(std::time::Duration::from_secs(3600)),
        ttl: Timeout = Timeout::default(),
        html: bool = false,
        monospace: bool = false,
    }
}

section! {
    /// `telegram_configs`.
    pub struct Telegram {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        api_url: Option<Url> = None,
        bot_token: Option<Secret> = None,
        bot_token_file: Option<PathBuf> = None,
        chat_id: i64 = 0,
        chat_id_file: Option<PathBuf> = None,
        message_thread_id: i64 = 0,
        message: String = String::new(),
        disable_notifications: bool = false,
        parse_mode: String = "HTML".to_owned(),
    }
}

section! {
    /// `webex_configs`.
    pub struct Webex {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        api_url: Option<Url> = None,
        message: String = String::new(),
        room_id: String = String::new(),
    }
}

section! {
    /// `msteams_configs`.
    pub struct MsTeams {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        webhook_url: Option<Secret> = None,
        webhook_url_file: Option<PathBuf> = None,
        title: String = String::new(),
        summary: String = String::new(),
        text: String = String::new(),
    }
}

section! {
    /// `jira_configs`.
    pub struct Jira {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        api_url: Option<Url> = None,
        api_type: String = String::new(),
        project: String = String::new(),
        summary: Value = Value::Null,
        description: Value = Value::Null,
        labels: Vec<String> = Vec::new(),
        priority: String = String::new(),
        issue_type: String = String::new(),
        reopen_transition: String = String::new(),
        resolve_transition: String = String::new(),
        wont_fix_resolution: String = String::new(),
        reopen_duration: Option<Span> = None,
        fields: BTreeMap<String, Value> = BTreeMap::new(),
    }
}

section! {
    /// `rocketchat_configs`.
    pub struct RocketChat {
        send_resolved: bool = false,
        http_config: Option<HttpConfig> = None,
        api_url: Option<Url> = None,
        token: Option<Secret> = None,
        token_file: Option<PathBuf> = None,
        token_id: Option<Secret> = None,
        token_id_file: Option<PathBuf> = None,
        channel: String = String::new(),
        color: String = String::new(),
        title: String = String::new(),
        title_link: String = String::new(),
        text: String = String::new(),
        fields: Vec<BTreeMap<String, Value>> = Vec::new(),
        short_fields: bool = false,
        emoji: String = String::new(),
        icon_url: String = String::new(),
        image_url: String = String::new(),
        thumb_url: String = String::new(),
        link_names: bool = false,
        actions: Vec<BTreeMap<String, Value>> = Vec::new(),
    }
}

section! {
    /// `mattermost_configs`.
    pub struct Mattermost {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        webhook_url: Option<Secret> = None,
        webhook_url_file: Option<PathBuf> = None,
        channel: String = String::new(),
        username: String = String::new(),
        fallback: String = String::new(),
        color: String = String::new(),
        pretext: String = String::new(),
        text: String = String::new(),
        author_name: String = String::new(),
        author_link: String = String::new(),
        author_icon: String = String::new(),
        title: String = String::new(),
        title_link: String = String::new(),
        fields: Vec<BTreeMap<String, Value>> = Vec::new(),
        thumb_url: String = String::new(),
        footer: String = String::new(),
        footer_icon: String = String::new(),
        image_url: String = String::new(),
        icon_url: String = String::new(),
        icon_emoji: String = String::new(),
        attachments: Vec<BTreeMap<String, Value>> = Vec::new(),
        kind("type"): String = String::new(),
        props: BTreeMap<String, Value> = BTreeMap::new(),
        priority: BTreeMap<String, Value> = BTreeMap::new(),
    }
}

/// Finds the secret and its file: the integration's own, or those of `global`.
macro_rules! secret {
    ($of:ident $given:ident $key:ident $file:ident) => {
        Secret::settle(&mut $of.$key, &mut $of.$file, $given.base, stringify!($key))?
    };
    ($of:ident $given:ident $key:ident $file:ident or $all:ident $all_file:ident) => {
        secret!($of $given $key $file);
        if $of.$key.is_none() {
            $of.$key.clone_from(&$given.global.$all);
            $of.$file.clone_from(&$given.global.$all_file);
        }
        need($of.$key.is_some(), concat!("`", stringify!($key), "`, here or as `", stringify!($all), "` in `global`"))?;
    };
}

fn need(given: bool, what: &str) -> Result<(), String> {
    if given { Ok(()) } else { Err(format!("it needs {what}")) }
}

impl Settle for IncidentIo {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        let authorized = self.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
        given.http(&mut self.http_config)?;
        secret!(self given alert_source_token alert_source_token_file);
        self.url_file.take_if(|file| file.as_os_str().is_empty());
        need(self.url.is_some() != self.url_file.is_some(), "one of `url` and `url_file`")?;
        let ways = "one of `alert_source_token` and `http_config.authorization`";
        need(self.alert_source_token.is_some() != authorized, ways)
    }
}

impl Settle for OpsGenie {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        const TYPES: [&str; 5] = ["team", "teams", "user", "escalation", "schedule"];
        given.http(&mut self.http_config)?;
        secret!(self given api_key api_key_file or opsgenie_api_key opsgenie_api_key_file);
        self.api_url = self.api_url.take().or(given.global.opsgenie_api_url.clone()).map(Url::into_folder);
        for responder in &mut self.responders {
            let named = [&responder.id, &responder.name, &responder.username].iter().any(|name| !name.is_empty());
            need(named, "an `id`, `name` or `username` in each of `responders`")?;
            if !responder.kind.contains("{{") {
                responder.kind = responder.kind.to_lowercase();
                need(TYPES.contains(&responder.kind.as_str()), &format!("a `type` of `responders` among {TYPES:?}"))?;
            }
        }
        Ok(())
    }
}

impl Settle for WeChat {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        secret!(self given api_secret api_secret_file or wechat_api_secret wechat_api_secret_file);
        self.api_url = self.api_url.take().or(given.global.wechat_api_url.clone()).map(Url::into_folder);
        if self.corp_id.is_empty() {
            self.corp_id.clone_from(&given.global.wechat_api_corp_id);
        }
        need(!self.corp_id.is_empty(), "`corp_id`, here or as `wechat_api_corp_id` in `global`")?;
        if self.message_type.is_empty() {
            "text".clone_into(&mut self.message_type);
        }
        need(matches!(self.message_type.as_str(), "text" | "markdown"), "a `message_type` of `text` or `markdown`")
    }
}

impl Settle for VictorOps {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        const FIXED: [&str; 7] = [
            "routing_key",
            "message_type",
            "state_message",
            "entity_display_name",
            "monitoring_tool",
            "entity_id",
            "entity_state",
        ];
        given.http(&mut self.http_config)?;
        need(!self.routing_key.is_empty(), "a `routing_key`")?;
        if let Some(name) = FIXED.iter().find(|name| self.custom_fields.contains_key(**name)) {
            return Err(format!("`{name}` cannot be one of `custom_fields`: it has a key of its own"));
        }
        self.api_url = self.api_url.take().or(given.global.victorops_api_url.clone()).map(Url::into_folder);
        secret!(self given api_key api_key_file or victorops_api_key victorops_api_key_file);
        Ok(())
    }
}

impl Settle for Pushover {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        secret!(self given user_key user_key_file);
        secret!(self given token token_file);
        need(self.user_key.is_some(), "a `user_key` or a `user_key_file`")?;
        need(self.token.is_some(), "a `token` or a `token_file`")?;
        if self.html && self.monospace {
            Err("at most one of `html` and `monospace` can be given".to_owned())
        } else {
            Ok(())
        }
    }
}

impl Settle for Telegram {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        secret!(self given bot_token bot_token_file or telegram_bot_token telegram_bot_token_file);
        self.api_url = self.api_url.take().or(given.global.telegram_api_url.clone());
        self.chat_id_file.take_if(|file| file.as_os_str().is_empty());
        need((self.chat_id != 0) != self.chat_id_file.is_some(), "one of `chat_id` and `chat_id_file`")?;
        let modes = ["", "Markdown", "MarkdownV2", "HTML"];
        need(modes.contains(&self.parse_mode.as_str()), "a `parse_mode` of `Markdown`, `MarkdownV2`, `HTML` or nothing")
    }
}

impl Settle for Webex {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        need(!self.room_id.is_empty(), "a `room_id`")?;
        let authorized = self.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
        need(authorized, "an `http_config.authorization` of its own")?;
        self.api_url = self.api_url.take().or(given.global.webex_api_url.clone());
        given.http(&mut self.http_config)
    }
}

impl Settle for MsTeams {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        secret!(self given webhook_url webhook_url_file);
        hook(self.webhook_url.as_ref())
    }
}

impl Settle for Jira {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        need(!self.project.is_empty(), "a `project`")?;
        need(!self.issue_type.is_empty(), "an `issue_type`")?;
        self.api_url = self.api_url.take().or(given.global.jira_api_url.clone());
        need(self.api_url.is_some(), "an `api_url`, here or as `jira_api_url` in `global`")
    }
}

impl Settle for RocketChat {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        self.api_url = self.api_url.take().or(given.global.rocketchat_api_url.clone());
        secret!(self given token_id token_id_file or rocketchat_token_id rocketchat_token_id_file);
        secret!(self given token token_file or rocketchat_token rocketchat_token_file);
        Ok(())
    }
}

impl Settle for Mattermost {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        secret!(self given webhook_url webhook_url_file or mattermost_webhook_url mattermost_webhook_url_file);
        hook(self.webhook_url.as_ref())
    }
}
