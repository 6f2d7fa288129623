//! What processes cost, from /proc: CPU time and memory.

use std::collections::HashMap;
use std::fs;

/// Clock ticks of /proc a second; Linux tells all programs 100.
const TICKS: f64 = 100.0;
const MIB: f64 = 1024.0 * 1024.0;

/// CPU seconds of a process with all its threads, and of its children that ended.
pub fn cpu_seconds(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |stat| stat.ticks / TICKS)
}

/// CPU seconds of a process, its children and theirs.
pub fn tree_cpu_seconds(root: u32) -> f64 {
    let all: HashMap<u32, Stat> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let (mut ticks, mut todo) = (0.0, vec![root]);
    while let Some(pid) = todo.pop() {
        ticks += all.get(&pid).map_or(0.0, |stat| stat.ticks);
        todo.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(child, _)| *child));
    }
    ticks / TICKS
}

/// The most memory that a process has held at once (resident), in MiB.
pub fn peak_mib(pid: u32) -> f64 {
    status_mib(pid, "VmHWM:")
}

/// The memory that a process holds (resident), in MiB.
pub fn resident_mib(pid: u32) -> f64 {
    status_mib(pid, "VmRSS:")
}

/// As [`resident_mib`], with pages that several processes share counted in parts.
pub fn proportional_mib(pid: u32) -> f64 {
    field_mib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

/// The name of a process.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// CPU seconds that the whole machine has spent on work.
pub fn machine_busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, irq, softirq
    [0, 1, 2, 5, 6].iter().filter_map(|place| fields.get(*place)).sum::<f64>() / TICKS
}

struct Stat {
    parent: u32,
    ticks: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows the last one is numbers, from the state (field 3) on.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

fn status_mib(pid: u32, field: &str) -> f64 {
    field_mib(&format!("/proc/{pid}/status"), field)
}

fn field_mib(path: &str, field: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0 / MIB
}
