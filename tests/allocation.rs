//! The core allocates nothing: neither a packet, nor at set-up.

// The trait of allocators is unsafe to implement.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::{LO, on_lo, send_on_lo, unique_group};
use multicast::filter::Prefix;
use multicast::{Events, Family, Interest, ListenOptions, Listener, Poller, Progress, Received, Token};

thread_local! {
    /// How often this thread has asked for memory: other tests run beside, in threads of their own.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count() {
        // At a thread's end the counter may be gone.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call goes to the system's allocator as it came. Counting neither allocates nor unwinds: the counter has no
// destructor and needs no set-up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the rules of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the rules of `dealloc`; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the rules of `realloc`; `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the work gives, which must not allocate.
#[track_caller]
fn without_allocation<T>(work: impl FnOnce() -> T) -> T {
    let before = COUNT.get();
    let result = work();
    assert_eq!(COUNT.get() - before, 0, "it allocated");
    result
}

#[test]
fn the_counter_counts() {
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(COUNT.get() - before, 1);
}

#[test]
fn making_and_dropping_everything_allocates_nothing() {
    let group = unique_group();
    without_allocation(|| {
        let poller = Poller::new().unwrap();
        let waker = poller.waker().unwrap();
        let listener = Listener::<1500>::bind(on_lo(group)).unwrap();
        let mut opened = ListenOptions::new().open::<64>(group.port(), Family::V4).unwrap();
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
    let mut bound = Listener::<64>::bind(on_lo(group)).unwrap();
    // The filter is to be asked here.
    let options = ListenOptions::new().filter(Prefix(b"yes")).kernel_filter(false);
    let mut opened = options.open::<64>(group.port(), Family::V4).unwrap();
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
        let error = Listener::<64>::bind(on_lo(group).on(elsewhere)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(19));
        caster.step().unwrap_err();
        "nonsense".parse::<multicast::Group>().unwrap_err();
    });
}
