//! What `Links` does when changes come faster than they are read. Apart from other tests, whose changes would be lost with these. In a
//! private network: see `make test`.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::changes::{all, is_link, name, until};
use common::link::{Pair, index_of, run};
use multicast::{Change, Links};

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
