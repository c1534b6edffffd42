//! The chains of nftables that the kernel runs for packets. Reading them needs `CAP_NET_ADMIN`: without it the answer is `EPERM`.

use rustix::io::Errno;

use super::netlink::{Ask, Message, Netlink};

/// `NFT_MSG_GETCHAIN` of the subsystem nftables, and the message that answers it.
const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
/// `struct nfgenmsg`: family, version, two bytes.
const FIXED: usize = 4;
/// `NFTA_CHAIN_*` and `NFTA_HOOK_HOOKNUM`.
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const RULES: u16 = 6;
const HOOK_NUMBER: u16 = 1;
/// `NFPROTO_NETDEV`, whose hooks are others.
const NETDEV: u8 = 5;

/// Where the kernel runs a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before IP.
    Ingress,
    Prerouting,
    Input,
    Output,
    Postrouting,
    Other,
}

/// A chain that the kernel runs, and not only other chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) hook: Hook,
    pub(crate) table: String,
    pub(crate) name: String,
    /// What becomes of a packet that no rule decides about.
    pub(crate) drops: bool,
    pub(crate) rules: u32,
}

pub(crate) fn chains() -> Result<Vec<Chain>, Errno> {
    let answers = Netlink::netfilter()?.ask(GET_CHAIN, Ask::All, &[0; FIXED])?;
    Ok(answers.iter().filter(|answer| answer.kind == NEW_CHAIN).filter_map(chain).collect())
}

fn chain(answer: &Message) -> Option<Chain> {
    let attributes = answer.attributes(FIXED);
    // In the byte order of the network.
    let hook = u32::from_be(attributes.inside(HOOK)?.number(HOOK_NUMBER)?);
    let hook = match (answer.body.first() == Some(&NETDEV), hook) {
        (true, 0) => Hook::Ingress,
        (false, 0) => Hook::Prerouting,
        (false, 1) => Hook::Input,
        (false, 3) => Hook::Output,
        (false, 4) => Hook::Postrouting,
        // Of the family inet, 5 is before IP, too.
        (false, 5) => Hook::Ingress,
        _ => Hook::Other,
    };
    Some(Chain {
        hook,
        table: attributes.text(TABLE)?,
        name: attributes.text(NAME)?,
        // 0 drops, 1 accepts.
        drops: attributes.number(POLICY) == Some(0),
        rules: attributes.number(RULES).map_or(0, u32::from_be),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::push_attribute;

    #[test]
    fn a_chain_has_a_hook_and_a_policy() {
        let mut hook = Vec::new();
        push_attribute(&mut hook, HOOK_NUMBER, &1_u32.to_be_bytes());
        let mut body = vec![1, 0, 0, 0];
        push_attribute(&mut body, TABLE, b"filter\0");
        push_attribute(&mut body, NAME, b"in\0");
        push_attribute(&mut body, HOOK, &hook);
        push_attribute(&mut body, POLICY, &[0; 4]);
        push_attribute(&mut body, RULES, &3_u32.to_be_bytes());
        let message = |body: &[u8]| Message { kind: NEW_CHAIN, body: body.into() };
        let (table, name) = ("filter".to_owned(), "in".to_owned());
        let mut expected = Chain { hook: Hook::Input, table, name, drops: true, rules: 3 };
        assert_eq!(chain(&message(&body)), Some(expected.clone()));
        // A hook of a device comes before IP; one of bridges concerns others.
        *body.first_mut().unwrap() = NETDEV;
        expected.hook = Hook::Other;
        assert_eq!(chain(&message(&body)), Some(expected));
        // A chain without a hook is run by other chains only.
        assert_eq!(chain(&message(body.get(..20).unwrap())), None);
    }
}
