//! Which processes have a socket: `/proc/PID/fd` names its inode. Without privilege, only those of the same user can be read.

use std::io::ErrorKind;

use super::text::{name, number};

/// A process that has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The descriptor's number there.
    pub(crate) descriptor: u32,
    /// The program's name, as the process gives it: any text of up to 15 bytes.
    pub(crate) program: String,
}

/// The sockets of all processes that can be read.
pub(crate) struct Owners {
    /// In the order of their inodes.
    found: Vec<(u64, Process)>,
    /// Whether every process could be read: only then does a socket without an owner have none.
    pub(crate) is_complete: bool,
}

impl Owners {
    #[inline(never)]
    pub(crate) fn look() -> Result<Self, String> {
        let mut owners = Self { found: Vec::new(), is_complete: true };
        let processes = std::fs::read_dir("/proc").map_err(|error| format!("read /proc: {error}"))?;
        for process in processes {
            let process = process.map_err(|error| format!("read /proc: {error}"))?;
            // The other folders there are no processes.
            let read = number(process.file_name().as_encoded_bytes()).map_or(Some(()), |pid| owners.look_at(pid));
            owners.is_complete &= read.is_some();
        }
        // Mounted with `hidepid`, /proc does not list the others at all. Process 1 is always there.
        owners.is_complete &= std::fs::exists("/proc/1").unwrap_or(false);
        owners.found.sort_by_key(|(inode, _)| *inode);
        Ok(owners)
    }

    /// The processes that have the socket of this inode.
    pub(crate) fn of(&self, inode: u64) -> impl Iterator<Item = &Process> {
        let from = self.found.partition_point(|(found, _)| *found < inode);
        self.found.iter().skip(from).take_while(move |(found, _)| *found == inode).map(|(_, process)| process)
    }

    /// All of them, with their inodes, in the order of these.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &Process)> {
        self.found.iter().map(|(inode, process)| (*inode, process))
    }

    /// `None` if the process could not be read.
    #[inline(never)]
    fn look_at(&mut self, pid: u32) -> Option<()> {
        let folder = format!("/proc/{pid}/fd");
        let descriptors = match std::fs::read_dir(&folder) {
            Ok(descriptors) => descriptors,
            Err(error) if has_ended(&error) => return Some(()),
            Err(_) => return None,
        };
        let mut program = None;
        for descriptor in descriptors {
            let descriptor = match descriptor {
                Ok(descriptor) => descriptor,
                Err(error) if has_ended(&error) => return Some(()),
                Err(_) => return None,
            };
            let target = match std::fs::read_link(descriptor.path()) {
                Ok(target) => target,
                // Closed since.
                Err(error) if has_ended(&error) => continue,
                Err(_) => return None,
            };
            let inode = inode_of(target.as_os_str().as_encoded_bytes());
            if let (Some(inode), Some(descriptor)) = (inode, number(descriptor.file_name().as_encoded_bytes())) {
                let program = program.get_or_insert_with(|| program_of(pid)).clone();
                self.found.push((inode, Process { pid, descriptor, program }));
            }
        }
        Some(())
    }
}

/// Whether the process, or its descriptor, is no longer there.
fn has_ended(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn program_of(pid: u32) -> String {
    let program = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name(program.strip_suffix(b"\n").unwrap_or(&program))
}

/// `socket:[12345]`
fn inode_of(target: &[u8]) -> Option<u64> {
    number(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_socket_of_this_process_has_it_as_its_owner() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino();
        let owners = Owners::look().unwrap();
        let program = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
        let expected = Process { pid: std::process::id(), descriptor: socket.as_raw_fd() as u32, program };
        // A test beside this one may start a process, which has it, too, until it executes its program.
        let own = owners.of(inode).find(|process| process.pid == expected.pid);
        assert_eq!(own, Some(&expected));
        drop(socket);
        assert!(!Owners::look().unwrap().of(inode).any(|process| process.pid == expected.pid));
    }

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(inode_of(b"socket:[4294967399]"), Some(4_294_967_399));
        for other in [&b"socket:[]"[..], b"socket:[-1]", b"pipe:[3]", b"/tmp/socket:[3]", b"socket:[3", b"", b"\xff"] {
            assert_eq!(inode_of(other), None, "{other:?}");
        }
    }
}
