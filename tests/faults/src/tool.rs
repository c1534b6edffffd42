//! The commands of `mcast`, each with a peer, and what its exit status promises.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::run::{Ended, Launch, wait};

/// Runs one command once; returns how it ended, and what was wrong.
pub type Trial = fn(mcast: &str, launch: &Launch, number: u16) -> (Ended, Option<String>);

pub const ALL: &[(&str, Trial)] = &[
    ("mcast-send", send),
    ("mcast-lines", lines),
    ("mcast-listen", listen),
    ("mcast-demo", demo),
    ("mcast-ask", |mcast, launch, number| alone(mcast, launch, number, "ask --to GROUP --interface lo --wait 0.1 who")),
    ("mcast-answer", |mcast, launch, number| {
        alone(mcast, launch, number, "answer --from GROUP --interface lo --timeout 0.1 me")
    }),
    ("mcast-test-send", |mcast, launch, number| {
        alone(mcast, launch, number, "test send --to GROUP --interface lo --count 5 --give-up 0.5")
    }),
    ("mcast-test-receive", |mcast, launch, number| {
        alone(mcast, launch, number, "test receive --from GROUP --interface lo --timeout 0.1")
    }),
    ("mcast-ping", |mcast, launch, number| {
        alone(mcast, launch, number, "ping --to GROUP --interface lo --count 1 --timeout 0.2")
    }),
    ("mcast-pong", |mcast, launch, number| alone(mcast, launch, number, "pong --from GROUP --interface lo --timeout 0.1")),
    ("mcast-watch", |mcast, launch, number| alone(mcast, launch, number, "watch --from GROUP --interface lo --timeout 0.1")),
    ("mcast-record", |mcast, launch, number| {
        alone(mcast, launch, number, "record --from GROUP --interface lo --timeout 0.1 -")
    }),
    ("mcast-relay", |mcast, launch, number| {
        alone(mcast, launch, number, "relay --from GROUP --interface lo --to 239.201.0.1:9%lo --timeout 0.1")
    }),
    ("mcast-who", |mcast, launch, number| alone(mcast, launch, number, "who --interface lo")),
    ("mcast-doctor", |mcast, launch, number| {
        alone(mcast, launch, number, "doctor --from GROUP --interface lo --seconds 0.2")
    }),
];

fn address(number: u16) -> (Ipv4Addr, u16) {
    let [high, low] = number.to_be_bytes();
    (Ipv4Addr::new(239, 200, high, low), 10_000 + number)
}

fn words(mcast: &str, arguments: &[&str]) -> Vec<String> {
    std::iter::once(mcast).chain(arguments.iter().copied()).map(str::to_owned).collect()
}

/// What holds for all of them.
fn check(ended: &Ended) -> Option<String> {
    ended.misbehaved().or_else(|| {
        // As a program that SIGPIPE ends, it says nothing then.
        let is_said = matches!(ended.code, Some(0 | 141))
            || !ended.errors.trim().is_empty()
            || matches!(ended.code, Some(5 | 6) if !ended.output.is_empty());
        let is_documented = matches!(ended.code, Some(0..=6 | 141));
        (!is_said || !is_documented).then(|| format!("status {:?}, and it says {:?}", ended.code, ended.errors))
    })
}

fn member(number: u16) -> std::io::Result<UdpSocket> {
    let (group, port) = address(number);
    let socket = UdpSocket::bind((group, port))?;
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn received(socket: &UdpSocket) -> Vec<String> {
    let mut buffer = [0; 2000];
    let mut got = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        got.push(String::from_utf8_lossy(buffer.get(..length).unwrap_or(&[])).into_owned());
    }
    got
}

fn judged(ended: &Ended, got: &[String], expected: &[&str]) -> Option<String> {
    let is_begin = expected.get(..got.len()).is_some_and(|begin| got == begin);
    // What a command leaves out, it says: then the others still come, in their order.
    let is_part = got.iter().all(|packet| expected.contains(&packet.as_str())) && got.is_sorted();
    match ended.code {
        Some(0) if got != expected => Some(format!("status 0, and {got:?} came, not {expected:?}")),
        Some(_) if !is_begin && !is_part => Some(format!("{got:?} came of {expected:?}")),
        _ => None,
    }
}

fn send(mcast: &str, launch: &Launch, number: u16) -> (Ended, Option<String>) {
    send_with(mcast, launch, number, "--count 3 -- text", &["text"; 3])
}

/// Lines of a file.
fn lines(mcast: &str, launch: &Launch, number: u16) -> (Ended, Option<String>) {
    let path = std::env::temp_dir().join(format!("faults-{}-{number}", std::process::id()));
    let _ = std::fs::write(&path, "1 one\n2 two\n3 three\n");
    let result = send_with(mcast, launch, number, &format!("< {}", path.display()), &["1 one", "2 two", "3 three"]);
    let _ = std::fs::remove_file(path);
    result
}

fn send_with(mcast: &str, launch: &Launch, number: u16, how: &str, expected: &[&str]) -> (Ended, Option<String>) {
    let (group, port) = address(number);
    let failed = |error: &dyn std::fmt::Display| {
        (Ended { code: None, signal: None, output: String::new(), errors: String::new() }, Some(error.to_string()))
    };
    let socket = match member(number) {
        Ok(socket) => socket,
        Err(error) => return failed(&error),
    };
    let to = format!("{group}:{port}");
    let mut arguments = vec!["send", "--interface", "lo", "--give-up", "0.5", "--to", &to];
    let file = how.strip_prefix("< ");
    if file.is_none() {
        arguments.extend(how.split(' '));
    }
    let mut command = launch.command(&words(mcast, &arguments));
    if let Some(path) = file {
        match std::fs::File::open(path) {
            Ok(file) => drop(command.stdin(file)),
            Err(error) => return failed(&error),
        }
    }
    match command.spawn() {
        Ok(child) => {
            let ended = wait(child, &mut || {});
            let fault = check(&ended).or_else(|| judged(&ended, &received(&socket), expected));
            (ended, fault)
        }
        Err(error) => failed(&error),
    }
}

/// Packets come until it ends, each once.
fn listen(mcast: &str, launch: &Launch, number: u16) -> (Ended, Option<String>) {
    let (group, port) = address(number);
    let from = format!("{group}:{port}");
    let arguments = ["listen", "--interface", "lo", "--from", &from, "--limit", "3", "--timeout", "2"];
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| {
        rustix::net::sockopt::set_ip_multicast_if(&socket, &Ipv4Addr::LOCALHOST)?;
        Ok(socket)
    });
    let (sender, child) = match (sender, launch.command(&words(mcast, &arguments)).spawn()) {
        (Ok(sender), Ok(child)) => (sender, child),
        (Err(error), _) | (_, Err(error)) => {
            let ended = Ended { code: None, signal: None, output: String::new(), errors: String::new() };
            return (ended, Some(error.to_string()));
        }
    };
    let mut sent = 100;
    let ended = wait(child, &mut || {
        let _ = sender.send_to(sent.to_string().as_bytes(), (group, port));
        sent += 1;
        std::thread::sleep(Duration::from_millis(2));
    });
    let printed: Vec<u32> = ended.output.lines().filter_map(|line| line.split_once(' ')?.1.parse().ok()).collect();
    let is_in_order = printed.is_sorted_by(|before, after| before < after);
    let fault = check(&ended).or_else(|| match ended.code {
        _ if !is_in_order => Some(format!("it printed {printed:?}")),
        Some(0) if printed.len() != 3 => Some(format!("status 0, and it printed {printed:?}")),
        _ => None,
    });
    (ended, fault)
}

/// A command without a peer: whatever fails, it ends, with a documented status, and says why.
fn alone(mcast: &str, launch: &Launch, number: u16, line: &str) -> (Ended, Option<String>) {
    let (group, port) = address(number);
    let target = format!("{group}:{port}");
    let arguments: Vec<&str> = line.split(' ').map(|word| if word == "GROUP" { &target } else { word }).collect();
    match launch.command(&words(mcast, &arguments)).spawn() {
        Ok(child) => {
            let ended = wait(child, &mut || {});
            let fault = check(&ended);
            (ended, fault)
        }
        Err(error) => {
            let ended = Ended { code: None, signal: None, output: String::new(), errors: String::new() };
            (ended, Some(error.to_string()))
        }
    }
}

fn demo(mcast: &str, launch: &Launch, _: u16) -> (Ended, Option<String>) {
    match launch.command(&words(mcast, &["demo"])).spawn() {
        Ok(child) => {
            let ended = wait(child, &mut || {});
            let is_whole = ended.output.contains("sent 7, received 5, rejected 2, lost 0");
            let fault = check(&ended)
                .or_else(|| (ended.code == Some(0) && !is_whole).then(|| format!("status 0: {}", ended.output)));
            (ended, fault)
        }
        Err(error) => {
            let ended = Ended { code: None, signal: None, output: String::new(), errors: String::new() };
            (ended, Some(error.to_string()))
        }
    }
}
