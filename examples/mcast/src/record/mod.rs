//! `mcast record`: writes packets into a file that Wireshark and other programs read.

mod file;
pub(crate) mod headers;
#[cfg(feature = "json")]
mod json;
pub(crate) mod pcapng;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lexopt::Parser;
use multicast::{Links, Packet, Token};

use file::{Kept, Recording};
use headers::Datagram;

use crate::interfaces::Names;
use crate::limits::Limits;
use crate::options::{self, Argument, Common};
use crate::places::{Place, places};
use crate::progress::Progress;
use crate::receivers::{LARGE_BUFFER, Next, ReceiveOrder, Receivers, Totals};
use crate::stop::{Stop, complain};

pub(crate) const HELP: &str = "\
Records the packets of groups in a file, for `mcast replay`, Wireshark, tshark and others. It needs no privilege.

Usage: mcast record [--from TARGET].. [OPTION..] FILE | -

FILE is a pcapng file; with - it goes to standard output, for example into `tshark -r -`. Each packet has the time at which the
kernel received it, in nanoseconds, and the name of the interface. Sockets do not see headers: they are built again, from the addresses,
ports, TTL and traffic class of the packet, with right checksums. (Identification and flow label are 0; a datagram that came in fragments
is one packet.)

libpcap, and with it tcpdump, reads raw IP from one interface only; after `editcap -F nsecpcap FILE OTHER` it reads the packets of all.

What was received is written at once, so the file can be read while it grows, and after every kind of end. A FILE that exists is not
overwritten.

  --from TARGET        [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --overwrite          replace a FILE that exists
  --limit N            end after N packets; status 4 if --timeout comes first
  --timeout SECONDS    end after this time; status 3 if nothing was heard
  --json               at the end, an object for each group that was heard, and the totals (not with -)
  --interface, --quiet, --give-up: see mcast --help

At its end it prints how much it recorded, and how many packets the kernel dropped since its buffer was full: these are not in the file.

Example:
  mcast record --from 239.1.2.3:5000 --interface lo --limit 3 recording.pcapng &
  sleep 1
  mcast send --to 239.1.2.3:5000 --interface lo --count 3 hello
";

const OUTPUT: Token = Token(1);

struct Order {
    common: Common,
    path: OsString,
    overwrite: bool,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let (mut common, mut path, mut overwrite) = (Common::default(), None, false);
    while let Some(argument) = options::next(&mut parser)? {
        match argument {
            Argument::Option(name) if name == "overwrite" => overwrite = true,
            Argument::Value(value) if path.is_none() => path = Some(value),
            argument => common.take(argument, "from", &mut parser)?,
        }
    }
    let path = path.ok_or_else(|| Stop::misused("name a FILE to record into, or - for standard output".to_owned()))?;
    if common.json && path == *"-" {
        return Err(Stop::misused("--json needs a FILE: with -, the recording is on standard output".to_owned()));
    }
    common.complete()?;
    Ok(Order { common, path, overwrite })
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let places = places(&order.common)?;
    let to = ReceiveOrder {
        metadata: true,
        receive_buffer: Some(LARGE_BUFFER),
        ..ReceiveOrder::to(places.clone(), order.common.give_up)
    };
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    // After all that can be wrong, so that a mistake leaves no file.
    let recording = Recording::open(order.path.as_ref(), order.overwrite, &limits)?;
    recording.watch(receivers.poller(), OUTPUT)?;
    let heard = places.iter().map(|_| Heard::default()).collect();
    let mut recorder = Recorder {
        recording,
        places,
        heard,
        interfaces: Vec::new(),
        names: Names::default(),
        data: Vec::new(),
        recorded: 0,
        bytes: 0,
        progress: Progress::new("recorded", order.common.quiet),
    };
    let ended = recorder.record(&mut receivers, order.common.limit, &limits);
    recorder.end(ended, &receivers.totals(), &order.common, &limits)
}

struct Recorder {
    recording: Recording,
    places: Vec<Place>,
    /// For each place.
    heard: Vec<Heard>,
    /// Those that the file describes, in its order, and how many packets came there.
    interfaces: Vec<(Option<NonZeroU32>, u64)>,
    names: Names,
    /// A packet with its headers. Kept, so that a packet needs no new memory.
    data: Vec<u8>,
    recorded: u64,
    bytes: u64,
    progress: Progress,
}

#[derive(Clone, Default)]
struct Heard {
    packets: u64,
    bytes: u64,
}

impl Recorder {
    fn record(&mut self, receivers: &mut Receivers<'_>, limit: Option<u64>, limits: &Limits) -> Result<(), Stop> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        while limit != Some(self.recorded) {
            // What is received is written as soon as nothing more is waiting.
            let until = if self.recording.has_unwritten() { Some(Instant::now()) } else { self.progress.due() };
            match receivers.next(&mut buffer, limits, until)? {
                Next::Packet(place, packet) => {
                    self.add(place, &packet);
                    if self.recording.has_enough() {
                        self.recording.write(limits)?;
                    }
                }
                Next::Ready(event) if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                Next::Ready(_) => {}
                Next::Quiet => {
                    self.recording.write(limits)?;
                    self.progress.show(self.recorded, self.bytes);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, number: usize, packet: &Packet<'_>) {
        let (Some(place), Some(heard)) = (self.places.get(number), self.heard.get_mut(number)) else { return };
        let metadata = packet.metadata().copied().unwrap_or_default();
        let datagram = Datagram {
            source: packet.source(),
            destination: SocketAddr::new(metadata.destination.unwrap_or(place.group.address()), place.group.port()),
            hop_limit: metadata.hop_limit.unwrap_or_default(),
            traffic_class: metadata.traffic_class.unwrap_or_default(),
            payload: packet.payload(),
        };
        self.data.clear();
        // A socket returns nothing that it refuses: neither two families nor more than a datagram.
        if !datagram.write(&mut self.data) {
            return;
        }
        let known = self.interfaces.iter().position(|(index, _)| *index == metadata.interface);
        let interface = known.unwrap_or_else(|| {
            let name = match metadata.interface {
                Some(index) => self.names.of(index).to_owned(),
                None => place.interface.to_string(),
            };
            self.recording.add_interface(&name);
            self.interfaces.push((metadata.interface, 0));
            self.interfaces.len().saturating_sub(1)
        });
        if let Some((_, packets)) = self.interfaces.get_mut(interface) {
            *packets = packets.saturating_add(1);
        }
        let received_at = metadata.received_at().and_then(|time| u64::try_from(time.as_nanos()).ok());
        self.recording.add_packet(interface as u32, received_at.unwrap_or_else(now), &self.data);
        let length = packet.payload().len() as u64;
        *heard = Heard { packets: heard.packets.saturating_add(1), bytes: heard.bytes.saturating_add(length) };
        self.recorded = self.recorded.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
    }

    /// Writes what is left, and says how much was recorded.
    #[inline(never)]
    fn end(mut self, ended: Result<(), Stop>, totals: &Totals, common: &Common, limits: &Limits) -> Result<(), Stop> {
        // As a program that SIGPIPE ends says nothing. After a full disk, there is nothing more to write.
        if matches!(ended, Err(Stop::OutputClosed | Stop::Failed(_))) {
            return ended;
        }
        let written = self.write_rest(totals, limits);
        let Kept { packets, bytes } = self.recording.kept;
        let dropped = totals.dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
        drop(std::mem::replace(&mut self.progress, Progress::new("recorded", true)));
        if !common.quiet {
            let name = self.recording.name();
            complain(&format_args!("recorded {packets} packets, {bytes} bytes to {name}; dropped {dropped}"));
        }
        let ended = match ended {
            Err(Stop::TimedOut) => limits.verdict(self.recorded, common.limit),
            ended => ended,
        };
        // The reason why it ends is more important than that this cannot be written.
        let ended = ended.and(written);
        #[cfg(feature = "json")]
        if common.json {
            return ended.and(json::print(&self, totals, limits));
        }
        ended
    }

    fn write_rest(&mut self, totals: &Totals, limits: &Limits) -> Result<(), Stop> {
        self.recording.write(limits)?;
        for (number, (_, packets)) in self.interfaces.iter().enumerate() {
            // Of several interfaces it is not known where the kernel dropped packets.
            let dropped = if self.interfaces.len() == 1 { totals.dropped } else { None };
            self.recording.add_statistics(number as u32, now(), *packets, dropped);
        }
        self.recording.write(limits)
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
