//! A process whose sockets are bound to an interface as soon as they are opened, as by `ip vrf exec`: a program in the kernel sees to
//! that (`BPF_CGROUP_INET_SOCK_CREATE`, `bpf(2)`).

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::process::Command;

/// Confines itself, and becomes the program. It ends with 77 where it may not.
const LAUNCHER: &str = r#"
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        sys.exit(77)
    return result
def bpf(command, attributes):
    number = {"x86_64": 321, "aarch64": 280, "riscv64": 280}[os.uname().machine]
    return check(libc.syscall(number, command, ctypes.create_string_buffer(attributes.ljust(128, b"\0")), 128))
index, root = socket.if_nametoindex(sys.argv[1]), "/sys/fs/cgroup"
# A mount of its own: CLONE_NEWNS; MS_REC and MS_PRIVATE.
check(libc.unshare(0x20000))
check(libc.mount(b"none", b"/", None, 0x44000, None))
check(libc.mount(b"none", root.encode(), b"cgroup2", 0, None))
mine = f"{root}/confined{os.getpid()}"
os.mkdir(mine)
# r2 = index; context->bound_dev_if = r2; r0 = 1; exit
code = struct.pack("=BBhiBBhiBBhiBBhi", 0xb7, 2, 0, index, 0x63, 0x21, 0, 0, 0xb7, 0, 0, 1, 0x95, 0, 0, 0)
instructions, license = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
program = bpf(5, struct.pack("=IIQQ", 9, 4, ctypes.addressof(instructions), ctypes.addressof(license)))
bpf(8, struct.pack("=IIII", os.open(mine, os.O_RDONLY), program, 2, 0))
child = os.fork()
if child == 0:
    open(f"{mine}/cgroup.procs", "w").write("0")
    os.execv(sys.argv[2], sys.argv[2:])
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os.rmdir(mine)
sys.exit(status)
"#;

const MARK: &str = "MULTICAST_TEST_CONFINED";

/// Runs the test of this name in a process that is confined to the interface, and returns the interface's name in that run, `None` outside
/// of it. Where such a process cannot be made, says so on standard error.
pub fn confined(test: &str, interface: impl FnOnce() -> String) -> Option<String> {
    if let Ok(name) = std::env::var(MARK) {
        return Some(name);
    }
    let name = interface();
    let mut command = Command::new("python3");
    command.args(["-c", LAUNCHER, &name]).arg(std::env::current_exe().unwrap());
    let output = command.args(["--exact", &super::full_name(test), "--nocapture"]).env(MARK, &name).output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    if output.status.code() == Some(77) {
        eprintln!("{test} did not run: this system confines no process to an interface: {complained}");
    } else {
        assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
    }
    None
}
