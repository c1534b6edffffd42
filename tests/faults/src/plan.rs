//! Which calls fail, how, and whether once or from then on.

/// A fault, as strace injects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub call: String,
    /// Which occurrence of the call in the process, from 1 on.
    pub when: usize,
    /// `ENOMEM`, or `retval=0`.
    pub what: &'static str,
    /// All later occurrences of the call fail, too.
    pub is_lasting: bool,
}

/// What these mean is an answer, not a failure: the interface, the address or the membership is not there, or is there already. The
/// library acts on it, and may then wait for a change that does not come, since it was a lie. Only that it behaves is checked.
const ANSWERS: &[(&str, &[&str])] = &[
    ("setsockopt", &["ENODEV", "EADDRNOTAVAIL", "EADDRINUSE", "EINVAL"]),
    ("getsockopt", &["EADDRNOTAVAIL"]),
    ("ioctl", &["ENODEV"]),
    ("read", &["retval=0"]),
];

/// What these mean, if they come each time: there is nothing to receive, or no room to send yet. Nothing can be reported.
const LASTING_ANSWERS: &[(&str, &[&str])] = &[
    ("sendto", &["EAGAIN"]),
    ("sendmsg", &["EAGAIN"]),
    ("sendmmsg", &["EAGAIN"]),
    // After 64 interrupted tries there may be more to read: the library says so.
    // And the network reports about sent packets, which is no error of receiving.
    ("recvfrom", &["EAGAIN", "EINTR", "ECONNREFUSED", "EHOSTUNREACH", "EPROTO"]),
    ("recvmsg", &["EAGAIN", "EINTR", "ECONNREFUSED", "EHOSTUNREACH", "EPROTO"]),
    ("recvmmsg", &["EAGAIN", "EINTR", "ECONNREFUSED", "EHOSTUNREACH", "EPROTO"]),
    // Nothing has happened yet, as a poller sees it.
    ("epoll_wait", &["EINTR", "retval=0"]),
    ("epoll_pwait", &["EINTR", "retval=0"]),
    ("epoll_pwait2", &["EINTR", "retval=0"]),
    ("ppoll", &["EINTR", "retval=0"]),
    // For a membership, this says that the interface has no address yet.
    ("getsockopt", &["EINVAL"]),
    // It stands still, so no time passes for a rate.
    ("clock_gettime", &[CLOCK_AT_BEGIN, CLOCK_WITHOUT_SENSE]),
];

/// The standard library of a program tries these again without an end.
const RETRIED_BY_STD: &[&str] = &[
    "read",
    "write",
    "writev",
    "openat",
    "open",
    "getrandom",
    "clock_nanosleep",
    "nanosleep",
    "epoll_wait",
    "poll",
    "ppoll",
];

/// What each call can fail with, by its manual page; and returns that are odd but allowed. Signals and memory are left out: the first are
/// in the tests, and a Rust program ends without memory.
const FAULTS: &[(&[&str], &[&str])] = &[
    (&["socket"], &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT"]),
    (&["bind"], &["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "EINVAL", "ENODEV", "ENOMEM"]),
    (&["connect"], &["EAGAIN", "EACCES", "ENETUNREACH", "EADDRNOTAVAIL", "EINVAL", "EINTR"]),
    (
        &["setsockopt"],
        &["ENOPROTOOPT", "EINVAL", "ENOMEM", "ENOBUFS", "EPERM", "ENODEV", "EADDRNOTAVAIL", "EADDRINUSE", "EDOM"],
    ),
    (&["getsockopt"], &["ENOPROTOOPT", "EINVAL", "ENOBUFS", "EADDRNOTAVAIL"]),
    (&["getsockname", "getpeername"], &["ENOBUFS", "EINVAL"]),
    (&["epoll_create1"], &["EMFILE", "ENFILE", "ENOMEM"]),
    (&["epoll_ctl EPOLL_CTL_ADD"], &["ENOMEM", "ENOSPC"]),
    (&["epoll_ctl EPOLL_CTL_MOD"], &["ENOMEM"]),
    (&["epoll_wait", "epoll_pwait", "epoll_pwait2", "ppoll", "poll"], &["EINTR", "ENOMEM", "retval=0"]),
    (&["eventfd2", "timerfd_create", "pipe2", "signalfd4", "socketpair"], &["EMFILE", "ENFILE", "ENOMEM"]),
    (
        &["sendto", "sendmsg", "sendmmsg"],
        &[
            "EAGAIN",
            "ENOBUFS",
            "EINTR",
            "EPERM",
            "EACCES",
            "ENETUNREACH",
            "ENETDOWN",
            "EHOSTUNREACH",
            "ECONNREFUSED",
            "EMSGSIZE",
            "EINVAL",
            "ENOMEM",
            "EIO",
            "ENODEV",
            "EADDRNOTAVAIL",
        ],
    ),
    (
        &["recvfrom", "recvmsg", "recvmmsg"],
        &["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "ECONNREFUSED", "EHOSTUNREACH", "EPROTO", "ENETDOWN", "EIO"],
    ),
    (&["ioctl"], &["ENODEV", "ENOTTY", "EPERM"]),
    (&["fcntl"], &["EMFILE", "EINVAL"]),
    (&["read"], &["EINTR", "EAGAIN", "EIO", "retval=0"]),
    (&["write", "writev"], &["EINTR", "EAGAIN", "EIO", "ENOSPC", "EPIPE"]),
    (&["openat", "open"], &["EMFILE", "ENFILE", "EACCES", "ENOENT", "EINTR"]),
    (&["prlimit64", "getrlimit", "setrlimit"], &["EPERM", "EINVAL"]),
    // For a time that is valid, sleeping fails in no other way.
    (&["clock_nanosleep", "nanosleep"], &["EINTR"]),
    (&["clock_gettime"], &["EINVAL", "EPERM", CLOCK_AT_BEGIN, CLOCK_AT_END, CLOCK_BEFORE_BEGIN, CLOCK_WITHOUT_SENSE]),
    (&["getrandom"], &["EINTR"]),
    (&["pidfd_open", "pidfd_getfd"], &["EMFILE", "EPERM", "ESRCH"]),
];

/// The kernel says that it is second 0; the last second that fits; second -1; and more nanoseconds than a second has.
const CLOCK_AT_BEGIN: &str = "poke_exit=@arg2=00000000000000000000000000000000";
const CLOCK_AT_END: &str = "poke_exit=@arg2=ffffffffffffff7fffc99a3b00000000";
const CLOCK_BEFORE_BEGIN: &str = "poke_exit=@arg2=ffffffffffffffff0000000000000000";
const CLOCK_WITHOUT_SENSE: &str = "poke_exit=@arg2=0100000000000000ffffffffffffff7f";

/// All faults for these calls, which a run without a fault made in this order. Only those with numbers in `part` fail.
pub fn faults(calls: &[String], part: std::ops::Range<usize>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for number in part {
        let Some(call) = calls.get(number) else { break };
        let Some((_, errors)) = FAULTS.iter().find(|(names, _)| names.contains(&call.as_str())) else { continue };
        let name = name_of(call);
        let when = calls.iter().take(number + 1).filter(|other| name_of(other) == name).count();
        faults.extend(errors.iter().map(|what| Fault { call: name.to_owned(), when, what, is_lasting: false }));
    }
    faults
}

/// For each call that is in `part`, and each way to fail: it fails from the first time in `part` on, without an end.
pub fn lasting(calls: &[String], part: std::ops::Range<usize>) -> Vec<Fault> {
    let mut begun: Vec<(String, usize)> = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for fault in self::faults(calls, part) {
        let when = match begun.iter().find(|(call, _)| *call == fault.call) {
            Some((_, when)) => *when,
            None => {
                begun.push((fault.call.clone(), fault.when));
                fault.when
            }
        };
        let fault = Fault { when, is_lasting: true, ..fault };
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults
}

impl Fault {
    /// Whether the program may take it for an answer.
    pub fn is_answer(&self) -> bool {
        let lasting = if self.is_lasting { LASTING_ANSWERS } else { &[] };
        ANSWERS.iter().chain(lasting).any(|(call, answers)| *call == self.call && answers.contains(&self.what))
    }

    /// Whether a program rightly never ends: std tries again after each signal, and a pipe that has nothing, or no room, may have it later.
    pub fn is_endless(&self) -> bool {
        let is_of_std = self.what == "EINTR" && RETRIED_BY_STD.contains(&self.call.as_str());
        let is_of_pipe = self.what == "EAGAIN" && matches!(self.call.as_str(), "read" | "write" | "writev");
        // The kernel interrupts no read that does not wait. The library says each time that there may be more.
        let is_of_socket = self.what == "EINTR" && self.call.starts_with("recv");
        // Of netlink: at each read, changes have been lost since the last one. The kernel says it once for each loss.
        let is_of_links = self.what == "ENOBUFS" && self.call == "recvfrom";
        self.is_lasting && (is_of_std || is_of_pipe || is_of_socket || is_of_links)
    }

    /// Whether a program cannot say anything: it cannot write, or cannot see that it can.
    pub fn silences(&self) -> bool {
        self.is_lasting && matches!(self.call.as_str(), "write" | "writev" | "ppoll" | "poll")
    }

    /// For `strace -e inject=`.
    pub fn expression(&self) -> String {
        let Self { call, when, what, is_lasting } = self;
        let on = if *is_lasting { "+" } else { "" };
        let effect = if what.contains('=') { (*what).to_owned() } else { format!("error={what}") };
        format!("inject={call}:{effect}:when={when}{on}")
    }
}

fn name_of(call: &str) -> &str {
    call.split(' ').next().unwrap_or(call)
}

/// The calls in strace's output, in their order. Those of `epoll_ctl` have their operation, too.
pub fn calls_in(trace: &str) -> Vec<String> {
    trace.lines().filter_map(call_in).collect()
}

fn call_in(line: &str) -> Option<String> {
    // With -f each line begins with the number of the process.
    let line = line.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
    let (name, arguments) = line.split_once('(')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let operation = arguments.split(", ").nth(1).filter(|_| name == "epoll_ctl");
    is_name.then(|| operation.map_or_else(|| name.to_owned(), |operation| format!("{name} {operation}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_occurrence_of_each_call_fails_in_each_way() {
        let trace = "7 execve(\"x\") = 0\n7 socket(AF_INET) = 3\n7 getppid() = 1\n7 bind(3) = 0\n7 socket(AF_INET) = 4\n+++ exited\n";
        let calls = calls_in(trace);
        assert_eq!(calls, ["execve", "socket", "getppid", "bind", "socket"]);
        let faults = faults(&calls, 3..calls.len());
        assert_eq!(faults.len(), 6 + 7);
        assert_eq!(faults[0].expression(), "inject=bind:error=EADDRINUSE:when=1");
        assert_eq!(faults[6].expression(), "inject=socket:error=EMFILE:when=2");
    }

    #[test]
    fn a_lasting_fault_begins_with_the_first_call_and_never_ends() {
        let calls = ["bind", "socket", "bind", "socket", "bind"].map(str::to_owned);
        let faults = lasting(&calls, 1..5);
        assert_eq!(faults.len(), 7 + 6);
        assert_eq!(faults[0].expression(), "inject=socket:error=EMFILE:when=1+");
        assert_eq!(faults[7].expression(), "inject=bind:error=EADDRINUSE:when=2+");
    }
}
