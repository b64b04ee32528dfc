//! Slack: by the URL of an incoming webhook, or by a bot's token.
//!
//! Used by `receiver`. After settling a bot's token is in `http_config.authorization` and its URL in `api_url`.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#slack_config>

use std::path::PathBuf;

use super::{
    http::{Authorization, HttpConfig},
    receiver::{Given, Settle},
    section::section,
    values::{HIDDEN, Secret, Timeout, Url},
};

/// The only URL at which messages can be changed afterwards.
const POST_MESSAGE: &str = "https://slack.com/api/chat.postMessage";

section! {
    /// `slack_configs`. `thread_replies` and `blocks` are ours: later messages about a group are replies to its first; messages are made of
    /// blocks instead of an attachment.
    pub struct Slack {
        send_resolved: bool = false,
        http_config: Option<HttpConfig> = None,
        api_url: Option<Secret> = None,
        api_url_file: Option<PathBuf> = None,
        app_token: Option<Secret> = None,
        app_token_file: Option<PathBuf> = None,
        app_url: Option<Url> = None,
        channel: String = String::new(),
        username: String = r#"{{ template "slack.default.username" . }}"#.to_owned(),
        color: String = r#"{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}"#.to_owned(),
        title: String = r#"{{ template "slack.default.title" . }}"#.to_owned(),
        title_link: String = r#"{{ template "slack.default.titlelink" . }}"#.to_owned(),
        pretext: String = r#"{{ template "slack.default.pretext" . }}"#.to_owned(),
        text: String = r#"{{ template "slack.default.text" . }}"#.to_owned(),
        message_text: String = String::new(),
        fields: Vec<SlackField> = Vec::new(),
        short_fields: bool = false,
        footer: String = r#"{{ template "slack.default.footer" . }}"#.to_owned(),
        fallback: String = r#"{{ template "slack.default.fallback" . }}"#.to_owned(),
        callback_id: String = r#"{{ template "slack.default.callbackid" . }}"#.to_owned(),
        icon_emoji: String = r#"{{ template "slack.default.iconemoji" . }}"#.to_owned(),
        icon_url: String = r#"{{ template "slack.default.iconurl" . }}"#.to_owned(),
        image_url: String = String::new(),
        thumb_url: String = String::new(),
        link_names: bool = false,
        mrkdwn_in: Vec<String> = Vec::new(),
        actions: Vec<SlackAction> = Vec::new(),
        update_message: bool = false,
        thread_replies: Option<bool> = None,
        blocks: Option<bool> = None,
        timeout: Timeout = Timeout::default(),
    }
}

section! {
    /// An entry of `fields`.
    pub struct SlackField {
        title: String = String::new(),
        value: String = String::new(),
        short: Option<bool> = None,
    }
}

section! {
    /// An entry of `actions`: a button.
    pub struct SlackAction {
        kind("type"): String = String::new(),
        text: String = String::new(),
        url: String = String::new(),
        style: String = String::new(),
        name: String = String::new(),
        value: String = String::new(),
        confirm: Option<SlackConfirm> = None,
    }
}

section! {
    /// `confirm` of an action.
    pub struct SlackConfirm {
        text: String = String::new(),
        title: String = String::new(),
        ok_text: String = String::new(),
        dismiss_text: String = String::new(),
    }
}

impl Settle for Slack {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        let global = given.global;
        Secret::settle(&mut self.api_url, &mut self.api_url_file, given.base, "api_url")?;
        Secret::settle(&mut self.app_token, &mut self.app_token_file, given.base, "app_token")?;
        Secret::check_url(self.api_url.as_ref(), "api_url")?;
        if self.api_url.is_some() && self.app_token.is_some() {
            return Err("at most one of `api_url` and `app_token` can be given".to_owned());
        }
        let authorized = self.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
        if self.app_token.is_none() && self.api_url.is_none() && !authorized {
            self.app_token.clone_from(&global.slack_app_token);
            self.app_token_file.clone_from(&global.slack_app_token_file);
        }
        if self.api_url.is_none() {
            self.api_url.clone_from(&global.slack_api_url);
            self.api_url_file.clone_from(&global.slack_api_url_file);
        }
        given.http(&mut self.http_config)?;
        if self.app_token.is_some() {
            self.speak_as_app(global.slack_app_url.as_ref())?;
        }
        let Some(api_url) = &self.api_url else {
            return Err("it needs an `api_url` or an `app_token`, here or in `global`".to_owned());
        };
        if self.update_message && matches!(api_url, Secret::Text(url) if url != POST_MESSAGE && url != HIDDEN) {
            return Err(format!("`update_message` needs a bot's token: `api_url` must be {POST_MESSAGE}"));
        }
        if self.thread_replies == Some(true) {
            if self.update_message {
                return Err("at most one of `update_message` and `thread_replies` can be given".to_owned());
            }
            if matches!(api_url, Secret::Text(url) if !url.ends_with("/chat.postMessage") && url != HIDDEN) {
                return Err(format!("`thread_replies` needs a bot's token: `api_url` must be {POST_MESSAGE}"));
            }
        }
        self.fields.iter().try_for_each(SlackField::check)?;
        self.actions.iter_mut().try_for_each(SlackAction::settle)
    }
}

impl Slack {
    fn speak_as_app(&mut self, url_of_all: Option<&Url>) -> Result<(), String> {
        let http = self.http_config.get_or_insert_default();
        if http.authorization.is_some() {
            return Err("with an `app_token` there can be no `http_config.authorization`".to_owned());
        }
        http.authorization = Some(Authorization {
            credentials: self.app_token.take(),
            credentials_file: self.app_token_file.take(),
            ..Authorization::default()
        });
        self.app_url = self.app_url.take().or(url_of_all.cloned());
        self.api_url = self.app_url.as_ref().map(|url| Secret::Text(url.as_str().to_owned()));
        self.api_url_file = None;
        Ok(())
    }
}

impl SlackField {
    fn check(&self) -> Result<(), String> {
        if self.title.is_empty() || self.value.is_empty() {
            return Err("an entry of `fields` needs a `title` and a `value`".to_owned());
        }
        Ok(())
    }
}

impl SlackAction {
    fn settle(&mut self) -> Result<(), String> {
        if self.confirm.as_ref().is_some_and(|confirm| confirm.text.is_empty()) {
            return Err("`confirm` needs a `text`".to_owned());
        }
        if self.kind.is_empty() || self.text.is_empty() {
            return Err("an entry of `actions` needs a `type` and a `text`".to_owned());
        }
        if !self.url.is_empty() {
            // A link sends nothing back.
            (self.name, self.value, self.confirm) = (String::new(), String::new(), None);
        } else if self.name.is_empty() {
            return Err("an entry of `actions` needs a `url` or a `name`".to_owned());
        }
        Ok(())
    }
}
