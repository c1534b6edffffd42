//! `mcast listen` with thousands of groups, as a user without any privilege.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{free_port, require_private_network, unique_group};
use crate::mcast::mcast as command;
use crate::programs::{Running, run, wait_for_member};
use multicast::Group;

const GROUPS: u32 = 2_048;

/// A copy of `mcast` that everybody may run. It is deleted with this.
struct Program(PathBuf);

impl Program {
    fn new() -> Self {
        require_private_network();
        let directory = std::env::temp_dir().join(format!("multicast-many-{}", unique_group()));
        std::fs::create_dir(&directory).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_mcast"), directory.join("mcast")).unwrap();
        for path in [&directory, &directory.join("mcast")] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Self(directory)
    }

    /// Listens on `lo`, with these limits of open files (or the hard one of this system, if it is lower and high enough), as the user nobody. In a namespace of a user, where there is nobody else, as that
    /// user.
    fn listen(&self, soft: u32, hard: u32, target: &str, arguments: &[&str]) -> Running {
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
        let is_possible = Command::new("setpriv").args(nobody).arg("true").output().unwrap().status.success();
        let words = if is_possible { format!("setpriv {}", nobody.join(" ")) } else { String::new() };
        let script = format!(
            "ulimit -Sn {soft} && {{ ulimit -Hn {hard} 2>/dev/null || test $(ulimit -Hn) -gt 4096; }} && exec {words} \"$0\" \"$@\""
        );
        let mut program = Command::new("sh");
        program.args(["-c", &script]).arg(self.0.join("mcast"));
        Running::start(program.args(["listen", "--interface", "lo", "--from", target]).args(arguments))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Consecutive groups of each family, and the target that is all of them.
fn ranges() -> [(Vec<Group>, String); 2] {
    let (port, unique) = (free_port(), std::process::id() as u8);
    let v4 = Ipv4Addr::new(239, 192, unique, 0);
    let v6 = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, unique.into(), 0);
    let groups = |address: &dyn Fn(u32) -> IpAddr| -> Vec<_> {
        (0..GROUPS).map(|number| Group::new(address(number), port).unwrap()).collect()
    };
    [
        (groups(&|number| Ipv4Addr::from_bits(v4.to_bits() + number).into()), format!("{v4}+{GROUPS}:{port}")),
        (groups(&|number| Ipv6Addr::from_bits(v6.to_bits() + u128::from(number)).into()), format!("[{v6}+{GROUPS}]:{port}")),
    ]
}

fn send_to(target: &str) {
    run(&mut command(["send", "--interface", "lo", "--to", target, "text"])).expect(0).quietly();
}

/// What the kernel counts for a process, in kB.
fn memory(process: u32, name: &str) -> u64 {
    let list = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = list.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', 'k', 'B']).parse().unwrap()
}

#[test]
fn two_thousand_groups_are_heard_without_privileges() {
    let program = Program::new();
    for (groups, target) in ranges() {
        let begin = Instant::now();
        let heard = program.listen(1_024, 65_536, &target, &["--metadata"]);
        wait_for_member(*groups.last().unwrap());
        let time = begin.elapsed();
        send_to(&target);
        let mut missing: BTreeSet<String> = groups.iter().map(Group::to_string).collect();
        while !missing.is_empty() {
            let line = heard.line();
            assert!(missing.remove(line.split(' ').nth(2).unwrap()), "{line}");
        }
        let rss = memory(heard.id(), "Rss");
        eprintln!("{GROUPS} groups: {time:?}, {rss} kB");
        // A socket costs little: far less than a buffer for a packet.
        assert!(rss < 16_384, "{rss} kB");
        assert_eq!(heard.line_within(Duration::from_millis(100)), None);
        heard.signal("TERM");
        heard.end().expect(143).saying(&format!("received {GROUPS}, rejected 0, truncated 0, dropped 0, foreign 0"));
    }
}

#[test]
fn with_too_few_descriptors_it_says_to_how_many_it_listens_and_goes_on() {
    let program = Program::new();
    for (groups, target) in ranges() {
        let heard = program.listen(64, 64, &target, &["--metadata"]);
        heard.wait_until_it_says("of 2048 groups; raise the limit of open files (ulimit -n)");
        send_to(&target);
        let mut count = 0;
        while let Some(line) = heard.line_within(Duration::from_millis(500)) {
            assert_eq!(line.split(' ').nth(2).unwrap(), groups[count].to_string());
            count += 1;
        }
        heard.signal("TERM");
        let ended = heard.end().expect(143).saying(&format!(": listening to {count} of {GROUPS} groups; "));
        assert!((40..64).contains(&count) && ended.errors.lines().count() == 2, "{count}: {ended:?}");
        ended.saying(&format!("received {count}, "));
    }
}
