//! `/ops/audit`: the chart and the table, for operators only.

use pulsecal_tests::wait::until;

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
