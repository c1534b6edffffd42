//! What `Links` does when changes come faster than they are read. Apart from other tests, whose changes would be lost with these. In a
//! private network: see `make test`.

mod common;

use std::io::Write;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::PATIENCE;
use common::link::{Pair, index_of, run};
use multicast::{Change, Events, Interest, Link, Links, Name, Poller, Token};

/// Reads what is told until a change is as wanted, which is given. It waits as a program would.
fn until(links: &mut Links, wanted: impl Fn(&Change) -> bool) -> Change {
    let poller = Poller::new().unwrap();
    poller.register(&*links, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::<1>::new();
    let end = Instant::now() + PATIENCE;
    loop {
        while let Some(change) = links.next().unwrap() {
            if wanted(&change) {
                return change;
            }
        }
        assert!(Instant::now() < end, "it was not told");
        poller.poll(&mut events, Duration::from_millis(100)).unwrap();
    }
}

/// Reads all that there is.
fn all(links: &mut Links) -> Vec<Change> {
    std::iter::from_fn(|| links.next().unwrap()).collect()
}

fn name(text: &str) -> Option<Name> {
    Some(text.parse().unwrap())
}

fn is_link(change: &Change, index: NonZeroU32, like: impl Fn(&Link) -> bool) -> bool {
    matches!(change, Change::Link(link) if link.index == index && like(link))
}

/// More changes than its socket holds: some are lost, and it says so. Then all is told anew.
#[test]
fn an_overrun_is_told_and_all_that_there_is_follows() {
    let pair = Pair::new();
    let index = index_of(&pair.a);
    let mut links = Links::watch().unwrap();
    // The first list is not even read to its end.
    links.next().unwrap();
    let address = |number: u32| format!("10.{}.{}.{}", 100 + number / 65_536, number / 256 % 256, number % 256);
    for verb in ["add", "delete"] {
        let mut batch = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let lines: String =
            (0..2_000).map(|number| format!("addr {verb} {}/32 dev {}\n", address(number), pair.a)).collect();
        batch.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(batch.wait().unwrap().success());
    }
    run(&format!("ip addr add {}/32 dev {}", address(5_000), pair.a));
    until(&mut links, |change| *change == Change::Overrun);
    // The last of the changes was lost, or read before: it comes with the list.
    let last = address(5_000).parse().unwrap();
    let told = all(&mut links);
    assert!(told.contains(&Change::Address { index, address: last }), "{} told", told.len());
    assert!(told.iter().any(|change| is_link(change, index, |link| link.name == name(&pair.a))));
    // And it goes on.
    run(&format!("ip link set {} down", pair.a));
    until(&mut links, |change| is_link(change, index, |link| !link.is_up));
}
