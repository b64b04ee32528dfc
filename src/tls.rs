//! HTTPS: certificate, key and the authority of client certificates, read again when the files change.
//!
//! Called by `app`; hands a rustls configuration to `http`. New connections get the newest good files; running ones keep
//! theirs. Files that are bad when they change are logged and the old ones stay; files that are bad at start end the start.
//! Invariant: one crypto provider, ring, named explicitly. Not here: fetching certificates.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, anyhow, ensure};
use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Files of HTTPS, all PEM.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's certificate, then those between it and the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of client certificates; with it, clients without one are refused.
    pub client_ca: Option<PathBuf>,
}

impl Config {
    /// Its files, in the order in which [`Self::build`] takes their contents.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().cloned().collect()
    }

    /// Makes a rustls configuration of the contents of [`Self::files`].
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn build(&self, contents: &[String]) -> Result<Arc<ServerConfig>> {
        let [cert, key, rest @ ..] = contents else { return Err(anyhow!("certificate and key are missing")) };
        let chain = certificates(cert).with_context(|| format!("tls.cert={}", self.cert.display()))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| anyhow!("no private key in PEM found: {error}"))
            .with_context(|| format!("tls.key={}", self.key.display()))?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match (&self.client_ca, rest.first()) {
            (Some(file), Some(text)) => {
                let verifier = clients(text).with_context(|| format!("tls.client_ca={}", file.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).with_context(|| {
            format!("certificate and key do not fit: tls.cert={} tls.key={}", self.cert.display(), self.key.display())
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Puts changed files into force for new connections.
    ///
    /// # Errors
    /// Which file is wrong; what was in force stays.
    pub fn reload(&self, contents: &[String], live: &RustlsConfig) -> Result<()> {
        live.reload_from_config(self.build(contents)?);
        Ok(())
    }
}

/// The one crypto provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn clients(text: &str) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots.add(certificate)?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?)
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|error| anyhow!("not PEM: {error}"))?;
    ensure!(!certificates.is_empty(), "no certificate in it");
    Ok(certificates)
}
