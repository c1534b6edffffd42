//! `Links` when changes come faster than they are read. Separate from other tests, whose changes would be lost, too. In a private
//! network: see `make test`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::changes::{all, is_link, name, until};
use crate::common::link::{Pair, index_of, is_alone, run};
use multicast::{Change, Links};

/// More changes than the socket's buffer holds: some are lost, and `Overrun` is reported. Then everything is reported again.
#[test]
fn after_an_overrun_everything_is_reported_again() {
    if !is_alone("after_an_overrun_everything_is_reported_again") {
        return;
    }
    let pair = Pair::new();
    let index = index_of(&pair.a);
    let mut links = Links::watch().unwrap();
    // The first list is not read to its end.
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
    // The last change was lost, or read before the overrun: the list contains it.
    let last = address(5_000).parse().unwrap();
    let told = all(&mut links);
    assert!(told.contains(&Change::Address { index, address: last }), "{} told", told.len());
    assert!(told.iter().any(|change| is_link(change, index, |link| link.name == name(&pair.a))));
    // Later changes are reported, too.
    run(&format!("ip link set {} down", pair.a));
    until(&mut links, |change| is_link(change, index, |link| !link.is_up));
}
