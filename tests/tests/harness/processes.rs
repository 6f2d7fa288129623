//! Processes: output, signals, ends. Shell scripts stand in for the binaries.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;

use crate::{LIMIT, SILENCE};

fn shell(script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn_command("script", command)
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn lines_of_both_outputs_are_found_also_after_a_mark() {
    let process = shell("echo one; echo two >&2; sleep 0.2; echo one again; sleep 600");
    assert_eq!(process.wait_line("one", LIMIT).await, "one");
    assert_eq!(process.wait_line("two", LIMIT).await, "two");
    let mark = process.mark();
    assert_eq!(mark, 2);
    assert_eq!(process.wait_line_after(mark, "one", LIMIT).await, "one again");
    assert_eq!(process.lines().len(), 3);
    assert_eq!(process.status(), None);
}

#[tokio::test]
#[should_panic(expected = "ended without a line that contains \"ready\". Its last lines:\nwrong secret")]
async fn a_process_that_ends_early_is_told_with_its_output() {
    shell("echo wrong secret; exit 3").wait_line("ready", LIMIT).await;
}

#[tokio::test]
async fn signals_arrive() {
    let process = shell("trap 'echo asked to end; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    process.wait_line("ready", LIMIT).await;
    assert_eq!(process.stop_gracefully(LIMIT).await.code(), Some(7));
    process.wait_line("asked to end", LIMIT).await;

    let process = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    process.wait_line("ready", LIMIT).await;
    process.term();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(process.status(), None);
    process.kill9();
    assert_eq!(process.status().and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status)), Some(9));
}

#[tokio::test]
async fn a_stopped_process_stands_still_until_it_goes_on() {
    let process = shell("while :; do echo tick; sleep 0.02; done");
    process.wait_line("tick", LIMIT).await;
    process.stop();
    // What was already in the pipe is read first.
    tokio::time::sleep(SILENCE).await;
    let mark = process.mark();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(process.mark(), mark);
    process.cont();
    process.wait_line_after(mark, "tick", LIMIT).await;
}

#[tokio::test]
async fn drop_kills_even_a_stopped_process() {
    let process = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    process.wait_line("ready", LIMIT).await;
    process.stop();
    let pid = process.pid();
    assert!(exists(pid));
    drop(process);
    assert!(!exists(pid));
}

#[tokio::test]
async fn much_output_blocks_nobody_and_the_oldest_lines_are_forgotten() {
    let process = shell("i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; echo last");
    process.wait_line("last", LIMIT).await;
    assert_eq!(process.mark(), 30_001);
    assert_eq!(process.lines().len(), 20_000);
    assert_eq!(process.wait_line_after(30_000, "l", LIMIT).await, "last");
}

/// Not run by itself: the next test runs it in a process of its own.
#[tokio::test]
#[ignore = "a part of children_die_with_the_test_process"]
async fn start_children_and_wait_for_death() {
    let process = shell("trap '' TERM; while :; do sleep 0.05; done");
    let redis = pulsecal_tests::servers::Redis::private().await;
    println!("children {} {}", process.pid(), redis.url());
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[tokio::test]
async fn children_die_with_the_test_process() {
    let mut command = Command::new(std::env::current_exe().expect("the test's own file"));
    command.args(["--ignored", "--exact", "--nocapture", "processes::start_children_and_wait_for_death"]);
    let test = Process::spawn_command("a test process", command);
    let line = test.wait_line("children ", LIMIT).await;
    let words: Vec<&str> = line.split(' ').skip_while(|word| !word.ends_with("children")).skip(1).collect();
    let pid: u32 = words[0].parse().expect("a pid");
    let address = words[1].trim_start_matches("redis://").trim_end_matches("/0").to_owned();
    assert!(exists(pid) && std::net::TcpStream::connect(&address).is_ok());
    test.kill9();
    until(LIMIT, "the killed test's children are gone", async || {
        let away =
            !exists(pid) || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z"));
        (away && std::net::TcpStream::connect(&address).is_err()).then_some(())
    })
    .await;
}
