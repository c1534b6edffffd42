//! The command line of `mcast relay`.

use std::net::SocketAddr;
use std::time::Duration;

use lexopt::Parser;
use multicast::{Group, Interface, Ttl};

use super::inputs;
use super::outputs::{To, Way};
use crate::options::{self, Common, rate, text, value};
use crate::senders::expanded;
use crate::stop::Stop;
use crate::target::Target;

pub(super) struct Order {
    /// Its targets are the groups of `--from`.
    pub(super) common: Common,
    /// The unicast addresses of `--from`.
    pub(super) unicast: Vec<SocketAddr>,
    pub(super) ways: Vec<Way>,
    /// The highest TTL to send with.
    pub(super) hops: Option<u8>,
    /// Between two packets, on average.
    pub(super) interval: Option<Duration>,
    pub(super) pair: bool,
    pub(super) loopback: bool,
}

#[inline(never)]
pub(super) fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order {
        common: Common::default(),
        unicast: Vec::new(),
        ways: Vec::new(),
        hops: None,
        interval: None,
        pair: false,
        loopback: false,
    };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "from" => order.add_source(&text(&mut parser, "--from")?).map_err(in_option("--from"))?,
            "to" => order.ways.push(way(&text(&mut parser, "--to")?).map_err(in_option("--to"))?),
            "to-interface" => {
                let interface = value(&mut parser, "--to-interface")?;
                let interfaces = expanded(vec![interface])?;
                order.ways.extend(interfaces.into_iter().map(|interface| Way { to: To::SameGroup, interface }));
            }
            "ttl" => {
                let ttl: Ttl = value(&mut parser, "--ttl")?;
                if ttl == Ttl::HOST {
                    return Err(Stop::misused("--ttl 0: nothing would leave; give 1 or more".to_owned()));
                }
                order.hops = Some(ttl.get());
            }
            "rate" => order.interval = Some(rate(&mut parser, "--rate", "packets")?),
            "pair" => order.pair = true,
            "loopback" => order.loopback = true,
            _ => order.common.take(argument, "from", &mut parser)?,
        }
    }
    order.check()?;
    Ok(order)
}

impl Order {
    fn add_source(&mut self, text: &str) -> Result<(), String> {
        let target = Target::parse_any(text)?;
        if target.address().ip().is_multicast() {
            self.common.targets.push(Target::parse(text)?);
            return Ok(());
        }
        if target.count() > 1 || target.source.is_some() || target.interface.is_some() || target.port().is_none() {
            return Err(format!("{text}: for unicast, write ADDRESS:PORT of this machine"));
        }
        if self.unicast.len() >= inputs::MOST {
            return Err(format!("{text}: at most {} unicast addresses", inputs::MOST));
        }
        self.unicast.push(target.address());
        Ok(())
    }

    fn check(&self) -> Result<(), Stop> {
        let misused = |reason: &str| Err(Stop::misused(reason.to_owned()));
        if self.common.targets.is_empty() && self.unicast.is_empty() {
            return misused("name what to pass on: --from GROUP:PORT");
        }
        if self.common.targets.is_empty() && !self.common.interfaces.is_empty() {
            return misused("--interface is for groups, and there is none in --from");
        }
        if self.ways.is_empty() {
            return misused("say where packets go: --to GROUP:PORT%IF, --to ADDRESS:PORT, or --to-interface IF");
        }
        if self.pair && self.ways.len() > 1 {
            return misused("--pair needs one --to, or one --to-interface: answers come from one place");
        }
        let keeps_groups = self.ways.iter().any(|way| way.to == To::SameGroup);
        if keeps_groups && !self.unicast.is_empty() {
            return misused("--to-interface keeps the group, and unicast has none: give --to GROUP:PORT%IF");
        }
        self.common.check()
    }
}

/// Where a target of `--to` is.
fn way(text: &str) -> Result<Way, String> {
    let target = Target::parse_any(text)?;
    if target.count() > 1 {
        return Err(format!("{text}: name one group; to keep the groups, give --to-interface IF"));
    }
    if target.source.is_some() {
        return Err(format!("{text}: packets leave from an address of the interface: write no SOURCE@"));
    }
    let address = target.address();
    if let Ok(group) = Group::try_from(address) {
        return match target.interface {
            None | Some(Interface::Default | Interface::All) => Err(format!("{text}: say on which interface: {group}%IF")),
            Some(interface) => Ok(Way { to: To::Group(group), interface }),
        };
    }
    let is_link_local = matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local());
    match target.interface {
        None if is_link_local => Err(format!("{text}: say on which interface: {address}%IF")),
        Some(_) if !is_link_local => Err(format!("{text}: the routing table says where unicast leaves: write no %IF")),
        interface => Ok(Way { to: To::Unicast(address), interface: interface.unwrap_or(Interface::Default) }),
    }
}

fn in_option(option: &str) -> impl Fn(String) -> Stop {
    move |reason| Stop::misused(format!("{option}: {reason}"))
}
