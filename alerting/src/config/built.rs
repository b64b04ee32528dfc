//! The other kinds of integrations by which we notify: all of their fields, with upstream's defaults.
//!
//! Used by `receiver`. Texts are templates, which are expanded when a notification is made.
//! Not here: Slack, which has a file of its own.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings>

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{
    global::Smarthost,
    http::{HttpConfig, TlsConfig},
    receiver::{Given, Settle},
    section::section,
    values::{HostPort, Secret, Timeout, Url},
};

section! {
    /// `webhook_configs`.
    pub struct Webhook {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        url: Option<Secret> = None,
        url_file: Option<PathBuf> = None,
        max_alerts: u64 = 0,
        timeout: Timeout = Timeout::default(),
        payload: Value = Value::Null,
    }
}

section! {
    /// `email_configs`.
    pub struct Email {
        send_resolved: bool = false,
        to: String = String::new(),
        from: String = String::new(),
        hello: String = String::new(),
        smarthost: Option<Smarthost> = None,
        auth_username: String = String::new(),
        auth_password: Option<Secret> = None,
        auth_password_file: Option<PathBuf> = None,
        auth_secret: Option<Secret> = None,
        auth_secret_file: Option<PathBuf> = None,
        auth_identity: String = String::new(),
        headers: BTreeMap<String, String> = BTreeMap::new(),
        html: String = r#"{{ template "email.default.html" . }}"#.to_owned(),
        text: String = String::new(),
        require_tls: Option<bool> = None,
        force_implicit_tls: Option<bool> = None,
        tls_config: Option<TlsConfig> = None,
        threading: Threading = Threading::default(),
    }
}

section! {
    /// `threading` of mail.
    pub struct Threading {
        enabled: bool = false,
        thread_by_date: String = String::new(),
    }
}

section! {
    /// `pagerduty_configs`. Two of them are ours. `change_events`: what begins to fire is told as a change, which is shown beside incidents
    /// and calls nobody. `acknowledge_silenced`: an incident is acknowledged once all that fires in it is silenced.
    pub struct PagerDuty {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        service_key: Option<Secret> = None,
        service_key_file: Option<PathBuf> = None,
        routing_key: Option<Secret> = None,
        routing_key_file: Option<PathBuf> = None,
        url: Option<Url> = None,
        client: String = r#"{{ template "pagerduty.default.client" . }}"#.to_owned(),
        client_url: String = r#"{{ template "pagerduty.default.clientURL" . }}"#.to_owned(),
        description: String = r#"{{ template "pagerduty.default.description" .}}"#.to_owned(),
        details: BTreeMap<String, Value> = BTreeMap::new(),
        images: Vec<PagerDutyImage> = Vec::new(),
        links: Vec<PagerDutyLink> = Vec::new(),
        source: String = String::new(),
        severity: String = "error".to_owned(),
        class: String = String::new(),
        component: String = String::new(),
        group: String = String::new(),
        timeout: Timeout = Timeout::default(),
        change_events: Option<bool> = None,
        acknowledge_silenced: Option<bool> = None,
    }
}

section! {
    /// An entry of `images`.
    pub struct PagerDutyImage {
        src: String = String::new(),
        alt: String = String::new(),
        href: String = String::new(),
    }
}

section! {
    /// An entry of `links`.
    pub struct PagerDutyLink {
        href: String = String::new(),
        text: String = String::new(),
    }
}

section! {
    /// `msteamsv2_configs`.
    pub struct MsTeamsFlow {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        webhook_url: Option<Secret> = None,
        webhook_url_file: Option<PathBuf> = None,
        title: String = r#"{{ template "msteamsv2.default.title" . }}"#.to_owned(),
        text: String = r#"{{ template "msteamsv2.default.text" . }}"#.to_owned(),
    }
}

section! {
    /// `discord_configs`.
    pub struct Discord {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        webhook_url: Option<Secret> = None,
        webhook_url_file: Option<PathBuf> = None,
        content: String = String::new(),
        title: String = r#"{{ template "discord.default.title" . }}"#.to_owned(),
        message: String = r#"{{ template "discord.default.message" . }}"#.to_owned(),
        username: String = String::new(),
        avatar_url: String = String::new(),
    }
}

section! {
    /// `sns_configs`.
    pub struct Sns {
        send_resolved: bool = true,
        http_config: Option<HttpConfig> = None,
        api_url: String = String::new(),
        sigv4: SigV4 = SigV4::default(),
        topic_arn: String = String::new(),
        phone_number: String = String::new(),
        target_arn: String = String::new(),
        subject: String = r#"{{ template "sns.default.subject" . }}"#.to_owned(),
        message: String = r#"{{ template "sns.default.message" . }}"#.to_owned(),
        attributes: BTreeMap<String, String> = BTreeMap::new(),
    }
}

section! {
    /// `sigv4`: who signs requests to AWS. `sts_url` is ours: where roles are assumed, if not at AWS' own address.
    #[derive(PartialEq)]
    pub struct SigV4 {
        region: String = String::new(),
        access_key: String = String::new(),
        secret_key: Option<Secret> = None,
        profile: String = String::new(),
        role_arn: String = String::new(),
        external_id: String = String::new(),
        use_fips_sts_endpoint: bool = false,
        sts_url: String = String::new(),
    }
}

impl Settle for Webhook {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        Secret::settle(&mut self.url, &mut self.url_file, given.base, "url")?;
        Secret::check_url(self.url.as_ref(), "url")?;
        self.url.is_some().then_some(()).ok_or_else(|| "it needs a `url` or a `url_file`".to_owned())
    }
}

impl Settle for Email {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        if self.to.is_empty() {
            return Err("it needs an address `to`".to_owned());
        }
        self.settle_headers()?;
        let dates = ["", "none", "daily"];
        if self.threading.enabled && !dates.contains(&self.threading.thread_by_date.as_str()) {
            return Err("`thread_by_date` must be `none` or `daily`".to_owned());
        }
        let global = given.global;
        Secret::settle(&mut self.auth_password, &mut self.auth_password_file, given.base, "auth_password")?;
        Secret::settle(&mut self.auth_secret, &mut self.auth_secret_file, given.base, "auth_secret")?;
        if self.auth_password.is_none() {
            self.auth_password.clone_from(&global.smtp_auth_password);
            self.auth_password_file.clone_from(&global.smtp_auth_password_file);
        }
        if self.auth_secret.is_none() {
            self.auth_secret.clone_from(&global.smtp_auth_secret);
            self.auth_secret_file.clone_from(&global.smtp_auth_secret_file);
        }
        for (own, all) in [
            (&mut self.from, &global.smtp_from),
            (&mut self.hello, &global.smtp_hello),
            (&mut self.auth_username, &global.smtp_auth_username),
            (&mut self.auth_identity, &global.smtp_auth_identity),
        ] {
            if own.is_empty() {
                own.clone_from(all);
            }
        }
        match &mut self.tls_config {
            Some(own) => own.settle(given.base)?,
            none => *none = Some(global.smtp_tls_config.clone()),
        }
        self.require_tls.get_or_insert(global.smtp_require_tls);
        self.force_implicit_tls = self.force_implicit_tls.or(global.smtp_force_implicit_tls);
        if self.address().is_none() {
            self.smarthost.clone_from(&global.smtp_smarthost);
        }
        if self.address().is_none() {
            return Err("it needs a `smarthost`, here or as `smtp_smarthost` in `global`".to_owned());
        }
        if self.from.is_empty() {
            return Err("it needs an address `from`, here or as `smtp_from` in `global`".to_owned());
        }
        Ok(())
    }
}

impl Email {
    /// The mail server.
    #[must_use]
    pub fn address(&self) -> Option<&HostPort> {
        self.smarthost.as_ref()?.0.as_ref()
    }

    /// Names of headers in the form `Reply-To`; two that are the same then are refused.
    fn settle_headers(&mut self) -> Result<(), String> {
        for (name, value) in std::mem::take(&mut self.headers) {
            let canonical = canonical_header(&name);
            if self.headers.contains_key(&canonical) {
                return Err(format!("header `{canonical}` is given twice"));
            }
            self.headers.insert(canonical, value);
        }
        Ok(())
    }
}

fn canonical_header(name: &str) -> String {
    // A name that is no name of a header stays as it is.
    if name.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))) {
        return name.to_owned();
    }
    let parts = name.split('-').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    });
    parts.collect::<Vec<_>>().join("-")
}

impl Settle for PagerDuty {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        const DETAILS: [(&str, &str); 4] = [
            ("firing", r#"{{ template "pagerduty.default.instances" .Alerts.Firing }}"#),
            ("resolved", r#"{{ template "pagerduty.default.instances" .Alerts.Resolved }}"#),
            ("num_firing", "{{ .Alerts.Firing | len }}"),
            ("num_resolved", "{{ .Alerts.Resolved | len }}"),
        ];
        given.http(&mut self.http_config)?;
        Secret::settle(&mut self.routing_key, &mut self.routing_key_file, given.base, "routing_key")?;
        Secret::settle(&mut self.service_key, &mut self.service_key_file, given.base, "service_key")?;
        if self.routing_key.is_none() && self.service_key.is_none() {
            return Err("it needs a `routing_key` or a `service_key`, or a file with one".to_owned());
        }
        if self.change_events == Some(true) {
            if self.service_key.is_some() {
                return Err("`change_events` need a `routing_key`: the older API has none".to_owned());
            }
            if self.acknowledge_silenced == Some(true) {
                return Err("`change_events` are no incidents: there is nothing to `acknowledge_silenced`".to_owned());
            }
            // A change does not end.
            self.send_resolved = false;
        }
        self.url = self.url.take().or(given.global.pagerduty_url.clone());
        if self.source.is_empty() {
            self.source.clone_from(&self.client);
        }
        for (name, template) in DETAILS {
            self.details.entry(name.to_owned()).or_insert_with(|| template.into());
        }
        Ok(())
    }
}

impl Settle for MsTeamsFlow {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        Secret::settle(&mut self.webhook_url, &mut self.webhook_url_file, given.base, "webhook_url")?;
        hook(self.webhook_url.as_ref())
    }
}

impl Settle for Discord {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        Secret::settle(&mut self.webhook_url, &mut self.webhook_url_file, given.base, "webhook_url")?;
        hook(self.webhook_url.as_ref())
    }
}

/// Checks a URL that has to be there.
pub(super) fn hook(url: Option<&Secret>) -> Result<(), String> {
    Secret::check_url(url, "webhook_url")?;
    url.map(drop).ok_or_else(|| "it needs a `webhook_url` or a `webhook_url_file`".to_owned())
}

impl Settle for Sns {
    fn settle(&mut self, given: &Given<'_>) -> Result<(), String> {
        given.http(&mut self.http_config)?;
        let targets = [&self.topic_arn, &self.target_arn, &self.phone_number];
        // As upstream counts: one or all three; which of three is used is its order.
        if targets.iter().filter(|target| target.is_empty()).count() % 2 == 1 {
            return Err("it needs one of `topic_arn`, `target_arn` and `phone_number`".to_owned());
        }
        let SigV4 { access_key, secret_key, .. } = &mut self.sigv4;
        secret_key.take_if(|key| *key == Secret::Text(String::new()));
        if access_key.is_empty() != secret_key.is_none() {
            return Err("`access_key` and `secret_key` of `sigv4` must be given together".to_owned());
        }
        Ok(())
    }
}
