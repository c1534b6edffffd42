//! The turns of peers; figures and ratios.

use crate::Outcome;
use crate::plan::Plan;
use crate::worker::{Answer, Peer};

/// The result per packet of one turn, or of all turns of a repetition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) nanoseconds: f64,
    pub(crate) allocations: f64,
    /// The share of the packets that arrived.
    pub(crate) arrived: f64,
    /// The share of a processor that it took, if packets came at a steady rate.
    pub(crate) cpu_share: Option<f64>,
}

impl Sample {
    /// `expected` packets were available.
    pub(crate) fn of(answer: &Answer, expected: u64) -> Self {
        let packets = answer.packets.max(1) as f64;
        Self {
            nanoseconds: answer.nanoseconds as f64 / packets,
            allocations: answer.allocations as f64 / packets,
            arrived: answer.packets as f64 / expected.max(1) as f64,
            cpu_share: None,
        }
    }
}

/// The results of one peer in a case: one sample per repetition.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) peer: &'static str,
    pub(crate) samples: Vec<Sample>,
}

impl Column {
    pub(crate) fn nanoseconds(&self) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.nanoseconds))
    }

    pub(crate) fn allocations(&self) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.allocations))
    }

    pub(crate) fn arrived(&self) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.arrived))
    }

    pub(crate) fn cpu_share(&self) -> Option<Spread> {
        let shares: Option<Vec<f64>> = self.samples.iter().map(|sample| sample.cpu_share).collect();
        shares.map(Spread::of)
    }
}

/// One case, measured.
#[derive(Debug)]
pub(crate) struct Series {
    /// Its name, with the size of packets after a slash.
    pub(crate) case: String,
    /// The unit of the figures.
    pub(crate) unit: &'static str,
    /// The peer that is compared with all others.
    pub(crate) subject: &'static str,
    pub(crate) columns: Vec<Column>,
}

impl Series {
    pub(crate) fn column(&self, peer: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.peer == peer)
    }

    /// The subject's figures divided by this peer's, from the same repetitions; `None` if the subject was not measured.
    pub(crate) fn ratio(&self, column: &Column) -> Option<Spread> {
        let subject = self.column(self.subject).filter(|subject| subject.peer != column.peer)?;
        let pairs = subject.samples.iter().zip(&column.samples);
        Some(Spread::of(pairs.map(|(ours, theirs)| ours.nanoseconds / theirs.nanoseconds)))
    }
}

/// The median, the minimum and the maximum of some values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// The interval that contains the true median with a probability of at least 95 percent, whatever the distribution is; all
    /// values if there are too few for that.
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { at(middle) } else { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 };
        let last = values.len().wrapping_sub(1);
        let outside = outside(values.len());
        Self { median, low: at(outside), high: at(last.wrapping_sub(outside)), min: at(0), max: at(last) }
    }
}

/// How many of this many sorted values to leave out at each end, so that the others enclose the true median with a probability of at
/// least 95 percent: each value is below it with a probability of one half, so their number has a binomial distribution.
fn outside(count: usize) -> usize {
    let (mut outside, mut chance, mut sum) = (0, 0.5_f64.powi(count as i32), 0.0);
    loop {
        sum += chance;
        if sum > 0.025 || outside >= count {
            return outside.saturating_sub(1);
        }
        outside += 1;
        chance *= (count + 1 - outside) as f64 / outside as f64;
    }
}

/// Runs the peers in turns. In each repetition all are started again, work once to warm up, and then round by round.
pub(crate) fn interleave<W>(
    plan: &Plan,
    peers: &[Peer],
    mut open: impl FnMut(&Peer) -> Outcome<W>,
    mut work: impl FnMut(&Peer, &mut W) -> Outcome<Sample>,
) -> Outcome<Vec<Column>> {
    let mut columns: Vec<Column> = peers.iter().map(|peer| Column { peer: peer.name, samples: Vec::new() }).collect();
    for repetition in 0..plan.repetitions {
        let mut workers = peers.iter().map(&mut open).collect::<Outcome<Vec<W>>>()?;
        let mut turns = vec![Vec::new(); peers.len()];
        for round in 0..=plan.rounds {
            for turn in 0..peers.len() {
                // No peer is always first, and none always follows the same one.
                let place = (turn + round) % peers.len();
                let index = if repetition % 2 == 0 { place } else { peers.len() - 1 - place };
                let sample = work(&peers[index], &mut workers[index])?;
                if round > 0 {
                    turns[index].push(sample);
                }
            }
        }
        for (column, turns) in columns.iter_mut().zip(turns) {
            column.samples.push(middle(&turns));
        }
    }
    Ok(columns)
}

/// The median of each figure.
fn middle(turns: &[Sample]) -> Sample {
    let median = |figure: fn(&Sample) -> f64| Spread::of(turns.iter().map(figure)).median;
    Sample {
        nanoseconds: median(|turn| turn.nanoseconds),
        allocations: median(|turn| turn.allocations),
        arrived: median(|turn| turn.arrived),
        cpu_share: turns.first().and_then(|turn| turn.cpu_share).map(|_| median(|turn| turn.cpu_share.unwrap_or(f64::NAN))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_the_median_leaves_out_as_many_values_as_the_binomial_distribution_allows() {
        // From tables of the sign test: 5 of 21 values are below the interval, and 5 above it.
        for (count, left_out) in [(1, 0), (5, 0), (6, 0), (9, 1), (11, 1), (13, 2), (21, 5)] {
            let spread = Spread::of((0..count).map(f64::from));
            assert_eq!(spread.low, f64::from(left_out), "{count}");
            assert_eq!(spread.high, f64::from(count - 1 - left_out), "{count}");
        }
    }
}
