//! What a flood of unwanted packets costs a listener, with its filter in this process and in the kernel.
//!
//! ```sh
//! cargo run --release --example quiet
//! ```
//!
//! It stays on `lo`: twice 200,000 packets at full rate, and a wanted one at the end.

use std::net::Ipv4Addr;
use std::time::Duration;

use multicast::filter::Prefix;
use multicast::filter::kernel::Instruction;
use multicast::{
    Events, Group, Interest, Interface, ListenOptions, Membership, Poller, Progress, Received, SendOptions, Token,
};
use rustix::time::{ClockId, clock_gettime};

const FLOOD: u64 = 200_000;
/// How long the last packet may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> multicast::Result<()> {
    println!("{FLOOD} unwanted packets on lo");
    for in_kernel in [false, true] {
        listen_through_a_flood(in_kernel)?;
    }
    Ok(())
}

fn listen_through_a_flood(in_kernel: bool) -> multicast::Result<()> {
    // The process id makes a group that no other process uses.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let group = Group::new(Ipv4Addr::new(239, a, b, c), 4242)?;
    let membership = Membership::any(group).on(Interface::LOOPBACK);
    let options = ListenOptions::new().filter(Prefix("wanted")).kernel_filter(in_kernel);
    let mut listener = options.bind::<1500>(membership)?;
    if in_kernel {
        print!("\nThe kernel runs\n{}", listener.kernel_program(&mut [Instruction::ZERO; 64])?);
    }

    let poller = Poller::new()?;
    poller.register(&listener, Token(0), Interest::READABLE)?;
    let flood = std::thread::spawn(move || {
        send(group, std::iter::repeat_n("unwanted", FLOOD as usize))?;
        // More than one, since the queue may be full of the others when the first one comes.
        for _ in 0..10 {
            send(group, std::iter::once("wanted"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });

    let (mut events, mut wakes, begin) = (Events::<4>::new(), 0_u32, cpu_time());
    'listening: loop {
        if poller.poll(&mut events, PATIENCE)?.next().is_none() {
            eprintln!("nothing for {PATIENCE:?}");
            break;
        }
        wakes += 1;
        loop {
            match listener.recv()? {
                Received::Packet(_) => break 'listening,
                Received::Paused => {}
                Received::Empty => break,
            }
        }
    }
    let spent = cpu_time().saturating_sub(begin);
    println!("\nfilter in {}: {spent:?} of CPU, {wakes} wakes", if in_kernel { "the kernel" } else { "this process" });
    println!("{:?}", listener.counters());
    flood.join().unwrap_or(Ok(()))
}

fn send(group: Group, packets: impl Iterator<Item = &'static str>) -> multicast::Result<()> {
    let mut caster = SendOptions::new().interface(Interface::LOOPBACK).packets(group, packets)?;
    while caster.step()? != Progress::Done {}
    Ok(())
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
