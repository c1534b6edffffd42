use std::string::ToString;

use super::*;

#[test]
fn the_default_group_is_224_0_42_42_port_4242() {
    assert_eq!(Group::DEFAULT.to_string(), "224.0.42.42:4242");
    assert_eq!(Group::default(), Group::DEFAULT);
}

#[test]
fn only_groups_of_the_two_local_scopes_of_ipv6_are_link_local() {
    for (text, expected) in [
        ("[ff01::1]:1", true),
        ("[ff02::1]:1", true),
        ("[ff12::1]:1", true),
        ("[ff05::1]:1", false),
        ("[ff3e::1]:1", false),
        ("224.0.0.1:1", false),
    ] {
        assert_eq!(text.parse::<Group>().unwrap().is_link_local(), expected, "{text}");
    }
}

#[test]
fn a_group_has_the_family_of_its_address() {
    for (text, is_ipv4) in [("239.1.2.3:5000", true), ("[ff05::1]:5000", false)] {
        let group: Group = text.parse().unwrap();
        assert_eq!(group.is_ipv4(), is_ipv4);
    }
}
