use std::vec::Vec;

use super::*;

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn route_message(interface: u32, source: [u8; 4]) -> Vec<u8> {
    let mut body = [0; size_of::<rtmsg>()].to_vec();
    body.extend(attribute_bytes(ROUTE_TO, &[239, 1, 2, 3]));
    body.extend(attribute_bytes(ROUTE_INTERFACE, &interface.to_ne_bytes()));
    body.extend(attribute_bytes(ROUTE_SOURCE, &source));
    message(NEW_ROUTE, &body)
}

fn all(bytes: &[u8]) -> Vec<Answer> {
    messages(bytes).map(Message::answer).collect()
}

#[test]
fn every_question_is_whole_and_states_its_length() {
    let v6 = "ff05::1".parse().unwrap();
    for (question, length) in [
        (Question::links(), 16 + 16 + 8),
        (Question::counters(), 16 + 12),
        (Question::addresses(true), 16 + 8),
        (Question::route([239, 1, 2, 3].into(), None), 16 + 12 + 8),
        (Question::route(v6, NonZeroU32::new(7)), 16 + 12 + 20 + 8),
    ] {
        let bytes = question.as_bytes();
        assert_eq!(bytes.len(), length);
        assert_eq!(number(bytes), Some(length as u32));
    }
}

#[test]
fn a_question_for_a_route_names_the_whole_address() {
    assert_eq!(Question::route([239, 1, 2, 3].into(), None).as_bytes()[17], 32);
    assert_eq!(Question::route("ff05::1".parse().unwrap(), None).as_bytes()[17], 128);
}

#[test]
fn a_route_names_interface_and_source() {
    let expected = Answer::Route { interface: Some(4), source: Some([10, 0, 0, 1].into()) };
    assert_eq!(all(&route_message(4, [10, 0, 0, 1])), [expected]);
}

/// A route to these first bits of an address, and who wrote it.
fn route_to(first: &[u8], prefix: u8, protocol: u32) -> Vec<u8> {
    let is_ipv4 = first.len() == 4;
    let mut body = [0; size_of::<rtmsg>()].to_vec();
    body[0] = if is_ipv4 { AF_INET as u8 } else { AF_INET6 as u8 };
    (body[1], body[5]) = (prefix, protocol as u8);
    if prefix > 0 {
        body.extend(attribute_bytes(ROUTE_TO, first));
    }
    body
}

#[test]
fn a_change_of_a_route_counts_only_if_packets_to_groups_can_take_it() {
    const DAEMON: u32 = 186;
    let v6 = |first: u16| Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).octets();
    for (counts, first, prefix) in [
        (true, &[0; 4][..], 0),
        (true, &[128, 0, 0, 0], 1),
        (true, &[192, 0, 0, 0], 2),
        (true, &[224, 0, 0, 0], 3),
        (true, &[224, 0, 0, 0], 4),
        (true, &[239, 1, 2, 3], 32),
        (false, &[0, 0, 0, 0], 1),
        (false, &[128, 0, 0, 0], 2),
        (false, &[192, 0, 0, 0], 3),
        (false, &[240, 0, 0, 0], 4),
        (false, &[10, 0, 0, 0], 8),
        (false, &[223, 255, 255, 255], 32),
        (true, &v6(0), 0),
        (true, &v6(0x8000), 1),
        (true, &v6(0xfe00), 7),
        (true, &v6(0xff00), 8),
        (true, &v6(0xff05), 128),
        (false, &v6(0xfe00), 8),
        (false, &v6(0xfe80), 10),
        (false, &v6(0x2000), 3),
    ] {
        let expected = if counts { Answer::Route { interface: None, source: None } } else { Answer::Other };
        assert_eq!(all(&message(DELETED_ROUTE, &route_to(first, prefix, DAEMON))), [expected], "{first:?}/{prefix}");
        let made = all(&message(NEW_ROUTE, &route_to(first, prefix, DAEMON)));
        assert_eq!(made, [expected], "{first:?}/{prefix}");
        // The kernel's own come and go with addresses.
        let of_kernel = all(&message(DELETED_ROUTE, &route_to(first, prefix, RTPROT_KERNEL)));
        assert_eq!(of_kernel, [Answer::Route { interface: None, source: None }]);
        // An answer to a question about a unicast address is read all the same.
        let asked = message(NEW_ROUTE, &route_to(first, prefix, 0));
        assert!(messages(&asked).all(|answer| answer.route().is_some()));
    }
    // What has no destination, or is cut off, may be anything.
    assert_eq!(all(&message(DELETED_ROUTE, &[])), [Answer::Route { interface: None, source: None }]);
}

#[test]
fn an_address_is_the_local_one_where_there_is_a_peer() {
    let mut body = [2, 24, 0, 0].to_vec();
    body.extend(3_u32.to_ne_bytes());
    body.extend(attribute_bytes(ADDRESS_PEER, &[10, 0, 0, 2]));
    body.extend(attribute_bytes(ADDRESS_LOCAL, &[10, 0, 0, 1]));
    let (ours, peer) = (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
    let expected = Answer::Address { interface: 3, address: ours, network: peer, prefix: 24, is_gone: false };
    assert_eq!(all(&message(NEW_ADDRESS, &body)), [expected]);
}

#[test]
fn a_refusal_gives_its_errno_and_an_acknowledgement_none() {
    let refusal = message(FAILED, &(-19_i32).to_ne_bytes());
    assert_eq!(all(&refusal), [Answer::Failed(Errno(19))]);
    assert_eq!(all(&message(FAILED, &0_i32.to_ne_bytes())), [Answer::Done]);
    assert_eq!(all(&message(DONE, &0_i32.to_ne_bytes())), [Answer::Done]);
}

#[test]
fn a_refusal_with_a_number_that_is_no_errno_is_an_unreadable_answer() {
    for number in [1, 35_537, -4096, -65_536, i32::MIN, i32::MAX] {
        let refusal = message(FAILED, &number.to_ne_bytes());
        assert_eq!(all(&refusal), [Answer::Failed(Errno::PROTOCOL)], "{number}");
    }
    assert_eq!(all(&message(FAILED, &(-4095_i32).to_ne_bytes())), [Answer::Failed(Errno(4095))]);
}

#[test]
fn a_list_that_the_kernel_could_not_write_to_its_end_is_a_refusal() {
    assert_eq!(all(&message(DONE, &(-90_i32).to_ne_bytes())), [Answer::Failed(Errno::TOO_LONG)]);
    assert_eq!(all(&message(DONE, &[])), [Answer::Done]);
    assert_eq!(all(&message(DONE, &7_i32.to_ne_bytes())), [Answer::Done]);
}

#[test]
fn several_messages_in_one_piece_come_in_order_and_strangers_are_told() {
    let mut bytes = message(99, &[1, 2, 3]);
    bytes.extend(route_message(4, [10, 0, 0, 1]));
    bytes.extend(message(DONE, &[0; 4]));
    let answers = all(&bytes);
    assert_eq!(answers[0], Answer::Other);
    assert!(matches!(answers[1], Answer::Route { interface: Some(4), .. }));
    assert_eq!(answers[2..], [Answer::Done]);
}

#[test]
fn a_link_that_is_cut_off_behind_its_index_is_read() {
    let mut body = [0; 4].to_vec();
    body.extend(5_u32.to_ne_bytes());
    body.extend([0; 2000]);
    let bytes = message(NEW_LINK, &body);
    assert_eq!(
        all(&bytes[..512]),
        [Answer::Link { interface: 5, flags: 0, name: None, mtu: 0, master: 0, is_port: false, is_gone: false }]
    );
}

#[test]
fn bytes_that_are_cut_off_anywhere_do_no_harm() {
    let whole = route_message(4, [10, 0, 0, 1]);
    for length in 0..whole.len() {
        let found = all(&whole[..length]);
        assert!(found.len() <= 1, "cut at {length}");
    }
}

#[test]
fn lengths_that_cannot_be_end_the_list() {
    for claimed in [0_u32, 1, 15, u32::MAX] {
        let mut bytes = route_message(4, [10, 0, 0, 1]);
        bytes.extend(route_message(5, [10, 0, 0, 1]));
        bytes[..4].copy_from_slice(&claimed.to_ne_bytes());
        assert!(all(&bytes).len() <= 1, "claimed {claimed}");
    }
    let mut body = [0; size_of::<rtmsg>()].to_vec();
    body.extend([0; 8]);
    let expected = Answer::Route { interface: None, source: None };
    assert_eq!(all(&message(NEW_ROUTE, &body)), [expected], "an attribute of length 0");
}

fn link_message(kind: u16, family: u8, flags: u32) -> Vec<u8> {
    let mut body = [family, 0, 0, 0].to_vec();
    body.extend(5_u32.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(attribute_bytes(LINK_NAME, b"eth0\0"));
    body.extend(attribute_bytes(LINK_MTU, &1500_u32.to_ne_bytes()));
    message(kind, &body)
}

#[test]
fn a_port_of_a_bridge_names_its_master_and_says_that_the_bridge_takes_its_packets() {
    const NESTED: u16 = 0x8000;
    for (kind, is_taken) in [("bridge\0", true), ("bond\0", true), ("bridge", true), ("vrf\0", false), ("bridge2\0", false)]
    {
        let mut body = [0; 4].to_vec();
        body.extend(5_u32.to_ne_bytes());
        body.extend([0; 8]);
        body.extend(attribute_bytes(LINK_MASTER, &7_u32.to_ne_bytes()));
        let info = [attribute_bytes(1, b"veth\0"), attribute_bytes(INFO_PORT_OF, kind.as_bytes())].concat();
        body.extend(attribute_bytes(LINK_INFO | NESTED, &info));
        let expected =
            Answer::Link { interface: 5, flags: 0, name: None, mtu: 0, master: 7, is_port: is_taken, is_gone: false };
        assert_eq!(all(&message(NEW_LINK, &body)), [expected], "{kind}");
    }
}

#[test]
fn rules_and_next_hops_may_have_changed_routes() {
    for kind in [NEW_RULE, DELETED_RULE, NEW_NEXT_HOP, DELETED_NEXT_HOP, DELETED_ROUTE] {
        assert_eq!(all(&message(kind, &[0; 12])), [Answer::Route { interface: None, source: None }], "{kind}");
    }
}

#[test]
fn a_link_that_comes_or_goes_has_name_and_flags() {
    let name = Name::new("eth0").ok();
    let expected = Answer::Link { interface: 5, flags: 0x1041, name, mtu: 1500, master: 0, is_port: false, is_gone: false };
    assert_eq!(all(&link_message(NEW_LINK, 0, 0x1041)), [expected]);
    let expected = Answer::Link { interface: 5, flags: 0, name, mtu: 1500, master: 0, is_port: false, is_gone: true };
    assert_eq!(all(&link_message(DELETED_LINK, 0, 0)), [expected]);
}

#[test]
fn a_port_that_leaves_a_bridge_is_no_link_that_is_gone() {
    const AF_BRIDGE: u8 = 7;
    assert_eq!(all(&link_message(DELETED_LINK, AF_BRIDGE, 0)), [Answer::Other]);
}

#[test]
fn a_list_that_changed_while_it_was_written_is_told() {
    let mut bytes = link_message(NEW_LINK, 0, 0);
    bytes[6..8].copy_from_slice(&(NLM_F_DUMP_INTR as u16).to_ne_bytes());
    bytes.extend(link_message(NEW_LINK, 0, 0));
    let interrupted: Vec<_> = messages(&bytes).map(Message::is_interrupted).collect();
    assert_eq!(interrupted, [true, false]);
    // The message itself can be read.
    assert!(matches!(all(&bytes)[..], [Answer::Link { interface: 5, .. }, Answer::Link { interface: 5, .. }]));
}
