//! The core allocates nothing: neither per packet nor at set-up.

mod common;

use std::time::Duration;

use common::{LO, on_lo, send_on_lo, unique_group};
use multicast::filter::Prefix;
use multicast::{Bind, Events, Family, Interest, ListenOptions, Poller, Progress, Received, Token};

/// Returns the result of `work`, which must not allocate.
#[track_caller]
fn without_allocation<T>(work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let counted = allocation_counter::measure(|| result = Some(work()));
    assert_eq!(counted.count_total, 0, "it allocated");
    result.unwrap()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7)))).count_total, 1);
}

#[test]
fn making_and_dropping_everything_allocates_nothing() {
    let group = unique_group();
    without_allocation(|| {
        let poller = Poller::new().unwrap();
        let waker = poller.waker().unwrap();
        let listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
        let mut opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
        for interface in [LO, "1".parse().unwrap(), "127.0.0.1".parse().unwrap()] {
            opened.join(&on_lo(group).on(interface)).unwrap();
            opened.leave(&on_lo(group).on(interface)).unwrap();
        }
        let caster = send_on_lo().packets(group, ["x"]).unwrap();
        poller.register(&listener, Token(1), Interest::READABLE).unwrap();
        poller.register(&caster, Token(2), Interest::WRITABLE).unwrap();
        poller.unregister(&caster).unwrap();
        waker.wake().unwrap();
    });
}

#[test]
fn sending_polling_and_receiving_allocate_nothing() {
    let group = unique_group();
    let mut bound = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    // The filter must run in this process.
    let options = ListenOptions::new().filter(Prefix(b"yes")).kernel_filter(false);
    let mut opened = options.bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    let poller = Poller::new().unwrap();
    poller.register(&bound, Token(1), Interest::READABLE).unwrap();
    poller.register(&opened, Token(2), Interest::READABLE).unwrap();
    let items = (0..200).map(|count| if count % 2 == 0 { "yes" } else { "no" });
    let mut caster = send_on_lo().batches::<8, _>(group, items).unwrap();
    let (mut of_bound, mut of_opened) = (0, 0);
    without_allocation(|| {
        let mut events = Events::<16>::new();
        loop {
            let progress = caster.step().unwrap();
            for event in poller.poll(&mut events, Duration::from_micros(1500)).unwrap() {
                match event.token() {
                    Token(1) => {
                        while let Received::Packet(_) = bound.recv().unwrap() {
                            of_bound += 1;
                        }
                    }
                    _ => {
                        while let Received::Packet(_) = opened.recv().unwrap() {
                            of_opened += 1;
                        }
                    }
                }
            }
            if progress == Progress::Done {
                break;
            }
        }
        assert_eq!((bound.counters().received, opened.counters().rejected), (200, 100));
    });
    assert_eq!((of_bound, of_opened), (200, 100));
}

#[test]
fn errors_allocate_nothing() {
    let group = unique_group();
    let elsewhere = "nosuch0".parse().unwrap();
    let long = vec![0; 70_000];
    let mut caster = send_on_lo().packets(group, [&long]).unwrap();
    without_allocation(|| {
        let error = ListenOptions::new().bind::<64>(on_lo(group).on(elsewhere)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(19));
        caster.step().unwrap_err();
        "nonsense".parse::<multicast::Group>().unwrap_err();
    });
}
