//! The page without storage: how browsers are let in, and what stands around every page.

use std::path::Path;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use tower::ServiceExt as _;

use crate::{
    auth::parse_file,
    http::{router, tests::shared_at},
};

const SECRET: &str = "0123456789012345678901234567890123456789";
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml");
/// Text of a header that a browser sends with its cookie.
const COOKIE: &str = "cookie";

/// A closed server with one token that may read.
fn closed(url: Option<&str>) -> Router {
    let variables = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let text = "[{name: ann, scopes: [read], token: '${SECRET}'}]";
    let tokens = parse_file(Path::new("tokens.yaml"), text, &variables).unwrap();
    router(shared_at(url, tokens, false))
}

/// What was answered: status, headers, body.
struct Seen {
    code: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    /// The pair of name and id that the cookie of this answer sets.
    fn cookie(&self) -> Option<&str> {
        self.headers.get(header::SET_COOKIE)?.to_str().ok()?.split(';').next()
    }

    fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// The proof in the form of this page.
    fn proof(&self) -> &str {
        let (_, rest) = self.body.split_once("name=\"proof\" value=\"").expect("a form");
        rest.split('"').next().unwrap()
    }
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)], form: &str) -> Seen {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(form.to_owned())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = String::from_utf8(to_bytes(body, 1 << 22).await.unwrap().to_vec()).unwrap();
    Seen { code: head.status, headers: head.headers, body }
}

async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Seen {
    ask(router, "GET", path, headers, "").await
}

/// Logs in and gives the cookie.
async fn log_in(router: &Router) -> String {
    let asked = get(router, "/", &[HTML]).await;
    let form = format!("proof={}&next=./graph%3Fg0.expr%3Dup&token={SECRET}", asked.proof());
    let seen = ask(router, "POST", "/login", &[(COOKIE, asked.cookie().unwrap())], &form).await;
    assert_eq!((seen.code, seen.location()), (StatusCode::SEE_OTHER, "./graph?g0.expr=up"), "{}", seen.body);
    let cookie = seen.cookie().unwrap().to_owned();
    assert_ne!(Some(cookie.as_str()), asked.cookie(), "an id that somebody may know opens nothing");
    cookie
}

#[tokio::test]
async fn a_browser_without_a_token_is_asked_for_one_and_other_clients_are_told_so() {
    let router = closed(None);
    let asked = get(&router, "/graph?g0.expr=%22%3E", &[HTML]).await;
    assert_eq!(asked.code, StatusCode::UNAUTHORIZED);
    assert!(asked.body.contains("name=\"next\" value=\"./graph?g0.expr=%22%3E\""), "{}", asked.body);
    let cookie = asked.headers[header::SET_COOKIE].to_str().unwrap();
    let (_, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
    let challenges: Vec<_> = asked.headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
    assert_eq!(challenges, ["Bearer realm=\"streamgauge\""], "a browser would open a window for more");

    let api = get(&router, "/api/v1/query?query=up", &[HTML]).await;
    assert!(api.code == StatusCode::UNAUTHORIZED && api.body.starts_with('{'), "{}", api.body);
    let other = get(&router, "/", &[("accept", "*/*")]).await;
    assert!(other.code == StatusCode::UNAUTHORIZED && other.body.starts_with('{'), "{}", other.body);
    assert_eq!(other.headers.get_all(header::WWW_AUTHENTICATE).iter().count(), 2);
}

#[tokio::test]
async fn a_session_opens_pages_and_no_api_until_it_is_left() {
    let router = closed(None);
    let cookie = log_in(&router).await;
    let with = [HTML, (COOKIE, cookie.as_str())];
    for path in ["/", "/graph", "/sql", "/endpoints", "/docs/grafana.md", "/dashboards/costs.json"] {
        assert_eq!(get(&router, path, &with).await.code, StatusCode::OK, "{path}");
    }
    for (method, path) in
        [("GET", "/api/v1/query?query=up"), ("GET", "/metrics"), ("POST", "/"), ("POST", "/api/v1/admin/flush")]
    {
        assert_eq!(ask(&router, method, path, &with, "").await.code, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    let again = get(&router, "/login?next=./sql", &with).await;
    assert_eq!((again.code, again.location()), (StatusCode::SEE_OTHER, "./sql"));

    let page = get(&router, "/", &with).await;
    assert!(page.body.contains("<span>ann</span>"), "{}", page.body);
    let proof = format!("proof={}", page.proof());
    for form in ["", "proof=x"] {
        assert_eq!(ask(&router, "POST", "/logout", &with, form).await.code, StatusCode::FORBIDDEN, "{form}");
    }
    assert_eq!(ask(&router, "POST", "/logout", &[HTML], &proof).await.code, StatusCode::FORBIDDEN, "no cookie");
    assert_eq!(get(&router, "/", &with).await.code, StatusCode::OK, "nobody has left");
    let left = ask(&router, "POST", "/logout", &with, &proof).await;
    assert_eq!((left.code, left.cookie()), (StatusCode::SEE_OTHER, Some("streamgauge=")));
    assert_eq!(get(&router, "/", &with).await.code, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_form_that_another_site_makes_a_browser_send_is_refused() {
    let router = closed(None);
    let (mine, theirs) = (get(&router, "/login", &[]).await, get(&router, "/login", &[]).await);
    let cookie = (COOKIE, mine.cookie().unwrap());
    let form = |proof: &str| format!("proof={proof}&token={SECRET}");
    let good = form(mine.proof());
    for (headers, form) in [
        (vec![cookie], form("")),
        (vec![cookie], format!("token={SECRET}")),
        (vec![cookie], form(theirs.proof())),
        (vec![], good.clone()),
        (vec![cookie, cookie], good.clone()),
        (vec![cookie, ("sec-fetch-site", "cross-site")], good.clone()),
        (vec![cookie, ("sec-fetch-site", "same-site")], good.clone()),
    ] {
        let seen = ask(&router, "POST", "/login", &headers, &form).await;
        assert_eq!(seen.code, StatusCode::FORBIDDEN, "{headers:?} {form}");
        assert!(!seen.body.contains(SECRET), "{}", seen.body);
    }
    let wrong = form(mine.proof()).replace(SECRET, "guessed");
    let wrong = ask(&router, "POST", "/login", &[cookie], &wrong).await;
    assert!(wrong.code == StatusCode::UNAUTHORIZED && wrong.body.contains("no token of this server"), "{}", wrong.body);
    assert!(wrong.cookie().is_none(), "nobody was let in");
    let seen = ask(&router, "POST", "/login", &[cookie, ("sec-fetch-site", "same-origin")], &good).await;
    assert_eq!((seen.code, seen.location()), (StatusCode::SEE_OTHER, "./"));
    let long = "x".repeat(super::FORM_BYTES_MAX + 1);
    assert_eq!(ask(&router, "POST", "/login", &[cookie], &long).await.code, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_link_from_a_message_is_followed_by_a_way_within_the_site() {
    let router = closed(None);
    let seen = get(&router, "/graph?g0.expr=a;b", &[HTML, ("sec-fetch-site", "cross-site")]).await;
    assert_eq!(seen.code, StatusCode::OK);
    assert!(seen.body.contains("content=\"0;url=login?next=.%2Fgraph%3Fg0.expr%3Da%3Bb\""), "{}", seen.body);
    assert!(seen.cookie().is_none(), "the session that the browser may have stays");
    let cookie = log_in(&router).await;
    let plain = get(&router, "/graph?g0.expr=up", &[HTML]).await;
    assert!(plain.cookie().unwrap().starts_with("streamgauge-visit="), "where browsers do not tell, it stays too");
    assert!(plain.body.contains("<a href=\"login?next=.%2Fgraph%3Fg0.expr%3Dup\">Go on.</a>"), "{}", plain.body);
    let next = get(&router, "/login?next=.%2Fgraph%3Fg0.expr%3Da%3Bb", &[(COOKIE, &cookie)]).await;
    assert_eq!(next.location(), "./graph?g0.expr=a;b");
}

#[tokio::test]
async fn nobody_is_sent_to_another_site() {
    let router = closed(None);
    let cookie = log_in(&router).await;
    for next in [
        "//evil.test",
        "https://evil.test",
        ".//evil.test",
        "./../x",
        "./api/v1/x",
        "/graph",
        "./graph%0d%0ax:%20y",
        "",
    ] {
        let seen = get(&router, &format!("/login?next={next}"), &[(COOKIE, &cookie)]).await;
        assert_eq!((seen.code, seen.location()), (StatusCode::SEE_OTHER, "./"), "{next}");
    }
}

#[tokio::test]
async fn under_tls_the_cookie_is_for_tls_only() {
    for url in ["https://gauge.test", "http://gauge.test"] {
        let asked = get(&closed(Some(url)), "/", &[HTML]).await;
        let cookie = asked.headers[header::SET_COOKIE].to_str().unwrap();
        let is_https = url.starts_with("https");
        assert_eq!(cookie.starts_with("__Host-streamgauge-visit="), is_https, "{cookie}");
        assert_eq!(cookie.ends_with("; Secure"), is_https, "{cookie}");
    }
}

#[tokio::test]
async fn every_page_has_a_strict_policy_and_keeps_it() {
    let router = router(shared_at(None, Vec::new(), true));
    for path in ["/", "/graph", "/graph?g0.expr=up", "/sql", "/sql?query=SELECT+1", "/endpoints"] {
        let seen = get(&router, path, &[("host", "<script>\"'"), HTML]).await;
        assert_eq!(seen.code, StatusCode::OK, "{path}");
        let policy = seen.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"), "{policy}");
        assert_eq!(seen.headers[header::CACHE_CONTROL], "no-store", "{path}");
        assert_eq!(seen.body.matches("<script").count(), 1, "{path}: {}", seen.body);
        for word in [" style=", "<style", " onclick", " onload", "javascript:", "src=\"http", "href=\"http"] {
            assert!(!seen.body.contains(word), "{path} has {word}: {}", seen.body);
        }
        for word in ["<html lang=\"en\">", "name=\"viewport\"", "class=\"skip\" href=\"#main\"", "<main id=\"main\""] {
            assert!(seen.body.contains(word), "{path} lacks {word}");
        }
        assert!(!seen.body.contains("Log out"), "{path}: nobody has logged in");
    }
    for (path, kind) in [("/page.css", "text/css; charset=utf-8"), ("/page.js", "text/javascript; charset=utf-8")] {
        let seen = get(&closed(None), path, &[]).await;
        assert_eq!((seen.code, seen.headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, kind));
        assert_eq!(seen.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    assert_eq!(get(&router, "/dashboards/none.json", &[]).await.code, StatusCode::NOT_FOUND);
    let listed = get(&router, "/endpoints", &[]).await.body;
    assert!(listed.contains("/api/v1/billing/&lt;export&gt;/&lt;part&gt;") && listed.contains("/-/ready"), "{listed}");
}

#[tokio::test]
async fn before_storage_is_open_the_page_says_so() {
    let router = router(shared_at(None, Vec::new(), true));
    let seen = get(&router, "/", &[]).await;
    assert!(
        seen.body.contains(">starting</p>") && seen.body.contains("nothing that was acknowledged"),
        "{}",
        seen.body
    );
    assert!(get(&router, "/graph?g0.expr=up", &[]).await.body.contains("starting: ask again"), "the console waits");
}

#[test]
fn a_cell_is_cut_between_characters() {
    let long = "ä".repeat(super::CELL_BYTES_MAX);
    let cut = super::short(&format!("x{long}"));
    assert!(cut.ends_with("ä…") && cut.len() <= super::CELL_BYTES_MAX + 3, "{}", cut.len());
    assert_eq!(super::short("whole"), "whole");
}
