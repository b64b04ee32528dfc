//! Speaks to a running server over HTTP or HTTPS: address, token, certificates, and what it says when it refuses.
//!
//! Called by the commands that ask a server. Invariant: a token is read from a file or the environment, and never printed.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ureq::{
    Body, RequestBuilder,
    http::Response,
    tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem},
    typestate::{WithBody, WithoutBody},
};

use crate::{address::Address, config, tls};

/// Longest time to wait for a connection. Answers may take as long as the server lets them.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where systems keep the certificates they trust.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Which server, and how to be let in.
#[derive(Debug, Args)]
pub struct Client {
    /// Server to ask; user:password@ goes before the host.
    #[arg(long, default_value = "http://127.0.0.1:4090")]
    url: String,
    #[command(flatten)]
    access: Access,
}

/// How to be let in by a server, and which server to believe.
#[derive(Debug, Default, Args)]
pub struct Access {
    /// File that holds the access token.
    #[arg(long, value_name = "FILE", conflicts_with = "token_env")]
    token_file: Option<PathBuf>,
    /// Environment variable that holds the access token.
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Authority of the server's certificate, PEM [default: those the system trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Client certificate, PEM, for servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Client {
    /// A server by its address.
    #[must_use]
    pub fn new(url: String, access: Access) -> Self {
        Self { url, access }
    }

    /// The same as [`post`](Self::post), to get something.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn get(&self, path: &str) -> Result<RequestBuilder<WithoutBody>> {
        self.request(|agent, address| agent.get(address), path)
    }

    /// A request to a path of the server, with the token if there is one.
    ///
    /// # Errors
    /// If token or certificates cannot be read.
    pub fn post(&self, path: &str) -> Result<RequestBuilder<WithBody>> {
        self.request(|agent, address| agent.post(address), path)
    }

    /// The same, to put something in a place.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn put(&self, path: &str) -> Result<RequestBuilder<WithBody>> {
        self.request(|agent, address| agent.put(address), path)
    }

    /// The same, to take something out.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn delete(&self, path: &str) -> Result<RequestBuilder<WithoutBody>> {
        self.request(|agent, address| agent.delete(address), path)
    }

    /// What sends requests to this server and keeps connections between them; whoever has it can close them.
    ///
    /// # Errors
    /// If the address is none, or certificates cannot be read.
    pub fn agent(&self) -> Result<ureq::Agent> {
        self.access.agent(&self.address()?.base)
    }

    /// As [`post`](Self::post), sent by an agent of this server.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn post_by(&self, agent: &ureq::Agent, path: &str) -> Result<RequestBuilder<WithBody>> {
        self.request_by(agent, |agent, address| agent.post(address), path)
    }

    /// As [`get`](Self::get), sent by an agent of this server.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn get_by(&self, agent: &ureq::Agent, path: &str) -> Result<RequestBuilder<WithoutBody>> {
        self.request_by(agent, |agent, address| agent.get(address), path)
    }

    /// The server's address, without user and password.
    ///
    /// # Errors
    /// If it is none.
    pub fn base(&self) -> Result<String> {
        Ok(self.address()?.base)
    }

    /// The token that requests carry, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn token(&self) -> Result<Option<String>> {
        self.access.token()
    }

    fn request<B>(
        &self,
        begin: impl Fn(&ureq::Agent, String) -> RequestBuilder<B>,
        path: &str,
    ) -> Result<RequestBuilder<B>> {
        self.request_by(&self.agent()?, begin, path)
    }

    fn request_by<B>(
        &self,
        agent: &ureq::Agent,
        begin: impl Fn(&ureq::Agent, String) -> RequestBuilder<B>,
        path: &str,
    ) -> Result<RequestBuilder<B>> {
        let Address { base, basic } = self.address()?;
        let request = begin(agent, format!("{base}{path}"));
        let token = self.access.token()?.map(|token| format!("Bearer {token}"));
        Ok(match token.or(basic) {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        })
    }

    fn address(&self) -> Result<Address> {
        Address::parse(&self.url, "--url")
    }

    /// The answer to a request; what the server says when it refuses is the error.
    ///
    /// # Errors
    /// Why there is no answer, or what the server said, in its words.
    pub fn answered(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Body> {
        let base = self.address()?.base;
        let response =
            sent.with_context(|| format!("no answer from {base}: is a server running there (`streamgauge serve`)?"))?;
        let (head, body) = response.into_parts();
        if head.status.is_success() { Ok(body) } else { Err(refused(head.status.as_u16(), body.into_reader())) }
    }
}

impl Access {
    /// What sends requests to an address, and keeps connections between them.
    ///
    /// # Errors
    /// If certificates cannot be read.
    pub fn agent(&self, url: &str) -> Result<ureq::Agent> {
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
        if url.starts_with("https:") {
            tls = tls.root_certs(RootCerts::new_with_certs(&self.trusted()?));
            if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
                let chain = certificates(cert)?;
                let key = ureq::tls::PrivateKey::from_pem(config::read(key)?.as_bytes())
                    .with_context(|| format!("{} holds no private key in PEM", key.display()))?;
                tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
            }
        }
        let config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            // A message that is followed to another address arrives there as a question without one.
            .max_redirects(0)
            .user_agent(concat!("streamgauge/", env!("CARGO_PKG_VERSION")));
        Ok(config.build().into())
    }

    fn trusted(&self) -> Result<Vec<Certificate<'static>>> {
        match &self.ca {
            Some(file) => certificates(file),
            None => trusted().context("name one with --ca"),
        }
    }

    /// The token, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn token(&self) -> Result<Option<String>> {
        let token = match (&self.token_file, &self.token_env) {
            (Some(file), _) => config::read(file)?,
            (None, Some(name)) => {
                config::variable(name).with_context(|| format!("environment variable {name} is not set"))?
            }
            (None, None) => return Ok(None),
        };
        let token = token.trim();
        let good = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(good, "the token must be one word of printable characters");
        Ok(Some(token.to_owned()))
    }
}

/// The certificates that this system trusts.
///
/// # Errors
/// If there is no list of them, or it cannot be read.
pub(crate) fn trusted() -> Result<Vec<Certificate<'static>>> {
    let file = TRUSTED.iter().map(PathBuf::from).find(|file| file.exists());
    certificates(&file.context("this system has no list of trusted certificates")?)
}

/// What a server said instead of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    reason: String,
    code: u16,
    /// Where in the text that was sent: line and column in characters, from 1.
    pub place: Option<(u64, u64)>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.code {
            300..=399 => " (the server is elsewhere: give the address that this one leads to)",
            401 => " (--token-file or --token-env names it)",
            _ => "",
        };
        write!(f, "{}{hint} status={}", self.reason, self.code)
    }
}

impl std::error::Error for Refused {}

/// What a server said instead of an answer, as an error: a [`Refused`].
#[must_use]
pub fn refused(code: u16, mut body: impl Read) -> anyhow::Error {
    let mut text = String::new();
    // Half of a message is better than none.
    let _ = body.by_ref().take(64 << 10).read_to_string(&mut text);
    let envelope: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let reason = envelope.get("error").and_then(|error| error.as_str());
    let reason = reason.unwrap_or_else(|| text.lines().next().unwrap_or_default()).to_owned();
    let number = |name: &str| envelope.get("position")?.get(name)?.as_u64();
    Refused { reason, code, place: number("line").zip(number("column")) }.into()
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = config::read(file)?;
    let items = parse_pem(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let items = items.with_context(|| format!("{} is not PEM", file.display()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("{} holds no certificate", file.display());
    }
    Ok(certificates)
}
