//! Opens a socket, joins a group, and passes it to a program, as systemd does. While the program is started again, packets wait in the
//! socket: none is lost.
//!
//! `supervisor GROUP:PORT INTERFACE TIMES PROGRAM [ARGUMENT ..]` starts the program this many times, one after the other.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use multicast::{Group, Interface, Listener, Membership};

/// Makes its input the descriptor 3, and becomes the program. `LISTEN_PID` is the number of its process (`sd_listen_fds(3)`).
const PASS: &str = r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 0</dev/null"#;

fn main() -> io::Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [group, interface, times, program @ ..] = &arguments[..] else {
        return Err(io::Error::other("usage: supervisor GROUP:PORT INTERFACE TIMES PROGRAM [ARGUMENT ..]"));
    };
    let (group, interface): (Group, Interface) = (group.parse()?, interface.parse()?);
    let listener = Listener::bind(Membership::any(group).on(interface))?;
    // It stays joined, also without the listener around it.
    let socket = OwnedFd::from(listener);
    for _ in 0..times.parse().map_err(io::Error::other)? {
        let status = Command::new("sh").args(["-c", PASS, "sh"]).args(program).stdin(socket.try_clone()?).status()?;
        println!("ended: {status}");
    }
    Ok(())
}
