//! `mcast listen`: prints each packet that comes.

use multicast::filter::Filter;
use multicast::{Bind, Counters, Events, Interest, ListenOptions, Poller, Received, Receiver, Token};

use crate::arguments::Listen;
use crate::limits::Limits;
use crate::output::Output;
use crate::stop::{Stop, complain};

const PACKETS: Token = Token(1);
const OUTPUT: Token = Token(2);

pub(crate) fn run(order: Listen) -> Result<(), Stop> {
    let limits = Limits::new(order.timeout)?;
    let output = Output::new(&limits)?;
    let mut receiver = open(order.filter, order.membership.into(), order.mtu)?;
    let ended = print_packets(&mut receiver, order.mtu, order.limit, output, &limits);
    if let Err(Stop::Signal(_) | Stop::TimedOut | Stop::Refused(_)) = &ended {
        report(&receiver.counters());
    }
    ended
}

/// The listener of both `mcast listen` and `mcast demo`: one function and one type, so that the code for a listener is in the
/// program once.
///
/// The filter does not run in the kernel, which counts rejected packets as dropped: the counters must show both.
pub(crate) fn open(filter: Box<dyn Filter>, place: Bind, mtu: usize) -> multicast::Result<Receiver<Box<dyn Filter>>> {
    ListenOptions::new().filter(filter).kernel_filter(false).bind_receiver(place, mtu)
}

fn print_packets(
    receiver: &mut Receiver<Box<dyn Filter>>,
    mtu: usize,
    limit: Option<u64>,
    mut output: Output,
    limits: &Limits,
) -> Result<(), Stop> {
    let poller = Poller::new()?;
    limits.register(&poller)?;
    output.watch(&poller, OUTPUT)?;
    poller.register(&*receiver, PACKETS, Interest::READABLE)?;

    let mut events = Events::<4>::new();
    let mut buffer = vec![0; mtu];
    let mut printed = 0;
    while limit != Some(printed) {
        limits.check()?;
        match receiver.recv_into(&mut buffer)? {
            Received::Packet(packet) => {
                output.packet(packet.source(), packet.payload(), limits)?;
                printed += 1;
                continue;
            }
            Received::Empty => limits.wait(&poller, &mut events, None)?,
            // There may be more, but the output must be checked also during a stream of packets that the filter rejects.
            Received::Paused => limits.wait(&poller, &mut events, Some(core::time::Duration::ZERO))?,
        }
        if events.iter().any(|event| event.token() == OUTPUT && (event.is_error() || event.is_hang_up())) {
            return Err(Stop::OutputClosed);
        }
    }
    Ok(())
}

fn report(counters: &Counters) {
    let Counters { received, rejected, truncated, dropped, .. } = counters;
    let dropped = dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
    complain(&format_args!("received {received}, rejected {rejected}, truncated {truncated}, dropped {dropped}"));
}
