//! Receives that fail because of what the network reported (ICMP): that is no error of receiving.

use rustix::fd::AsFd;

use super::receiving::Inner;
use crate::error::Errno;
use crate::filter::Filter;
use crate::socket::take_reports;

impl<F: Filter> Inner<F> {
    /// Whether a receive failed because of what the network reported about a packet that was sent from this socket, perhaps by somebody
    /// else who has a descriptor of it.
    #[cold]
    pub(super) fn is_report(&mut self, errno: Errno) -> bool {
        // If the receive buffer is full, the kernel queues no report, but still returns its errno.
        let asks_for_reports = || self.socket.family().is_ok_and(|family| self.socket.wants_errors(family));
        let may_be_one = errno.is_only_of_network() && asks_for_reports();
        self.take_reports() || may_be_one
    }

    /// Reads all that the network reported, so that pollers no longer report an error, and counts it. Returns whether there was anything.
    #[cold]
    pub(super) fn take_reports(&mut self) -> bool {
        let reports = take_reports(self.socket.as_fd());
        self.refused(reports.into());
        reports > 0
    }
}
