//! How a membership is printed as text: a line for it, and one for each socket.

use std::io::Write;

use super::FilterState;
use crate::host::groups::{Joined, Mode, Source};
use crate::host::holders::{Certainty, Holder};
use crate::host::owners::Process;
use crate::host::sockets::Kind;
use crate::output::escape;

#[inline(never)]
pub(super) fn write(joined: &Joined, filter: &FilterState<'_>, holders: &[Holder<'_>], lines: &mut Vec<u8>) {
    // Writing into a vector does not fail.
    let _ = write!(lines, "{} on ", joined.group);
    escape(joined.interface.as_bytes(), lines);
    let named = addresses(filter.sources.iter().filter(|source| source.included > 0));
    let blocked = addresses(filter.sources.iter().filter(|source| source.excluded > 0));
    let _ = match filter.mode {
        Mode::Include => write!(lines, " from {named}"),
        Mode::Unknown if named.is_empty() => write!(lines, " from unknown sources"),
        Mode::Unknown => write!(lines, " from {named}, perhaps from others"),
        Mode::Exclude if blocked.is_empty() => write!(lines, " from all sources"),
        Mode::Exclude => write!(lines, " from all sources; some sockets block {blocked}"),
    };
    let _ = match joined.users {
        _ if joined.is_of_the_kernel() => writeln!(lines, ": the kernel itself"),
        1 => writeln!(lines, ": joined once"),
        users => writeln!(lines, ": joined {users} times"),
    };
    for holder in holders {
        line(holder, lines);
    }
    if holders.is_empty() && !joined.is_of_the_kernel() {
        lines.extend_from_slice(b"  no socket found\n");
    }
}

fn addresses<'s>(sources: impl Iterator<Item = &'s &'s Source>) -> String {
    let addresses: Vec<_> = sources.map(|source| source.source.to_string()).collect();
    addresses.join(", ")
}

fn line(holder: &Holder<'_>, lines: &mut Vec<u8>) {
    let socket = holder.socket;
    let certainty = match holder.certainty {
        Certainty::Exact => "joined",
        Certainty::Bound { has_joined: Some(false) } => "bound, but has not joined",
        Certainty::Bound { .. } => "bound",
        Certainty::Candidate => "candidate",
    };
    let _ = write!(lines, "  {certainty}: ");
    let _ = match socket.kind {
        Kind::Udp => write!(lines, "udp {}", socket.local),
        Kind::Raw(protocol) => write!(lines, "raw, protocol {protocol}, {}", socket.local.ip()),
        Kind::Other => write!(lines, "a socket without a port"),
    };
    let _ = write!(lines, ", uid {}, ", socket.uid);
    if holder.processes.is_empty() {
        let _ = write!(lines, "inode {}", socket.inode);
    }
    for (number, Process { pid, program, .. }) in holder.processes.iter().enumerate() {
        lines.extend_from_slice(if number > 0 { b" and " } else { b"" });
        escape(program.as_bytes(), lines);
        let _ = write!(lines, " (pid {pid})");
    }
    let _ = write!(lines, ", dropped {}, queued {}", socket.drops, socket.queued);
    let _ = match &socket.details {
        Some(details) => writeln!(lines, " of {} bytes", details.buffer),
        None => writeln!(lines, " bytes"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockets::{Details, Socket};

    #[test]
    fn a_name_of_strange_bytes_stays_on_its_line_and_is_harmless() {
        let joined = Joined {
            index: 3,
            interface: "a\u{1b}b".to_owned(),
            group: "239.1.2.3".parse().unwrap(),
            users: 2,
            version: Some(3),
        };
        let socket = Socket {
            kind: Kind::Udp,
            local: "239.1.2.3:5000".parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            uid: 1000,
            inode: 7,
            drops: 3,
            queued: 768,
            details: Some(Details { interface: 0, buffer: 4096, takes_all_groups: None, is_only_ipv6: false }),
        };
        let process = |pid| Process { pid, descriptor: 3, program: "x\n\u{1b}[31m".to_owned() };
        let (first, second) = (process(10), process(11));
        let certainty = Certainty::Bound { has_joined: Some(false) };
        let holders = [
            Holder { certainty: Certainty::Exact, socket: &socket, processes: vec![&first, &second] },
            Holder { certainty, socket: &socket, processes: vec![] },
        ];
        let source = |source: &str| Source {
            index: 3,
            group: joined.group,
            source: source.parse().unwrap(),
            included: 2,
            excluded: 0,
        };
        let mut lines = Vec::new();
        let sources = ["10.0.0.1", "10.0.0.2"].map(source);
        write(&joined, &FilterState::new(&joined, Some(sources.iter().collect())), &holders, &mut lines);
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "239.1.2.3 on a\\x1bb from 10.0.0.1, 10.0.0.2: joined 2 times\n\
             \x20 joined: udp 239.1.2.3:5000, uid 1000, x\\x0a\\x1b[31m (pid 10) and x\\x0a\\x1b[31m (pid 11), dropped 3, queued 768 of \
             4096 bytes\n\
             \x20 bound, but has not joined: udp 239.1.2.3:5000, uid 1000, inode 7, dropped 3, queued 768 of 4096 bytes\n"
        );
    }
}
