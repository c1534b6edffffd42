//! Capture files, read by tshark.

// Each test binary compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A path that no other test uses. The file is deleted when this is dropped.
pub struct TemporaryFile {
    path: PathBuf,
}

impl TemporaryFile {
    pub fn named(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { path: Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{count}-{name}", std::process::id())) }
    }

    pub fn with(name: &str, bytes: &[u8]) -> Self {
        let file = Self::named(name);
        fs::write(&file.path, bytes).unwrap();
        file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A test may not have made it.
        let _ = fs::remove_file(&self.path);
    }
}

/// These fields of each packet, as tshark prints them. It must read the whole file without complaint.
#[track_caller]
pub fn fields(file: &Path, names: &str) -> Vec<Vec<String>> {
    let output = tshark(file, names);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    lines(&output)
}

/// The same for a file that may end within a block: what is before that.
pub fn fields_before_the_cut(file: &Path, names: &str) -> Vec<Vec<String>> {
    lines(&tshark(file, names))
}

fn tshark(file: &Path, names: &str) -> Output {
    Command::new("tshark")
        .args(["-n", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields", "-r"])
        .arg(file)
        .args(names.split(' ').flat_map(|name| ["-e", name]))
        .stdin(Stdio::null())
        .output()
        .expect("tshark is needed for the tests of captures: install it")
}

fn lines(output: &Output) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
