//! Ports of 127.0.0.1 that stay reserved for one holder while its server is down.

use std::fs::File;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use super::run_folder::{base_folder, try_locked};

/// Below the range that Linux takes for outgoing connections, so that none of those steals the port of a stopped server.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// A port that no other test process takes as long as this lives. Nobody need listen on it.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    number: u16,
    _lock: File,
}

impl ReservedPort {
    pub(crate) fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = base_folder().join("ports");
        std::fs::create_dir_all(&folder).expect("the folder of reserved ports can be made");
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let offset = (u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
            let number = FIRST + offset as u16;
            let Some(lock) = try_locked(&folder.join(number.to_string())) else {
                continue;
            };
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
