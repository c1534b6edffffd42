//! MPEG transport streams (television) over UDP: receives one and reports what is lost, or sends one.
//!
//! ```sh
//! cargo run --example mpegts -- receive eth0 239.1.1.1:5000 > film.ts
//! cargo run --example mpegts -- send eth0 239.1.1.1:5000 300 < film.ts    # 300 packets a second
//! ```
//!
//! A packet holds seven cells of 188 bytes. Each cell counts, by its stream, from 0 to 15 and again: so a gap shows.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::Duration;

use multicast::filter::Prefix;
use multicast::{
    Events, Group, Interest, Interface, ListenOptions, Membership, Poller, Progress, Received, Result, SendOptions, Token,
};

const CELL: usize = 188;
const PACKET: usize = 7 * CELL;
/// How long the stream may pause before the receiver ends.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", interface, group] => receive(interface.parse()?, group.parse()?),
        ["send", interface, group, rate] => send(interface.parse()?, group.parse()?, rate.parse().unwrap_or(1)),
        _ => {
            eprintln!("usage: mpegts receive INTERFACE GROUP | send INTERFACE GROUP PACKETS_PER_SECOND");
            Ok(())
        }
    }
}

fn receive(interface: Interface, group: Group) -> Result<()> {
    // Each cell begins with 0x47: what does not, is no stream. A large buffer bridges the time in which the output is slow.
    let options = ListenOptions::new().filter(Prefix(b"\x47")).receive_buffer(2 << 20);
    let mut listener = options.bind::<PACKET>(Membership::any(group).on(interface))?;
    let (poller, mut events) = (Poller::new()?, Events::<1>::new());
    poller.register(&listener, Token(0), Interest::READABLE)?;
    eprintln!("listening");

    let (mut output, mut last, mut cells, mut gaps) = (std::io::stdout().lock(), HashMap::new(), 0, 0);
    let mut patience = None;
    loop {
        match listener.recv()? {
            Received::Packet(packet) => {
                for cell in packet.payload().chunks_exact(CELL) {
                    cells += 1;
                    gaps += u32::from(has_gap(cell, &mut last));
                }
                output.write_all(packet.payload())?;
                patience = Some(PATIENCE);
            }
            Received::Paused => {}
            Received::Empty => {
                if poller.poll(&mut events, patience)?.next().is_none() {
                    break;
                }
            }
        }
    }
    eprintln!("{cells} cells, {gaps} gaps, {:?} packets dropped", listener.counters().dropped);
    Ok(())
}

/// Whether cells of this stream are missing before this one.
fn has_gap(cell: &[u8], last: &mut HashMap<u16, u8>) -> bool {
    let stream = u16::from_be_bytes([cell[1] & 0x1f, cell[2]]);
    let (has_payload, count) = (cell[3] & 0x10 != 0, cell[3] & 0x0f);
    // Cells without payload do not count, nor does padding.
    if !has_payload || stream == 0x1fff {
        return false;
    }
    // The same count twice is a repetition, which is allowed.
    last.insert(stream, count).is_some_and(|before| count != before && count != (before + 1) % 16)
}

fn send(interface: Interface, group: Group, packets_per_second: u32) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let packets = std::iter::from_fn(|| {
        let mut packet = Vec::with_capacity(PACKET);
        input.by_ref().take(PACKET as u64).read_to_end(&mut packet).ok()?;
        (!packet.is_empty()).then_some(packet)
    });
    let mut caster = SendOptions::new().interface(interface).rate(packets_per_second, 10).packets(group, packets)?;
    let mut sent = 0;
    loop {
        match caster.step()? {
            Progress::Sent(count) => sent += count,
            Progress::Wait(time) => std::thread::sleep(time),
            Progress::Blocked => std::thread::sleep(Duration::from_millis(1)),
            Progress::Done => break,
        }
    }
    eprintln!("{sent} packets sent");
    Ok(())
}
