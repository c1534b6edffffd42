//! Capture files, read by tshark.

// Each test binary compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::net::{IpAddr, SocketAddr};
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

/// A new directory for the files of a test, deleted when this is dropped.
pub struct TemporaryDirectory(pub PathBuf);

impl TemporaryDirectory {
    pub fn new() -> Self {
        let path = TemporaryFile::named("directory").path.clone();
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
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

/// A capture of packets of IPv4 and IPv6 to these places: milliseconds since the first, destination, payload. Raw IP, as pcapng.
pub fn of_packets<'p>(name: &str, packets: impl Iterator<Item = (u64, SocketAddr, &'p [u8])>) -> TemporaryFile {
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len().next_multiple_of(4) as u32 + 12).to_le_bytes();
        let mut bytes = [kind.to_le_bytes(), length].concat();
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(length);
        bytes
    };
    let mut file = block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[255; 8]].concat());
    // Raw IP, times in milliseconds.
    file.extend(block(1, &[&[101, 0, 0, 0, 0, 0, 4, 0][..], &[9, 0, 1, 0, 3, 0, 0, 0], &[0; 4]].concat()));
    for (time, to, payload) in packets {
        let udp = (payload.len() as u16 + 8).to_be_bytes();
        // Without a checksum: nothing that reads it here checks it.
        let udp = [&[3, 232][..], &to.port().to_be_bytes(), &udp, &[0, 0], payload].concat();
        let length = udp.len() as u16;
        let packet = match to.ip() {
            IpAddr::V4(to) => {
                let length = (length + 20).to_be_bytes();
                [&[0x45, 0][..], &length, &[0, 0, 0, 0, 64, 17, 0, 0], &[10, 0, 0, 1], &to.octets(), &udp].concat()
            }
            IpAddr::V6(to) => {
                let source = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[17, 64], &source, &to.octets(), &udp].concat()
            }
        };
        let units = 1_700_000_000_000 + time;
        let length = (packet.len() as u32).to_le_bytes();
        let time = [((units >> 32) as u32).to_le_bytes(), (units as u32).to_le_bytes()].concat();
        file.extend(block(6, &[&[0; 4][..], &time, &length, &length, &packet].concat()));
    }
    TemporaryFile::with(name, &file)
}

/// The same capture as Wireshark writes it in this format.
pub fn converted(file: &TemporaryFile, format: &str) -> TemporaryFile {
    let converted = TemporaryFile::named(format);
    let status = Command::new("editcap").args(["-F", format]).args([file.path(), converted.path()]).status();
    assert!(status.expect("editcap is needed for the tests of captures: install wireshark-common").success());
    converted
}
