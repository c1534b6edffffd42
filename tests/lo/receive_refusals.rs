//! Errors of the kernel for listeners, `Links` and route queries. Errors of sending are in `refusals.rs`.

use crate::common::refusing::refusing;
use crate::common::{expect_packet, on_lo, send_all, send_on_lo, unique_group, unique_v6_group};
use multicast::filter::kernel::Instruction;
use multicast::{
    Bind, COALESCING_BUFFER, ErrorKind, Family, Group, Links, ListenOptions, Listener, Membership, Received, SendOptions,
    Ttl,
};

#[test]
fn a_receive_that_is_always_interrupted_pauses() {
    // EINTR for both system calls. Route queries of the test use another buffer length.
    let sets = ["recvfrom:4:2=64,recvmsg:4"];
    if refusing("a_receive_that_is_always_interrupted_pauses", &sets).is_some() {
        let group = unique_group();
        let mut bare = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let mut looking = ListenOptions::new().metadata().bind::<64>(on_lo(group)).unwrap();
        let mut buffer = Box::new([0; COALESCING_BUFFER]);
        let mut coalescing = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
        send_all(group, ["it waits"]);
        for _ in 0..3 {
            assert_eq!(bare.recv().unwrap(), Received::Paused);
            assert_eq!(looking.recv().unwrap(), Received::Paused);
            assert_eq!(coalescing.recv().unwrap(), Received::Paused);
        }
    }
}

#[test]
fn every_way_to_receive_returns_the_error_of_the_kernel() {
    // EIO and ENOMEM.
    let kinds = [
        (5, ErrorKind::System, "receive: input or output error"),
        (12, ErrorKind::Transient, "receive: no memory or buffer space at the moment: try again later"),
    ];
    let rules = |errno: i32| format!("recvfrom:{errno}:2=64,recvmsg:{errno}");
    let sets: Vec<_> = kinds.iter().map(|(errno, ..)| rules(*errno)).collect();
    let sets: Vec<_> = sets.iter().map(String::as_str).collect();
    let Some(refused) = refusing("every_way_to_receive_returns_the_error_of_the_kernel", &sets) else { return };
    let (errno, kind, words) = kinds.into_iter().find(|(errno, ..)| rules(*errno) == refused).unwrap();
    let check = |result: multicast::Result<Received<'_>>| {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error(), error.to_string().as_str()), (kind, Some(errno), words));
    };
    let group = unique_group();
    let mut bare = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    let mut looking = ListenOptions::new().metadata().bind::<64>(on_lo(group)).unwrap();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    let mut coalescing = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    for _ in 0..2 {
        check(bare.recv());
        check(looking.recv());
        check(coalescing.recv());
    }
    assert_eq!(bare.counters().received, 0);
}

#[test]
fn a_receive_that_always_fails_by_reports_of_the_network_pauses() {
    // ECONNREFUSED, which an ICMP message about a packet from this socket causes.
    let rules = "recvmsg:111";
    if refusing("a_receive_that_always_fails_by_reports_of_the_network_pauses", &[rules]).is_some() {
        let group = unique_group();
        let mut sharing = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let _sender = sharing.sender(send_on_lo()).unwrap();
        assert_eq!(sharing.recv().unwrap(), Received::Paused);
    }
}

#[test]
fn before_linux_4_20_an_ipv6_listener_still_receives_only_its_groups() {
    // The option IPV6_MULTICAST_ALL is unknown.
    if refusing("before_linux_4_20_an_ipv6_listener_still_receives_only_its_groups", &["setsockopt:92:1=41:2=29"]).is_some()
    {
        let group = unique_v6_group(5);
        let others = Group::new(unique_v6_group(5).address(), group.port()).unwrap();
        let mut ours = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V6)).unwrap();
        let mut theirs = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V6)).unwrap();
        ours.join(&on_lo(group)).unwrap();
        theirs.join(&on_lo(others)).unwrap();
        send_all(others, ["theirs"]);
        send_all(group, ["ours"]);
        assert_eq!(expect_packet(&mut ours), b"ours");
        assert_eq!(expect_packet(&mut theirs), b"theirs");
    }
}

#[test]
fn a_socket_that_cannot_be_set_up_names_the_setting() {
    // EINVAL for IP_MULTICAST_IF and IP_MULTICAST_TTL.
    let for_senders = ["setsockopt:22:1=0:2=32", "setsockopt:22:1=0:2=33"];
    // EPERM and EACCES, for IP_MULTICAST_ALL and an IPv6 address.
    let for_listeners = "setsockopt:1:1=0:2=49,bind:13:2=28";
    let sets = [for_senders[0], for_senders[1], for_listeners];
    let Some(rules) = refusing("a_socket_that_cannot_be_set_up_names_the_setting", &sets) else { return };
    let group = unique_group();
    let said = |error: multicast::Error| error.to_string();
    // A TTL of 1 is the kernel's own default, and is not set.
    let sent = send_on_lo().ttl(Ttl::SITE).packets(group, ["x"]);
    if rules == for_senders[0] {
        assert_eq!(said(sent.unwrap_err()), format!("send {} on lo: invalid argument", group.address()));
    } else if rules == for_senders[1] {
        assert_eq!(said(sent.unwrap_err()), "set IP_MULTICAST_TTL: invalid argument");
    } else {
        let denied = "not permitted (a firewall, a security policy, or a missing privilege)";
        assert_eq!(said(sent.unwrap_err()), format!("open a socket to send: {denied}"));
        assert_eq!(said(Listener::bind(on_lo(group)).unwrap_err()), format!("set IP_MULTICAST_ALL: {denied}"));
        let group = unique_v6_group(5);
        assert_eq!(said(Listener::bind(on_lo(group)).unwrap_err()), format!("bind {group}: {denied}"));
    }
}

#[test]
fn options_that_cannot_be_read_are_errors() {
    let rules = "getsockopt:5:1=1:2=8,getsockopt:1:1=1:2=26";
    if refusing("options_that_cannot_be_read_are_errors", &[rules]).is_some() {
        let listener = ListenOptions::new().bind::<64>(on_lo(unique_group())).unwrap();
        assert_eq!(listener.receive_buffer().unwrap_err().to_string(), "read the counters: input or output error");
        let error = listener.kernel_program(&mut [Instruction::ZERO; 64]).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(1)));
        assert!(error.to_string().starts_with("set SO_GET_FILTER: not permitted"), "{error}");
    }
}

#[test]
fn links_continue_after_an_interrupted_or_failed_read() {
    // The rule selects the calls of `Links` by the length of its buffer.
    let sets = ["recvfrom:4:2=7872", "recvfrom:5:2=7872"];
    let Some(rules) = refusing("links_continue_after_an_interrupted_or_failed_read", &sets) else { return };
    let mut links = Links::watch().unwrap();
    for _ in 0..2 {
        match links.next() {
            Ok(told) => assert_eq!((told, rules.as_str()), (None, sets[0]), "an interrupted call reports nothing"),
            Err(error) => {
                assert_eq!(
                    (error.to_string().as_str(), rules.as_str()),
                    ("watch the interfaces: input or output error", sets[1])
                );
            }
        }
    }
}

#[test]
fn a_route_query_that_is_always_interrupted_ends_with_an_error() {
    if refusing("a_route_query_that_is_always_interrupted_ends_with_an_error", &["recvfrom:4:2=512"]).is_some() {
        let group = unique_group();
        let unreadable = "cannot read the kernel's answer";
        let error = SendOptions::new().packets(group, ["x"]).unwrap_err();
        assert_eq!(error.to_string(), format!("send {} on default: {unreadable}", group.address()));
        let error = Listener::bind(Membership::any(group)).unwrap_err();
        assert_eq!(error.to_string(), format!("join {} on default: {unreadable}", group.address()));
        // An index needs no query.
        Listener::bind(Membership::any(group).on("1".parse().unwrap())).unwrap();
    }
}

#[test]
fn no_packet_is_lost_if_the_program_cannot_be_read_back() {
    // SO_GET_FILTER reads the guard before it is changed.
    if refusing("no_packet_is_lost_if_the_program_cannot_be_read_back", &["getsockopt:1:1=1:2=26"]).is_some() {
        let group = unique_group();
        let mut opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
        opened.join(&on_lo(group)).unwrap();
        send_all(group, ["heard"]);
        assert_eq!(expect_packet(&mut opened), b"heard");
    }
}
