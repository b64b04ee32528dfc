//! Credentials of a role at AWS, for those who may assume it.
//!
//! Spec: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use chrono::DateTime;
use form_urlencoded::Serializer;

use super::Borrowed;
use crate::{
    Error, ErrorKind, Result,
    config::built::SigV4,
    notify::{
        Answer, Credentials, Request,
        http::tagged,
        sigv4,
        text::{one_line, truncated},
    },
};

/// For how long credentials are asked for; every role allows an hour.
const LIFETIME_S: i64 = 3_600;
const REASON_CHARS_MAX: usize = 300;

/// The request for credentials of the role; `credentials` are those of who assumes it.
///
/// # Errors
/// `Invalid` if the address of STS is none.
pub fn request(config: &SigV4, region: &str, credentials: &Credentials, now_ms: i64) -> Result<Request> {
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "AssumeRole")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleSessionName", "streamgauge")
        .append_pair("DurationSeconds", &LIFETIME_S.to_string())
        .append_pair("RoleArn", &config.role_arn);
    if !config.external_id.is_empty() {
        form.append_pair("ExternalId", &config.external_id);
    }
    let name = if config.use_fips_sts_endpoint { "sts-fips" } else { "sts" };
    let url = match config.sts_url.as_str() {
        "" => format!("https://{name}.{region}.amazonaws.com/"),
        url => url.to_owned(),
    };
    sigv4::post((url, region, "sts"), form.finish().into_bytes(), (credentials, now_ms))
}

/// The credentials of an answer.
///
/// # Errors
/// `Unavailable` if there are none, and what AWS says of it.
pub fn credentials(answer: &Answer, now_ms: i64) -> Result<Borrowed<Credentials>> {
    let body = String::from_utf8_lossy(&answer.body);
    let refused = |why: &str| {
        let why = truncated(&one_line(why), REASON_CHARS_MAX);
        Error::new(ErrorKind::Unavailable, format!("the role cannot be assumed: {why}"))
    };
    if !answer.is_success() {
        let [code, message] = ["Code", "Message"].map(|tag| tagged(&body, tag).unwrap_or_default());
        return Err(refused(&format!("status {} {code} {message}", answer.status)));
    }
    let found = |tag: &str| tagged(&body, tag).filter(|text| !text.is_empty()).map(str::to_owned);
    let (Some(access_key), Some(secret_key), Some(session_token)) =
        (found("AccessKeyId"), found("SecretAccessKey"), found("SessionToken"))
    else {
        return Err(refused("the answer has no credentials"));
    };
    let until = found("Expiration").and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    let until_ms = until.map_or(now_ms + LIFETIME_S * 1_000, |until| until.timestamp_millis());
    Ok(Borrowed::new(Credentials { access_key, secret_key, session_token }, now_ms, until_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::{NOW_MS, answer};

    fn base() -> Credentials {
        Credentials { access_key: "AKID".into(), secret_key: "secretkey".into(), session_token: String::new() }
    }

    #[test]
    fn a_role_is_asked_for_where_it_is_assumed() {
        let config = SigV4 {
            role_arn: "arn:aws:iam::1:role/a b".to_owned(),
            external_id: "x".to_owned(),
            use_fips_sts_endpoint: true,
            ..SigV4::default()
        };
        let sent = request(&config, "us-gov-west-1", &base(), NOW_MS).unwrap();
        assert_eq!(sent.url, "https://sts-fips.us-gov-west-1.amazonaws.com/");
        assert_eq!(
            String::from_utf8(sent.body).unwrap(),
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=streamgauge&DurationSeconds=3600\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa+b&ExternalId=x"
        );
        let signature = &sent.headers.iter().find(|(name, _)| name == "authorization").unwrap().1;
        assert!(signature.contains("Credential=AKID/20261105/us-gov-west-1/sts/aws4_request"), "{signature}");
        let own = SigV4 { sts_url: "http://vpc:1/".to_owned(), ..config };
        assert_eq!(request(&own, "r", &base(), NOW_MS).unwrap().url, "http://vpc:1/");
    }

    #[test]
    fn credentials_last_as_they_say_and_a_refusal_says_why() {
        let body = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
                    <SecretAccessKey>s/k+=</SecretAccessKey><SessionToken>tok</SessionToken>\
                    <Expiration>2026-11-05T05:03:09Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let found = credentials(&answer(200, None, body), NOW_MS).unwrap();
        let expected =
            Credentials { access_key: "ASIA1".into(), secret_key: "s/k+=".into(), session_token: "tok".into() };
        assert_eq!(found, Borrowed::new(expected, NOW_MS, 1_793_854_989_000));
        let denied =
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>";
        let why = credentials(&answer(403, None, denied), NOW_MS).unwrap_err();
        assert_eq!(why.to_string(), "the role cannot be assumed: status 403 AccessDenied not you");
        assert!(credentials(&answer(200, None, "<a/>"), NOW_MS).is_err());
    }
}
