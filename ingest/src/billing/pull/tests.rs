//! Roles of other accounts, and exports of two parts.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, http::HeaderMap, routing::post};
use object_store::CredentialProvider as _;

use super::*;

fn export(role: Option<Role>) -> Export {
    let credentials = [("AWS_ACCESS_KEY_ID", "own"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    Export {
        name: "aws".to_owned(),
        place: Place::parse("s3://bills/cur").unwrap(),
        amortized: None,
        reading: Reading::default(),
        layout: Layout::Folders,
        quiet_us: 0,
        region: Some("eu-central-1".to_owned()),
        endpoint: None,
        path_style: None,
        allow_http: true,
        credentials: Credentials(credentials.map(|(name, value)| (name, value.to_owned())).into()),
        role,
    }
}

/// A token service that gives what `answer` says; counts how often it is asked.
async fn token_service(answer: &'static str, code: u16) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let handler = move |headers: HeaderMap, form: String| async move {
        counted.fetch_add(1, Ordering::Relaxed);
        let signed = headers["authorization"].to_str().unwrap();
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 Credential=own/") && signed.contains("/eu-central-1/sts/aws4_request"),
            "{signed}"
        );
        let fields: Vec<&str> = form.split('&').collect();
        for field in
            ["Action=AssumeRole", "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbills", "ExternalId=for%20us%20alone"]
        {
            assert!(fields.contains(&field), "{form}");
        }
        (axum::http::StatusCode::from_u16(code).unwrap(), answer)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(handler))).await });
    (address, asked)
}

fn role(endpoint: String) -> Role {
    let external_id = Some("for us alone".to_owned());
    Role { arn: "arn:aws:iam::1:role/bills".to_owned(), external_id, endpoint: Some(endpoint) }
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_once_for_its_time() {
    let answer = "<AssumeRoleResponse><AssumeRoleResult><Credentials>\n<AccessKeyId>theirs</AccessKeyId>\
                  <SecretAccessKey>a/b+c=</SecretAccessKey><SessionToken>token</SessionToken></Credentials></AssumeRoleResult>";
    let (endpoint, asked) = token_service(answer, 200).await;
    let role = role(endpoint);
    let assumed = role::Assumed::new(&role, &export(Some(role.clone()))).unwrap();
    for _ in 0..3 {
        let credential = assumed.get_credential().await.unwrap();
        assert_eq!((credential.key_id.as_str(), credential.secret_key.as_str()), ("theirs", "a/b+c="));
        assert_eq!(credential.token.as_deref(), Some("token"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(!format!("{assumed:?} {:?}", export(None)).contains("hush"));
}

#[tokio::test]
async fn who_may_not_assume_a_role_is_told_so() {
    let answer = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized to perform sts:AssumeRole</Message></Error>";
    let (endpoint, _) = token_service(answer, 403).await;
    let role = role(endpoint);
    let error = role::Assumed::new(&role, &export(None)).unwrap().get_credential().await.unwrap_err().to_string();
    assert!(error.contains("not authorized to perform sts:AssumeRole") && error.contains("role/bills"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn an_export_of_two_parts_is_whole_when_both_are_there() {
    let found =
        |part: &str, delivery: &str| Found { part: part.to_owned(), delivery: delivery.to_owned(), ..Found::default() };
    let deliveries = |whole: Vec<Found>| Deliveries { whole, halves: Vec::new() };
    let actual = deliveries(vec![found("2026-10", "a10"), found("2026-11", "a11")]);
    let amortized = deliveries(vec![found("2026-11", "b11"), found("2026-12", "b12")]);
    let both = both(actual.into(), amortized);
    assert_eq!(both.whole, [(found("2026-11", "a11"), Some(found("2026-11", "b11")))]);
    let missing: Vec<(&str, &str)> =
        both.halves.iter().map(|half| (half.part.as_str(), half.reason.as_str())).collect();
    assert_eq!(
        missing,
        [("2026-10", "the amortized costs are not there yet"), ("2026-12", "the actual costs are not there yet")]
    );
}
