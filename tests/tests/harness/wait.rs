//! Waiting.

use std::time::Duration;

use pulsecal_tests::wait::until;

#[tokio::test]
async fn until_gives_the_first_answer() {
    let mut looks = 0;
    let found = until(crate::LIMIT, "the third look", async || {
        looks += 1;
        (looks == 3).then_some(looks)
    })
    .await;
    assert_eq!(found, 3);
}

#[tokio::test]
#[should_panic(expected = "until the cows come home, in vain")]
async fn until_says_what_was_awaited() {
    until(Duration::from_millis(50), "the cows come home", async || None::<()>).await;
}

#[tokio::test]
#[should_panic(expected = "until an answer is there, in vain (look 1 did not answer)")]
async fn until_is_not_held_up_by_a_look_that_hangs() {
    until(Duration::from_millis(50), "an answer is there", async || std::future::pending::<Option<()>>().await).await;
}
