//! Calls of the core with little stack left.

use std::hint::black_box;
use std::time::Duration;

use multicast::filter::{At, Contains, Or, Prefix};
use multicast::{
    Bind, Events, Family, Group, Interest, Links, ListenOptions, Listener, Membership, Memberships, Outcome, Poller,
    Received, Receiver, SendOptions, Sender, Token,
};

use crate::run::{membership, on_lo};

type Result<T> = multicast::Result<T>;

/// Most calls: setting up, and all that a loop calls for each packet.
const SMALL: usize = 4096;
/// A batch of 64 packets, and a text.
const BATCH: usize = 6144;
/// Calls that may ask the kernel for a list of interfaces: an answer is up to 8 KiB long.
const QUESTION: usize = 12_288;
/// The value itself has a buffer of 8 KiB, and is moved to its place.
const WATCH: usize = 18_432;

/// One call: first what it needs is made, with all of the stack, then it is made with this many bytes.
pub type Call = fn(group: Group, left: usize) -> Result<()>;

/// Each with the bytes of stack that it may need, also without optimisation for size, and with checks for overflow.
pub const ALL: &[(&str, usize, Call)] = &[
    ("bind", SMALL, |group, left| with(left, || ListenOptions::new().bind_receiver(membership(group), 1500)).map(drop)),
    ("bind-interface", SMALL, |group, left| {
        with(left, || ListenOptions::new().bind_receiver(Bind::Interface(membership(group)), 1500)).map(drop)
    }),
    ("bind-coalescing", SMALL, |group, left| {
        let mut buffer = Box::new([0; multicast::COALESCING_BUFFER]);
        with(left, || ListenOptions::new().bind_coalescing(membership(group), 1500, &mut buffer).map(drop))
    }),
    ("bind-filter", SMALL, |group, left| with(left, || filtered(group)).map(drop)),
    ("replace-filter", SMALL, |group, left| {
        let mut receiver = filtered(group)?;
        with(left, || receiver.replace_filter(wanted(b"y")).map(drop))
    }),
    ("join-by-port", QUESTION, |group, left| {
        let mut receiver = by_port(group)?;
        with(left, || receiver.join(&membership(group)))
    }),
    ("leave-by-port", QUESTION, |group, left| {
        let mut receiver = by_port(group)?;
        receiver.join(&membership(group))?;
        with(left, || receiver.leave(&membership(group)))
    }),
    ("source-block", SMALL, |group, left| {
        let source = if group.family() == Family::V4 { "127.0.0.1".parse() } else { "::1".parse() };
        let mut receiver = by_port(group)?;
        receiver.join(&membership(group))?;
        with(left, || source.map_or(Ok(()), |source| receiver.block(&membership(group), source)))
    }),
    ("recv", SMALL, |group, left| {
        let mut listener = ListenOptions::new().bind::<1500>(membership(group))?;
        send(group)?;
        with(left, || listener.recv().map(|received| assert!(matches!(received, Received::Packet(_)))))
    }),
    ("recv-metadata", SMALL, |group, left| {
        let mut listener: Listener<1500> = ListenOptions::new().metadata().bind(membership(group))?;
        send(group)?;
        with(left, || listener.recv().map(|received| assert!(matches!(received, Received::Packet(_)))))
    }),
    ("recv-coalesced", SMALL, |group, left| {
        let mut buffer = Box::new([0; multicast::COALESCING_BUFFER]);
        let mut listener = ListenOptions::new().bind_coalescing(membership(group), 1500, &mut buffer)?;
        send(group)?;
        with(left, || listener.recv().map(|received| assert!(matches!(received, Received::Packet(_)))))
    }),
    ("open-sender", SMALL, |group, left| with(left, || on_lo().open(group.family())).map(drop)),
    ("open-with-replies", QUESTION, |group, left| with(left, || on_lo().open_with_replies::<64>(group.family()).map(drop))),
    ("send", SMALL, |group, left| {
        let mut sender = on_lo().open(group.family())?;
        with(left, || sender.send(b"x", group).map(drop))
    }),
    ("reply", QUESTION, reply),
    ("step", SMALL, |group, left| {
        let mut caster = on_lo().packets(group, ["one"])?;
        with(left, || caster.step().map(drop))
    }),
    ("step-64", BATCH, |group, left| {
        let mut caster = Box::new(on_lo().batches::<64, _>(group, vec![[7_u8; 100]; 64])?);
        with(left, || caster.step().map(drop))
    }),
    ("poll", SMALL, |group, left| {
        let receiver = by_port(group)?;
        with(left, || {
            let (poller, mut events) = (Poller::new()?, Events::<16>::new());
            poller.register(&receiver, Token(1), Interest::READABLE)?;
            poller.poll(&mut events, Duration::ZERO).map(drop)
        })
    }),
    ("watch-links", WATCH, |_, left| {
        let mut links = None;
        with(left, || Links::watch().map(|made| links = Some(Box::new(made))))
    }),
    ("follow", SMALL, |group, left| {
        let (mut links, mut receiver) = (Box::new(Links::watch()?), by_port(group)?);
        let mut book = Memberships::<2>::new();
        let lo = "lo".parse()?;
        book.join(Membership::any(group).on(lo), &mut receiver)?;
        let mut sender = SendOptions::new().interface(lo).later().open(group.family())?;
        with(left, || links.follow(&mut (book.with(&mut receiver), &mut sender)).map(drop))
    }),
    ("error-text", BATCH, |group, left| {
        let mut receiver = by_port(group)?;
        let stranger = Membership::any(group).on("none0".parse()?);
        with(left, || {
            let error = receiver.join(&stranger).err();
            assert!(error.is_some_and(|error| write_into_nothing(&error)), "an error with a text");
            Ok(())
        })
    }),
];

type Wanted = Or<Prefix<&'static [u8]>, Or<Contains<&'static [u8]>, At<&'static [u8]>>>;

fn wanted(begin: &'static [u8]) -> Wanted {
    Or(Prefix(begin), Or(Contains(b"y".as_slice()), At(9, b"z".as_slice())))
}

fn filtered(group: Group) -> Result<Receiver<Wanted>> {
    ListenOptions::new().filter(wanted(b"x")).bind_receiver(membership(group), 1500)
}

fn by_port(group: Group) -> Result<Receiver> {
    ListenOptions::new().bind_receiver(Bind::Port(group.port(), group.family()), 1500)
}

fn send(group: Group) -> Result<()> {
    let mut sender: Sender = on_lo().open(group.family())?;
    while sender.send(b"one", group)? != Outcome::Sent {}
    Ok(())
}

fn reply(group: Group, left: usize) -> Result<()> {
    let mut listener = ListenOptions::new().answers().bind::<64>(membership(group))?;
    let mut answerer = listener.sender(SendOptions::new())?;
    let (mut asker, _replies) = on_lo().open_with_replies::<64>(group.family())?;
    while asker.send(b"who", group)? != Outcome::Sent {}
    let Received::Packet(packet) = listener.recv()? else { return Ok(()) };
    with(left, || answerer.reply(&packet, b"me").map(drop))
}

/// Formatting without an allocation.
fn write_into_nothing(error: &multicast::Error) -> bool {
    struct Nothing;
    impl std::fmt::Write for Nothing {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            Ok(())
        }
    }
    std::fmt::write(&mut Nothing, format_args!("{error}")).is_ok()
}

/// Makes the call in a thread of its own; returns when it has returned.
pub fn call(call: Call, group: Group, left: usize) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let joined = thread.spawn(move || call(group, left)).map(std::thread::JoinHandle::join);
    match joined {
        Ok(Ok(result)) => result,
        _ => Err(multicast::Error::from(std::io::Error::other("the thread did not end"))),
    }
}

/// Runs `work` where at most this much of the thread's stack is left.
fn with<T>(left: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut result = None;
    let mut work = Some(work);
    let here = black_box(0_u8);
    let end = end_of_stack(&raw const here as usize).saturating_add(left);
    descend(end, &mut || result = work.take().map(|work| work().map(Box::new)));
    match result {
        Some(result) => result.map(|value| *value),
        None => Err(multicast::Error::from(std::io::Error::other("the call was not made"))),
    }
}

/// Where the mapping that holds this address begins.
fn end_of_stack(address: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let ranges = maps.lines().filter_map(|line| {
        let (begin, end) = line.split(' ').next()?.split_once('-')?;
        Some((usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    });
    ranges.into_iter().find(|(begin, end)| (*begin..*end).contains(&address)).map_or(0, |(begin, _)| begin)
}

#[inline(never)]
fn descend(end: usize, work: &mut dyn FnMut()) {
    let frame = black_box([0_u8; 16]);
    if &raw const frame as usize > end {
        descend(end, work);
    } else {
        work();
    }
    black_box(frame);
}
