//! What this machine loses before any socket: each processor has one queue for packets that arrive, which the links of all programs and
//! network namespaces share (`net.core.netdev_max_backlog`). When it is full, the kernel counts for the machine, and for no socket.

use std::cell::Cell;
use std::time::{Duration, Instant};

use multicast::ErrorKind;

thread_local! {
    static AT_BEGIN: Cell<u32> = const { Cell::new(0) };
}

/// How long to wait for packets before they are taken for lost.
const GRACE: Duration = Duration::from_secs(1);

/// How many packets all processors have dropped.
fn dropped() -> u32 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let counts = text.lines().filter_map(|line| u32::from_str_radix(line.split_whitespace().nth(1)?, 16).ok());
    counts.fold(0, u32::wrapping_add)
}

/// A turn of this thread begins.
pub fn begin_turn() {
    AT_BEGIN.set(dropped());
}

/// Whether this many packets of this turn, for which it has waited since `since`, were lost in the machine's queue: as many as that were.
pub fn has_lost(packets: u32, since: Instant) -> bool {
    since.elapsed() > GRACE && packets <= dropped_in_turn()
}

/// How many packets of all programs were lost there in this turn.
pub fn dropped_in_turn() -> u32 {
    dropped().wrapping_sub(AT_BEGIN.get())
}

/// Whether the queue of the other end of a link was full: then the packet can be sent again.
pub fn is_full(error: &multicast::Error) -> bool {
    error.kind() == ErrorKind::QueueRefused
}
