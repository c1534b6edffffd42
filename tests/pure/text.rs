//! Groups, interfaces, names and scopes: parsed, printed, and refused with the right error text.

use core::fmt::{Debug, Display};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU32;
use core::str::FromStr;

use multicast::{Error, ErrorKind, Family, Group, Interface, ListenOptions, Membership, Name, Ttl};
use proptest::collection::vec;
use proptest::prelude::*;

const GROUP_SYNTAX: &str = "write ADDRESS:PORT, such as 239.1.2.3:5000 or [ff02::4242]:4242";
const NOT_MULTICAST: &str = "not a multicast address (IPv4: 224.0.0.0 to 239.255.255.255, IPv6: ff00::/8)";
const PORT_ZERO: &str = "port 0 is not valid: give 1 to 65535";
const INTERFACE_SYNTAX: &str = "write a name of 1 to 15 bytes (of alternative names only such are supported), an index of 1 or more, an \
                                address, default, or all";
const TTL_SYNTAX: &str = "write 0 to 255, or host, subnet, site, region, continent, unrestricted";
const TTL_RANGE: &str = "out of range: give 0 to 255";

/// Parsing the text must return this kind of error with exactly this message.
#[track_caller]
fn assert_refused<T: FromStr<Err = Error> + Debug>(text: &str, kind: ErrorKind, words: &str) {
    let error = text.parse::<T>().expect_err(text);
    assert_eq!(error.to_string(), words);
    assert_eq!(error.kind(), kind, "{words}");
    assert_eq!(error.raw_os_error(), None, "{words}");
}

#[test]
fn addresses_that_are_not_multicast_are_refused() {
    for text in ["10.0.0.1:5000", "223.255.255.255:1", "240.0.0.0:1", "255.255.255.255:1", "0.0.0.0:0"] {
        assert_refused::<Group>(text, ErrorKind::NotMulticast, &format!("parse group {text}: {NOT_MULTICAST}"));
    }
    // An IPv4-mapped group is not an IPv6 group.
    for text in ["[fe80::1]:5000", "[::]:1", "[feff::]:1", "[::ffff:239.1.2.3]:5000"] {
        assert_refused::<Group>(text, ErrorKind::NotMulticast, &format!("parse group {text}: {NOT_MULTICAST}"));
    }
    let error = Group::new(Ipv4Addr::LOCALHOST, 5000).unwrap_err();
    assert_eq!(error.to_string(), format!("parse group 127.0.0.1: {NOT_MULTICAST}"));
    let error = Group::try_from(SocketAddr::from((Ipv6Addr::LOCALHOST, 5000))).unwrap_err();
    assert_eq!(error.to_string(), format!("parse group ::1: {NOT_MULTICAST}"));
}

#[test]
fn port_0_is_refused() {
    for text in ["239.1.2.3:0", "[ff02::4242]:0", "239.1.2.3:00000"] {
        assert_refused::<Group>(text, ErrorKind::PortZero, &format!("parse group {text}: {PORT_ZERO}"));
    }
    let error = Group::new(Ipv4Addr::new(239, 1, 2, 3), 0).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::PortZero, format!("parse group 239.1.2.3: {PORT_ZERO}")));
}

#[test]
fn a_group_needs_an_address_with_a_port() {
    for text in [
        "239.1.2.3",
        "239.1.2.3:",
        ":5000",
        "5000",
        "239.1.2.3:-1",
        "239.1.2.3: 5000",
        " 239.1.2.3:5000",
        "239.1.2.3:5000 ",
        "239.1.2:5000",
        "239.01.2.3:5000",
        "239.1.2.256:5000",
        "ff02::4242:4242",
        "[ff02::4242]",
        "[ff02::4242:4242",
        "[239.1.2.3]:5000",
        "all:5000",
        "localhost:5000",
    ] {
        assert_refused::<Group>(text, ErrorKind::Syntax, &format!("parse group {text}: {GROUP_SYNTAX}"));
    }
    assert_refused::<Group>("", ErrorKind::Syntax, &format!("parse group an empty text: {GROUP_SYNTAX}"));
}

#[test]
fn a_port_that_is_too_large_is_named_as_such() {
    for text in ["239.1.2.3:65536", "[ff02::4242]:65536", "10.0.0.1:99999999999999999999"] {
        assert_refused::<Group>(
            text,
            ErrorKind::OutOfRange,
            &format!("parse group {text}: port out of range: give 1 to 65535"),
        );
    }
}

#[test]
fn a_scope_in_a_group_is_refused_since_it_belongs_to_the_membership() {
    let words = "a group has no interface: write it without % and what follows, and name the interface separately";
    for text in ["[ff02::1%2]:4242", "[ff02::1%4294967295]:4242", "[ff02::1%eth0]:4242", "[ff02::1]:4242%eth0"] {
        assert_refused::<Group>(text, ErrorKind::Syntax, &format!("parse group {text}: {words}"));
    }
}

#[test]
fn what_is_often_taken_for_the_name_of_an_interface_is_refused_with_what_to_write() {
    let label = "a name has no colon, and eth0:1 is the label of an address: write eth0, or that address";
    let path = "a name has no /: write one that ip link shows, or an address without the length of its prefix";
    let scope = "write only the name of the interface, which follows the %";
    for (text, words) in [
        ("eth0:1", label),
        ("lo:", label),
        ("a/b", path),
        ("/dev/null", path),
        ("192.0.2.1/24", path),
        ("fd00::1/64", path),
        ("fe80::1%2", scope),
        ("fe80::1%eth0", scope),
        ("[ff02::1%eth0]:4242", scope),
    ] {
        assert_refused::<Interface>(text, ErrorKind::Syntax, &format!("parse interface {text}: {words}"));
    }
}

#[test]
fn what_names_no_interface_says_what_to_write() {
    let group = Group::DEFAULT.address();
    for (text, words) in [
        ("%eth0", "no such interface: write its name without %"),
        ("1999999999", "no such interface (digits are an index, never a name: ip link shows the index of each)"),
        ("nosuch0", "no such interface"),
    ] {
        let membership = Membership::any(Group::DEFAULT).on(text.parse().unwrap());
        let error = ListenOptions::new().bind::<64>(membership).unwrap_err();
        assert_eq!(error.to_string(), format!("join {group} on {text}: {words}"));
        assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    }
}

#[test]
fn a_ttl_out_of_range_is_refused() {
    for text in ["256", "1000", "00256", "99999999999999999999"] {
        assert_refused::<Ttl>(text, ErrorKind::OutOfRange, &format!("parse ttl {text}: {TTL_RANGE}"));
    }
    for (number, text) in [(-1, "-1"), (256, "256"), (i64::MIN, "-9223372036854775808"), (i64::MAX, "9223372036854775807")] {
        let error = Ttl::try_from(number).unwrap_err();
        assert_eq!(error.to_string(), format!("parse ttl {text}: {TTL_RANGE}"));
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
    }
}

/// Checks one integer type: numbers within the range of a TTL convert, and others are an error that names the number.
macro_rules! assert_takes {
    ($integer:ty: $($refused:expr => $named:expr),*) => {
        for (number, ttl) in [(0, Ttl::HOST), (1, Ttl::SUBNET), (127, Ttl::new(127))] {
            assert_eq!(Ttl::try_from(number as $integer), Ok(ttl));
        }
        $(
            let error = Ttl::try_from($refused as $integer).unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::OutOfRange, None));
            assert_eq!(error.to_string(), format!("parse ttl {}: {TTL_RANGE}", $named));
        )*
    };
}

#[test]
fn a_ttl_converts_from_any_integer_type() {
    let large = "a number of more than 63 bits";
    assert_takes!(i8: -1_i8 => "-1", i8::MIN => "-128");
    assert_takes!(i16: -1_i16 => "-1", 256_i16 => "256");
    assert_takes!(i32: -1_i32 => "-1", i32::MAX => i32::MAX);
    assert_takes!(i64: i64::MIN => i64::MIN, i64::MAX => i64::MAX);
    assert_takes!(i128: -1_i128 => "-1", i128::from(i64::MAX) + 1 => large, i128::MIN => large);
    assert_takes!(isize: 256_isize => "256");
    assert_takes!(u16: 256_u16 => "256");
    assert_takes!(u32: u32::MAX => u32::MAX);
    assert_takes!(u64: i64::MAX.unsigned_abs() => i64::MAX, u64::MAX => large);
    assert_takes!(u128: 256_u128 => "256", u128::MAX => large);
    assert_takes!(usize: 256_usize => "256");
    assert_eq!((Ttl::from(255), Ttl::try_from(255).unwrap()), (Ttl::UNRESTRICTED, Ttl::UNRESTRICTED));
}

#[test]
fn a_ttl_that_is_neither_number_nor_scope_is_refused() {
    for text in ["-1", "+1", "1.0", "0x10", " 1", "1 ", "Site", "SITE", "planet", "٣"] {
        assert_refused::<Ttl>(text, ErrorKind::Syntax, &format!("parse ttl {text}: {TTL_SYNTAX}"));
    }
    assert_refused::<Ttl>("", ErrorKind::Syntax, &format!("parse ttl an empty text: {TTL_SYNTAX}"));
}

#[test]
fn the_six_scopes_have_the_right_numbers() {
    for (text, number, ttl) in [
        ("host", 0, Ttl::HOST),
        ("subnet", 1, Ttl::SUBNET),
        ("site", 32, Ttl::SITE),
        ("region", 64, Ttl::REGION),
        ("continent", 128, Ttl::CONTINENT),
        ("unrestricted", 255, Ttl::UNRESTRICTED),
    ] {
        assert_eq!(text.parse::<Ttl>().unwrap(), ttl);
        assert_eq!(ttl.get(), number);
        assert_eq!(ttl.to_string(), number.to_string());
    }
    assert_eq!(Ttl::default(), Ttl::SUBNET);
}

#[test]
fn an_interface_that_the_kernel_would_not_allow_is_refused() {
    for text in ["0", "000", "4294967296", ".", "..", "two words", "sixteen-bytes-xx", "à"] {
        assert_refused::<Interface>(text, ErrorKind::Syntax, &format!("parse interface {text}: {INTERFACE_SYNTAX}"));
    }
    assert_refused::<Interface>("", ErrorKind::Syntax, &format!("parse interface an empty text: {INTERFACE_SYNTAX}"));
    assert_refused::<Name>("", ErrorKind::Syntax, &format!("parse interface an empty text: {INTERFACE_SYNTAX}"));
    assert_refused::<Name>("éééééééé", ErrorKind::Syntax, &format!("parse interface éééééééé: {INTERFACE_SYNTAX}"));
}

#[test]
fn an_interface_is_read_as_index_address_default_or_name() {
    let index = |number| Interface::Index(NonZeroU32::new(number).unwrap());
    let name = |text| Interface::Name(Name::new(text).unwrap());
    for (text, expected, printed) in [
        ("default", Interface::Default, "default"),
        ("all", Interface::All, "all"),
        ("7", index(7), "7"),
        ("007", index(7), "7"),
        ("4294967295", index(u32::MAX), "4294967295"),
        ("10.0.0.1", Interface::Address(IpAddr::from([10, 0, 0, 1])), "10.0.0.1"),
        ("fe80::1", Interface::Address("fe80::1".parse().unwrap()), "fe80::1"),
        ("lo", Interface::LOOPBACK, "lo"),
        ("fifteen-bytes-x", name("fifteen-bytes-x"), "fifteen-bytes-x"),
        ("Default", name("Default"), "Default"),
        ("-1", name("-1"), "-1"),
        ("1a", name("1a"), "1a"),
        ("...", name("..."), "..."),
        ("10.0.0", name("10.0.0"), "10.0.0"),
    ] {
        let interface: Interface = text.parse().expect(text);
        assert_eq!(interface, expected, "{text}");
        assert_eq!(interface.to_string(), printed);
    }
}

#[test]
fn the_family_of_a_group_is_that_of_its_address() {
    for (text, family) in [("239.1.2.3:5000", Family::V4), ("[ff05::1]:5000", Family::V6)] {
        let group: Group = text.parse().unwrap();
        assert_eq!(group.family(), family);
        assert_eq!((group.address().is_ipv4(), group.address().is_ipv6()), (family == Family::V4, family == Family::V6));
    }
    assert_eq!(format!("{:?} {:?}", Family::V4, Family::V6), "V4 V6");
}

#[test]
fn known_accepts_the_same_groups_as_new() {
    let address = IpAddr::from([239, 1, 2, 3]);
    assert_eq!(Group::known(address, 5000), Group::new(address, 5000).ok());
    assert_eq!((Group::known(address, 0), Group::known(IpAddr::from([10, 0, 0, 1]), 5000)), (None, None));
}

#[test]
fn a_membership_of_one_source_names_it() {
    let group = "239.1.2.3:5000".parse().unwrap();
    let membership = Membership::source(group, IpAddr::from([10, 0, 0, 1])).on(Interface::LOOPBACK);
    assert_eq!(membership.to_string(), "239.1.2.3:5000 from 10.0.0.1 on lo");
    // `Debug` prints quotes and escapes, as in Rust.
    assert_eq!(format!("{:?}", Name::new("\u{1b}[31m").unwrap()), r#""\u{1b}[31m""#);
}

#[test]
fn errors_show_the_beginning_of_a_long_text_cut_between_characters() {
    let dots = |kept: &str| format!("parse ttl {kept}...: {TTL_SYNTAX}");
    assert_refused::<Ttl>(&"x".repeat(34), ErrorKind::Syntax, &format!("parse ttl {}: {TTL_SYNTAX}", "x".repeat(34)));
    assert_refused::<Ttl>(&"x".repeat(35), ErrorKind::Syntax, &dots(&"x".repeat(34)));
    assert_refused::<Ttl>(&"é".repeat(1000), ErrorKind::Syntax, &dots(&"é".repeat(17)));
    // Characters of three and four bytes; the last one does not fit.
    assert_refused::<Ttl>(&"€".repeat(12), ErrorKind::Syntax, &dots(&"€".repeat(11)));
    assert_refused::<Ttl>(&"🦀".repeat(9), ErrorKind::Syntax, &dots(&"🦀".repeat(8)));
    assert_refused::<Ttl>(&"x".repeat(1 << 20), ErrorKind::Syntax, &dots(&"x".repeat(34)));
}

#[test]
fn control_characters_of_a_text_do_not_reach_the_terminal() {
    for (text, shown) in [
        ("\u{1b}[31mred", "\\u{1b}[31mred"),
        ("1\n2", "1\\n2"),
        ("\0", "\\0"),
        ("\u{202e}drawkcab", "\\u{202e}drawkcab"),
        ("\u{9b}2J", "\\u{9b}2J"),
    ] {
        assert_refused::<Ttl>(text, ErrorKind::Syntax, &format!("parse ttl {shown}: {TTL_SYNTAX}"));
    }
}

#[test]
fn control_characters_of_an_interface_do_not_reach_the_terminal_either() {
    // The kernel allows such a name, and so does the crate. Only the printed form is escaped.
    let name = Name::new("\u{1b}[31m").unwrap();
    let membership = Membership::any("239.1.2.3:5000".parse().unwrap()).on(name.into());
    let error = ListenOptions::new().bind::<16>(membership).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert_eq!(error.to_string(), "join 239.1.2.3 on \\u{1b}[31m: no such interface");
}

/// Any texts: control characters, all of Unicode, and texts that are almost valid.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..50).prop_map(String::from_iter),
        "[0-9a-f:.%\\[\\]/ x-]{0,45}",
        "2[23][0-9](\\.[0-9]{1,3}){3}:[0-9]{0,6}",
        "\\[ff[0-9a-f]{2}:(:?[0-9a-f]{0,5}){0,8}(%[0-9]{1,12})?\\]:[0-9]{1,6}",
        "[+-]?[0-9]{0,40}",
    ]
}

fn group_addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0xe000_0000_u32..=0xefff_ffff).prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits | (0xff << 120)).into()),
    ]
}

/// Parses the text. A value must print as a text that parses to the same value. An error must print as one line without control
/// characters.
fn parses_or_says_why<T: FromStr<Err = Error> + Display + PartialEq + Debug>(text: &str, begin: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            assert_eq!(printed.parse::<T>().as_ref(), Ok(&value), "{text:?} printed as {printed:?}");
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.starts_with(begin), "{words}");
            assert!(!words.chars().any(char::is_control), "{words:?}");
            // 34 bytes are kept, and each takes at most six characters to print.
            assert!(words.chars().count() <= 34 * 6 + 110, "{words}");
            assert_eq!(error.raw_os_error(), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_parsed_or_refused_with_one_printable_line(text in texts()) {
        parses_or_says_why::<Group>(&text, "parse group ");
        parses_or_says_why::<Interface>(&text, "parse interface ");
        parses_or_says_why::<Name>(&text, "parse interface ");
        parses_or_says_why::<Ttl>(&text, "parse ttl ");
    }

    #[test]
    fn a_group_is_parsed_as_it_is_printed(address in group_addresses(), port in 1..=u16::MAX) {
        let group = Group::new(address, port).unwrap();
        prop_assert_eq!((group.address(), group.port()), (address, port));
        prop_assert_eq!(group.to_string(), SocketAddr::new(address, port).to_string());
        prop_assert_eq!(group.to_string().parse::<Group>(), Ok(group));
        prop_assert_eq!(Group::try_from(SocketAddr::from(group)), Ok(group));
    }

    #[test]
    fn a_group_is_refused_alike_as_text_and_as_an_address(address in any::<IpAddr>(), port in any::<u16>()) {
        let parsed = SocketAddr::new(address, port).to_string().parse::<Group>().map_err(|error| error.kind());
        prop_assert_eq!(parsed, Group::new(address, port).map_err(|error| error.kind()));
        let expected = match (address.is_multicast(), port) {
            (false, _) => Some(ErrorKind::NotMulticast),
            (true, 0) => Some(ErrorKind::PortZero),
            (true, _) => None,
        };
        prop_assert_eq!(parsed.err(), expected);
    }

    #[test]
    fn a_ttl_is_parsed_as_it_is_printed(hops in any::<u8>()) {
        let ttl = Ttl::new(hops);
        prop_assert_eq!(ttl.to_string().parse::<Ttl>(), Ok(ttl));
        prop_assert_eq!(Ttl::try_from(i64::from(hops)), Ok(ttl));
        prop_assert_eq!(Ttl::from(hops).get(), hops);
    }

    #[test]
    fn only_numbers_from_0_to_255_are_a_ttl(number in prop_oneof![-300_i64..600, any::<i64>()]) {
        prop_assert_eq!(Ttl::try_from(number).is_ok(), (0..=255).contains(&number));
        prop_assert_eq!(number.to_string().parse::<Ttl>().is_ok(), (0..=255).contains(&number));
    }

    #[test]
    fn an_interface_by_index_or_address_is_parsed_as_it_is_printed(index in 1..=u32::MAX, address in any::<IpAddr>()) {
        for interface in [Interface::from(NonZeroU32::new(index).unwrap()), Interface::from(address)] {
            prop_assert_eq!(interface.to_string().parse::<Interface>(), Ok(interface));
        }
    }

    #[test]
    fn a_name_is_valid_if_the_kernel_allows_it(text in prop_oneof![vec(any::<char>(), 0..8).prop_map(String::from_iter), "[ -~\\t\u{a0}é€]{0,18}", "[.0-9a-z]{0,4}"]) {
        // dev_valid_name() of net/core/dev.c, whose white space is that of Latin-1.
        let is_blank = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b || byte == 0xa0;
        let forbidden = |byte: u8| byte == 0 || byte == b'/' || byte == b':' || is_blank(byte);
        let allowed = (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.bytes().any(forbidden);
        let of_ascii = Name::from_ascii(text.as_bytes());
        prop_assert_eq!(of_ascii, Name::new(&text).ok().filter(|_| text.is_ascii()));
        match Name::new(&text) {
            Ok(name) => {
                prop_assert!(allowed);
                prop_assert_eq!(name.as_str(), &text);
                prop_assert_eq!(name.to_string(), &text[..]);
                prop_assert_eq!(name.to_string().parse::<Name>(), Ok(name));
            }
            Err(_) => prop_assert!(!allowed),
        }
    }

    #[test]
    fn a_membership_prints_group_and_interface(address in group_addresses(), port in 1..=u16::MAX, index in 1..=u32::MAX) {
        let group = Group::new(address, port).unwrap();
        let interface = Interface::Index(NonZeroU32::new(index).unwrap());
        let membership = Membership::any(group).on(interface);
        prop_assert_eq!((membership.group(), membership.interface()), (group, interface));
        prop_assert_eq!(membership.to_string(), format!("{group} on {interface}"));
        prop_assert_eq!(Membership::any(group).to_string(), format!("{group} on default"));
    }
}
