//! s3s-fs, an S3 server that checks signatures. It is found by `S3S_FS` or on PATH; `./dev test` installs it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::processes::Process;
use crate::wait::until;

const BUCKET: &str = "clinic";

/// A running server with one empty bucket.
pub struct S3Server {
    /// Its port on 127.0.0.1.
    pub port: u16,
    _process: Process,
}

impl S3Server {
    /// Starts it with its data in `folder`; none: it is not installed.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub async fn start(folder: &Path) -> Option<Self> {
        let program = program()?;
        let root = folder.join("s3");
        std::fs::create_dir_all(root.join(BUCKET)).expect("a bucket can be made");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--access-key", "clinic"]);
        command.args(["--secret-key", "for this test only"]).arg(&root);
        let process = Process::spawn_command("s3s-fs", command);
        until(Duration::from_secs(60), "the S3 server answers", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Some(Self { port, _process: process })
    }

    /// `BLOB_URL` and what else its clients need.
    pub fn env(&self) -> Vec<(String, String)> {
        self.env_by_port(self.port)
    }

    /// The same, by way of another port, as that of a proxy.
    pub fn env_by_port(&self, port: u16) -> Vec<(String, String)> {
        [
            ("BLOB_URL", format!("s3://{BUCKET}/some/prefix")),
            ("AWS_ACCESS_KEY_ID", "clinic".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "for this test only".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

fn program() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("S3S_FS").map(PathBuf::from).into_iter().collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("s3s-fs")));
    places.into_iter().find(|file| file.is_file())
}
