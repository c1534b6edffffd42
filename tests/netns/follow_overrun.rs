//! Senders that follow when changes come faster than they are read. Separate from other tests, whose changes would be lost, too. In a
//! private network: see `make test`.

use crate::common::changes::all;
use crate::common::link::{Pair, flood, index_of, is_alone, named};
use crate::common::{OnePacket, assert_quiet, unique_group, unique_v6_group};
use multicast::{Change, ErrorKind, Links, ListenOptions, Membership, Progress, SendOptions};

/// That a link was deleted, and another one was replaced, was lost. The list after the overrun does not name what is gone.
#[test]
fn after_an_overrun_senders_ask_again() {
    if !is_alone("after_an_overrun_senders_ask_again") {
        return;
    }
    let (busy, gone, replaced) = (Pair::new(), Pair::new(), Pair::new());
    let (group, other) = (unique_group(), unique_v6_group(2));
    let index = index_of(&gone.a);
    let (mut links, mut witness) = (Links::watch().unwrap(), Links::watch().unwrap());
    let mut waiting = SendOptions::new().interface(named(&gone.a)).packets(group, ["stays"]).unwrap();
    let options = SendOptions::new().interface(named(&replaced.a));
    let mut casters = [options.packets(group, ["moved"]).unwrap(), options.packets(other, ["moved, too"]).unwrap()];
    while links.follow(&mut (&mut waiting, &mut casters[..])).unwrap().more {}

    all(&mut witness);
    flood(&busy.a);
    gone.delete();
    replaced.replace();
    // Another watcher of the same changes shows that it was lost.
    let told = all(&mut witness);
    assert!(told.contains(&Change::Overrun));
    assert!(!told.iter().any(|change| matches!(change, Change::Gone { index: its, .. } if *its == index)));

    let mut renewed = 0;
    let last = loop {
        let followed = links.follow(&mut (&mut waiting, &mut casters[..])).unwrap();
        renewed += followed.renewed;
        assert_eq!(followed.failed, None);
        if !followed.more {
            break followed;
        }
    };
    assert_eq!((renewed, last.applied.pending), (2, 1));
    assert_eq!(waiting.step().unwrap_err().kind(), ErrorKind::NoSuchInterface);
    assert_eq!(waiting.pending(), Some(&"stays"));
    for (caster, (group, text)) in casters.iter_mut().zip([(group, "moved"), (other, "moved, too")]) {
        let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&replaced.b))).unwrap();
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), text.as_bytes());
        assert_quiet(&mut listener);
    }
}
