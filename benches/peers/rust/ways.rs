//! The peers for each task. To add one: write it, and name it here, where the cases find it.

use crate::place::{Outcome, Place};
use crate::trip::{self, Open};
use crate::{Peer, adjacent, drain, filters, flood, link, live, poll, question, rate, send};

pub(crate) struct Way {
    pub(crate) task: &'static str,
    pub(crate) name: &'static str,
    open: fn(&Place) -> Outcome<Box<dyn Peer>>,
}

const fn way(task: &'static str, name: &'static str, open: fn(&Place) -> Outcome<Box<dyn Peer>>) -> Way {
    Way { task, name, open }
}

/// All tasks and ways.
pub(crate) const ALL: &[Way] = &[
    way("drain", "ours", drain::Ours::open),
    way("drain", "ours-coalesced", drain::OursCoalesced::open),
    way("drain", "compat", drain::Compat::open),
    way("drain", "rustix", drain::Rustix::open),
    way("drain", "std", drain::open_std),
    way("drain", "mio", drain::open_mio),
    way("drain", "tokio", drain::Tokio::open),
    way("drain", "mcrx-core", drain::Mcrx::open),
    way("burst", "ours", poll::OurBursts::open),
    way("burst", "mio", poll::MioBursts::open),
    way("registered", "ours", poll::OurOneOfMany::open),
    way("memory", "process", poll::Memory::of_process),
    way("memory", "kernel", poll::Memory::of_kernel),
    way("flood", "kernel", flood::kernel::<flood::Time>),
    way("flood", "user", flood::user::<flood::Time>),
    way("flood", "regex", flood::regex::<flood::Time>),
    way("flood-wakes", "kernel", flood::kernel::<flood::Wakes>),
    way("flood-wakes", "user", flood::user::<flood::Wakes>),
    way("flood-wakes", "regex", flood::regex::<flood::Wakes>),
    way("refuse", "prefix", filters::prefix),
    way("refuse", "regex", filters::regex),
    way("refuse", "regex-anywhere", filters::regex_anywhere),
    way("refuse", "regex-lite", filters::regex_lite),
    way("refuse", "regex-lite-anywhere", filters::regex_lite_anywhere),
    way("attach", "ours", filters::Attaching::open),
    way("rate", "ours", rate::Ours::open),
    way("rate", "ours-1ms", rate::OursGathering::<1>::open),
    way("rate", "ours-5ms", rate::OursGathering::<5>::open),
    way("rate", "mio", rate::Mio::open),
    way("rate", "tokio", rate::Tokio::open),
    way("send", "ours", send::Ours::<1>::open),
    way("send", "ours-coalesced", send::Ours::<64>::open),
    way("send", "compat", send::Compat::open),
    way("send", "rustix", send::Rustix::open),
    way("send", "std", send::open_std),
    way("send", "mio", send::open_mio),
    way("send", "tokio", send::Tokio::open),
    way("send", "mctx-core", send::Mctx::open),
    way("ping", "ours", trip::Ours::ping),
    way("ping", "ours-spin", trip::OursSpinning::ping),
    way("ping", "mio", trip::Mio::ping),
    way("ping", "tokio", trip::Tokio::ping),
    way("pong", "ours", trip::Ours::pong),
    way("pong", "ours-spin", trip::OursSpinning::pong),
    way("pong", "mio", trip::Mio::pong),
    way("pong", "tokio", trip::Tokio::pong),
    way("send", "ours-adjacent", adjacent::Ours::open),
    way("live", "ours", live::Ours::open),
    way("link", "ours", link::Ours::plain),
    way("link", "ours-coalesced", link::Ours::coalescing),
    way("ask", "ours", question::Ask::open),
    way("ask", "ours-reply", question::Ask::open),
    way("answer", "ours", question::Answer::<false>::open),
    way("answer", "ours-reply", question::Answer::<true>::open),
];

/// The peer of this name, set up for this task.
pub(crate) fn open(task: &str, name: &str, place: &Place) -> Outcome<Box<dyn Peer>> {
    let way = ALL.iter().find(|way| way.task == task && way.name == name);
    (way.ok_or_else(|| format!("no way '{name}' to {task}"))?.open)(place)
}
