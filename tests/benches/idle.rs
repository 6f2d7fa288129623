//! What an idle installation costs: CPU and memory of each process with nothing due.
//!
//! `./dev bench idle -- --seconds 30`

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::time::Duration;

use pulsecal_tests::processes::Process;
use serde_json::json;
use tokio::time::{Instant, sleep};

use support::bed::{Bed, START_LIMIT};
use support::options::Options;
use support::report::Report;
use support::usage;

/// After the start, connections and statistics settle for this long.
const SETTLING: Duration = Duration::from_secs(10);
const CPU_AIM: f64 = 1.0;
const MIB_AIM: f64 = 30.0;

fn main() {
    let options = Options::read(&["--seconds"]);
    let span = Duration::from_secs(options.value("--seconds", 30));
    support::block_on(async {
        let bed = Bed::open().await;
        let mut report = Report::new("idle", &bed).await;
        report.fact("measured_seconds", span.as_secs());
        report.fact("aims", "each under 1 % of a core and 30 MiB");
        bed.pulsecal(&["seed", "demo", "--patients", "1000", "--due-in=36000"]).await;
        let api = Process::spawn("pulsecal-api", bed.env(&[("BIND", "127.0.0.1:0")]));
        let worker = Process::spawn("pulsecal-worker", bed.env(&[]));
        let scheduler = bed.scheduler().await;
        worker.wait_line("takes jobs", START_LIMIT).await;
        sleep(SETTLING).await;

        let programs = [("api", &api), ("worker", &worker), ("scheduler", &scheduler)];
        let cpu = |process: &Process| usage::cpu_seconds(process.pid());
        let before = programs.map(|(_, process)| cpu(process));
        let (postgres, redis) = (bed.postgres_cpu(), bed.redis_cpu());
        let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let committed = bed.count(commits).await;
        let began = Instant::now();
        sleep(span).await;
        let seconds = began.elapsed().as_secs_f64();
        let percent = |spent: f64| spent / seconds * 100.0;
        for ((name, process), before) in programs.into_iter().zip(before) {
            assert!(process.status().is_none(), "{name} ended:\n{}", process.lines().join("\n"));
            let used = percent(cpu(process) - before);
            let resident = usage::resident_mib(process.pid());
            report.row([
                ("process", json!(name)),
                ("CPU % of a core", json!(used)),
                ("resident MiB", json!(resident)),
                ("proportional MiB", json!(usage::proportional_mib(process.pid()))),
                ("peak MiB", json!(usage::peak_mib(process.pid()))),
                ("within the aims", json!(used < CPU_AIM && resident < MIB_AIM)),
            ]);
        }
        report.row([
            ("process", json!("Postgres, all of it")),
            ("CPU % of a core", json!(percent(bed.postgres_cpu() - postgres))),
        ]);
        report.row([("process", json!("Redis")), ("CPU % of a core", json!(percent(bed.redis_cpu() - redis)))]);
        let committed = bed.count(commits).await - committed;
        report.fact("transactions_a_second", json!(f64::from(u32::try_from(committed).unwrap_or(0)) / seconds));
        report.finish();
    });
}
