//! The `sql` command: asks a running server, or reads a data folder by itself, and prints the rows.
//!
//! Called by `cli`. Both ways print the same: a server writes with the code that is used here for a folder; tables are laid
//! out here always.
//! Invariant: a data folder is only read. Not here: SQL (`query`).

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::ipc::reader::StreamReader;
use clap::Args;
use futures::TryStreamExt;
use prometheus::Registry;
use query::{
    Answer, Catalog, Engine,
    format::{Encoder, table},
};
use schemas::Dataset;
use storage::View;
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::{
    app,
    cli::{self, Format},
    config::{self, Config, Overrides},
    tls,
};

/// Longest statement that is read from stdin.
const STATEMENT_BYTES_MAX: u64 = 1 << 20;
/// Longest time to wait for a connection. Answers may take as long as the server lets a query run.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is taken from a server. Its row limit is the real one; this guards against what is no Streamgauge.
const ANSWER_BYTES_MAX: u64 = 64 << 30;
/// Where systems keep the certificates they trust.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Options of `streamgauge sql`.
#[derive(Debug, Args)]
pub struct Sql {
    /// The statement, or `-` to read it from stdin.
    statement: String,
    /// Server to ask.
    #[arg(long, default_value = "http://127.0.0.1:4090", conflicts_with = "data_dir")]
    url: String,
    /// Read this data folder instead of asking a server.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings for reading a data folder: those of its server, if its tables are in a bucket (tenant, memory, limits).
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    config: Option<PathBuf>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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

impl Sql {
    /// Asks and prints.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub fn run(self) -> Result<()> {
        let statement = self.statement()?;
        match &self.data_dir {
            Some(data_dir) => cli::runtime()?.block_on(self.read(data_dir, &statement)),
            None => self.ask(&statement),
        }
    }

    fn statement(&self) -> Result<String> {
        if self.statement != "-" {
            return Ok(self.statement.clone());
        }
        let mut text = String::new();
        let bytes = io::stdin().take(STATEMENT_BYTES_MAX + 1).read_to_string(&mut text)?;
        ensure!(
            u64::try_from(bytes)? <= STATEMENT_BYTES_MAX,
            "the statement is longer than {STATEMENT_BYTES_MAX} bytes"
        );
        Ok(text)
    }

    async fn read(&self, data_dir: &Path, statement: &str) -> Result<()> {
        let overrides = Overrides { data_dir: Some(data_dir.to_owned()), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), overrides)?;
        let datasets = schemas::all();
        let (store, views) = storage::open_read_only(&config.storage, datasets.clone(), &app::env())
            .await
            .with_context(|| format!("the data folder cannot be read data_dir={}", data_dir.display()))?;
        let view = move |dataset: &'static Dataset| {
            let found = views.iter().find(|view| view.dataset.name == dataset.name);
            found.map_or_else(|| Arc::new(View::empty(dataset)), Arc::clone)
        };
        let catalog = Catalog { store, datasets, view: Arc::new(view) };
        // Without a folder to spill to, because this one is only read.
        let limits = query::Config { spill_dir: None, ..config.query };
        let engine = Engine::new(limits, catalog, app::env().clock, &Registry::new())?;
        let answer = engine.sql(statement).await.map_err(told)?;
        print(answer, self.format).await
    }

    fn ask(&self, statement: &str) -> Result<()> {
        let url = format!("{}/api/v1/sql", self.url.trim_end_matches('/'));
        let format = match self.format {
            Format::Table => "arrow",
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
        };
        let mut request = self.agent()?.post(&url);
        if let Some(token) = self.token()? {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let question = serde_json::json!({"query": statement, "format": format});
        let sent = request.header("Content-Type", "application/json").send(question.to_string());
        let response = sent.with_context(|| {
            format!("no answer from {}: is a server running there (`streamgauge serve`)?", self.url)
        })?;
        let (head, body) = response.into_parts();
        let mut body = body.into_with_config().limit(ANSWER_BYTES_MAX).reader();
        if !head.status.is_success() {
            return Err(refused(head.status.as_u16(), body));
        }
        let mut out = io::stdout().lock();
        if self.format == Format::Table {
            let reader = StreamReader::try_new(body, None).context("the server's answer is no Arrow stream")?;
            let schema = reader.schema();
            let batches = reader.collect::<Result<Vec<_>, _>>().context("the answer broke off")?;
            writeln!(out, "{}", table(&schema, &batches).map_err(told)?)?;
        } else {
            io::copy(&mut body, &mut out).context("the answer broke off")?;
        }
        Ok(out.flush()?)
    }

    fn agent(&self) -> Result<ureq::Agent> {
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
        if self.url.starts_with("https:") {
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
            .user_agent(concat!("streamgauge/", env!("CARGO_PKG_VERSION")));
        Ok(config.build().into())
    }

    fn trusted(&self) -> Result<Vec<Certificate<'static>>> {
        let system = || TRUSTED.iter().map(PathBuf::from).find(|file| file.exists());
        let file = self.ca.clone().or_else(system);
        let file = file.context("this system has no list of trusted certificates: name one with --ca")?;
        certificates(&file)
    }

    fn token(&self) -> Result<Option<String>> {
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

/// What a server said instead of an answer.
fn refused(code: u16, mut body: impl Read) -> anyhow::Error {
    let mut text = String::new();
    // Half of a message is better than none.
    let _ = body.by_ref().take(64 << 10).read_to_string(&mut text);
    let envelope: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let reason = envelope.as_ref().and_then(|envelope| envelope.get("error")).and_then(|error| error.as_str());
    let reason = reason.unwrap_or_else(|| text.lines().next().unwrap_or_default());
    let hint = if code == 401 { " (--token-file or --token-env names it)" } else { "" };
    anyhow!("{reason}{hint} status={code}")
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

/// Prints rows as they come; a table when all are there, since its columns are as wide as the widest value.
async fn print(answer: Answer, format: Format) -> Result<()> {
    let Answer { schema, mut stream } = answer;
    let format = match format {
        Format::Csv => query::format::Format::Csv,
        Format::Json => query::format::Format::Json,
        Format::Ndjson => query::format::Format::Ndjson,
        Format::Table => {
            let mut batches = Vec::new();
            while let Some(batch) = stream.try_next().await.map_err(|error| told(error.into()))? {
                batches.push(batch);
            }
            return Ok(writeln!(io::stdout().lock(), "{}", table(&schema, &batches).map_err(told)?)?);
        }
    };
    let mut out = io::stdout();
    let (mut encoder, begun) = Encoder::begin(format, &schema).map_err(told)?;
    out.write_all(&begun)?;
    while let Some(batch) = stream.try_next().await.map_err(|error| told(error.into()))? {
        out.write_all(&encoder.rows(&batch).map_err(told)?)?;
    }
    out.write_all(&encoder.finish().map_err(told)?)?;
    Ok(out.flush()?)
}

/// An error of a query with its place. Its causes are in its message already.
fn told(error: query::Error) -> anyhow::Error {
    match error.position {
        Some(at) => anyhow!("{error} line={} column={}", at.line, at.column),
        None => anyhow!("{error}"),
    }
}
