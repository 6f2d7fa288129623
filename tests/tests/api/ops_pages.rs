//! `/ops` as an operator uses it: who gets in, what it shows, and that each action is done once and on record.

use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sign_in::{browser, form_token, with_operator};
use crate::support::{ALL_SCOPES, Clinic, LIMIT, TestApi, add_person, add_token, new_id, token_of};

const PAGES: [&str; 4] = ["/ops", "/ops/jobs", "/ops/schedules", "/ops/jobs?state=dead&queue=mail&kind=noop"];

async fn add_dead_job(api: &TestApi, org: Uuid) -> Uuid {
    let id = new_id();
    sqlx::query("INSERT INTO job_history (id, kind, queue, priority, args, org_id, run_at, attempt, max_attempts, crashes, worker, started_at, enqueued_at, last_error, state, ended_at) VALUES ($1, 'noop', 'maintenance', 1, '{\"i\": 1}', $2, now(), 3, 3, 0, $1, now(), now(), '<b>broke</b>', 'dead', now())")
        .bind(id)
        .bind(org)
        .execute(&api.pool)
        .await
        .expect("a dead job");
    sqlx::query("INSERT INTO job_retries (job_id, attempt, worker, started_at, ended_at, outcome, error) VALUES ($1, 1, $1, now() - interval '2 seconds', now(), 'retry', 'the first error')")
        .bind(id)
        .execute(&api.pool)
        .await
        .expect("its first try");
    id
}

/// Presses a button: sends the form, and follows it to the page that says what was done.
async fn press(browser: &Http, form: &str, path: &str, more: &[(&str, &str)]) -> String {
    let fields = [&[("form_token", form)], more].concat();
    let sent: Answer = browser.post_form(path, &fields).await.expect_status(303);
    let to = sent.header("location").expect("a page").to_owned();
    let shown = browser.get(&to).await.expect_status(200).text();
    let note = shown.split("role=\"status\">").nth(1).and_then(|rest| rest.split('<').next());
    note.unwrap_or_else(|| panic!("{to} says nothing")).to_owned()
}

async fn noted(api: &TestApi, action: &str) -> Vec<(Option<String>, Value)> {
    sqlx::query_as("SELECT role, coalesce(detail, '{}') FROM audit_entries WHERE action = $1 ORDER BY at")
        .bind(action)
        .fetch_all(&api.pool)
        .await
        .expect("entries")
}

#[tokio::test]
async fn only_operators_get_in_and_only_with_the_scope_change_things() {
    let api = TestApi::start().await;
    let (clinic, ops, token) = with_operator(&api).await;
    let dead = add_dead_job(&api, clinic.org).await;
    for page in PAGES {
        let away = api.anonymous().get(page).await.expect_status(303);
        assert!(away.header("location").is_some_and(|to| to.starts_with("/sign-in?next=%2Fops")), "{page}");
        let _json = api.anonymous().with_header("accept", "application/json").get(page).await.expect_status(401);
    }
    let doctor = browser(&api, &clinic.token).await;
    let admin = new_id();
    add_person(&api.pool, clinic.org, admin, "admin", "Admin").await;
    add_token(&api.pool, clinic.org, admin, &token_of('d'), &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    for staff in [doctor, browser(&api, &token_of('d')).await] {
        let form = form_token(&staff, "/staff/agenda").await;
        for page in PAGES {
            let refused = staff.get(page).await.expect_status(403);
            assert!(refused.text().contains("role ops"), "{page}");
        }
        let sent = staff.post_form(&format!("/ops/jobs/{dead}/retry"), &[("form_token", &form)]).await;
        let _refused = sent.expect_status(403);
    }
    add_token(&api.pool, clinic.org, ops, &token_of('l'), &["jobs:read"], "now() + interval '1 hour'", false).await;
    let reader = browser(&api, &token_of('l')).await;
    for page in PAGES {
        let _seen = reader.get(page).await.expect_status(200);
    }
    let form = form_token(&reader, "/ops").await;
    for path in [format!("/ops/jobs/{dead}/retry"), "/ops/queues/mail/pause".to_owned()] {
        let _refused = reader.post_form(&path, &[("form_token", &form)]).await.expect_status(403);
    }
    let operator = browser(&api, &token).await;
    for form in ["", &form] {
        let _foreign = operator.post_form("/ops/queues/mail/pause", &[("form_token", form)]).await.expect_status(403);
    }
    let own = form_token(&operator, "/ops").await;
    let elsewhere = operator.clone().with_header("origin", "https://evil.example");
    let _foreign = elsewhere.post_form("/ops/queues/mail/pause", &[("form_token", &own)]).await.expect_status(403);
    for wrong in ["/ops/queues/pigeons/pause", "/ops/queues/mail/fly", "/ops/jobs/1/retry", "/ops/schedules/x/fly"] {
        let _nothing = operator.post_form(wrong, &[("form_token", &own)]).await.expect_status(404);
    }
    let _get = operator.get("/ops/queues/mail/pause").await.expect_status(405);
    assert_eq!(api.count("SELECT count(*) FROM queues").await, 0, "nothing was changed");
    assert_eq!(api.count("SELECT count(*) FROM jobs").await, 0);
}

#[tokio::test]
async fn a_dead_job_is_shown_with_its_attempts_retried_once_and_cancelled() {
    let api = TestApi::start().await;
    let (clinic, _, token) = with_operator(&api).await;
    let other = Clinic::add(&api.pool, 'b').await;
    let dead = add_dead_job(&api, other.org).await;
    let _more = add_dead_job(&api, clinic.org).await;
    let operator = browser(&api, &token).await;
    let list = operator.get("/ops/jobs?state=dead").await.expect_status(200).text();
    assert_eq!(list.matches("/ops/jobs/0").count(), 2, "of every organization");
    assert!(list.contains("&lt;b&gt;broke"), "what an error says is escaped");
    let page = format!("/ops/jobs/{dead}");
    let shown = operator.get(&page).await.expect_status(200).text();
    assert!(shown.contains("the first error") && shown.contains("1 of") || shown.contains("3 of 3"), "{shown}");
    let form = form_token(&operator, &page).await;
    assert_eq!(press(&operator, &form, &format!("{page}/retry"), &[]).await, "The job will run again.");
    let again = press(&operator, &form, &format!("{page}/retry"), &[]).await;
    assert!(again.ends_with("Nothing was changed."), "{again}");
    assert_eq!(noted(&api, "job.retry").await, [(Some("ops".to_owned()), json!({}))]);
    assert_eq!(press(&operator, &form, &format!("{page}/cancel"), &[]).await, "The job has ended as cancelled.");
    let again = press(&operator, &form, &format!("{page}/cancel"), &[]).await;
    assert!(again.ends_with("Nothing was changed."), "{again}");
    assert_eq!(noted(&api, "job.cancel").await.len(), 1);
    let _none = operator.get(&format!("/ops/jobs/{}", new_id())).await.expect_status(404);
}

#[tokio::test]
async fn lists_are_paged_and_queues_paused_and_resumed() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    sqlx::query("INSERT INTO jobs (id, kind, queue, priority, args, run_at, max_attempts, enqueued_at) SELECT gen_random_uuid(), 'noop', 'mail', 1, '{}', now(), 3, now() FROM generate_series(1, 120)")
        .execute(&api.pool)
        .await
        .expect("jobs");
    let operator = browser(&api, &token).await;
    let (mut path, mut seen) = ("/ops/jobs?queue=mail".to_owned(), 0);
    loop {
        let page = operator.get(&path).await.expect_status(200).text();
        seen += page.matches("<th scope=\"row\">").count();
        let older = page.split("href=\"").find(|part| part.contains("\">Older"));
        let Some(older) = older else { break };
        path = older.split('"').next().expect("an address").replace("&amp;", "&");
    }
    assert_eq!(seen, 120);
    let form = form_token(&operator, "/ops").await;
    let first = press(&operator, &form, "/ops/queues/mail/pause", &[]).await;
    assert!(first.starts_with("Paused."), "{first}");
    let second = press(&operator, &form, "/ops/queues/mail/pause", &[]).await;
    assert!(second.starts_with("It was so before."), "{second}");
    assert!(operator.get("/ops").await.text().contains("Resume the queue mail"));
    assert_eq!(press(&operator, &form, "/ops/queues/mail/resume", &[]).await, "It goes on.");
    let (paused, resumed) = (noted(&api, "queue.pause").await, noted(&api, "queue.resume").await);
    assert_eq!(paused, [(Some("ops".to_owned()), json!({"queue": "mail"}))]);
    assert_eq!(resumed.len(), 1);
}

#[tokio::test]
async fn a_schedule_is_paused_and_run_by_hand_once_for_each_press() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    let scheduler = Process::spawn("pulsecal-scheduler", api.env());
    scheduler.wait_line("scheduler: keeps time", LIMIT).await;
    let operator = browser(&api, &token).await;
    let page = operator.get("/ops/schedules").await.expect_status(200).text();
    assert!(page.contains("keep_history") && page.contains("0 40 2 * * *"));
    let press_value = page.split("name=\"press\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let at = press_value.expect("names the press").replace("&#43;", "+").replace("&#x2B;", "+");
    let form = form_token(&operator, "/ops/schedules").await;
    let run = "/ops/schedules/keep_history/run";
    let first = press(&operator, &form, run, &[("press", &at)]).await;
    assert_eq!(first, "Its job is in the ledger.");
    let second = press(&operator, &form, run, &[("press", &at)]).await;
    assert!(second.starts_with("This press was obeyed before."), "{second}");
    let later = press(&operator, &form, run, &[]).await;
    assert!(later.contains("one at a time"), "no worker runs, so its job waits: {later}");
    let fired = "SELECT count(*) FROM schedule_slots s JOIN jobs j ON j.id = s.job_id WHERE schedule = 'keep_history' AND s.reason = 'run by hand'";
    assert_eq!(api.count(fired).await, 1);
    assert_eq!(noted(&api, "schedule.run_now").await.len(), 1);
    assert!(press(&operator, &form, "/ops/schedules/keep_history/pause", &[]).await.starts_with("Paused."));
    assert_eq!(api.count("SELECT count(*) FROM schedules WHERE NOT enabled").await, 1);
    let again = press(&operator, &form, "/ops/schedules/keep_history/pause", &[]).await;
    assert!(again.starts_with("It was so before."), "{again}");
    assert_eq!(press(&operator, &form, "/ops/schedules/keep_history/resume", &[]).await, "It goes on.");
    assert_eq!(press(&operator, &form, "/ops/schedules/nothing/pause", &[]).await, "There is no such schedule.");

    let preview = api.operator(&["schedules", "preview", "keep_history", "--count", "3"]).await;
    let slots: Value = serde_json::from_str(&preview.stdout).expect("JSON");
    assert_eq!(slots.as_array().map(Vec::len), Some(3), "{slots}");
    let listed = api.operator(&["schedules"]).await;
    assert!(listed.status.success() && listed.stdout.contains("\"last_slot\""), "{}", listed.stdout);
    for (command, done) in [(["schedules", "pause", "keep_history"], true), (["queues", "pause", "mail"], true)] {
        let said = api.operator(&command).await;
        let said: Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!(said["changed"], json!(done), "{command:?}");
    }
    let queues = api.operator(&["queues", "list"]).await;
    assert!(queues.status.success(), "{}", queues.stderr);
}

#[tokio::test]
async fn backups_are_shown_with_the_age_of_the_last_drill_and_with_what_is_wrong() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    let operator = browser(&api, &token).await;
    assert!(operator.get("/ops").await.expect_status(200).text().contains("No backup yet."));
    sqlx::query("INSERT INTO backups (backup_id, database_name, state, started_at, ended_at, bytes, drilled_at, drill_seconds, problem) VALUES
        ($1, 'x', 'succeeded', now() - interval '26 hours', now() - interval '26 hours', 3000000, now() - interval '25 hours', 75, NULL),
        ($2, 'x', 'failed', now() - interval '2 hours', now(), NULL, NULL, NULL, 'the disk is <full>')")
        .bind(new_id())
        .bind(new_id())
        .execute(&api.pool)
        .await
        .expect("two backups");
    sqlx::query("INSERT INTO alarms (name, raised, since) VALUES ('backup.overdue', true, '2026-03-04T05:06:00Z'), ('backup.failed', false, now())")
        .execute(&api.pool)
        .await
        .expect("two alarms, of which one is raised");
    let shown = pulsecal_tests::wait::until(LIMIT, "the backups are shown", async || {
        let page = operator.get("/ops").await.expect_status(200).text();
        (!page.contains("No backup yet.")).then_some(page)
    })
    .await;
    for part in ["was 1 d 1 h ago", "3 MiB", "took 1 min 15 s", "the disk is &lt;full&gt;", "failed", "succeeded"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for part in
        ["No database backup was proven within the last 26 hours.</strong> Since 2026-03-04", "begun 1 d 2 h ago"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("The last database backup failed"), "an alarm that is over: {shown}");
}

#[tokio::test]
async fn every_process_tells_its_metrics() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    let operator = browser(&api, &token).await;
    let form = form_token(&operator, "/ops").await;
    let _paused = press(&operator, &form, "/ops/queues/mail/pause", &[]).await;
    let scrape = async |process: &str, port: &str| {
        let mut env = api.env();
        env.push(("METRICS_BIND", format!("127.0.0.1:{port}")));
        let started = Process::spawn(process, env);
        (started, Http::new(format!("http://127.0.0.1:{port}")))
    };
    let ports: Vec<String> = (0..2).map(|_| free_port()).collect();
    let (scheduler, of_scheduler) = scrape("pulsecal-scheduler", &ports[0]).await;
    let (worker, of_worker) = scrape("pulsecal-worker", &ports[1]).await;
    scheduler.wait_line("scheduler: keeps time", LIMIT).await;
    worker.wait_line("worker: takes jobs", LIMIT).await;
    let tried = api.operator(&["jobs", "try", "--count", "3"]).await;
    assert!(tried.status.success(), "{}", tried.stderr);
    let told = async |http: &Http, lines: &[&str]| {
        let what = format!("{lines:?} are told");
        pulsecal_tests::wait::until(LIMIT, &what, async || {
            let text = http.get("/metrics").await.expect_status(200).text();
            lines.iter().all(|line| text.lines().any(|told| told.starts_with(line))).then_some(())
        })
        .await;
    };
    told(&api.anonymous(), &["pulsecal_process_info{kind=\"api\"", "pulsecal_process_start_time_seconds"]).await;
    let queue = "pulsecal_queue_paused{queue=\"mail\"} 1";
    let depth = "pulsecal_queue_jobs{queue=\"maintenance\",state=\"ready\"}";
    let oldest = "pulsecal_queue_oldest_ready_seconds{queue=\"reminders\"} 0";
    told(&of_scheduler, &["pulsecal_process_info{kind=\"scheduler\"", queue, depth, oldest]).await;
    let done = "pulsecal_jobs_total{kind=\"noop\",outcome=\"done\"} 3";
    told(&of_worker, &["pulsecal_process_info{kind=\"worker\"", done]).await;
}

/// A port that nobody has at this moment.
pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port().to_string()
}
