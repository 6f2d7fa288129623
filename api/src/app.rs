//! What handlers share, and which path leads to which of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use pulsecal_core::attachments::MOST_BYTES;
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ledger::Registry;
use pulsecal_core::limits::{Limits, Rates};
use pulsecal_core::oidc::Issuer;
use pulsecal_core::telemetry::Health;
use pulsecal_core::web_origin::WebOrigin;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::chat::Chat;
use crate::exports::{Live, MOST_DOWNLOADS};
use crate::pages::SeenLately;
use crate::problem::Problem;
use crate::{contract, health, idempotency, layers, limits, oauth, pages, routes};

/// No body may be longer, in bytes.
pub(crate) const BODY_LIMIT: usize = 256 * 1024;

/// The longest body of a request to a path, in bytes: files are longer than what is written.
pub(crate) fn body_limit(path: &str) -> usize {
    if path.starts_with("/v1/medical-records/") && path.ends_with("/attachments") { MOST_BYTES } else { BODY_LIMIT }
}
/// A request that takes longer is given up.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// The parts of [`App`].
pub(crate) struct Shared {
    /// Postgres, clock, templates, links.
    pub(crate) ctx: Context,
    /// The loops of the process.
    pub(crate) health: Health,
    /// The process is to stop.
    pub(crate) stop: CancellationToken,
    /// Renders the metrics.
    pub(crate) metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Who listens to which room.
    pub(crate) chat: Chat,
    /// Who listens to which export.
    pub(crate) live: Live,
    /// Turns for sending files.
    pub(crate) downloads: Arc<Semaphore>,
    /// The development inbox may be seen: there is no mail server, and only this machine can ask.
    pub(crate) inbox_open: bool,
    /// The path under which `PUBLIC_URL` has the pages; empty for the root.
    pub(crate) base_path: String,
    /// The host of `PUBLIC_URL`.
    pub(crate) public_host: String,
    /// `PUBLIC_URL` is https.
    pub(crate) secure: bool,
    /// Scheme, host and port of `PUBLIC_URL`, as browsers name them.
    pub(crate) public_origin: String,
    /// Who signs in is not overheard: `PUBLIC_URL` is https, or this machine.
    pub(crate) sign_in_safe: bool,
    /// Where else people may sign in.
    pub(crate) issuer: Option<Issuer>,
    /// How often who may ask.
    pub(crate) limits: Limits,
    pub(crate) rates: Rates,
    /// The pages whose scripts may use `/v1`.
    pub(crate) cors_origins: Vec<WebOrigin>,
    /// Turns for putting on record who brought a token or link that is worth nothing.
    pub(crate) stranger_notes: Arc<Semaphore>,
    /// The kinds of work, for what operators do.
    pub(crate) registry: Registry,
    /// What operators saw last.
    pub(crate) seen_lately: SeenLately,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Puts the parts together.
    pub(crate) fn new(
        config: &Config,
        ctx: Context,
        health: Health,
        stop: CancellationToken,
        metrics: Box<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        let public = url::Url::parse(&config.public_url).ok();
        let back = ctx.links.page("/sign-in/oidc/callback").ok();
        let issuer = config.oidc.clone().zip(back).and_then(|(oidc, back)| {
            let made = Issuer::new(oidc, back, ctx.clock.clone());
            made.inspect_err(|why| tracing::error!(why, "oidc: no client for HTTP; people sign in with passwords only"))
                .ok()
        });
        let limits = Limits::new(ctx.db.belt().clone(), config.secret_key.clone());
        Self(Arc::new(Shared {
            ctx,
            health,
            stop,
            metrics,
            chat: Chat::default(),
            live: Live::default(),
            downloads: Arc::new(Semaphore::new(MOST_DOWNLOADS)),
            inbox_open: config.smtp_url.is_none() && config.bind.ip().is_loopback(),
            base_path: public.as_ref().map_or_else(String::new, |url| url.path().trim_end_matches('/').to_owned()),
            public_host: public.as_ref().and_then(|url| url.host_str()).unwrap_or_default().to_owned(),
            secure: public.as_ref().is_some_and(|url| url.scheme() == "https"),
            public_origin: public.as_ref().map_or_else(String::new, |url| url.origin().ascii_serialization()),
            sign_in_safe: public.is_some_and(|url| url.scheme() == "https" || is_this_machine(&url)),
            issuer,
            limits,
            rates: config.rates,
            cors_origins: config.cors_origins.clone(),
            stranger_notes: Arc::new(Semaphore::new(16)),
            registry: pulsecal_jobs::registry(),
            seen_lately: SeenLately::default(),
        }))
    }
}

fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Every route, with what holds for all of them.
pub(crate) fn router(app: App) -> Router {
    let inner = Router::new()
        .nest("/v1", routes::v1())
        .merge(routes::files::router())
        .merge(oauth::router())
        .merge(pages::router())
        .merge(health::router())
        .merge(contract::router())
        .fallback(async || Problem::not_found("There is nothing at this address."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(layers::in_time))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(app.clone(), idempotency::keyed))
        .layer(from_fn_with_state(app.clone(), limits::by_address))
        .layer(from_fn_with_state(app.clone(), layers::dress));
    let inner = match app.cors_origins.as_slice() {
        [] => inner,
        origins => inner.layer(layers::cors(origins.to_vec())),
    };
    inner.layer(from_fn_with_state(app.clone(), layers::secure)).layer(from_fn(layers::log)).with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderMap, Request, StatusCode, header};
    use chrono::TimeDelta;
    use pulsecal_core::ids::{OccurrenceId, OrgId};
    use pulsecal_core::links::DoseLink;
    use tower::ServiceExt;

    /// An API whose Postgres and Redis are away: whatever these tests ask for must be answered without them.
    fn app(more: &[(&'static str, &'static str)]) -> App {
        let read = |name: &'static str| {
            let set = more.iter().find(|(given, _)| *given == name);
            let value = set.map(|(_, value)| *value).or(match name {
                "DATABASE_URL" => Some("postgres://nobody@127.0.0.1:9/nothing"),
                "REDIS_URL" => Some("redis://127.0.0.1:9"),
                "SECRET_KEY" => Some("0123456789abcdef0123456789abcdef"),
                _ => None,
            });
            value.map(str::to_owned)
        };
        let config = Config::read(&read).expect("a configuration");
        let ctx = pulsecal_core::process::context(&config, "api").expect("a context");
        let metrics = Box::new(|| "metrics 1\n".to_owned());
        App::new(&config, ctx, Health::default(), CancellationToken::new(), metrics)
    }

    async fn ask(app: &App, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let response = router(app.clone()).oneshot(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("short");
        (status, headers, String::from_utf8(body.to_vec()).expect("text"))
    }

    fn get(path: &str) -> Request<Body> {
        Request::get(path).body(Body::empty()).expect("a request")
    }

    #[tokio::test]
    async fn every_v1_route_needs_a_token_and_says_so() {
        let app = app(&[]);
        let id = "0197a000-0000-7000-8000-000000000000";
        for (method, path) in [
            ("GET", "/v1/patients".to_owned()),
            ("GET", format!("/v1/patients/{id}")),
            ("PATCH", format!("/v1/patients/{id}")),
            ("GET", "/v1/prescriptions".to_owned()),
            ("POST", "/v1/prescriptions".to_owned()),
            ("GET", format!("/v1/prescriptions/{id}")),
            ("POST", format!("/v1/prescriptions/{id}/stop")),
            ("GET", "/v1/medication-reminders".to_owned()),
            ("POST", "/v1/medication-reminders".to_owned()),
            ("GET", format!("/v1/medication-reminders/{id}")),
            ("PATCH", format!("/v1/medication-reminders/{id}")),
            ("GET", format!("/v1/medication-reminders/{id}/occurrences")),
            ("POST", format!("/v1/occurrences/{id}/taken")),
            ("POST", format!("/v1/occurrences/{id}/skipped")),
            ("GET", "/v1/appointments".to_owned()),
            ("POST", "/v1/appointments".to_owned()),
            ("GET", format!("/v1/appointments/{id}")),
            ("POST", format!("/v1/appointments/{id}/move")),
            ("POST", format!("/v1/appointments/{id}/cancel")),
            ("POST", format!("/v1/appointments/{id}/confirm")),
            ("GET", "/v1/messages".to_owned()),
            ("GET", "/v1/jobs".to_owned()),
            ("GET", "/v1/exports".to_owned()),
            ("POST", "/v1/exports".to_owned()),
            ("GET", format!("/v1/exports/{id}")),
            ("DELETE", format!("/v1/exports/{id}")),
            ("GET", format!("/v1/exports/{id}/events")),
            ("GET", format!("/v1/exports/{id}/download")),
        ] {
            for token in [None, Some("Bearer pc_live_short"), Some("Basic YTpi"), Some("Bearer")] {
                let request = Request::builder().method(method).uri(&path);
                let request =
                    token.into_iter().fold(request, |request, token| request.header(header::AUTHORIZATION, token));
                let (status, headers, body) = ask(&app, request.body(Body::empty()).expect("a request")).await;
                assert_eq!(status, 401, "{method} {path} {token:?}: {body}");
                assert!(headers.contains_key(header::WWW_AUTHENTICATE));
                assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
            }
        }
    }

    #[tokio::test]
    async fn every_answer_has_the_security_headers() {
        let app = app(&[("PUBLIC_URL", "https://clinic.example.org")]);
        for path in [
            "/sign-in",
            "/ops",
            "/staff",
            "/",
            "/health/live",
            "/v1/patients",
            "/nowhere",
            "/p/d/forged",
            "/p/a/forged",
            "/metrics",
            "/dev/inbox/x",
            "/%ff",
        ] {
            let (status, headers, _) = ask(&app, get(path)).await;
            for (name, part) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", if path == "/sign-in" { "same-origin" } else { "no-referrer" }),
                ("cache-control", "no-store"),
                ("x-robots-tag", "noindex"),
                ("content-security-policy", "frame-ancestors 'none'"),
                ("strict-transport-security", "max-age"),
            ] {
                let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                assert!(value.contains(part), "{path} ({status}): {name}: {value:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_forged_link_and_an_expired_one_are_pages_that_give_nothing_away() {
        let app = app(&[]);
        let link = DoseLink { org: OrgId(uuid::Uuid::from_u128(1)), dose: OccurrenceId(uuid::Uuid::from_u128(2)) };
        let expired = app.ctx.links.dose_token(link, app.ctx.clock.now() - TimeDelta::seconds(1));
        for (token, expected) in [("forged", 404), ("%ff%00", 404), (expired.as_str(), 410)] {
            for path in [format!("/p/d/{token}"), format!("/p/d/{token}/done")] {
                let (status, headers, body) = ask(&app, get(&path)).await;
                assert_eq!(status, expected, "{path}");
                assert!(body.contains("Nothing was recorded") || body.contains("nothing was recorded"), "{body}");
                let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
                let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
                assert!(nonce.len() == 32 && body.contains(&format!("<style nonce=\"{nonce}\">")));
            }
        }
    }

    #[tokio::test]
    async fn an_unknown_path_and_a_wrong_method_are_problems() {
        let app = app(&[]);
        let (status, headers, _) = ask(&app, get("/v1/nothing")).await;
        assert_eq!(
            (status.as_u16(), &headers[header::CONTENT_TYPE]),
            (404, &header::HeaderValue::from_static("application/problem+json"))
        );
        let request = Request::delete("/v1/patients").body(Body::empty()).expect("a request");
        let (status, headers, body) = ask(&app, request).await;
        assert_eq!(status, 405, "{body}");
        assert!(headers[header::ALLOW].to_str().is_ok_and(|allow| allow.contains("GET")), "{headers:?}");
        let (status, headers, body) = ask(&app, get("/p/nothing")).await;
        assert_eq!(status, 404);
        assert!(headers[header::CONTENT_TYPE].to_str().is_ok_and(|kind| kind.starts_with("text/html")), "{body}");
    }

    #[tokio::test]
    async fn the_inbox_is_closed_where_a_mail_server_is_set_or_others_can_reach_it() {
        for more in [("SMTP_URL", "smtp://127.0.0.1:25"), ("BIND", "0.0.0.0:8080")] {
            let app = app(&[more]);
            for path in ["/dev/inbox", "/dev/inbox/0197a000-0000-7000-8000-000000000000/raw"] {
                assert_eq!(ask(&app, get(path)).await.0, 404, "{more:?} {path}");
            }
        }
        let request = Request::get("/dev/inbox").header(header::HOST, "evil.example.com");
        let request = request.body(Body::empty()).expect("a request");
        assert_eq!(ask(&app(&[]), request).await.0, 404);
    }

    #[tokio::test]
    async fn metrics_are_for_this_machine_only() {
        use axum::extract::ConnectInfo;
        let app = app(&[]);
        let from = |peer: &str, forwarded: bool| {
            let peer: std::net::SocketAddr = peer.parse().expect("an address");
            let request = Request::get("/metrics").extension(ConnectInfo(peer));
            let request = if forwarded { request.header("x-forwarded-for", "192.0.2.1") } else { request };
            request.body(Body::empty()).expect("a request")
        };
        assert_eq!(ask(&app, from("127.0.0.1:5000", false)).await.0, 200);
        assert_eq!(ask(&app, from("[::ffff:127.0.0.1]:5000", false)).await.0, 200);
        assert_eq!(ask(&app, from("192.0.2.1:5000", false)).await.0, 404);
        assert_eq!(ask(&app, from("127.0.0.1:5000", true)).await.0, 404);
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_problem_with_headers() {
        async fn panics() -> &'static str {
            panic!("the patient is called Ann")
        }
        let app = app(&[]);
        let layered = Router::new()
            .route("/panics", axum::routing::get(panics))
            .layer(CatchPanicLayer::custom(layers::panicked))
            .layer(from_fn_with_state(app, layers::secure));
        let response = layered.oneshot(get("/panics")).await.expect("an answer");
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let body = to_bytes(response.into_body(), 10_000).await.expect("short");
        assert!(!String::from_utf8_lossy(&body).contains("Ann"));
    }
}
