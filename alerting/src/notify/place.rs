//! Where an integration's messages go, how often they may, and which secrets are on the way.
//!
//! Called by whoever fills the dispatcher, and by the facade. Invariants: a destination's name has no secret in it and stays the same
//! across restarts; integrations of one destination may be told in one message, so whoever reads it is a part of its name.

use super::{borrowed::oauth2, digest::sha256_hex};
use crate::{
    config::{
        http::HttpConfig,
        receiver::Integration,
        values::{HIDDEN, Rate as Written, Secret},
    },
    outbox::Rate,
};

/// Shorter texts are no secrets, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 6;

/// How often an integration's destination may be asked: as its receiver says, or what its kind takes.
#[must_use]
pub fn rate(integration: Integration<'_>, own: Option<&Written>) -> Rate {
    let (every_ms, burst, takes_summaries) = match integration {
        Integration::Slack(config) => (1_000, 1, !is_template(&config.channel)),
        // 120 in any minute.
        Integration::PagerDuty(_) => (600, 20, false),
        // 5 in 2 s, and 30 in a minute to a channel.
        Integration::Discord(_) => (2_000, 1, true),
        Integration::MsTeamsFlow(_) => (1_000, 1, true),
        Integration::Email(config) => (0, 1, !is_template(&config.to)),
        _ => (0, 1, false),
    };
    match own {
        None => Rate { every_ms, burst, takes_summaries },
        Some(own) => {
            // A quarter may come at once, the rest evenly, so that no span of time has more than was written.
            let burst = (own.count / 4).max(1);
            let evenly = own.count.max(1) - burst + 1;
            let per_ms = i64::try_from(own.per.0.as_millis()).unwrap_or(i64::MAX);
            let every_ms = per_ms.saturating_add(i64::from(evenly) - 1) / i64::from(evenly);
            Rate { every_ms, burst, takes_summaries }
        }
    }
}

/// Names where an integration's messages go.
#[must_use]
pub fn destination(integration: Integration<'_>) -> String {
    let of = |secret: &Option<Secret>| match secret {
        Some(Secret::Text(text)) => text.clone(),
        // What is in it may change, and is still for the same.
        Some(Secret::File(path)) => path.display().to_string(),
        None => String::new(),
    };
    let parts = match integration {
        Integration::Slack(config) => {
            let http = config.http_config.as_ref();
            let token = http.and_then(|http| http.authorization.as_ref()).map(|auth| of(&auth.credentials));
            vec![of(&config.api_url), token.unwrap_or_default(), config.channel.clone()]
        }
        Integration::PagerDuty(config) => vec![of(&config.routing_key), of(&config.service_key)],
        Integration::Webhook(config) => vec![of(&config.url)],
        Integration::MsTeamsFlow(config) => vec![of(&config.webhook_url)],
        Integration::Discord(config) => vec![of(&config.webhook_url)],
        Integration::Sns(config) => {
            vec![config.topic_arn.clone(), config.target_arn.clone(), config.phone_number.clone()]
        }
        Integration::Email(config) => {
            let address = config.address().map(ToString::to_string).unwrap_or_default();
            vec![address, config.from.clone(), config.to.clone()]
        }
        _ => Vec::new(),
    };
    format!("{}:{}", integration.kind(), &sha256_hex(parts.join("\n"))[..16])
}

/// How an integration's service is reached over HTTP. TLS, proxies and `oauth2` are for whoever carries the request.
#[must_use]
pub fn http_config(integration: Integration<'_>) -> Option<&HttpConfig> {
    match integration {
        Integration::Slack(config) => config.http_config.as_ref(),
        Integration::PagerDuty(config) => config.http_config.as_ref(),
        Integration::Webhook(config) => config.http_config.as_ref(),
        Integration::MsTeamsFlow(config) => config.http_config.as_ref(),
        Integration::Discord(config) => config.http_config.as_ref(),
        Integration::Sns(config) => config.http_config.as_ref(),
        _ => None,
    }
}

/// What of an integration's configuration we do not do, though it can be written; it is refused when it is read.
#[must_use]
pub fn unspoken(integration: Integration<'_>) -> Option<&'static str> {
    let oauth2 = http_config(integration).and_then(|http| http.oauth2.as_ref()).and_then(oauth2::unspoken);
    let profile = match integration {
        Integration::Sns(config) if !config.sigv4.profile.is_empty() => {
            Some("`sigv4.profile` is not read: set `access_key` and `secret_key`, or AWS_ACCESS_KEY_ID and its kin")
        }
        _ => None,
    };
    oauth2.or(profile)
}

/// A text without what of this integration is secret.
pub(super) fn without_secrets(integration: Integration<'_>, text: &str) -> String {
    let mut secrets: Vec<String> = Vec::new();
    let mut add = |secret: Option<&Secret>| {
        let Some(Ok(secret)) = secret.map(Secret::read) else { return };
        // Of a URL also what comes behind the host, and behind each slash: the token is the end of it.
        if let Some((_, rest)) = secret.split_once("://") {
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            secrets.push(path.to_owned());
            secrets.extend(path.split(['/', '?', '=', '&']).filter(|part| part.len() >= 16).map(str::to_owned));
        }
        secrets.push(secret);
    };
    match integration {
        Integration::Slack(config) => add(config.api_url.as_ref().filter(|_| !is_app(config.http_config.as_ref()))),
        Integration::PagerDuty(config) => {
            add(config.routing_key.as_ref());
            add(config.service_key.as_ref());
        }
        Integration::Webhook(config) => add(config.url.as_ref()),
        Integration::MsTeamsFlow(config) => add(config.webhook_url.as_ref()),
        Integration::Discord(config) => add(config.webhook_url.as_ref()),
        Integration::Sns(config) => add(config.sigv4.secret_key.as_ref()),
        Integration::Email(config) => {
            add(config.auth_password.as_ref());
            add(config.auth_secret.as_ref());
        }
        _ => {}
    }
    if let Some(http) = http_config(integration) {
        add(http.authorization.as_ref().and_then(|auth| auth.credentials.as_ref()));
        add(http.basic_auth.as_ref().and_then(|auth| auth.password.as_ref()));
        add(http.oauth2.as_ref().and_then(|auth| auth.client_secret.as_ref()));
        for header in http.http_headers.values() {
            let files = header.files.iter().cloned().map(Secret::File);
            header.secrets.iter().cloned().chain(files).for_each(|secret| add(Some(&secret)));
        }
    }
    secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    // The longest first: others may be a part of it.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
}

/// Is it a bot's, whose URL everybody has?
fn is_app(http: Option<&HttpConfig>) -> bool {
    http.is_some_and(|http| http.authorization.is_some())
}

fn is_template(text: &str) -> bool {
    text.contains("{{")
}
