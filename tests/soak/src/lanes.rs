//! What the workers do in turns.

mod churn;
mod fan;
mod handles;
mod questions;

use multicast::Group;

use crate::ledger::{GOAL, Ledger, Result};

/// One worker has several lanes, each with groups and ports of its own.
pub trait Lane {
    fn name(&self) -> &'static str;

    /// Sends some ten thousand packets, and checks that all of them are accounted for.
    fn turn(&mut self, ledger: &Ledger) -> Result<()>;

    /// How much of its goal it has reached: that of the kind which has seen the fewest packets.
    fn progress(&self, ledger: &Ledger) -> f64;
}

fn part(packets: u64) -> f64 {
    packets as f64 / GOAL as f64
}

/// All lanes of the worker with this number.
pub fn all(worker: u8) -> Result<Vec<Box<dyn Lane>>> {
    let port = |lane: u16| 10_000 + u16::from(worker) * 1_000 + lane;
    let v4 = |lane: u8| Group::new([239, 77, worker, lane], port(lane.into())).map_err(|error| error.to_string());
    let v6 = |lane: u8| {
        let text = format!("[ff15::77:{worker:x}:{lane:x}]:{}", port(lane.into()));
        text.parse::<Group>().map_err(|error| error.to_string())
    };
    let mut lanes: Vec<Box<dyn Lane>> = vec![
        Box::new(fan::Fan::whole("every listener, IPv4", v4(1)?)?),
        Box::new(fan::Fan::whole("every listener, IPv6", v6(2)?)?),
    ];
    for place in 0..4 {
        lanes.push(Box::new(fan::Fan::of_one_sender("one sender, IPv4", v4(10 + place)?, place.into())?));
        lanes.push(Box::new(fan::Fan::of_one_sender("one sender, IPv6", v6(20 + place)?, place.into())?));
    }
    lanes.push(Box::new(fan::Fan::own_sender("a listener's own sender", v4(30)?)?));
    lanes.push(Box::new(questions::Questions::new("questions", v4(31)?)?));
    lanes.push(Box::new(questions::Questions::new("v6 questions", v6(32)?)?));
    lanes.push(Box::new(handles::Handles::new(v4(33)?)?));
    lanes.push(Box::new(churn::Churn::new("join and leave", v4(34)?)?));
    lanes.push(Box::new(churn::Churn::new("v6 join and leave", v6(35)?)?));
    Ok(lanes)
}
