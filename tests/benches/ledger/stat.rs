//! What a worker tells the run, in files: `<pid>.stat` (finished, first start, last end, failed) and `<pid>.lat`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The file is at most so old.
const WRITE_EVERY: Duration = Duration::from_millis(4);

/// The numbers of this process.
pub struct Stat {
    finished: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    failed: AtomicU64,
    latencies: Mutex<File>,
    changed: SyncSender<()>,
}

static STAT: OnceLock<Stat> = OnceLock::new();

impl Stat {
    /// Makes the files, and starts the thread that writes them; it sleeps while nothing changes.
    ///
    /// # Panics
    /// If `BENCH_STAT_DIR` cannot be written.
    pub fn start() {
        let folder = PathBuf::from(std::env::var_os("BENCH_STAT_DIR").expect("the run names the folder"));
        let pid = std::process::id();
        let file = File::create(folder.join(format!("{pid}.stat"))).expect("the file can be made");
        file.write_all_at(&[0; 32], 0).expect("the file can be written");
        let latencies = File::options().append(true).create(true).open(folder.join(format!("{pid}.lat")));
        let (changed, changes) = sync_channel(1);
        let stat = Self {
            finished: AtomicU64::new(0),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            latencies: Mutex::new(latencies.expect("the file can be made")),
            changed,
        };
        assert!(STAT.set(stat).is_ok(), "started once");
        std::thread::Builder::new().name("stat".into()).spawn(move || write(&file, &changes)).expect("a thread starts");
    }

    /// A handler starts; gives the time.
    pub fn begun() -> u64 {
        let now = now_ns();
        if let Some(stat) = STAT.get() {
            let _later = stat.first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
        now
    }

    /// A handler has ended.
    pub fn ended(well: bool) {
        let Some(stat) = STAT.get() else { return };
        stat.last.fetch_max(now_ns(), Ordering::Relaxed);
        let count = if well { &stat.finished } else { &stat.failed };
        count.fetch_add(1, Ordering::Release);
        // Full: the thread knows already.
        let _knows = stat.changed.try_send(());
    }

    /// A latency job that was enqueued at `enqueued` started at `started`.
    pub fn latency(enqueued: u64, started: u64) {
        let Some(stat) = STAT.get() else { return };
        let bytes = [enqueued.to_le_bytes(), started.to_le_bytes()].concat();
        let mut file = stat.latencies.lock().unwrap_or_else(|broken| broken.into_inner());
        file.write_all(&bytes).expect("the file can be written");
    }
}

fn write(file: &File, changes: &Receiver<()>) {
    let (_held, never) = channel::<()>();
    while changes.recv().is_ok() {
        let _time = never.recv_timeout(WRITE_EVERY);
        let Some(stat) = STAT.get() else { continue };
        // The count first, so that what it counts is in the times.
        let finished = stat.finished.load(Ordering::Acquire);
        let numbers = [
            finished,
            stat.first.load(Ordering::Relaxed),
            stat.last.load(Ordering::Relaxed),
            stat.failed.load(Ordering::Relaxed),
        ];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        file.write_all_at(&bytes, 0).expect("the file can be written");
    }
}

/// CLOCK_MONOTONIC in nanoseconds, as the protocol wants it. The standard library has that clock and shows it only by
/// `Debug`; so it is read there once, and counted on from.
///
/// # Panics
/// If `Debug` of an `Instant` changes its form.
pub fn now_ns() -> u64 {
    static ORIGIN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (origin, ns) = ORIGIN.get_or_init(|| {
        let origin = Instant::now();
        let text = format!("{origin:?}");
        let numbers: Vec<u64> =
            text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
        let &[seconds, ns] = numbers.as_slice() else { panic!("an Instant shows as {text}: what is the clock?") };
        (origin, seconds * 1_000_000_000 + ns)
    });
    ns + u64::try_from(origin.elapsed().as_nanos()).unwrap_or(0)
}
