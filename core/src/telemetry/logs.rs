//! Log lines, errors to Sentry, and the metrics recorder.

use std::borrow::Cow;
use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

/// Keeps telemetry going while it lives; flushes Sentry when dropped.
pub struct Telemetry {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    _sentry: Option<sentry::ClientInitGuard>,
}

/// Starts logs, metrics, and Sentry when a DSN is set. Call once, first thing in `main`.
pub fn start(config: &Config, process: &'static str) -> Telemetry {
    let text = match config.log_format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::ByTerminal => std::io::stderr().is_terminal(),
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,apalis=warn,apalis_core=warn"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if text {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    let sentry = config.sentry_dsn.as_ref().map(|dsn| {
        let options = sentry::ClientOptions::new().dsn(dsn.expose()).server_name(process).send_default_pii(false);
        sentry::init(options.before_send(|event| Some(scrub(event))).before_breadcrumb(|_| None))
    });
    let errors = sentry.is_some().then(|| {
        sentry::integrations::tracing::ErrorLayer::new().with_filter(tracing_subscriber::filter::LevelFilter::ERROR)
    });
    let set = tracing_subscriber::registry().with(filter).with(lines).with(errors).try_init();
    debug_assert!(set.is_ok(), "telemetry is started once");
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let set = metrics::set_global_recorder(recorder);
    debug_assert!(set.is_ok(), "telemetry is started once");
    Telemetry { metrics, _sentry: sentry }
}

/// What Sentry may see: the fixed words of a message, ids, and where in the code; nothing of a person.
fn scrub(mut event: sentry::protocol::Event<'static>) -> sentry::protocol::Event<'static> {
    event.user = None;
    event.request = None;
    event.breadcrumbs.values.clear();
    event.message = event.message.map(|text| mask(&text));
    for exception in &mut event.exception.values {
        exception.value = exception.value.take().map(|text| mask(&text));
        for frame in exception.stacktrace.iter_mut().flat_map(|trace| &mut trace.frames) {
            frame.vars.clear();
        }
    }
    event.extra.clear();
    event.contexts.retain(|name, _| name == "trace" || name == "os" || name == "rust");
    event
}

/// Masks what looks like an address.
fn mask(text: &str) -> String {
    text.split_inclusive(char::is_whitespace)
        .map(|word| if word.contains('@') { Cow::Borrowed("(address) ") } else { Cow::Borrowed(word) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_loses_user_request_and_addresses() {
        let mut event = sentry::protocol::Event {
            message: Some("refused for ann@example.org at once".into()),
            ..Default::default()
        };
        event.user = Some(sentry::User { email: Some("ann@example.org".into()), ..Default::default() });
        event.extra.insert("body".into(), "ann".into());
        let event = scrub(event);
        assert_eq!(event.message.as_deref(), Some("refused for (address) at once"));
        assert!(event.user.is_none() && event.extra.is_empty());
    }
}
