//! Where the tables are: `data`, `roots`, `s3` and `cache`, validated, and shown.
//!
//! Called by `config`. Who we are to S3 comes from the usual AWS environment alone, and is neither shown nor in the file.
//! Not here: speaking to buckets (`storage`).

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde_saphyr::Spanned;
use storage::{CREDENTIAL_VARIABLES, Credentials, Root, S3, Sse, Tables};

use super::{
    Outside, Refused,
    raw::{self, Cache},
    required, span,
    units::{Size, Span},
    within,
};

/// Where AWS' own tools look for what the file does not say; the first that is set holds.
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

pub(super) fn validate(
    data: Option<Spanned<String>>,
    roots: BTreeMap<String, Spanned<String>>,
    s3: Option<raw::S3>,
    cache: Option<Cache>,
    outside: &Outside<'_>,
) -> Result<Tables, Refused> {
    let origin = outside.origin;
    let root = |written: &Spanned<String>| Root::parse(&written.value).map_err(|why| Refused::at(origin, written, why));
    let mut tables = Tables { root: data.as_ref().map_or(Ok(Root::Folder), root)?, ..Tables::default() };
    for (dataset, written) in &roots {
        let known: Vec<&str> = schemas::all().iter().map(|dataset| dataset.name).collect();
        if !known.contains(&dataset.as_str()) {
            let reason = format!("`{dataset}` is no dataset; those with a root are among {}", known.join(", "));
            return Err(Refused::at(origin, written, reason));
        }
        tables.roots.insert(dataset.clone(), root(written)?);
    }
    let bytes = required(origin, "cache.bytes", required(origin, "cache", cache)?.bytes)?;
    tables.cache_bytes = within(origin, &bytes, Size(0)..=Size(1 << 44))?.0;
    // Who keeps the tables in the folder needs no AWS environment, and one that is there by accident does no harm.
    let nothing = |_: &str| None;
    let variables: super::Variables<'_> = if tables.remote() { outside.variables } else { &nothing };
    tables.s3 = required(origin, "s3", s3)?.validate(origin, variables)?;
    Ok(tables)
}

/// How buckets are reached by who names one on the command line.
pub(super) fn buckets(written: Option<raw::S3>, origin: &str, variables: super::Variables<'_>) -> Result<S3, Refused> {
    required(origin, "s3", written)?.validate(origin, variables)
}

impl raw::S3 {
    fn validate(self, origin: &str, variables: super::Variables<'_>) -> Result<S3, Refused> {
        let variable = |name: &str| variables(name).filter(|value| !value.is_empty());
        let endpoint = match &self.endpoint {
            Some(written) => Some(written.value.clone()),
            None => ENDPOINT_VARIABLES.iter().find_map(|name| variable(name)),
        };
        let allow_http = self.allow_http.unwrap_or(false);
        let plain = match &endpoint {
            Some(url) => is_plain(url, allow_http).map_err(|reason| match &self.endpoint {
                Some(written) => Refused::at(origin, written, reason),
                None => Refused::whole(origin, format!("AWS_ENDPOINT_URL: {reason}")),
            })?,
            None => false,
        };
        let sse = match (self.sse, &self.kms_key_id) {
            (Some(raw::Sse::Kms), key) => Some(Sse::Kms(key.as_ref().map(|key| key.value.clone()))),
            (_, Some(key)) => return Err(Refused::at(origin, key, "a key of KMS needs `sse: aws:kms` beside it")),
            (Some(raw::Sse::Aes256), None) => Some(Sse::Aes256),
            (None, None) => None,
        };
        let timeout = required(origin, "s3.request_timeout", self.request_timeout)?;
        let spool = required(origin, "s3.spool_bytes", self.spool_bytes)?;
        let credentials = CREDENTIAL_VARIABLES.iter().filter_map(|name| Some((*name, variable(name)?))).collect();
        Ok(S3 {
            region: match self.region {
                Some(written) => Some(written.value),
                None => REGION_VARIABLES.iter().find_map(|name| variable(name)),
            },
            // Servers of one's own rarely have a name per bucket; AWS wants it.
            path_style: self.path_style.unwrap_or(endpoint.is_some()),
            allow_http: plain,
            endpoint,
            sse,
            request_timeout: within(origin, &timeout, span(1)..=span(600))?.0,
            spool_bytes: within(origin, &spool, Size(0)..=Size(1 << 44))?.0,
            credentials: Credentials(credentials),
        })
    }
}

/// Is it an endpoint without TLS? That is refused unless it is on this machine, or was said to be meant.
pub(super) fn is_plain(url: &str, allowed: bool) -> Result<bool, String> {
    let bad = || format!("`{url}` is no endpoint: write a URL without a path, like `https://s3.example.com:9000`");
    let (scheme, authority) = url.split_once("://").ok_or_else(bad)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let good = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if authority.is_empty() || !authority.chars().all(good) {
        return Err(bad());
    }
    match scheme {
        "https" => Ok(false),
        "http" if allowed || is_loopback(authority) => Ok(true),
        "http" => Err(format!(
            "`{url}` sends everything where others can read it: use https, or say `allow_http: true` if that is meant"
        )),
        _ => Err(bad()),
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// For `check`: roots, how they are reached, and whether the environment says who we are; never what it says.
pub(super) fn show(tables: &Tables, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !tables.remote() {
        return Ok(());
    }
    writeln!(f, "tables         {}", tables.root)?;
    for (dataset, root) in &tables.roots {
        writeln!(f, "               {dataset}: {root}")?;
    }
    let s3 = &tables.s3;
    let endpoint = s3.endpoint.as_deref().unwrap_or("AWS");
    let region = s3.region.as_deref().unwrap_or("us-east-1");
    let timeout = Span(s3.request_timeout);
    let encrypted = match &s3.sse {
        None => String::new(),
        Some(Sse::Aes256) => ", encrypted with AES256".to_owned(),
        Some(Sse::Kms(None)) => ", encrypted with aws:kms".to_owned(),
        Some(Sse::Kms(Some(key))) => format!(", encrypted with aws:kms {key}"),
    };
    writeln!(f, "s3             {endpoint} ({region}), requests up to {timeout}{encrypted}")?;
    let names: Vec<&str> = s3.credentials.0.iter().map(|(name, _)| *name).collect();
    match &names[..] {
        [] => writeln!(f, "credentials    of the instance: no AWS variable is set")?,
        names => writeln!(f, "credentials    from {}", names.join(", "))?,
    }
    match s3.spool_bytes {
        0 => writeln!(f, "spool          none: in an outage of the bucket, rows wait in memory")?,
        bytes => writeln!(f, "spool          {} of the local disk, for outages of the bucket", Size(bytes))?,
    }
    match tables.cache_bytes {
        0 => writeln!(f, "cache          none"),
        bytes => writeln!(f, "cache          {} of the local disk", Size(bytes)),
    }
}
