//! Operating a node over HTTP: `/api/`, for whoever knows `api.token`.
//!
//! ```text
//! POST   /api/revocations  {"user": NAME} or {"token": ID}, and "for": DURATION   200 {"ended": SESSIONS, "until": TIME}
//! DELETE /api/revocations  {"user": NAME} or {"token": ID}                        200 {}
//! GET    /api/revocations                                                         200 [{"user": NAME, "at": …, "until": …}]
//! ```
//!
//! Without a token in the configuration there is no such path. A wrong one is answered with 401 in the same time as any other.

use std::time::Duration;

use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{Shared, headers};
use crate::revocation::{Change, MAX_SUBJECT, Revocation, RevocationError, Subject};
use crate::telemetry::{count, metrics};
use crate::transport::Body;

/// Where it begins.
pub(super) const PREFIX: &str = "/api/";
/// Largest body of a request in octets.
const MAX_BODY: usize = 4096;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a revocation lasts when nobody says: longer than most tokens.
const REVOKED_FOR: Duration = Duration::from_secs(86_400);

/// What one request asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    user: Option<Box<str>>,
    token: Option<Box<str>>,
    #[serde(default, rename = "for", with = "humantime_option")]
    last: Option<Duration>,
}

/// Why a request was not carried out.
type Refusal = (StatusCode, String);

/// Answers a request below [`PREFIX`]; `None` where there is no such path.
pub(super) async fn serve(shared: &Shared, request: Request<Incoming>) -> Option<Response<Body>> {
    let token = shared.config.api.token.as_ref()?;
    if request.uri().path() != "/api/revocations" {
        return None;
    }
    if !is_authorized(&request, token.reveal()) {
        count(&metrics().api_requests, "unauthorized");
        let mut response = answer(StatusCode::UNAUTHORIZED, &json!({ "error": "Authorization: Bearer <api.token>" }));
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(response);
    }
    let done = match *request.method() {
        Method::GET => Ok(json!(shared.broker.revocations())),
        Method::POST => revoke(shared, request).await,
        Method::DELETE => lift(shared, request).await,
        _ => {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "GET, POST or DELETE" }));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            return Some(response);
        }
    };
    Some(match done {
        Ok(value) => {
            count(&metrics().api_requests, "done");
            answer(StatusCode::OK, &value)
        }
        Err((status, error)) => {
            count(&metrics().api_requests, "refused");
            answer(status, &json!({ "error": error }))
        }
    })
}

fn is_authorized(request: &Request<Incoming>, token: &str) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given = given.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    given.is_some_and(|(_, given)| given.ct_eq(token.as_bytes()).into())
}

async fn revoke(shared: &Shared, request: Request<Incoming>) -> Result<Value, Refusal> {
    let wish = read(request).await?;
    let last = wish.last.unwrap_or(REVOKED_FOR);
    let revocation = Revocation::now(subject(wish)?, last);
    let until = revocation.until;
    tracing::info!(subject = ?revocation.subject, ?last, "revoked");
    let ended = shared.broker.change_revocations(Change::Revoke(revocation)).await.map_err(failed)?;
    Ok(json!({ "ended": ended, "until": until }))
}

async fn lift(shared: &Shared, request: Request<Incoming>) -> Result<Value, Refusal> {
    let subject = subject(read(request).await?)?;
    tracing::info!(?subject, "no longer revoked");
    shared.broker.change_revocations(Change::Lift(subject)).await.map_err(failed)?;
    Ok(json!({}))
}

async fn read(request: Request<Incoming>) -> Result<Wish, Refusal> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = tokio::time::timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| (StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {BODY_TIMEOUT:?}")))?
        .map_err(|_| {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is broken, or larger than {MAX_BODY} octets"))
        })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn subject(wish: Wish) -> Result<Subject, Refusal> {
    let subject = match (wish.user, wish.token) {
        (Some(user), None) => Subject::User(user),
        (None, Some(token)) => Subject::Token(token),
        _ => return Err((StatusCode::BAD_REQUEST, "either \"user\" or \"token\" is needed".into())),
    };
    let (Subject::User(name) | Subject::Token(name)) = &subject;
    match name.len() {
        1..=MAX_SUBJECT => Ok(subject),
        actual => Err((StatusCode::BAD_REQUEST, format!("a name of {actual} octets; 1 to {MAX_SUBJECT} are allowed"))),
    }
}

fn failed(error: RevocationError) -> Refusal {
    let status = match error {
        RevocationError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        RevocationError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, error.to_string())
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{value}\n").into_bytes()));
    *response.status_mut() = status;
    headers::protect(response.headers_mut(), headers::NO_PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `"1d"`, or nothing.
mod humantime_option {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| humantime::parse_duration(&text).map_err(de::Error::custom)).transpose()
    }
}
