//! The output of a process, line by line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::own_processes::child::Pipes;

/// Lines that are kept; older ones are forgotten.
const KEPT: usize = 20_000;
/// Lines shown when something fails.
const SHOWN: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<(Stream, String)>,
    /// Lines so far, kept or not.
    count: u64,
    open: usize,
}

/// The lines read so far.
#[derive(Default)]
pub(super) struct Lines {
    ring: Mutex<Ring>,
}

impl Lines {
    /// Reads both pipes to their end, on threads of their own: nobody may block the process by not reading.
    pub(super) fn reading(pipes: Pipes) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let streams: [(Stream, Option<Box<dyn Read + Send>>); 2] = [
            (Stream::Out, pipes.stdout.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)),
            (Stream::Err, pipes.stderr.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)),
        ];
        for (stream, pipe) in streams {
            let Some(pipe) = pipe else { continue };
            lines.lock().open += 1;
            let lines = Arc::clone(&lines);
            std::thread::Builder::new()
                .name("process-output".to_owned())
                .spawn(move || lines.read(stream, pipe))
                .expect("a thread can be started");
        }
        lines
    }

    fn read(&self, stream: Stream, pipe: Box<dyn Read + Send>) {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
            bytes.clear();
            let mut ring = self.lock();
            ring.count += 1;
            ring.lines.push_back((stream, line));
            if ring.lines.len() > KEPT {
                ring.lines.pop_front();
            }
        }
        self.lock().open -= 1;
    }

    /// True when both streams were read to their end.
    pub(super) fn at_end(&self) -> bool {
        self.lock().open == 0
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The first kept line after this many that contains the pattern.
    pub(super) fn first_after(&self, mark: u64, pattern: &str) -> Option<String> {
        let ring = self.lock();
        let forgotten = ring.count - ring.lines.len() as u64;
        let skip = usize::try_from(mark.saturating_sub(forgotten)).unwrap_or(usize::MAX);
        ring.lines.iter().skip(skip).map(|(_, line)| line).find(|line| line.contains(pattern)).cloned()
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.lock().lines.iter().map(|(_, line)| line.clone()).collect()
    }

    pub(super) fn stdout(&self) -> String {
        self.of(Stream::Out)
    }

    pub(super) fn stderr(&self) -> String {
        self.of(Stream::Err)
    }

    /// The last lines, for a message.
    pub(super) fn end(&self) -> String {
        let all = self.all();
        all[all.len().saturating_sub(SHOWN)..].join("\n")
    }

    fn of(&self, wanted: Stream) -> String {
        let ring = self.lock();
        ring.lines.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, line)| [line.as_str(), "\n"]).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
