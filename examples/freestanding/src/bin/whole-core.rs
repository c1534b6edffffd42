//! Calls every function of the core, with values that are unknown at compile time. It is only linked, not run. Since the panic
//! handler calls a function that does not exist, it links only if no call of the core has a panic path.
//!
//! Without parsing and printing of text: the parser and the formatter of IP addresses in Rust's `core` have panic paths that
//! are never taken, but the compiler cannot see this.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU32;
use core::time::Duration;

use freestanding::{Arguments, Stream, exit, or_exit, print};
use multicast::filter::kernel::{self, Assembler, Fit, Instruction};
use multicast::filter::{self, At, Contains, Filter, Hops, Length, Masked, Never, Port, Prefix, Source, Subnet, Suffix};
use multicast::{
    AsFd, Bind, COALESCING_BUFFER, Change, Destination, Error, ErrorKind, Events, Family, Group, Interest, Interface, Links,
    ListenOptions, Listener, Membership, Memberships, Metadata, Multicaster, Name, Outbox, Outcome, OwnedFd, Packet, Poller,
    Progress, Received, Receiver, SendOptions, Sender, Token, Ttl,
};

freestanding::program!(main);

/// The unknown values: the words of the command line.
type Unknown = Arguments;

fn main(mut unknown: Unknown) -> ! {
    match number(&mut unknown) {
        0 => listen(&mut unknown),
        1 => listen_by_port(&mut unknown),
        2 => receive(&mut unknown),
        3 => coalesce(&mut unknown),
        4 => rejoin(&mut unknown),
        5 => filter(&mut unknown),
        6 => change_filter(&mut unknown),
        7 => assemble(&mut unknown),
        8 => send(&mut unknown),
        9 => send_batches(&mut unknown),
        12 => send_queued(&mut unknown),
        10 => poll(&mut unknown),
        11 => adopt(&mut unknown),
        13 => converse(&mut unknown),
        _ => fail(&mut unknown),
    }
    exit(0)
}

fn word(unknown: &mut Unknown) -> &'static [u8] {
    unknown.next().unwrap_or_default()
}

fn number(unknown: &mut Unknown) -> usize {
    word(unknown).len()
}

fn address(unknown: &mut Unknown) -> IpAddr {
    let number = number(unknown) as u32;
    match number % 2 {
        0 => IpAddr::V4(Ipv4Addr::from(number)),
        _ => IpAddr::V6(Ipv6Addr::from([number as u16; 8])),
    }
}

fn group(unknown: &mut Unknown) -> Group {
    let (address, port) = (address(unknown), number(unknown) as u16);
    Group::known(address, port).unwrap_or_else(|| or_exit(Group::new(address, port)))
}

fn interface(unknown: &mut Unknown) -> Interface {
    match number(unknown) {
        0 => Interface::Default,
        1 => Interface::All,
        2 => Interface::Address(address(unknown)),
        3 => Name::from_ascii(word(unknown)).map_or(Interface::LOOPBACK, Interface::Name),
        4 => Name::from_ascii(word(unknown)).map_or(Interface::LOOPBACK, |name| or_exit(name.index()).into()),
        index => NonZeroU32::new(index as u32).map_or(Interface::Default, Interface::Index),
    }
}

fn membership(unknown: &mut Unknown) -> Membership {
    let group = group(unknown);
    let membership = match number(unknown) {
        0 => Membership::any(group),
        _ => Membership::source(group, address(unknown)),
    };
    let membership = membership.on(interface(unknown));
    match membership.only_source() {
        Some(_) => membership,
        None => Membership::any(membership.group()).on(membership.interface()),
    }
}

fn show(words: &[&[u8]]) {
    words.iter().for_each(|word| print(Stream::Output, word));
}

fn show_packet(packet: &Packet<'_>) {
    show(&[packet.payload(), &packet.wire_length().to_ne_bytes(), &[u8::from(packet.is_truncated())]]);
    show(&[&packet.source().port().to_ne_bytes()]);
    if let Some(metadata) = packet.metadata() {
        let Metadata { interface, hop_limit, .. } = metadata;
        show(&[
            &interface.map_or(0, NonZeroU32::get).to_ne_bytes(),
            &[hop_limit.unwrap_or(0), metadata.ecn().unwrap_or(0), u8::from(metadata.is_unicast())],
        ]);
        show(&[&metadata.received_at().unwrap_or_default().as_nanos().to_ne_bytes()]);
    }
}

fn receive_all<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>) {
    let head = loop {
        match or_exit(listener.recv()) {
            Received::Packet(packet) if packet.is_truncated() => break Some(packet.head()),
            Received::Packet(packet) => show_packet(&packet),
            Received::Paused => continue,
            Received::Empty => break None,
        }
    };
    if let Some(head) = head {
        show_packet(&listener.packet(head));
    }
    let counters = listener.counters();
    show(&[&counters.received.to_ne_bytes(), &counters.dropped.unwrap_or(0).to_ne_bytes()]);
}

fn listen(unknown: &mut Unknown) {
    receive_all(&mut or_exit(ListenOptions::new().bind::<1500>(membership(unknown))));
    receive_all(&mut or_exit(ListenOptions::new().metadata().bind::<1500>(membership(unknown))));
    let options = ListenOptions::new().reuse_port(false).kernel_filter(number(unknown) > 0);
    receive_all(&mut or_exit(options.receive_buffer(number(unknown)).bind::<100>(Bind::Interface(membership(unknown)))));
    let mut listener = or_exit(ListenOptions::new().bind::<9000>(Bind::Later(group(unknown))));
    or_exit(listener.join(&membership(unknown)));
    or_exit(listener.block(&membership(unknown), address(unknown)));
    or_exit(listener.unblock(&membership(unknown), address(unknown)));
    or_exit(listener.leave(&membership(unknown)));
    receive_all(&mut listener);
}

fn listen_by_port(unknown: &mut Unknown) {
    let family = group(unknown).family();
    let mut listener = or_exit(ListenOptions::new().bind::<1500>(Bind::Port(number(unknown) as u16, family)));
    or_exit(listener.join(&membership(unknown)));
    receive_all(&mut listener);
    or_exit(listener.leave(&membership(unknown)));
    show(&[&or_exit(listener.local_addr()).port().to_ne_bytes(), &or_exit(listener.receive_buffer()).to_ne_bytes()]);
}

fn receive(unknown: &mut Unknown) {
    let options = || ListenOptions::new().metadata();
    let mut receiver = match number(unknown) {
        0 => or_exit(options().bind_receiver(membership(unknown), number(unknown))),
        1 => or_exit(options().bind_receiver(Bind::Later(group(unknown)), number(unknown))),
        2 => or_exit(options().bind_receiver(Bind::Interface(membership(unknown)), number(unknown))),
        _ => or_exit(options().bind_receiver(Bind::Port(number(unknown) as u16, Family::V6), number(unknown))),
    };
    let mut room = [0; 2000];
    let buffer = room.get_mut(..number(unknown)).unwrap_or_default();
    while let Received::Packet(packet) = or_exit(receiver.recv_into(buffer)) {
        let (head, metadata) = (packet.head(), packet.metadata().copied());
        show_packet(&head.packet(buffer, metadata.as_ref()));
    }
}

fn coalesce(unknown: &mut Unknown) {
    let mut buffer = [0; COALESCING_BUFFER];
    let options = ListenOptions::new();
    let listener = or_exit(options.bind_coalescing(membership(unknown), number(unknown), &mut buffer));
    let mut listener = or_exit(listener.with_filter(Prefix(word(unknown))));
    while let Received::Packet(packet) = or_exit(listener.recv()) {
        show_packet(&packet);
    }
    let mut buffer = [0; COALESCING_BUFFER];
    let place = Bind::Port(number(unknown) as u16, Family::V4);
    let mut listener = or_exit(ListenOptions::new().metadata().bind_coalescing(place, number(unknown), &mut buffer));
    or_exit(listener.join(&membership(unknown)));
    while let Received::Packet(packet) = or_exit(listener.recv()) {
        show_packet(&packet);
    }
}

fn rejoin(unknown: &mut Unknown) {
    let mut links = or_exit(Links::watch());
    let mut listener = or_exit(ListenOptions::new().bind::<1500>(Bind::Port(number(unknown) as u16, Family::V4)));
    let mut book = Memberships::<4>::new();
    or_exit(book.join(membership(unknown), &mut listener));
    while let Some(change) = or_exit(links.next()) {
        if let Change::Link(link) = change {
            show(&[link.name.as_ref().map_or("", Name::as_str).as_bytes()]);
        }
        let change = change.for_group(group(unknown));
        show(&[&or_exit(book.apply(&change, &mut listener)).joined.to_ne_bytes()]);
    }
    let mut sender = or_exit(options(unknown).later().open(group(unknown).family()));
    let mut caster = or_exit(options(unknown).later().batches::<64, _>(group(unknown), unknown.clone()));
    let followed = or_exit(links.follow(&mut (book.with(&mut listener), &mut sender, [&mut caster])));
    let applied = multicast::Change::Overrun.apply(&mut (book.with(&mut listener), &mut sender, [&mut caster]));
    show(&[&applied.renewed.to_ne_bytes()]);
    show(&[&followed.applied.left.to_ne_bytes(), &[u8::from(followed.more), u8::from(followed.failed.is_some())]]);
    show(&[&followed.renewed.to_ne_bytes()]);
    finish(caster, unknown);
    or_exit(book.leave(&membership(unknown), &mut listener));
    show(&[&book.iter().count().to_ne_bytes(), &book.pending().count().to_ne_bytes()]);
}

fn filter(unknown: &mut Unknown) {
    let subnet = Subnet::new(address(unknown), number(unknown) as u8).unwrap_or_else(|| exit(2));
    show(&[&[u8::from(subnet.contains(address(unknown))), u8::from(subnet.network().is_ipv4()), subnet.bits()]]);
    let text = Prefix(word(unknown)).or(Suffix(word(unknown))).and(Contains(word(unknown)).not());
    let places = At(number(unknown), word(unknown)).or(Masked(number(unknown), word(unknown), word(unknown)));
    let sender = Source(subnet).and(Port(number(unknown) as u16)).or(Never);
    let wanted = text.or(places).and(sender).and(Length(number(unknown)..=number(unknown)));
    receive_all(&mut or_exit(ListenOptions::new().filter(wanted).max_instructions(512).bind::<1500>(membership(unknown))));
    let near = Hops(number(unknown) as u8..).or(Prefix(word(unknown))).not();
    receive_all(&mut or_exit(ListenOptions::new().filter(near).bind::<1500>(membership(unknown))));
    let length = number(unknown);
    let closure = ListenOptions::new()
        .filter(filter::by(|payload: &[u8], sender: SocketAddr| payload.len() > length && sender.port() > 1));
    receive_all(&mut or_exit(closure.bind::<1500>(membership(unknown))));
    let by = filter::by(|payload: &[u8], sender: SocketAddr| payload.len() > length || sender.is_ipv4());
    receive_all(&mut or_exit(ListenOptions::new().filter(by.or(Prefix(word(unknown)))).bind::<1500>(membership(unknown))));
}

fn change_filter(unknown: &mut Unknown) {
    let options = ListenOptions::new().filter(Prefix(word(unknown)));
    let mut listener = match number(unknown) {
        0 => or_exit(options.bind::<1500>(membership(unknown))),
        _ => or_exit(options.bind::<1500>(Bind::Port(number(unknown) as u16, Family::V6))),
    };
    show(&[listener.filter().0]);
    show(&[or_exit(listener.replace_filter(Prefix(word(unknown)))).0]);
    *or_exit(listener.filter_mut()) = Prefix(word(unknown));
    let listener = or_exit(listener.with_filter(Hops(..number(unknown) as u8)));
    let mut listener = or_exit(listener.with_filter(Everything));
    receive_all(&mut listener);
    let mut room = [Instruction::ZERO; kernel::INSTRUCTIONS];
    show(&[&[u8::from(listener.kernel_program(&mut room).is_ok())]]);
}

/// A filter that calls all of the assembler, by itself and by the filters that do.
struct Everything;

impl Filter for Everything {
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        payload.len() > 1
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        let (mtu, height) = (code.mtu(), code.instructions().len());
        let ranges = [(height as u8, mtu as u8), (mtu as u8, u8::MAX)];
        let bytes = height.to_ne_bytes();
        let text = At(mtu, bytes).and(Masked(height, bytes, bytes)).and(Suffix(bytes)).compile(code);
        let sizes = Length(height..=mtu).compile(code).and(code.byte_in(height, &ranges));
        let sender = match code.family() {
            Family::V4 => code.port(height as u16, mtu as u16),
            Family::V6 => Source(IpAddr::V6(Ipv6Addr::from([height as u16; 8])).into()).compile(code),
        };
        let either = Prefix(bytes).or(Length(height..mtu).not()).or(Never).compile(code);
        text.and(sizes).and(sender).and(either)
    }
}

fn assemble(unknown: &mut Unknown) {
    let mut room = [Instruction::ZERO; kernel::INSTRUCTIONS];
    let mut program = Assembler::new(&mut room, number(unknown), group(unknown).family());
    show(&[&[u8::from(Everything.compile(&mut program) == Fit::Exact)]]);
    for instruction in program.instructions() {
        show(&[&instruction.parts().3.to_ne_bytes()]);
    }
    let mut room = [Instruction::from_parts((0, 0, 0, number(unknown) as u32)); 100];
    let room = room.get_mut(..number(unknown)).unwrap_or_default();
    let mut code = Assembler::new(room, number(unknown), Family::V4);
    show(&[&[u8::from(Prefix(word(unknown)).compile(&mut code) == Fit::Exact), code.instructions().len() as u8]]);
}

fn options(unknown: &mut Unknown) -> SendOptions {
    let options =
        SendOptions::new().ttl(or_exit(Ttl::try_from(number(unknown)))).interface(interface(unknown)).mtu_discover();
    let options = options.loopback(number(unknown) > 0).send_buffer(number(unknown));
    options
        .give_up_after(Duration::from_millis(number(unknown) as u64))
        .traffic_class(Ttl::SITE.get())
        .rate(number(unknown) as u32, number(unknown) as u32)
}

fn send(unknown: &mut Unknown) {
    let options = match number(unknown) {
        0 => SendOptions::new(),
        _ => options(unknown),
    };
    finish(or_exit(options.packets(group(unknown), unknown.clone())), unknown);
}

fn send_batches(unknown: &mut Unknown) {
    let options = options(unknown);
    finish(or_exit(options.batches::<64, _>(group(unknown), unknown.clone())), unknown);
    let packets = core::iter::repeat_n([number(unknown) as u8; 100], number(unknown));
    finish(or_exit(options.batches::<64, _>(group(unknown), packets)), unknown);
}

fn converse(unknown: &mut Unknown) {
    let (group, family) = (group(unknown), if number(unknown) == 0 { Family::V4 } else { Family::V6 });
    let options = options(unknown).later().source_port(number(unknown) as u16).unicast_ttl(number(unknown) as u8);
    let mut sender = or_exit(options.priority(number(unknown) as u32).open(family));
    let destination = or_exit(Destination::from(group).on(interface(unknown))).from_address(address(unknown));
    tell(or_exit(sender.send(word(unknown), group)));
    tell(or_exit(sender.send(word(unknown), SocketAddr::new(address(unknown), number(unknown) as u16))));
    tell(or_exit(sender.send(word(unknown), destination)));
    show(&[&or_exit(sender.local_addr()).port().to_ne_bytes(), &[sender.family() as u8]]);
    let (mut asker, mut replies) = or_exit(options.open_with_replies::<1500>(family));
    let by_port = Bind::Port(number(unknown) as u16, family);
    let mut listener = or_exit(ListenOptions::new().answers().unicast().bind::<1500>(by_port));
    let mut answerer = or_exit(listener.sender(options));
    let mut receiver = or_exit(ListenOptions::new().answers().bind_receiver(Bind::Later(group), 100));
    tell(or_exit(or_exit(receiver.sender(options)).send(word(unknown), group)));
    for (listener, sender) in [(&mut replies, &mut asker), (&mut listener, &mut answerer)] {
        if let Received::Packet(packet) = or_exit(listener.recv()) {
            tell(or_exit(sender.reply(&packet, word(unknown))));
            tell(or_exit(sender.send(word(unknown), or_exit(Destination::answering(&packet)))));
        }
        show(&[&sender.network_reports().to_ne_bytes()]);
        sender.forget_errors();
    }
    drop((replies, listener, OwnedFd::from(asker)));
}

fn tell(outcome: Outcome) {
    match outcome {
        Outcome::Sent => show(&[b"sent"]),
        Outcome::Blocked => show(&[b"blocked"]),
        Outcome::Wait(time) => show(&[&time.as_secs().to_ne_bytes()]),
    }
}

fn send_queued(unknown: &mut Unknown) {
    let mut caster = or_exit(options(unknown).batches::<64, _>(group(unknown), Outbox::<_, 100>::new()));
    for packet in unknown.by_ref() {
        if let Err(packet) = caster.items_mut().push(packet) {
            show(&[packet]);
        }
    }
    let outbox = caster.items();
    let bits = [outbox.is_empty(), outbox.is_full()].map(u8::from);
    show(&[&outbox.len().to_ne_bytes(), &outbox.capacity().to_ne_bytes(), &bits]);
    finish(caster, unknown);
}

fn finish<I: Iterator, const BATCH: usize>(mut caster: Multicaster<I, BATCH>, unknown: &mut Unknown)
where
    I::Item: AsRef<[u8]>,
{
    loop {
        match or_exit(caster.step()) {
            Progress::Sent(_) => {}
            Progress::Blocked => show(&[caster.discard().as_ref().map_or(&[], AsRef::as_ref)]),
            Progress::Wait(_) => caster.sender().forget_errors(),
            Progress::Done => break,
        }
    }
    let _ = or_exit(caster.step_at(Duration::new(number(unknown) as u64, 0)));
    show(&[caster.pending().map_or(&[], AsRef::as_ref), &or_exit(caster.local_addr()).port().to_ne_bytes()]);
    show(&[&[u8::from(caster.group().address().is_ipv4()), u8::from(caster.group().address().is_ipv6())]]);
    let (rest, staged) = caster.into_parts();
    staged.chain(rest).for_each(|item| show(&[item.as_ref()]));
}

fn poll(unknown: &mut Unknown) {
    let (poller, mut events) = (or_exit(Poller::new()), Events::<16>::new());
    let listener = or_exit(ListenOptions::new().bind::<1500>(membership(unknown)));
    or_exit(poller.register(&listener, Token(number(unknown) as u64), Interest::READABLE | Interest::WRITABLE.oneshot()));
    or_exit(poller.reregister(&listener, Token(number(unknown) as u64), Interest::READABLE.edge()));
    or_exit(or_exit(or_exit(poller.waker()).try_clone()).wake());
    let time = Duration::from_millis(number(unknown) as u64);
    for event in or_exit(poller.poll(&mut events, time)) {
        let bits = [event.is_readable(), event.is_writable(), event.is_error(), event.is_hang_up()];
        show(&[&event.token().0.to_ne_bytes(), &bits.map(u8::from)]);
    }
    or_exit(poller.poll(&mut events, None));
    show(&[&or_exit(poller.spin(time).poll(&mut events, None)).count().to_ne_bytes()]);
    show(&[&or_exit(poller.gather(time).poll(&mut events, time)).count().to_ne_bytes()]);
    show(&[&[u8::from(events.woken())], &events.iter().count().to_ne_bytes()]);
    or_exit(poller.unregister(&listener));
}

fn adopt(unknown: &mut Unknown) {
    let listener = or_exit(ListenOptions::new().bind::<1500>(membership(unknown)));
    receive_all(&mut or_exit(Listener::<1500>::try_from(OwnedFd::from(listener))));
    let receiver = or_exit(ListenOptions::new().bind_receiver(membership(unknown), 1500));
    let receiver = or_exit(Receiver::try_from(OwnedFd::from(receiver)));
    show(&[&[u8::from(or_exit(membership(unknown).is_held_by(&receiver)))]]);
    or_exit(or_exit(Poller::new()).unregister(&receiver.as_fd()));
    drop((OwnedFd::from(or_exit(Poller::new())), OwnedFd::from(or_exit(Links::watch()))));
    let caster = or_exit(options(unknown).packets(group(unknown), unknown.clone()));
    or_exit(Sender::try_from(OwnedFd::from(caster))).forget_errors();
}

fn fail(unknown: &mut Unknown) {
    let error = match ListenOptions::new().bind::<1500>(membership(unknown)) {
        Ok(_) => Error::custom(ErrorKind::InvalidInput, "nothing failed"),
        Err(error) => error,
    };
    show(&[&error.packets_sent().to_ne_bytes()]);
    show(&[&error.raw_os_error().unwrap_or(0).to_ne_bytes(), &[u8::from(error.kind() == ErrorKind::NoSuchInterface)]]);
    let place = interface(unknown);
    show(&[&or_exit(place.index()).get().to_ne_bytes(), &[u8::from(or_exit(place.address(Family::V4)).is_loopback())]]);
    show(&[&[u8::from(group(unknown).is_link_local())], &group(unknown).port().to_ne_bytes()]);
    show(&[&[u8::from(group(unknown).address().is_ipv4())]]);
}
