//! PulseCal beside other job queues, on the same work in the same run: drives `run` of the folder `PULSECAL_BENCH_RUN`
//! (`../shared/bench` beside the checkout when it is not set) with `tests/contender` as one more contender.
//!
//! `./dev bench ledger -- --peers graphile-worker,graphile-worker-rs,bullmq --n 20000 --reps 3`
//!
//! The contender is this program too: `ctl` starts it as `ledger contender COMMAND`.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod contender;
mod jobs;
mod stat;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use pulsecal_tests::processes::Binaries;
use serde_json::Value;

use support::options::Options;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("contender", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return contender::main(rest);
    }
    let options = Options::read(&["--peers", "--workloads", "--n", "--mails", "--reps", "--max-minutes"]);
    let folder = std::env::var_os("PULSECAL_BENCH_RUN")
        .filter(|value| !value.is_empty())
        .map_or_else(|| support::checkout().join("../shared/bench"), PathBuf::from);
    if !folder.join("run").is_file() {
        tell(&format!(
            "SKIPPED: there is no {}; PULSECAL_BENCH_RUN names the folder of `run`",
            folder.join("run").display()
        ));
        return ExitCode::SUCCESS;
    }
    let results = support::checkout().join("bench-results");
    std::fs::create_dir_all(&results).expect("a folder for the results can be made");
    let contender = support::checkout().join("tests/contender");
    let peers: String = options.value("--peers", "graphile-worker,graphile-worker-rs,bullmq".to_owned());
    let own = [OsStr::new("--add"), contender.as_os_str()];
    let chosen = [OsStr::new("--peers"), OsStr::new(&peers)];
    if !ran(&folder, [&[OsStr::new("setup")], &chosen[..], &own[..]].concat()) {
        return ExitCode::FAILURE;
    }
    let mut args: Vec<String> = Vec::new();
    for (name, default) in [
        ("--workloads", "w1,w1b,w2,w3,w4,w5,w6"),
        ("--n", "20000"),
        ("--mails", "5000"),
        ("--reps", "3"),
        ("--max-minutes", "60"),
    ] {
        args.extend([name.to_owned(), options.value(name, default.to_owned())]);
    }
    let out = results.join("ledger");
    let out = [OsStr::new("--out"), out.as_os_str()];
    let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    let done = ran(&folder, [&args[..], &chosen[..], &own[..], &out[..]].concat());
    ratios(&results.join("ledger.json"));
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ran(folder: &Path, args: Vec<&OsStr>) -> bool {
    let programs = Binaries::get().path("pulsecal");
    let status = Command::new(folder.join("run"))
        .args(args)
        // So that the contender does not build anew what is built.
        .env("PULSECAL_CONTENDER", std::env::current_exe().expect("a bench knows its own file"))
        .env("PULSECAL_BIN_DIR", programs.parent().expect("a program lies in a folder"))
        .status();
    status.expect("the run can be started").success()
}

/// PulseCal's medians over each other contender's.
fn ratios(path: &Path) {
    let Some(found) = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else {
        return;
    };
    let Some(peers) = found["peers"].as_object() else { return };
    let Some(ours) = peers.get("contender").and_then(|own| own["median"].as_object()) else { return };
    for (id, peer) in peers.iter().filter(|(id, _)| *id != "contender") {
        let told = ours.iter().filter_map(|(metric, own)| {
            let other = peer["median"].get(metric)?.as_f64().filter(|other| *other != 0.0)?;
            Some(format!("{metric} {:.2}", own.as_f64()? / other))
        });
        tell(&format!("PulseCal over {id}: {}", told.collect::<Vec<_>>().join(", ")));
    }
}

#[expect(clippy::print_stdout, reason = "a bench reports to the terminal")]
fn tell(text: &str) {
    println!("{text}");
}
