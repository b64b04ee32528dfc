//! Lets browsers in: asks for a token, and keeps a session in a cookie.
//!
//! The cookie is out of reach of scripts (`HttpOnly`), is not sent with what other sites begin (`SameSite=Strict`), and goes over TLS only
//! where there is TLS (`Secure`, and a name that no neighbouring host can set). A form shows the proof that it was made for this
//! browser's cookie (`auth::session`), so that no other site can log somebody in or out: who logs in has the cookie of a visit for it.
//! Because of `Strict` a browser that follows a link from a message seems to have no session. It is sent on by a page of ours, which
//! makes it a way within this site, and then has it; and the cookie of a visit is another one, so that asking takes no session away.
//! Invariants: a token is in no URL, no log and no page; where to go on is a page of ours, whatever a link says.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{RawQuery, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tracing::{error, info};

use super::{Params, begin, html::Html, html::href, is_page, reason, whole};
use crate::{
    auth::{Denied, Scope, session},
    http::{Shared, refusal},
};

/// Longest way on after a log-in: a query of some pages.
const NEXT_BYTES_MAX: usize = 16 << 10;
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a cookie holds the id of.
#[derive(Clone, Copy)]
enum Cookie {
    /// A session: who has it is logged in.
    Session,
    /// A visit: who has it was given the form in which a token is shown.
    Visit,
}

/// What a request for a page may do by the session of its cookie; none if there is no cookie, or tokens decide.
pub(in crate::http) fn in_session(shared: &Shared, request: &Request) -> Option<Result<Option<Arc<str>>, Denied>> {
    let headers = request.headers();
    let is_tokens = shared.auth.is_open() || headers.contains_key(header::AUTHORIZATION);
    if is_tokens || !is_looked_at(request) {
        return None;
    }
    let id = Cookie::Session.read(shared, headers)?;
    Some(shared.auth.in_session(id, Scope::Read).map(Some))
}

fn is_looked_at(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && is_page(request.uri().path())
}

/// Asks whoever looks at a page with a browser for a token; none for other clients, who get an error that they can read.
pub(in crate::http) fn ask(shared: &Shared, request: &Request, denied: &Denied) -> Option<Response> {
    let headers = request.headers();
    let read = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Links of the form are relative: below another path they would lead astray. Files are there only.
    let is_deep = request.uri().path().rfind('/') != Some(0);
    if is_deep || !is_looked_at(request) || !read(header::ACCEPT).contains("text/html") {
        return None;
    }
    let next = next_of(request.uri().path(), request.uri().query());
    if read(FETCH_SITE) == "cross-site" && Cookie::Session.read(shared, headers).is_none() {
        return Some(go_on(&next));
    }
    let why = match denied {
        Denied::Unknown => None,
        denied => Some(denied.to_string()),
    };
    Some(asking(shared, headers, &next, why.as_deref(), StatusCode::UNAUTHORIZED))
}

/// `GET /login`: goes on if there is a session, else asks for a token.
pub(super) async fn form(State(shared): State<Shared>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let params = Params::of(query.unwrap_or_default().as_bytes());
    let next = checked(params.get("next"));
    let id = Cookie::Session.read(&shared, &headers);
    let is_in = id.is_some_and(|id| shared.auth.in_session(id, Scope::Read).is_ok());
    if shared.auth.is_open() || is_in {
        return to(next, None);
    }
    asking(&shared, &headers, next, None, StatusCode::OK)
}

/// `POST /login`: a token is shown.
pub(super) async fn log_in(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let form = match posted(&shared, &headers, body, Cookie::Visit) {
        Ok((form, _)) => form,
        Err(refused) => return *refused,
    };
    let next = checked(form.get("next"));
    let id = match session::new_id() {
        Ok(id) => id,
        Err(error) => return no_random(&error),
    };
    match shared.auth.log_in(form.get("token").as_bytes(), &id) {
        Ok(token) => {
            info!(%token, "logged in to the page");
            Cookie::Session.read(&shared, &headers).into_iter().for_each(|old| shared.auth.log_out(old));
            to(next, Cookie::Session.set(&shared, &id))
        }
        Err(denied) => {
            let why = match denied {
                Denied::Unknown => "this is no token of this server, or no longer".to_owned(),
                denied => denied.to_string(),
            };
            asking(&shared, &headers, next, Some(&why), StatusCode::UNAUTHORIZED)
        }
    }
}

/// `POST /logout`: the session ends, here and in the browser.
pub(super) async fn log_out(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match posted(&shared, &headers, body, Cookie::Session) {
        Ok((_, id)) => {
            shared.auth.log_out(&id);
            to("./", Cookie::Session.set(&shared, ""))
        }
        Err(refused) => *refused,
    }
}

/// Who is logged in, and how to leave; nothing where nobody has to.
pub(super) fn leave(shared: &Shared, headers: &HeaderMap) -> Html {
    let of = |id: &str| Some((shared.auth.in_session(id, Scope::Read).ok()?, session::proof(id)));
    let by_cookie = Cookie::Session.read(shared, headers).filter(|_| !headers.contains_key(header::AUTHORIZATION));
    let Some((token, proof)) = by_cookie.and_then(of) else { return Html::default() };
    Html::of(
        "<form class=\"leave\" method=\"post\" action=\"logout\"><input type=\"hidden\" name=\"proof\" value=\"{}\">\
         <span>{}</span> <button>Log out</button></form>",
        &[&proof, &token],
    )
}

/// The form of a request that this browser was given, and the id in its cookie.
fn posted(
    shared: &Shared,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    cookie: Cookie,
) -> Result<(Params, String), Box<Response>> {
    let body = body.map_err(|error| Box::new(refusal(error.status(), "bad_data", error.body_text())))?;
    let form = Params::of(&body);
    let is_ours = headers.get(&FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none");
    match cookie.read(shared, headers).filter(|id| is_ours && session::proves(form.get("proof"), id)) {
        Some(id) => Ok((form, id.to_owned())),
        None => {
            let why = "this form was not made for this browser, or its cookie is gone; try again with the one below";
            let next = checked(form.get("next"));
            Err(Box::new(asking(shared, headers, next, Some(why), StatusCode::FORBIDDEN)))
        }
    }
}

/// The page that asks for a token.
fn asking(shared: &Shared, headers: &HeaderMap, next: &str, why: Option<&str>, code: StatusCode) -> Response {
    let known = Cookie::Visit.read(shared, headers).map(str::to_owned);
    let is_new = known.is_none();
    let id = match known.map_or_else(session::new_id, Ok) {
        Ok(id) => id,
        Err(error) => return no_random(&error),
    };
    let may_be_in = Cookie::Session.read(shared, headers).is_none();
    let mut html = begin("Log in");
    html.put("</header><main id=\"main\" tabindex=\"-1\" class=\"narrow\"><h1>Log in</h1>", &[]);
    if let Some(why) = why {
        html.add(&reason(why));
    }
    html.put(
        "<form method=\"post\" action=\"login\" class=\"ask\"><input type=\"hidden\" name=\"proof\" value=\"{}\">\
         <input type=\"hidden\" name=\"next\" value=\"{}\"><label for=\"token\">Token that may read</label>\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus>\
         <button>Log in</button></form>\
         <p>An administrator makes one with <code>streamgauge token --name you --scope read</code>.</p>",
        &[&session::proof(&id), &next],
    );
    if may_be_in {
        html.put("<p>Logged in already? <a href=\"{}\">Go on.</a></p>", &[&href("login", &[("next", next)])]);
    }
    let mut response = whole(code, html);
    let headers = response.headers_mut();
    if code == StatusCode::UNAUTHORIZED {
        // Not `Basic`, for which browsers open a window of their own.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"streamgauge\""));
    }
    if let Some(cookie) = Cookie::Visit.set(shared, &id).filter(|_| is_new) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

/// A page that makes a way from another site one within this site.
fn go_on(next: &str) -> Response {
    let mut html = begin("Going on");
    let to = href("login", &[("next", next)]);
    html.put(
        "</header><main id=\"main\" class=\"narrow\"><meta http-equiv=\"refresh\" content=\"0;url={}\">\
         <p><a href=\"{}\">Go on.</a></p>",
        &[&to, &to],
    );
    whole(StatusCode::OK, html)
}

fn to(next: &str, cookie: Option<HeaderValue>) -> Response {
    let place = HeaderValue::from_str(next).unwrap_or(HeaderValue::from_static("./"));
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response();
    response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

fn no_random(why: &anyhow::Error) -> Response {
    error!(error = format!("{why:#}"), "nobody can log in");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", why.to_string())
}

/// Where a page is, seen from the others.
fn next_of(path: &str, query: Option<&str>) -> String {
    let page = path.trim_start_matches('/');
    let next = query.map_or_else(|| format!("./{page}"), |query| format!("./{page}?{query}"));
    checked(&next).to_owned()
}

/// Where somebody is sent: a page of ours, or the overview.
fn checked(next: &str) -> &str {
    let path = next.strip_prefix('.').map(|path| path.split_once('?').map_or(path, |(path, _)| path));
    let is_good =
        path.is_some_and(is_page) && next.len() <= NEXT_BYTES_MAX && next.bytes().all(|b| b.is_ascii_graphic());
    if is_good { next } else { "./" }
}

impl Cookie {
    /// With TLS, a name that browsers take only with `Secure`, for all paths and from this host itself.
    fn name(self, shared: &Shared) -> &'static str {
        match (self, shared.about.is_secure()) {
            (Self::Session, true) => "__Host-streamgauge",
            (Self::Session, false) => "streamgauge",
            (Self::Visit, true) => "__Host-streamgauge-visit",
            (Self::Visit, false) => "streamgauge-visit",
        }
    }

    /// The id in a request; of two of the same name none is ours.
    fn read<'a>(self, shared: &Shared, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.name(shared);
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut ids = pairs.filter(|(known, _)| *known == name).map(|(_, id)| id);
        ids.next().filter(|id| session::is_id(id) && ids.next().is_none())
    }

    /// Puts an id into a browser, or takes it out if it is empty.
    fn set(self, shared: &Shared, id: &str) -> Option<HeaderValue> {
        let age_s = if id.is_empty() { 0 } else { session::AGE_MAX_US / 1_000_000 };
        let secure = if shared.about.is_secure() { "; Secure" } else { "" };
        let name = self.name(shared);
        let text = format!("{name}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}{secure}");
        HeaderValue::from_str(&text).ok()
    }
}
