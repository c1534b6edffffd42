//! What this machine itself dropped: then gaps are its own, and not the network's.

/// Packets that were dropped here since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// From the receive buffers of the watcher; `None` if the kernel is too old to report it.
    pub(super) buffers: Option<u64>,
    /// From the queues of the processors, before it is known whose they are; `None` if they cannot be read.
    pub(super) backlog: Option<u64>,
}

impl Dropped {
    pub(super) fn is_none(self) -> bool {
        self.buffers.unwrap_or(0) == 0 && self.backlog.unwrap_or(0) == 0
    }
}

/// The counters of the processors' queues: the second column of `/proc/net/softnet_stat`.
pub(super) struct Backlog {
    /// One for each processor. They wrap.
    last: Option<Vec<u32>>,
    dropped: u64,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self { last: read(), dropped: 0 }
    }

    /// What was dropped since the start, by all queues, whatever packets these were.
    pub(super) fn dropped(&mut self) -> Option<u64> {
        self.count(read())
    }

    fn count(&mut self, now: Option<Vec<u32>>) -> Option<u64> {
        let now = now?;
        if let Some(last) = self.last.as_ref().filter(|last| last.len() == now.len()) {
            // A processor that was switched on or off changes the lines: then this time is left out.
            let steps = last.iter().zip(&now).map(|(last, now)| u64::from(now.wrapping_sub(*last)));
            self.dropped = steps.fold(self.dropped, u64::saturating_add);
        }
        self.last = Some(now);
        Some(self.dropped)
    }
}

fn read() -> Option<Vec<u32>> {
    parse(&std::fs::read_to_string("/proc/net/softnet_stat").ok()?)
}

/// `None` if a line has another form.
fn parse(table: &str) -> Option<Vec<u32>> {
    table.lines().map(|line| u32::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_column_counts_also_over_its_wrap() {
        let table = "0002fca8 fffffffe 00000001 00000000\n0002fca8 00000005 00000000 00000000\n";
        assert_eq!(parse(table), Some(vec![0xffff_fffe, 5]));
        assert_eq!((parse("0002fca8\n"), parse("1 x\n")), (None, None));
        let mut backlog = Backlog { last: parse(table), dropped: 0 };
        assert_eq!(backlog.count(Some(vec![1, 6])), Some(4));
        assert_eq!(backlog.count(Some(vec![1])), Some(4), "a processor went");
        assert_eq!(backlog.count(Some(vec![2])), Some(5));
        assert_eq!(backlog.count(None), None);
    }

    #[test]
    fn this_kernel_has_the_table() {
        assert!(read().is_some_and(|processors| !processors.is_empty()));
    }
}
