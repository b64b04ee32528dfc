//! How a service is reached over HTTP: who we are, through which proxy, whom we trust.
//!
//! Used by receivers and by `global`. `settle` checks what may stand together and finds the files of secrets.
//! Not here: connections.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#http_config>

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    section::section,
    values::{Secret, Url, without_password},
};

const TLS_VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];
/// Headers that only the client itself sets.
const RESERVED: [&str; 15] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
];

section! {
    /// `http_config`.
    #[derive(PartialEq)]
    pub struct HttpConfig {
        basic_auth: Option<BasicAuth> = None,
        authorization: Option<Authorization> = None,
        oauth2: Option<OAuth2> = None,
        bearer_token: Option<Secret> = None,
        bearer_token_file: Option<PathBuf> = None,
        tls_config: TlsConfig = TlsConfig::default(),
        follow_redirects: bool = true,
        enable_http2: bool = true,
        proxy_url: Option<ProxyUrl> = None,
        no_proxy: String = String::new(),
        proxy_from_environment: bool = false,
        proxy_connect_header: BTreeMap<String, Vec<Secret>> = BTreeMap::new(),
        http_headers: BTreeMap<String, Header> = BTreeMap::new(),
    }
}

section! {
    /// `basic_auth`.
    #[derive(PartialEq)]
    pub struct BasicAuth {
        username: String = String::new(),
        username_file: Option<PathBuf> = None,
        password: Option<Secret> = None,
        password_file: Option<PathBuf> = None,
    }
}

section! {
    /// `authorization`.
    #[derive(PartialEq)]
    pub struct Authorization {
        kind("type"): String = "Bearer".to_owned(),
        credentials: Option<Secret> = None,
        credentials_file: Option<PathBuf> = None,
    }
}

section! {
    /// `oauth2`.
    #[derive(PartialEq)]
    pub struct OAuth2 {
        client_id: String = String::new(),
        client_secret: Option<Secret> = None,
        client_secret_file: Option<PathBuf> = None,
        client_certificate_key_id: String = String::new(),
        client_certificate_key: Option<Secret> = None,
        client_certificate_key_file: Option<PathBuf> = None,
        grant_type: String = String::new(),
        signature_algorithm: String = String::new(),
        iss: String = String::new(),
        audience: String = String::new(),
        claims: BTreeMap<String, serde_json::Value> = BTreeMap::new(),
        scopes: Vec<String> = Vec::new(),
        token_url: Option<Url> = None,
        endpoint_params: BTreeMap<String, String> = BTreeMap::new(),
        tls_config: TlsConfig = TlsConfig::default(),
        proxy_url: Option<ProxyUrl> = None,
        no_proxy: String = String::new(),
        proxy_from_environment: bool = false,
        proxy_connect_header: BTreeMap<String, Vec<Secret>> = BTreeMap::new(),
    }
}

section! {
    /// `tls_config`.
    #[derive(PartialEq)]
    pub struct TlsConfig {
        ca: String = String::new(),
        ca_file: Option<PathBuf> = None,
        cert: String = String::new(),
        cert_file: Option<PathBuf> = None,
        key: Option<Secret> = None,
        key_file: Option<PathBuf> = None,
        server_name: String = String::new(),
        insecure_skip_verify: bool = false,
        min_version: String = String::new(),
        max_version: String = String::new(),
    }
}

section! {
    /// An entry of `http_headers`.
    #[derive(PartialEq)]
    pub struct Header {
        values: Vec<String> = Vec::new(),
        secrets: Vec<Secret> = Vec::new(),
        files: Vec<PathBuf> = Vec::new(),
    }
}

/// The URL of a proxy, of any scheme. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(pub String);

impl HttpConfig {
    /// Checks what may stand together, and finds the files of secrets below `base`.
    ///
    /// # Errors
    /// What may not, in words.
    pub fn settle(&mut self, base: &Path) -> Result<(), String> {
        Secret::settle(&mut self.bearer_token, &mut self.bearer_token_file, base, "bearer_token")?;
        if let Some(auth) = &mut self.basic_auth {
            auth.settle(base)?;
        }
        if let Some(auth) = &mut self.authorization {
            auth.settle(base)?;
        }
        if let Some(auth) = &mut self.oauth2 {
            auth.settle(base)?;
        }
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.oauth2.is_some(),
            self.bearer_token.is_some(),
        ];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            return Err(
                "at most one of `basic_auth`, `authorization`, `oauth2` and `bearer_token` can be given".to_owned()
            );
        }
        // The older way to write `authorization`.
        if let Some(token) = self.bearer_token.take() {
            let credentials_file = self.bearer_token_file.take();
            let authorization =
                Authorization { credentials: Some(token), credentials_file, ..Authorization::default() };
            self.authorization = Some(authorization);
        }
        self.tls_config.settle(base)?;
        let proxy = (self.proxy_url.is_some(), !self.no_proxy.is_empty(), self.proxy_from_environment);
        check_proxy(proxy, !self.proxy_connect_header.is_empty())?;
        for (name, header) in &mut self.http_headers {
            if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("header `{name}` cannot be set"));
            }
            header.files.iter_mut().for_each(|file| *file = base.join(&*file));
        }
        Ok(())
    }
}

impl BasicAuth {
    fn settle(&mut self, base: &Path) -> Result<(), String> {
        self.username_file.take_if(|file| file.as_os_str().is_empty());
        if let Some(file) = &mut self.username_file {
            if !self.username.is_empty() {
                return Err("at most one of `username` and `username_file` can be given".to_owned());
            }
            *file = base.join(&*file);
        }
        Secret::settle(&mut self.password, &mut self.password_file, base, "password")
    }
}

impl Authorization {
    fn settle(&mut self, base: &Path) -> Result<(), String> {
        self.kind = self.kind.trim().to_owned();
        if self.kind.is_empty() {
            "Bearer".clone_into(&mut self.kind);
        }
        if self.kind.eq_ignore_ascii_case("basic") {
            return Err("`type` of `authorization` cannot be `basic`; use `basic_auth`".to_owned());
        }
        Secret::settle(&mut self.credentials, &mut self.credentials_file, base, "credentials")
    }
}

impl OAuth2 {
    fn settle(&mut self, base: &Path) -> Result<(), String> {
        if self.client_id.is_empty() {
            return Err("`oauth2` needs a `client_id`".to_owned());
        }
        if self.token_url.is_none() {
            return Err("`oauth2` needs a `token_url`".to_owned());
        }
        Secret::settle(&mut self.client_secret, &mut self.client_secret_file, base, "client_secret")?;
        let certificate = (&mut self.client_certificate_key, &mut self.client_certificate_key_file);
        Secret::settle(certificate.0, certificate.1, base, "client_certificate_key")?;
        self.tls_config.settle(base)?;
        let proxy = (self.proxy_url.is_some(), !self.no_proxy.is_empty(), self.proxy_from_environment);
        check_proxy(proxy, !self.proxy_connect_header.is_empty())
    }
}

impl TlsConfig {
    pub(super) fn settle(&mut self, base: &Path) -> Result<(), String> {
        for (text, file, key) in [(&self.ca, &mut self.ca_file, "ca"), (&self.cert, &mut self.cert_file, "cert")] {
            file.take_if(|file| file.as_os_str().is_empty());
            let Some(file) = file else { continue };
            if !text.is_empty() {
                return Err(format!("at most one of `{key}` and `{key}_file` can be given"));
            }
            *file = base.join(&*file);
        }
        Secret::settle(&mut self.key, &mut self.key_file, base, "key")?;
        if self.key.is_some() == (self.cert.is_empty() && self.cert_file.is_none()) {
            return Err("a client certificate and its key must be given together".to_owned());
        }
        for (version, key) in [(&self.min_version, "min_version"), (&self.max_version, "max_version")] {
            if !version.is_empty() && !TLS_VERSIONS.contains(&version.as_str()) {
                return Err(format!("`{key}` must be one of {}", TLS_VERSIONS.join(", ")));
            }
        }
        if !self.max_version.is_empty() && self.min_version > self.max_version {
            return Err("`min_version` must not be above `max_version`".to_owned());
        }
        Ok(())
    }
}

/// Of `proxy_url`, `no_proxy` and `proxy_from_environment`: which are given.
fn check_proxy((url, except, environment): (bool, bool, bool), headers: bool) -> Result<(), String> {
    let reason = match (url, except, environment) {
        (true, _, true) => "with `proxy_from_environment` there can be no `proxy_url`",
        (_, true, true) => "with `proxy_from_environment` there can be no `no_proxy`",
        (false, true, false) => "`no_proxy` needs a `proxy_url`",
        (false, false, false) if headers => "`proxy_connect_header` needs a `proxy_url` or `proxy_from_environment`",
        _ => return Ok(()),
    };
    Err(reason.to_owned())
}

impl<'de> Deserialize<'de> for ProxyUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Serialize for ProxyUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&without_password(&self.0))
    }
}

impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}
