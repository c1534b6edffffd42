//! Makes system calls fail: the test runs again in its own process, under a filter (`seccomp(2)`) that returns errors for chosen
//! calls. This way the behaviour with older kernels and with other devices can be tested.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::process::Command;

/// Installs the filter for its own process, which needs no privilege, and executes the program.
const LAUNCHER: &str = r#"
import ctypes, os, struct, sys
names = ("sendto", "recvfrom", "sendmsg", "recvmsg", "bind", "setsockopt", "getsockopt", "epoll_ctl", "socket", "clock_gettime", "ioctl")
generic = (206, 207, 211, 212, 200, 208, 209, 21, 198, 113, 29)
x86_64 = (44, 45, 46, 47, 49, 54, 55, 233, 41, 228, 16)
calls = dict(zip(names, {"x86_64": x86_64, "aarch64": generic, "riscv64": generic}[os.uname().machine]))
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
code = []
def when(rule):
    call, errno, *words = rule.split(":")
    checks = [(0, calls[call])] + [(16 + 8 * int(word[0]), int(word[2:])) for word in words]
    for at, (offset, value) in enumerate(checks):
        # If it differs: skip the other checks and the error.
        code.extend([(LOAD, 0, 0, offset), (EQUAL, 0, 2 * (len(checks) - at - 1) + 1, value)])
    code.append((RETURN, 0, 0, 0x00050000 | int(errno)))
for rule in sys.argv[1].split(","):
    when(rule)
code.append((RETURN, 0, 0, 0x7fff0000))
instructions = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(instructions)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.addressof(program), 0, 0)):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    assert prctl(*map(ctypes.c_ulong, arguments)) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[2], sys.argv[2:])
"#;

const MARK: &str = "MULTICAST_TEST_REFUSED";

/// Runs the test with this name once for each set of rules. In these runs it returns the rules, otherwise `None`.
///
/// A rule is CALL:ERRNO, and :NUMBER=VALUE for each argument that must have a value; NUMBER counts from 0. Rules of a set are
/// separated by commas.
pub fn refusing(test: &str, sets: &[&str]) -> Option<String> {
    if let Ok(rules) = std::env::var(MARK) {
        return Some(rules);
    }
    refusing_with(test, sets, &[]);
    None
}

/// Runs the test with this name once for each set of rules, with these variables in its environment.
pub fn refusing_with(test: &str, sets: &[&str], variables: &[(&str, &str)]) {
    for rules in sets {
        let mut command = Command::new("python3");
        command.args(["-c", LAUNCHER, rules]).arg(std::env::current_exe().unwrap());
        let output = command
            .args(["--exact", &super::full_name(test), "--nocapture"])
            .env(MARK, rules)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        // With a name that no test has, the status would be success, too.
        let is_passed = output.status.success() && text.contains("1 passed");
        assert!(is_passed, "with {rules}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}
