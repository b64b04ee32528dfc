//! What goes out beside messages to receivers, and what has to come in: other Alertmanagers, the heartbeat, watches; as they are written.
//!
//! A part of [`raw`](super). Entries of `alertmanagers` have Prometheus' grammar, in which settings of HTTP stand among the others. Secrets in
//! here are of a type that does not print them.

use std::{collections::BTreeMap, path::PathBuf};

use alerting::config::{
    http::{Authorization, BasicAuth, Header, HttpConfig, OAuth2, ProxyUrl, TlsConfig},
    values::Secret,
};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Relabel, Span};

/// An entry of `alertmanagers`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alertmanagers {
    pub static_configs: Vec<Targets>,
    pub scheme: Option<Spanned<String>>,
    pub path_prefix: Option<Spanned<String>>,
    pub timeout: Option<Spanned<Span>>,
    pub api_version: Option<Spanned<String>>,
    pub relabel_configs: Vec<Spanned<Relabel>>,
    pub alert_relabel_configs: Vec<Spanned<Relabel>>,
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub oauth2: Option<OAuth2>,
    pub bearer_token: Option<Secret>,
    pub bearer_token_file: Option<PathBuf>,
    pub tls_config: Option<TlsConfig>,
    pub follow_redirects: Option<bool>,
    pub enable_http2: Option<bool>,
    pub proxy_url: Option<ProxyUrl>,
    pub no_proxy: Option<String>,
    pub proxy_from_environment: Option<bool>,
    pub proxy_connect_header: Option<BTreeMap<String, Vec<Secret>>>,
    pub http_headers: Option<BTreeMap<String, Header>>,
}

impl Alertmanagers {
    /// The settings of HTTP; they are taken out.
    pub fn http(&mut self) -> HttpConfig {
        let default = HttpConfig::default();
        HttpConfig {
            basic_auth: self.basic_auth.take(),
            authorization: self.authorization.take(),
            oauth2: self.oauth2.take(),
            bearer_token: self.bearer_token.take(),
            bearer_token_file: self.bearer_token_file.take(),
            tls_config: self.tls_config.take().unwrap_or(default.tls_config),
            follow_redirects: self.follow_redirects.unwrap_or(default.follow_redirects),
            enable_http2: self.enable_http2.unwrap_or(default.enable_http2),
            proxy_url: self.proxy_url.take(),
            no_proxy: self.no_proxy.take().unwrap_or(default.no_proxy),
            proxy_from_environment: self.proxy_from_environment.unwrap_or(default.proxy_from_environment),
            proxy_connect_header: self.proxy_connect_header.take().unwrap_or_default(),
            http_headers: self.http_headers.take().unwrap_or_default(),
        }
    }
}

/// An entry of `static_configs`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    pub targets: Vec<Spanned<String>>,
    pub labels: BTreeMap<String, String>,
}

/// Where life is reported to.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    pub url: Option<Secret>,
    pub url_file: Option<PathBuf>,
    pub interval: Option<Spanned<Span>>,
    pub http_config: HttpConfig,
}

/// What has to arrive again and again.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    pub name: Option<Spanned<String>>,
    pub matchers: Vec<Spanned<String>>,
    pub within: Option<Spanned<Span>>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}
