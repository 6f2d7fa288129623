//! What handlers share, and which path leads to which of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::telemetry::Health;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::problem::Problem;
use crate::{health, layers, pages, routes};

/// No body may be longer, in bytes.
pub(crate) const BODY_LIMIT: usize = 256 * 1024;
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
    /// The development inbox may be seen: there is no mail server, and only this machine can ask.
    pub(crate) inbox_open: bool,
    /// The path under which `PUBLIC_URL` has the pages; empty for the root.
    pub(crate) base_path: String,
    /// The host of `PUBLIC_URL`.
    pub(crate) public_host: String,
    /// `PUBLIC_URL` is https.
    pub(crate) secure: bool,
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
        Self(Arc::new(Shared {
            ctx,
            health,
            stop,
            metrics,
            inbox_open: config.smtp_url.is_none() && config.bind.ip().is_loopback(),
            base_path: public.as_ref().map_or_else(String::new, |url| {
                url.path().trim_end_matches('/').to_owned()
            }),
            public_host: public
                .as_ref()
                .and_then(|url| url.host_str())
                .unwrap_or_default()
                .to_owned(),
            secure: public.is_some_and(|url| url.scheme() == "https"),
        }))
    }
}

/// Every route, with what holds for all of them.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .nest("/v1", routes::v1())
        .merge(pages::router())
        .merge(health::router())
        .fallback(async || Problem::not_found("There is nothing at this address."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(layers::in_time))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(app.clone(), layers::dress))
        .layer(from_fn_with_state(app.clone(), layers::secure))
        .layer(from_fn(layers::log))
        .with_state(app)
}
