//! The receive buffer: forced past the system's limit where we may, capped at it where not.

mod common;

use std::process::Command;

use common::{on_lo, require_private_network, unique_group};
use multicast::ListenOptions;

const MARK: &str = "MULTICAST_TEST_WITHOUT_PRIVILEGE";

/// The system's limit.
fn limit() -> usize {
    std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap()
}

/// What is granted where so many bytes are asked for.
fn granted(bytes: usize) -> usize {
    let listener = ListenOptions::new().receive_buffer(bytes).bind::<64>(on_lo(unique_group())).unwrap();
    listener.receive_buffer().unwrap()
}

/// Whether this process may force it: Python's word for it. Root in a namespace of a user's own may not.
fn may_force() -> bool {
    let program = "import socket; socket.socket(type=socket.SOCK_DGRAM).setsockopt(1, 33, 5000)";
    Command::new("python3").args(["-c", program]).output().unwrap().status.success()
}

#[test]
fn it_is_forced_past_the_limit_by_root_and_capped_without_the_privilege() {
    require_private_network();
    let limit = limit();
    if std::env::var_os(MARK).is_some() || !may_force() {
        // In silence, as the kernel does it; but it can be read.
        assert_eq!(granted(limit + 1000), 2 * limit);
        assert_eq!(granted(100_000), 200_000);
        return;
    }
    assert_eq!(granted(limit + 1000), 2 * (limit + 1000));
    assert_eq!(granted(100_000), 200_000);
    // As much as an int holds; nothing is taken before packets come.
    assert_eq!(granted(usize::MAX), i32::MAX as usize - 1);
    // The same without CAP_NET_ADMIN.
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-net_admin", "--bounding-set=-net_admin"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "it_is_forced_past_the_limit_by_root_and_capped_without_the_privilege"]).env(MARK, "");
    let output = command.output().expect("setpriv is needed: of the package util-linux, as unshare");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn one_that_was_not_asked_for_is_the_systems() {
    require_private_network();
    let default = std::fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap().trim().parse::<usize>().unwrap();
    let listener = <multicast::Listener>::bind(on_lo(unique_group())).unwrap();
    assert_eq!(listener.receive_buffer().unwrap(), default);
}
