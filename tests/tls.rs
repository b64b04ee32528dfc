//! HTTPS: certificates that are checked on both sides, changed while the server runs, and refused when they are wrong.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::tempdir;
use ureq::tls::{ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::support::server::{Server, binary, eventually, run};

/// A certificate authority.
pub struct Authority {
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub fn server(&self) -> Identity {
        self.issue("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self) -> Identity {
        self.issue("client", ExtendedKeyUsagePurpose::ClientAuth)
    }
}

impl Identity {
    pub fn store(&self, folder: &Path) {
        fs::write(folder.join("cert.pem"), &self.cert).unwrap();
        fs::write(folder.join("key.pem"), &self.key).unwrap();
    }
}

/// Settings that name `cert.pem`, `key.pem` and, if wanted, `clients.pem` of the folder.
pub fn settings(folder: &Path, clients: bool) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let clients = if clients { format!("  client_ca: {}\n", at("clients.pem")) } else { String::new() };
    let text = format!("tls:\n  cert: {}\n  key: {}\n{clients}", at("cert.pem"), at("key.pem"));
    fs::write(folder.join("gauge.yaml"), text).unwrap();
    at("gauge.yaml")
}

/// Asks a new connection for the server's health; none if there is no connection.
fn health(server: &Server, trusts: &Authority, client: Option<&Identity>) -> Option<u16> {
    let root = ureq::tls::Certificate::from_der(trusts.certificate.der()).to_owned();
    let client = client.map(|identity| {
        let cert = ureq::tls::Certificate::from_pem(identity.cert.as_bytes()).unwrap();
        ClientCert::new_with_certs(&[cert], PrivateKey::from_pem(identity.key.as_bytes()).unwrap())
    });
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[root]))
        .client_cert(client)
        .build();
    let agent = ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(Duration::from_secs(20))).build();
    let agent: ureq::Agent = agent.into();
    agent.get(server.url("/-/healthy")).call().ok().map(|answer| answer.status().as_u16())
}

#[test]
fn certificates_are_changed_without_a_restart_and_bad_ones_change_nothing() {
    let folder = tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    old.server().store(folder.path());
    let config = settings(folder.path(), false);
    let mut server = Server::start(folder.path(), &["--config", &config]);
    assert!(server.url("").starts_with("https://"));
    assert_eq!(health(&server, &old, None), Some(200));
    assert_eq!(health(&server, &new, None), None);

    new.server().store(folder.path());
    eventually(|| health(&server, &new, None)).expect("the new certificate is shown");
    assert_eq!(health(&server, &old, None), None);

    fs::write(folder.path().join("key.pem"), old.server().key).unwrap();
    let refusal = server.event("certificate and key changed and are refused");
    assert!(refusal["error"].as_str().unwrap().contains("do not fit"), "{refusal}");
    assert_eq!(health(&server, &new, None), Some(200));

    let key = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!server.log_text().contains(secret), "a key is in the log");
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn with_an_authority_for_clients_only_its_clients_get_in() {
    let folder = tempdir().unwrap();
    let (servers, clients, others) = (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    servers.server().store(folder.path());
    fs::write(folder.path().join("clients.pem"), clients.certificate.pem()).unwrap();
    let config = settings(folder.path(), true);
    let server = Server::start(folder.path(), &["--config", &config]);
    assert_eq!(health(&server, &servers, Some(&clients.client())), Some(200));
    assert_eq!(health(&server, &servers, Some(&others.client())), None);
    assert_eq!(health(&server, &servers, None), None);

    // The command line comes with a certificate too.
    let mine = tempdir().unwrap();
    clients.client().store(mine.path());
    fs::write(mine.path().join("ca.pem"), servers.certificate.pem()).unwrap();
    let sql = |args: &[&str]| {
        run(binary().current_dir(mine.path()).args(["sql", "--url", &server.url(""), "SELECT 1 AS one"]).args(args))
    };
    let (code, out, err) = sql(&["--ca", "ca.pem", "--cert", "cert.pem", "--key", "key.pem", "--format", "csv"]);
    assert_eq!((code, out.trim_end()), (0, "one\r\n1"), "{err}");
    assert_eq!(sql(&["--ca", "ca.pem"]).0, 1);
    assert_eq!(sql(&["--cert", "cert.pem", "--key", "key.pem"]).0, 1);
}

#[test]
fn bad_files_end_the_start_with_the_file_that_is_wrong() {
    let folder = tempdir().unwrap();
    let authority = Authority::new("any");
    let config = settings(folder.path(), false);
    let check = || run(binary().args(["check", "--config", &config]));
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("cert.pem cannot be read"), "{err}");
    Identity { cert: authority.server().cert, key: authority.server().key }.store(folder.path());
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("certificate and key do not fit"), "{err}");
    fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("key.pem") && err.contains("no private key"), "{err}");
    fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("cert.pem") && err.contains("no certificate"), "{err}");
}
