//! Signs requests to AWS.
//!
//! Called by notifiers that speak to AWS. Time and credentials enter as arguments. Not here: where credentials come from, and payloads
//! that are signed in parts. Spec: AWS Signature Version 4,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use chrono::DateTime;

use super::{
    Request,
    digest::{hex, hmac, sha256_hex},
    http::TIMEOUT,
};
use crate::{Error, Result, config::values::Url};

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Who signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
    /// Of credentials that last for some time; empty of others.
    pub session_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where a request goes, as far as a signature covers it.
struct Endpoint<'a> {
    region: &'a str,
    service: &'a str,
    host: &'a str,
    /// Path, already encoded as it is sent.
    path: &'a str,
}

/// A signed `POST` of a form to a service in a region.
pub(super) fn post(
    (url, region, service): (String, &str, &str),
    body: Vec<u8>,
    (credentials, now_ms): (&Credentials, i64),
) -> Result<Request> {
    Url::parse(&url).map_err(|reason| Error::invalid(format!("the address of {service} is wrong: {reason}")))?;
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let headers = signed(&Endpoint { region, service, host, path }, credentials, FORM, &body, now_ms);
    Ok(Request { method: "POST", url, headers, body, timeout: TIMEOUT })
}

/// Headers that sign a `POST` without a query, of which some are sent anyway.
fn signed(
    endpoint: &Endpoint<'_>,
    credentials: &Credentials,
    content_type: &str,
    body: &[u8],
    now_ms: i64,
) -> Vec<(String, String)> {
    let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    let (date, time) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ").to_string());
    let Credentials { access_key, secret_key, session_token } = credentials;
    let mut headers = vec![("content-type", content_type), ("host", endpoint.host), ("x-amz-date", &time)];
    if !session_token.is_empty() {
        headers.push(("x-amz-security-token", session_token));
    }
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let path = if endpoint.path.is_empty() { "/" } else { endpoint.path };
    let request = format!("POST\n{path}\n\n{lines}\n{names}\n{}", sha256_hex(body));
    let scope = format!("{date}/{}/{}/aws4_request", endpoint.region, endpoint.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256_hex(request));
    let signature = hex(&hmac(&key(secret_key, &date, endpoint), to_sign.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}");
    let sent = headers.into_iter().filter(|(name, _)| *name != "host");
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    sent.chain([("authorization".to_owned(), authorization)]).collect()
}

fn key(secret_key: &str, date: &str, endpoint: &Endpoint<'_>) -> [u8; 32] {
    let first = hmac(format!("AWS4{secret_key}").as_bytes(), date.as_bytes());
    [endpoint.region, endpoint.service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-08-30T12:36:00Z, of AWS's own examples.
    const NOW_MS: i64 = 1_440_938_160_000;

    fn example(session_token: &str) -> Credentials {
        Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: session_token.to_owned(),
        }
    }

    #[test]
    fn signatures_are_those_of_aws_examples() {
        let endpoint = Endpoint { region: "us-east-1", service: "service", host: "example.amazonaws.com", path: "/" };
        let headers = signed(&endpoint, &example(""), "application/x-www-form-urlencoded", b"Param1=value1", NOW_MS);
        assert_eq!(
            headers.last().unwrap().1,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        let iam = Endpoint { service: "iam", ..endpoint };
        assert_eq!(
            hex(&key(&example("").secret_key, "20150830", &iam)),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }

    #[test]
    fn a_token_is_sent_and_signed() {
        let endpoint = Endpoint { region: "us-east-1", service: "sns", host: "h", path: "" };
        let headers = signed(&endpoint, &example("t"), "a", b"", NOW_MS);
        assert!(headers.contains(&("x-amz-security-token".to_owned(), "t".to_owned())));
        assert!(headers.last().unwrap().1.contains("host;x-amz-date;x-amz-security-token"));
        assert!(!format!("{:?}", example("t")).contains("wJalr"));
    }
}
