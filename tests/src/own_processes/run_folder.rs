//! The folder of one test process, its watchdog, and the removal of what a killed run left behind.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::child::{Signal, is_gone, signal_all};

/// Reads `add PID SIGNAL` and `del PID`; when the pipe closes, the test process is over, however it ended.
const WATCHDOG: &str = r#"
folder=$1
list=
while read -r verb pid name; do
    case $verb in
        add) list="$list $pid:$name" ;;
        del) kept=
            for entry in $list; do [ "${entry%:*}" = "$pid" ] || kept="$kept $entry"; done
            list=$kept ;;
    esac
done
if [ -n "$list" ]; then
    for entry in $list; do kill -s CONT "${entry%:*}"; kill -s "${entry#*:}" "${entry%:*}"; done
    sleep 1
    for entry in $list; do kill -s KILL "${entry%:*}"; done
    sleep 0.2
fi
rm -rf -- "$folder"
"#;

/// File in a server's folder that holds the pid of the server.
pub(crate) const PID_FILE: &str = "server.pid";

/// The folder of this test process. Its lock file is held for as long as the process lives.
pub(crate) struct RunFolder {
    path: PathBuf,
    _owner: File,
    /// Never waited for: it ends after this process.
    watchdog: Mutex<Child>,
    count: AtomicU32,
}

impl RunFolder {
    /// The one of this process, made (and old ones cleaned up) at first use.
    pub(crate) fn get() -> &'static Self {
        static RUN: OnceLock<RunFolder> = OnceLock::new();
        RUN.get_or_init(Self::make)
    }

    /// A new empty folder, readable by the user that servers run as.
    pub(crate) fn new_folder(&self, name: &str) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        make_folder(&self.path.join(format!("{name}-{number}")))
    }

    /// Has the process ended by the watchdog should this process die; `first` is sent a second before KILL.
    pub(crate) fn guard(&self, pid: u32, first: Signal) {
        let told = self.tell(&format!("add {pid} {}\n", first.name()));
        told.expect("the watchdog reads as long as the test process lives");
    }

    /// The process has ended and was collected: its pid may now be anybody's.
    pub(crate) fn release(&self, pid: u32) {
        // Called in drops, so no panic: should somebody have ended the watchdog, the next child to be guarded says so.
        let _ = self.tell(&format!("del {pid}\n"));
    }

    fn tell(&self, line: &str) -> std::io::Result<()> {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        watchdog.stdin.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())
    }

    fn make() -> Self {
        let base = base_folder();
        let base_lock = locked(&base.join("lock"));
        clean_up(&base);
        let path = make_folder(&base.join(format!("run-{}-{}", std::process::id(), since_1970().as_nanos())));
        let owner = locked(&path.join("owner.lock"));
        drop(base_lock);
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "pulsecal-test-watchdog"])
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell can be started");
        Self { path, _owner: owner, watchdog: Mutex::new(watchdog), count: AtomicU32::new(0) }
    }
}

/// Where all runs of this user keep their folders, the template of Postgres and the reserved ports.
pub(crate) fn base_folder() -> PathBuf {
    make_folder(&std::env::temp_dir().join(format!("pulsecal-tests-{}", own_user_id())))
}

/// The user id of this process.
pub(crate) fn own_user_id() -> u32 {
    fs::metadata("/proc/self").expect("/proc is mounted").uid()
}

/// Opens the file and waits for its lock, which the file holds until it is dropped.
pub(crate) fn locked(path: &Path) -> File {
    let file = open_lock(path);
    file.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    file
}

/// The file with its lock, or `None` if another holds it.
pub(crate) fn try_locked(path: &Path) -> Option<File> {
    let file = open_lock(path);
    file.try_lock().is_ok().then_some(file)
}

pub(crate) fn since_1970() -> std::time::Duration {
    #[expect(clippy::disallowed_methods, reason = "the age of folders on disk, which other runs made")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).expect("the clock is past 1970")
}

fn open_lock(path: &Path) -> File {
    File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

fn make_folder(path: &Path) -> PathBuf {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    // Only the owner's folders are changed: the servers' user needs to pass through whatever the umask was.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .unwrap_or_else(|error| panic!("cannot open {} to the servers' user: {error}", path.display()));
    path.to_owned()
}

/// Ends servers and removes folders of runs whose owner is dead and whose watchdog was killed too.
fn clean_up(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for run in entries.filter_map(Result::ok) {
        if !run.file_name().to_string_lossy().starts_with("run-") {
            continue;
        }
        let Some(_lock) = try_locked(&run.path().join("owner.lock")) else {
            continue;
        };
        clean_up_run(&run.path());
    }
}

fn clean_up_run(run: &Path) {
    for server in fs::read_dir(run).into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = fs::read_to_string(server.path().join(PID_FILE)).ok().and_then(|text| text.trim().parse().ok())
        else {
            continue;
        };
        // A pid is reused; a process whose working folder lies in the dead run's folder is certainly the run's.
        let is_ours = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(run));
        if is_ours && !is_gone(pid) {
            signal_all(&[pid], Signal::Kill);
        }
    }
    // Best effort: the watchdog of that run may be at the same work.
    let _ = fs::remove_dir_all(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_runs_server_is_killed_and_its_folder_removed_but_a_foreign_pid_is_not() {
        let base = make_folder(&std::env::temp_dir().join(format!("pulsecal-clean-up-{}", std::process::id())));
        let run = make_folder(&base.join("run-1-1"));
        let (ours, foreign) = (make_folder(&run.join("redis-0")), make_folder(&run.join("redis-1")));
        let mut in_folder = Command::new("sleep").arg("600").current_dir(&ours).spawn().expect("sleep starts");
        let mut elsewhere = Command::new("sleep").arg("600").current_dir("/").spawn().expect("sleep starts");
        fs::write(ours.join(PID_FILE), in_folder.id().to_string()).expect("written");
        fs::write(foreign.join(PID_FILE), elsewhere.id().to_string()).expect("written");

        let living_owner = locked(&run.join("owner.lock"));
        clean_up(&base);
        assert!(run.exists() && in_folder.try_wait().expect("asked").is_none(), "a living run is left alone");

        drop(living_owner);
        clean_up(&base);
        let ended = in_folder.wait().expect("ended");
        assert!(!ended.success() && !run.exists());
        assert!(elsewhere.try_wait().expect("asked").is_none(), "a foreign process is left alone");
        elsewhere.kill().expect("killed");
        elsewhere.wait().expect("collected");
        fs::remove_dir_all(base).expect("removed");
    }
}
