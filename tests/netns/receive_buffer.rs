//! The receive buffer: it may exceed the system's limit with the privilege, and is limited without it.

use std::process::Command;

use crate::common::{full_name, on_lo, require_private_network, unique_group};
use multicast::ListenOptions;

const MARK: &str = "MULTICAST_TEST_WITHOUT_PRIVILEGE";

/// The system's limit.
fn limit() -> usize {
    std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap()
}

/// The granted size for a requested size.
fn granted(bytes: usize) -> usize {
    let listener = ListenOptions::new().receive_buffer(bytes).bind::<64>(on_lo(unique_group())).unwrap();
    listener.receive_buffer().unwrap()
}

/// Whether this process may exceed the limit, according to Python. Root in a user namespace may not.
fn may_force() -> bool {
    let program = "import socket; socket.socket(type=socket.SOCK_DGRAM).setsockopt(1, 33, 5000)";
    Command::new("python3").args(["-c", program]).output().unwrap().status.success()
}

#[test]
fn the_receive_buffer_may_exceed_the_limit_only_with_the_privilege() {
    require_private_network();
    let limit = limit();
    if std::env::var_os(MARK).is_some() || !may_force() {
        // The kernel reports no error; the granted size can be read.
        assert_eq!(granted(limit + 1000), 2 * limit);
        assert_eq!(granted(100_000), 200_000);
        return;
    }
    assert_eq!(granted(limit + 1000), 2 * (limit + 1000));
    assert_eq!(granted(100_000), 200_000);
    // The maximum of an `int`. No memory is used before packets arrive.
    assert_eq!(granted(usize::MAX), i32::MAX as usize - 1);
    // The same without CAP_NET_ADMIN.
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-net_admin", "--bounding-set=-net_admin"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", &full_name("the_receive_buffer_may_exceed_the_limit_only_with_the_privilege")]).env(MARK, "");
    let output = command.output().expect("setpriv of the package util-linux is needed: install it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn the_default_receive_buffer_is_that_of_the_system() {
    require_private_network();
    let default = std::fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap().trim().parse::<usize>().unwrap();
    let listener = <multicast::Listener>::bind(on_lo(unique_group())).unwrap();
    assert_eq!(listener.receive_buffer().unwrap(), default);
}
