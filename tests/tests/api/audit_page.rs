//! `/ops/audit`: the chart and the table, for operators only.

use pulsecal_tests::http::Http;
use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;

use crate::ops_pages::free_port;
use crate::sign_in::{browser, with_operator};
use crate::support::{LIMIT, TestApi};

#[tokio::test]
async fn operators_see_counts_as_a_chart_and_a_table_and_nobody_else_does() {
    let api = TestApi::start().await;
    let (clinic, _, token) = with_operator(&api).await;
    let away = api.anonymous().get("/ops/audit").await.expect_status(303);
    assert_eq!(away.header("location"), Some("/sign-in?next=%2Fops%2Faudit"));
    let nurse = browser(&api, &clinic.token).await;
    let _refused = nurse.get("/ops/audit").await.expect_status(403);
    let ops = browser(&api, &token).await;
    let page = until(LIMIT, "the sign-ins are counted", async || {
        assert!(api.operator(&["audit", "rollup"]).await.status.success());
        let page = ops.get("/ops/audit").await.expect_status(200).text();
        page.contains("2 succeeded").then_some(page)
    })
    .await;
    for part in [
        "<svg",
        "aria-labelledby=\"chart-title chart-desc\"",
        "<desc",
        "<td>session.begun</td><td>ops</td>",
        "<td>session.begun</td><td>doctor</td>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("style=") && !page.contains("<script>"), "the policy forbids what is inline");
    let none = ops.get("/ops/audit?org=00000000-0000-0000-0000-000000000000").await.expect_status(200).text();
    assert!(none.contains("There are no entries of these days."), "{none}");
    let theirs = format!("/ops/audit?org={}&action=session.begun&outcome=success", clinic.org);
    assert!(ops.get(&theirs).await.expect_status(200).text().contains("2 succeeded"));
    for wrong in ["from=yesterday", "from=2026-02-02&to=2026-02-01", "org=none", "from=2000-01-01"] {
        let _refused = ops.get(&format!("/ops/audit?{wrong}")).await.expect_status(422);
    }
}

/// The transaction wrote something before the sign-in did, so what the sign-in wrote cannot be counted yet: another entry could
/// still come before it.
#[tokio::test]
async fn a_transaction_that_stays_open_holds_the_counts_back_and_the_page_and_the_metrics_say_so() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    let mut long = api.pool.begin().await.expect("begins");
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *long).await.expect("it has a number now");
    let ops = browser(&api, &token).await;
    let counted = async || {
        assert!(api.operator(&["audit", "rollup"]).await.status.success());
        ops.get("/ops/audit").await.expect_status(200).text()
    };
    let held = counted().await;
    let words = "1 entry is not counted yet; it is ";
    assert!(held.contains(words) && held.contains("A transaction that began before them is still open"), "{held}");
    let port = free_port();
    let mut env = api.env();
    env.push(("METRICS_BIND", format!("127.0.0.1:{port}")));
    let scheduler = Process::spawn("pulsecal-scheduler", env);
    scheduler.wait_line("scheduler: keeps time", LIMIT).await;
    let metrics = Http::new(format!("http://127.0.0.1:{port}"));
    until(LIMIT, "the metrics say it", async || {
        let text = metrics.get("/metrics").await.expect_status(200).text();
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(-1.0)
        };
        let (waiting, lag) = (value("audit_rollup_waiting_entries"), value("audit_rollup_lag_seconds"));
        (waiting >= 1.0 && lag > 0.0 && value("audit_rollup_held") == 1.0).then_some(())
    })
    .await;
    long.rollback().await.expect("it ends");
    // Transactions of other tests on this server may hold it up for a while.
    let page = until(LIMIT, "what waited is counted", async || {
        let page = counted().await;
        page.contains("Every entry is counted.").then_some(page)
    })
    .await;
    assert!(page.contains("1 succeeded"), "{page}");
}
