//! The router as a whole, without storage and without sockets.

use axum::body::{Body, to_bytes};
use storage::Clock;

use super::*;
use crate::auth::Token;

fn shared(tokens: Vec<Token>, open: bool) -> Shared {
    shared_at(None, tokens, open)
}

/// A server that is found at a URL.
pub(super) fn shared_at(url: Option<&str>, tokens: Vec<Token>, open: bool) -> Shared {
    let (registry, clock) = (Registry::new(), Clock::new(|| 0));
    let metrics = Metrics::register(&registry, clock.clone()).unwrap();
    let mut config = crate::config::Config::load(None, crate::config::Overrides::default()).unwrap();
    config.alerting.external_url = url.map(str::to_owned);
    let about = About::new(&config, clock.clone()).unwrap();
    Shared::new(about, Auth::new(tokens, open, clock), metrics, registry)
}

async fn send(router: Router, method: &str, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn before_storage_is_open_the_server_is_healthy_but_not_ready() {
    let router = router(shared(Vec::new(), true));
    assert_eq!(send(router.clone(), "GET", "/-/healthy").await.0, StatusCode::OK);
    for (method, path) in [("GET", "/-/ready"), ("POST", "/api/v1/write"), ("POST", "/api/v1/admin/flush")] {
        let (code, headers, body) = send(router.clone(), method, path).await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(headers.contains_key(header::RETRY_AFTER), "{path}");
        assert!(body.contains("\"errorType\":\"unavailable\""), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_counted_under_its_route() {
    let shared = shared(Vec::new(), true);
    async fn boom() -> Response {
        panic!("secret of the handler")
    }
    let own = routed(Router::new().route("/boom/{id}", get(boom)));
    let router = own
        .layer(middleware::from_fn_with_state(shared.clone(), authorize))
        .layer(middleware::from_fn_with_state(shared.clone(), observe));
    let (code, headers, body) = send(router, "GET", "/boom/7").await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.contains("secret") && body.contains("\"errorType\":\"internal\""), "{body}");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let text = prometheus::TextEncoder::new().encode_to_string(&shared.registry.gather()).unwrap();
    assert!(text.contains("{code=\"500\",handler=\"/boom/{id}\",method=\"GET\"} 1"), "{text}");
}

#[tokio::test]
async fn without_a_token_even_what_is_not_there_is_unauthorized() {
    let router = router(shared(Vec::new(), false));
    for path in ["/", "/metrics", "/nothing", "/api/v1/admin/flush", "/api/v1/write"] {
        let (code, headers, _) = send(router.clone(), "GET", path).await;
        assert_eq!(code, StatusCode::UNAUTHORIZED, "{path}");
        let challenges: Vec<_> = headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert_eq!(challenges.len(), 2, "{path}: {challenges:?}");
    }
    assert_eq!(send(router.clone(), "GET", "/-/healthy").await.0, StatusCode::OK);
}

#[tokio::test]
async fn wrong_methods_are_refused_in_the_shape_of_other_errors() {
    let (code, headers, body) = send(router(shared(Vec::new(), true)), "DELETE", "/metrics").await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    assert!(headers.contains_key(header::ALLOW));
    assert!(body.contains("\"errorType\":\"bad_method\""), "{body}");
}
