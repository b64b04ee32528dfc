//! Tokens of OAuth2, for which client and secret are given: the grant `client_credentials`.
//!
//! Invariant: neither the secret nor a token is in an error. Not here: assertions (`jwt-bearer`), which need keys and clocks of their own;
//! a configuration that asks for them is refused when it is read. Spec: RFC 6749, sections 2.3.1, 4.4 and 5.

use base64::Engine as _;
use form_urlencoded::Serializer;
use serde::Deserialize;

use super::Borrowed;
use crate::{
    Error, ErrorKind, Result,
    config::http::{HttpConfig, OAuth2},
    notify::{
        Answer, Request,
        http::TIMEOUT,
        text::{one_line, truncated},
    },
};

/// Of a token that does not say how long it is good; one that ends earlier is refused, and another one fetched.
const LIFETIME_S: f64 = 300.0;
/// Longest time that is believed.
const LIFETIME_S_MAX: f64 = 30.0 * 86_400.0;
const FORM: &str = "application/x-www-form-urlencoded";
/// Characters of what the server says of a refusal.
const REASON_CHARS_MAX: usize = 200;
const GRANT: &str = "client_credentials";

#[derive(Deserialize)]
struct Said {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

/// Why we cannot get tokens as it is configured, if we cannot.
#[must_use]
pub fn unspoken(config: &OAuth2) -> Option<&'static str> {
    let is_spoken = config.grant_type.is_empty() || config.grant_type == GRANT;
    (!is_spoken || config.client_certificate_key.is_some())
        .then_some("`oauth2` has a `client_secret` here; assertions signed with a certificate are not made")
}

/// How the server of tokens is reached.
#[must_use]
pub fn http_config(config: &OAuth2) -> HttpConfig {
    HttpConfig {
        tls_config: config.tls_config.clone(),
        proxy_url: config.proxy_url.clone(),
        no_proxy: config.no_proxy.clone(),
        proxy_from_environment: config.proxy_from_environment,
        proxy_connect_header: config.proxy_connect_header.clone(),
        ..HttpConfig::default()
    }
}

/// The request for a token. Client and secret are in a header, as every server has to take them, or in the body, as some want them.
///
/// # Errors
/// `Invalid` if there is no address, `Unavailable` if the secret cannot be read.
pub fn request(config: &OAuth2, is_in_body: bool) -> Result<Request> {
    let url = config.token_url.as_ref().ok_or_else(|| Error::invalid("`oauth2` has no `token_url`"))?;
    let secret = config.client_secret.as_ref().map_or_else(|| Ok(String::new()), |secret| secret.read())?;
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", GRANT);
    if !config.scopes.is_empty() {
        form.append_pair("scope", &config.scopes.join(" "));
    }
    form.extend_pairs(&config.endpoint_params);
    let mut headers =
        vec![("Content-Type".to_owned(), FORM.to_owned()), ("Accept".to_owned(), "application/json".to_owned())];
    if is_in_body {
        form.append_pair("client_id", &config.client_id).append_pair("client_secret", &secret);
    } else {
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let both = format!("{}:{}", encoded(&config.client_id), encoded(&secret));
        let both = base64::engine::general_purpose::STANDARD.encode(both);
        headers.push(("Authorization".to_owned(), format!("Basic {both}")));
    }
    Ok(Request {
        method: "POST",
        url: url.as_str().to_owned(),
        headers,
        body: form.finish().into_bytes(),
        timeout: TIMEOUT,
    })
}

/// May the server want client and secret in the body?
#[must_use]
pub fn wants_body(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 401)
}

/// The token of an answer.
///
/// # Errors
/// `Unavailable` if there is none, and what the server says of it.
pub fn token(config: &OAuth2, answer: &Answer, now_ms: i64) -> Result<Borrowed<String>> {
    let refused = |why: String| Error::new(ErrorKind::Unavailable, format!("no token of OAuth2: {why}"));
    if !answer.is_success() {
        let Refusal { error, error_description } = serde_json::from_slice(&answer.body).unwrap_or_default();
        let why = one_line(format!("status {} {error} {error_description}", answer.status).trim());
        let secret = config.client_secret.as_ref().and_then(|secret| secret.read().ok()).unwrap_or_default();
        let why = if secret.is_empty() { why } else { why.replace(&secret, crate::config::values::HIDDEN) };
        return Err(refused(truncated(&why, REASON_CHARS_MAX)));
    }
    let Said { access_token, expires_in } =
        serde_json::from_slice(&answer.body).map_err(|_| refused("the answer is none of RFC 6749".to_owned()))?;
    if access_token.is_empty() || access_token.chars().any(char::is_control) {
        return Err(refused("the answer has none".to_owned()));
    }
    // Some write the number as a text.
    let seconds = expires_in.and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let seconds = seconds.filter(|seconds| *seconds > 0.0).unwrap_or(LIFETIME_S).min(LIFETIME_S_MAX);
    #[expect(clippy::cast_possible_truncation, reason = "it is at most some days")]
    let lifetime_ms = (seconds * 1_000.0) as i64;
    Ok(Borrowed::new(access_token, now_ms, now_ms + lifetime_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::{answer, receiver};

    fn config(oauth2: &str) -> OAuth2 {
        let receiver =
            receiver(&format!("  webhook_configs: [{{url: 'http://h/', http_config: {{oauth2: {{{oauth2}}}}}}}]"));
        receiver.webhook[0].value.http_config.clone().unwrap().oauth2.unwrap()
    }

    const CONFIG: &str = "client_id: 'a b', client_secret: 's:cret', token_url: 'https://t/token', scopes: [x, y], endpoint_params: {audience: z}";

    #[test]
    fn a_token_is_asked_for_by_header_or_in_the_body() {
        let config = config(CONFIG);
        let sent = request(&config, false).unwrap();
        assert_eq!(sent.body, b"grant_type=client_credentials&scope=x+y&audience=z");
        // `a+b:s%3Acret`, by another program.
        assert!(sent.headers.contains(&("Authorization".to_owned(), "Basic YStiOnMlM0FjcmV0".to_owned())));
        let sent = request(&config, true).unwrap();
        let body = "grant_type=client_credentials&scope=x+y&audience=z&client_id=a+b&client_secret=s%3Acret";
        assert_eq!(String::from_utf8(sent.body).unwrap(), body);
        assert!(sent.headers.iter().all(|(name, _)| name != "Authorization"));
    }

    #[test]
    fn a_token_lasts_as_it_says_and_a_refusal_says_why() {
        let config = config(CONFIG);
        let good = |body: &str| token(&config, &answer(200, None, body), 1_000).unwrap();
        for (body, until_ms) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#, 3_601_000),
            (r#"{"access_token":"t","expires_in":"60"}"#, 61_000),
            (r#"{"access_token":"t"}"#, 301_000),
            (r#"{"access_token":"t","expires_in":-1}"#, 301_000),
        ] {
            assert_eq!(good(body), Borrowed::new("t".to_owned(), 1_000, until_ms), "{body}");
        }
        let bad = |status, body: &str| token(&config, &answer(status, None, body), 0).unwrap_err().to_string();
        let refused = bad(401, r#"{"error":"invalid_client","error_description":"s:cret is wrong"}"#);
        assert_eq!(refused, "no token of OAuth2: status 401 invalid_client <secret> is wrong");
        assert!(bad(200, "<html>").contains("RFC 6749") && bad(200, r#"{"access_token":""}"#).contains("none"));
        assert!(wants_body(&answer(401, None, "")) && !wants_body(&answer(503, None, "")));
    }

    #[test]
    fn assertions_are_refused_when_a_configuration_is_read() {
        assert_eq!(unspoken(&config(CONFIG)), None);
        let jwt = format!("{CONFIG}, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'");
        assert!(unspoken(&config(&jwt)).is_some());
    }
}
