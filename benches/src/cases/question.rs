//! Questions and answers between two processors, with the same kind of peer at both ends: a question to the group, and the answer to
//! the port that asked. Wall-clock time, the median of many.
//!
//! The answer is sent to the packet's source, as in C. `ours-reply` answers by `Sender::reply`, which keeps to the link and the address of the
//! question, and asks the kernel for that.

use super::{Bench, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::worker::{Job, Worker};
use crate::workshop::Program;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let peers = [rust(Program::Release, "ours"), rust(Program::Release, "ours-reply"), c("c-epoll", "epoll")];
    let questions = bench.plan.round_trips;
    let columns = interleave(
        &bench.precise(),
        &peers,
        |peer| {
            let (answerer, group) = bench.receiver("answer", peer, SMALL, 1)?;
            let asker = Worker::start(peer, &Job { task: "ask", cpu: bench.sender_cpu, group, size: SMALL, number: 1 })?;
            Ok((asker, answerer))
        },
        |_, (asker, answerer)| {
            answerer.tell(&questions.to_string())?;
            let answer = asker.work(questions)?;
            answerer.answer()?;
            bench.sample(asker, &answer, questions, SMALL)
        },
    )?;
    Ok(vec![Series { case: format!("question/{SMALL}"), unit: "ns a question", subject: "ours", columns }])
}
