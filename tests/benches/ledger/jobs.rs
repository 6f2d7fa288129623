//! The three jobs that every contender runs.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobError, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::mail::{
    Delivery, DisplayName, EmailAddress, MessageId, OutgoingMail, Rendered, SmtpConfig, SmtpTransport,
};
use serde::{Deserialize, Serialize};
use tera::Tera;

use crate::stat::Stat;

const POLICY: Policy = Policy {
    queue: Queue::Mail,
    priority: Priority::Normal,
    attempts: 5,
    backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(10) },
    timeout: Duration::from_secs(30),
    expires_after: None,
};

/// Does nothing.
#[derive(Serialize, Deserialize)]
pub struct Noop {
    /// Which.
    pub i: u64,
}

impl Job for Noop {
    const KIND: &'static str = "bench_noop";
    const POLICY: Policy = POLICY;

    async fn run(&self, _: &RunContext) -> JobResult {
        Stat::begun();
        Stat::ended(true);
        Ok(Verdict::Done)
    }
}

/// Tells when it started.
#[derive(Serialize, Deserialize)]
pub struct Latency {
    /// Which.
    pub i: u64,
    /// The clock before it was enqueued.
    pub t: u64,
}

impl Job for Latency {
    const KIND: &'static str = "bench_latency";
    const POLICY: Policy = POLICY;

    async fn run(&self, _: &RunContext) -> JobResult {
        Stat::latency(self.t, Stat::begun());
        Stat::ended(true);
        Ok(Verdict::Done)
    }
}

/// Sends one mail. It holds an invented address, as the protocol has it; PulseCal's own jobs hold ids.
#[derive(Serialize, Deserialize)]
pub struct Email {
    i: u64,
    to: String,
    name: String,
}

impl Email {
    /// The mail to invented person `i`.
    pub fn new(i: u64) -> Self {
        Self { i, to: format!("user{i}@example.test"), name: format!("Name {i}") }
    }
}

impl Job for Email {
    const KIND: &'static str = "bench_email";
    const POLICY: Policy = POLICY;

    async fn run(&self, ctx: &RunContext) -> JobResult {
        Stat::begun();
        let sent = send(self, ctx).await;
        Stat::ended(sent.is_ok());
        sent.map(|()| Verdict::Done)
    }
}

struct Post {
    templates: Tera,
    smtp: SmtpTransport,
    from: EmailAddress,
}

fn post() -> &'static Post {
    static POST: OnceLock<Post> = OnceLock::new();
    POST.get_or_init(|| {
        let folder = PathBuf::from(std::env::var_os("BENCH_LIB").expect("the run names the folder")).join("templates");
        let mut templates = Tera::new();
        templates.autoescape_on([".html"]);
        for name in ["welcome.txt", "welcome.html"] {
            let source = std::fs::read_to_string(folder.join(name)).expect("the template reads");
            templates.add_raw_templates([(name, source.as_str())]).expect("the template parses");
        }
        let url = std::env::var("SMTP_URL").expect("ctl says which server");
        let smtp = SmtpConfig::parse(&url).and_then(SmtpTransport::connect_lazy).expect("the server's URL is one");
        Post { templates, smtp, from: EmailAddress::parse("bench@example.test").expect("an address") }
    })
}

async fn send(job: &Email, ctx: &RunContext) -> Result<(), JobError> {
    let post = post();
    let mut values = tera::Context::new();
    values.insert("name", &job.name);
    values.insert("n", &job.i);
    let mail = OutgoingMail {
        from: post.from.clone(),
        from_name: DisplayName::new(""),
        to: EmailAddress::parse(&job.to)?,
        reply_to: None,
        message_id: MessageId::derive(ctx.fence.job.0, "example.test"),
        date: ctx.clock.now(),
        rendered: Rendered {
            subject: format!("Hello {}", job.name),
            text: post.templates.render("welcome.txt", &values)?,
            html: post.templates.render("welcome.html", &values)?,
            calendar: None,
        },
        return_path: post.from.clone(),
    };
    match post.smtp.send(&mail.envelope(), &mail.to_bytes()).await {
        Delivery::Accepted { .. } => Ok(()),
        other => Err(JobError::Retry(format!("{other:?}"))),
    }
}
