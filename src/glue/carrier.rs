//! Carries requests of notifiers to where they go.
//!
//! Called on threads that may wait. Invariants: a name becomes addresses once, each is looked at, and the connection goes to one that was
//! ([`Allowed`]); redirects are not followed, since they could lead anywhere; an answer is read up to a bound; an error says what failed and
//! never the address, which may have a secret in it; a token of OAuth2 is kept until it is worn or refused, and is in no answer; a certificate
//! that is renewed in its file is what the next request goes with.

use std::{fmt, io::Read as _, path::PathBuf, time::Duration};

use alerting::{
    config::{
        http::{HttpConfig, OAuth2, TlsConfig},
        values::{HIDDEN, Secret},
    },
    notify::{ANSWER_BYTES_MAX, Answer, Request, borrowed::oauth2, guard::Allowed},
};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use ureq::{
    config::Config,
    http::Uri,
    tls::{Certificate, ClientCert, PemItem, RootCerts, parse_pem},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use super::kept::Kept;
use crate::{client, tls};

/// Longest time to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Kept ways to reach receivers; a configuration has a few.
const AGENTS_MAX: usize = 64;
/// What is said of an address that may not be reached.
const FORBIDDEN: &str = "its address is not public; name its network in `alerting.allowed_networks` if it may be told";

/// Carries requests. Connections are kept between them.
pub struct Carrier {
    allowed: Allowed,
    /// By what they are configured with, and what its files had in them.
    agents: Mutex<Vec<(HttpConfig, Pems, ureq::Agent)>>,
    tokens: Kept<OAuth2, String>,
}

impl Carrier {
    /// Reaches public addresses, and those that are allowed.
    #[must_use]
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed, agents: Mutex::default(), tokens: Kept::default() }
    }

    /// Sends a request, with a token if one is configured, and reads the answer. Blocks.
    ///
    /// # Errors
    /// Why there is no answer, without the address.
    pub fn send(&self, request: &Request, http: &HttpConfig, now: DateTime<Utc>) -> Result<Answer, String> {
        const REFUSED: u16 = 401;
        let Some(config) = &http.oauth2 else { return self.carry(request, http, now) };
        let with = |token: &str| {
            let mut request = request.clone();
            request.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
            let answer = self.carry(&request, http, now)?;
            // Servers like to quote what they were asked.
            let body = String::from_utf8_lossy(&answer.body).replace(token, HIDDEN).into_bytes();
            Ok::<_, String>(Answer { body, ..answer })
        };
        if let Some(token) = self.tokens.get(config, now.timestamp_millis()) {
            let answer = with(&token)?;
            // One that was revoked before its time is no good any more.
            if answer.status != REFUSED {
                return Ok(answer);
            }
        }
        with(&self.token(config, now)?)
    }

    /// Another token.
    fn token(&self, config: &OAuth2, now: DateTime<Utc>) -> Result<String, String> {
        let http = oauth2::http_config(config);
        let ask = |is_in_body: bool| {
            let request = oauth2::request(config, is_in_body).map_err(|error| error.to_string())?;
            self.carry(&request, &http, now).map_err(|why| format!("no token of OAuth2: {why}"))
        };
        let mut answer = ask(false)?;
        if oauth2::wants_body(&answer) {
            answer = ask(true)?;
        }
        let token = oauth2::token(config, &answer, now.timestamp_millis()).map_err(|error| error.to_string())?;
        Ok(self.tokens.put(config, token))
    }

    fn carry(&self, request: &Request, http: &HttpConfig, now: DateTime<Utc>) -> Result<Answer, String> {
        let agent = self.agent(http)?;
        let mut builder = ureq::http::Request::builder().method(request.method).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let sent = builder.body(request.body.as_slice()).map_err(|_| "its address or a header is none".to_owned())?;
        let configured = agent.configure_request(sent).timeout_global(Some(request.timeout)).build();
        let mut response = agent.run(configured).map_err(|error| why(&error))?;
        let retry_after_ms = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after_ms(value, now));
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let most = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        // The status is what counts; a body that breaks off says less.
        let _ = response.body_mut().as_reader().take(most).read_to_end(&mut body);
        Ok(Answer { status, retry_after_ms, body })
    }

    fn agent(&self, http: &HttpConfig) -> Result<ureq::Agent, String> {
        // Read each time: whoever renews a certificate does not say so.
        let pems = Pems::read(&http.tls_config)?;
        let mut agents = self.agents.lock();
        if let Some((.., agent)) = agents.iter().find(|(known, with, _)| known == http && *with == pems) {
            return Ok(agent.clone());
        }
        let config = Config::builder()
            .tls_config(tls_config(&pems, http.tls_config.insecure_skip_verify)?)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy(http)?)
            .user_agent(concat!("streamgauge/", env!("CARGO_PKG_VERSION")))
            .build();
        let guard = Guard { allowed: self.allowed.clone(), resolver: DefaultResolver::default() };
        let agent = ureq::Agent::with_parts(config, DefaultConnector::new(), guard);
        agents.retain(|(known, ..)| known != http);
        if agents.len() == AGENTS_MAX {
            agents.clear();
        }
        agents.push((http.clone(), pems, agent.clone()));
        Ok(agent)
    }
}

fn proxy(http: &HttpConfig) -> Result<Option<ureq::Proxy>, String> {
    match &http.proxy_url {
        Some(url) => ureq::Proxy::new(&url.0).map(Some).map_err(|_| "its proxy's address is none".to_owned()),
        None if http.proxy_from_environment => Ok(ureq::Proxy::try_from_env()),
        None => Ok(None),
    }
}

/// What a connection is believed by, and believes: texts in PEM, empty where there is none.
#[derive(PartialEq, Eq)]
struct Pems {
    ca: String,
    cert: String,
    key: String,
}

impl Pems {
    fn read(written: &TlsConfig) -> Result<Self, String> {
        let text = |file: &Option<PathBuf>, text: &String, what: &str| match file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| format!("its {what} cannot be read: {error}")),
            None => Ok(text.clone()),
        };
        let key = |key: &Secret| key.read().map_err(|error| error.to_string());
        Ok(Self {
            ca: text(&written.ca_file, &written.ca, "ca_file")?,
            cert: text(&written.cert_file, &written.cert, "cert_file")?,
            key: written.key.as_ref().map(key).transpose()?.unwrap_or_default(),
        })
    }
}

fn tls_config(pems: &Pems, trusts_all: bool) -> Result<ureq::tls::TlsConfig, String> {
    let Pems { ca, cert, key } = pems;
    let roots = if ca.is_empty() { client::trusted().map_err(|error| error.to_string())? } else { chain(ca)? };
    let mut config = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(tls::provider())
        .root_certs(RootCerts::new_with_certs(&roots))
        .disable_verification(trusts_all);
    // Configured together, as was checked.
    if !cert.is_empty() {
        let key = ureq::tls::PrivateKey::from_pem(key.as_bytes()).map_err(|_| "its key is no PEM".to_owned())?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain(cert)?, key)));
    }
    Ok(config.build())
}

fn chain(pem: &str) -> Result<Vec<Certificate<'static>>, String> {
    let items = parse_pem(pem.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let chain: Vec<_> = items.collect();
    if chain.is_empty() { Err("its certificates are no PEM".to_owned()) } else { Ok(chain) }
}

/// After what time to ask again: seconds, or a date.
fn retry_after_ms(text: &str, now: DateTime<Utc>) -> Option<i64> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "of a bounded number")]
        return Some((seconds.clamp(0.0, 1e9) * 1000.0).ceil() as i64);
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((at.with_timezone(&Utc) - now).num_milliseconds().max(0))
}

/// Why there is no answer, without the address.
fn why(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "its name has no address".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Io(error) => format!("no connection: {error}"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "its address is none".to_owned(),
        ureq::Error::Tls(why) => format!("no connection: {why}"),
        ureq::Error::Rustls(error) => format!("no connection: {error}"),
        _ => "no answer".to_owned(),
    }
}

/// Finds addresses, and keeps those that may be reached.
struct Guard {
    allowed: Allowed,
    resolver: DefaultResolver,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Resolver for Guard {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|address| self.allowed.allows(address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() {
            return Err(ureq::Error::Io(std::io::Error::new(std::io::ErrorKind::PermissionDenied, FORBIDDEN)));
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::Arc,
        thread,
    };

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

    use super::*;

    /// Answers connections one after the other as scripted; gives what was asked, each a head and a body of the length it says.
    fn scripted(answers: Vec<(u16, &'static str)>) -> (u16, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let answer = |(status, body): (u16, &str)| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                let whole = |asked: &[u8]| {
                    let text = String::from_utf8_lossy(asked).to_lowercase();
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                    (body.len() >= length.trim().parse::<usize>().unwrap()).then_some(())
                };
                while whole(&asked).is_none() {
                    let mut piece = [0; 4096];
                    let read = stream.read(&mut piece).unwrap();
                    assert!(read > 0, "{}", String::from_utf8_lossy(&asked));
                    asked.extend_from_slice(&piece[..read]);
                }
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(asked).unwrap()
            };
            answers.into_iter().map(answer).collect()
        });
        (port, server)
    }

    #[test]
    fn a_token_is_fetched_once_kept_until_it_is_worn_and_fetched_anew_when_it_is_refused() {
        let (port, server) = scripted(vec![
            (400, r#"{"error":"invalid_client"}"#),
            (200, r#"{"access_token":"token-1","expires_in":100}"#),
            (200, "first, by token-1"),
            (200, "second"),
            (401, "revoked"),
            (200, r#"{"access_token":"token-2","expires_in":100}"#),
            (200, "third"),
            (200, r#"{"access_token":"token-3","expires_in":100}"#),
            (401, "not you"),
        ]);
        let carrier = Carrier::new(Allowed::parse(["127.0.0.0/8"]).unwrap());
        let text = format!(
            "route: {{receiver: a}}\nreceivers: [{{name: a, webhook_configs: [{{url: 'http://h/', http_config: {{oauth2: \
             {{client_id: me, client_secret: s3cret, token_url: 'http://127.0.0.1:{port}/token'}}}}}}]}}]"
        );
        let config = alerting::Config::parse(&text, std::path::Path::new(".")).unwrap();
        let http = config.receiver("a").unwrap().webhook[0].value.http_config.clone().unwrap();
        let send = |at_s: i64| {
            let now = DateTime::from_timestamp(at_s, 0).unwrap();
            carrier.send(&request(format!("http://127.0.0.1:{port}/hook")), &http, now).unwrap()
        };
        assert_eq!(send(0).text(), "first, by <secret>");
        assert_eq!(send(50).text(), "second");
        // Refused before its time.
        assert_eq!(send(60).text(), "third");
        // Worn; and what is refused with a token that is new is refused.
        assert_eq!(send(1_000).status, 401);
        let asked = server.join().unwrap();
        let has = |nth: usize, text: &str| asked[nth].to_lowercase().contains(&text.to_lowercase());
        assert!(has(0, "authorization: basic bWU6czNjcmV0") && has(0, "grant_type=client_credentials"), "{asked:?}");
        assert!(has(1, "client_id=me&client_secret=s3cret") && !has(1, "authorization:"), "{asked:?}");
        let bearers: Vec<usize> = (0..9).filter(|nth| has(*nth, "POST /hook")).collect();
        assert_eq!(bearers, [2, 3, 4, 6, 8]);
        for (nth, token) in [(2, "token-1"), (3, "token-1"), (4, "token-1"), (6, "token-2"), (8, "token-3")] {
            assert!(has(nth, &format!("authorization: bearer {token}")), "{nth}: {asked:?}");
        }
    }

    fn request(url: String) -> Request {
        Request {
            method: "POST",
            url,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: b"{}".to_vec(),
            timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn an_answer_is_read_and_a_pause_that_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            // Head and body may come apart.
            while !asked.ends_with(b"{}") {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0, "{}", String::from_utf8_lossy(&asked));
                asked.extend_from_slice(&piece[..read]);
            }
            let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let carrier = Carrier::new(Allowed::parse(["127.0.0.0/8"]).unwrap());
        let url = format!("http://127.0.0.1:{port}/services/secret");
        let answer = carrier.send(&request(url), &HttpConfig::default(), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((answer.status, answer.retry_after_ms, answer.text().as_str()), (429, Some(7_000), "slow"));
        let asked = server.join().unwrap();
        assert!(asked.starts_with("POST /services/secret HTTP/1.1"), "{asked}");
    }

    fn authority() -> (String, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    }

    /// A certificate and its key.
    fn issued(issuer: &Issuer<'static, KeyPair>, usage: ExtendedKeyUsagePurpose) -> [String; 2] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        [params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem()]
    }

    /// Lets in whom the authority knows, answers the first, and ends.
    fn closed_to_strangers(issuer: &Issuer<'static, KeyPair>, ca: &str) -> (u16, thread::JoinHandle<()>) {
        let of_server = tls::Config { cert: "cert".into(), key: "key".into(), client_ca: Some("ca".into()) };
        let [cert, key] = issued(issuer, ExtendedKeyUsagePurpose::ServerAuth);
        let config = of_server.build(&[cert, key, ca.to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            loop {
                let (socket, _) = listener.accept().unwrap();
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, socket);
                let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    asked.extend_from_slice(&piece[..read]);
                    if asked.ends_with(b"{}") {
                        stream.write_all(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n").unwrap();
                        return stream.flush().unwrap();
                    }
                }
            }
        });
        (port, server)
    }

    #[test]
    fn certificates_that_are_renewed_in_their_files_are_those_of_the_next_request() {
        let ((old_ca, old), (new_ca, new)) = (authority(), authority());
        let (port, server) = closed_to_strangers(&new, &new_ca);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |ca: &str, issuer: &Issuer<'static, KeyPair>| {
            let [cert, key] = issued(issuer, ExtendedKeyUsagePurpose::ClientAuth);
            for (name, text) in [("ca", ca), ("cert", cert.as_str()), ("key", key.as_str())] {
                std::fs::write(at(name), text).unwrap();
            }
        };
        let tls_config = TlsConfig {
            ca_file: Some(at("ca")),
            cert_file: Some(at("cert")),
            key: Some(Secret::File(at("key"))),
            ..TlsConfig::default()
        };
        let http = HttpConfig { tls_config, ..HttpConfig::default() };
        let carrier = Carrier::new(Allowed::parse(["127.0.0.0/8"]).unwrap());
        let send = || carrier.send(&request(format!("https://127.0.0.1:{port}/")), &http, DateTime::UNIX_EPOCH);
        assert!(send().unwrap_err().contains("ca_file cannot be read"));
        write(&old_ca, &old);
        assert!(send().unwrap_err().contains("no connection"), "the server is not believed");
        write(&new_ca, &old);
        assert!(send().is_err(), "the server does not believe us");
        write(&new_ca, &new);
        assert_eq!(send().unwrap().status, 204);
        server.join().unwrap();
        assert_eq!(carrier.agents.lock().len(), 1, "those of older files are gone");
    }

    #[test]
    fn addresses_that_are_not_public_are_not_reached_and_no_secret_is_told() {
        let carrier = Carrier::new(Allowed::default());
        for host in ["127.0.0.1:1", "localhost:1", "[::1]:1", "169.254.169.254", "2130706433:1", "0x7f.1:1"] {
            let error = carrier
                .send(&request(format!("http://{host}/secret")), &HttpConfig::default(), DateTime::UNIX_EPOCH)
                .unwrap_err();
            assert!(!error.contains("secret") && !error.contains("127"), "{error}");
            assert!(error.contains("allowed_networks") || error.contains("no address"), "{host}: {error}");
        }
        let carrier = Carrier::new(Allowed::parse(["127.0.0.0/8"]).unwrap());
        let refused =
            carrier.send(&request("http://127.0.0.1:1/secret".into()), &HttpConfig::default(), DateTime::UNIX_EPOCH);
        assert!(refused.unwrap_err().contains("no connection"));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        assert_eq!(retry_after_ms(" 2 ", now), Some(2_000));
        assert_eq!(retry_after_ms("0.25", now), Some(250));
        assert_eq!(retry_after_ms("Sun, 09 Sep 2001 01:46:50 GMT", now), Some(10_000));
        assert_eq!(retry_after_ms("Sun, 09 Sep 2001 01:46:30 GMT", now), Some(0));
        assert_eq!(retry_after_ms("soon", now), None);
    }
}
