//! Packets allocate nothing: coalesced, with metadata, in batches, and with a rate. Allocations are counted for each thread
//! separately.

mod common;

use core::time::Duration;

use common::{OnePacket, on_lo, send_on_lo, unique_group};
use multicast::filter::by;
use multicast::{Bind, COALESCING_BUFFER, Family, ListenOptions, Progress, Received};

fn allocations_in(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_in(|| drop(Box::new(core::hint::black_box(7)))), 1);
}

#[test]
fn batches_and_coalescing_take_nothing_from_the_heap_from_the_first_call_on() {
    let group = unique_group();
    let mut buffer = [0; COALESCING_BUFFER];
    let packets = [[7_u8; 100]; 128];
    let taken = allocations_in(|| {
        let options = ListenOptions::new().filter(by(|payload, _| payload.len() == 100)).metadata();
        let mut listener = options.bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
        let mut caster = send_on_lo().rate(1000, 1000).batches::<64, _>(group, &packets).unwrap();
        let mut received = 0;
        while let Progress::Sent(_) = caster.step_at(Duration::from_secs(1)).unwrap() {
            while let Received::Packet(packet) = listener.recv().unwrap() {
                assert!(packet.metadata().is_some());
                received += 1;
            }
        }
        assert_eq!(received, 128);
    });
    assert_eq!(taken, 0);
}

#[test]
fn refused_batches_and_errors_take_nothing_from_the_heap() {
    let (first, second) = ([0; 40_000], [1; 40_000]);
    let packets: [&[u8]; 3] = [&first, &second, &[0; 65_508]];
    let group = unique_group();
    let taken = allocations_in(|| {
        let mut caster = send_on_lo().batches::<64, _>(group, packets).unwrap();
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        caster.step().unwrap_err();
        caster.sender().forget_errors();
        assert!(caster.discard().is_some());
    });
    assert_eq!(taken, 0);
}

#[test]
fn metadata_takes_nothing_from_the_heap() {
    let group = unique_group();
    let taken = allocations_in(|| {
        let options = ListenOptions::new().metadata();
        let mut bound = options.bind::<100>(on_lo(group)).unwrap();
        let mut opened = options.bind::<100>(Bind::Port(group.port(), Family::V4)).unwrap();
        opened.join(&on_lo(group)).unwrap();
        let mut caster = send_on_lo().packets(group, ["one", "two"]).unwrap();
        while let Progress::Sent(_) = caster.step().unwrap() {
            for listener in [&mut bound, &mut opened] {
                assert!(listener.recv().unwrap().packet().unwrap().metadata().is_some());
            }
        }
    });
    assert_eq!(taken, 0);
}
