//! The sources that programs have named or blocked.

use super::super::case::Case;
use super::super::ears::Heard;
use super::super::report::{Check, Status, listed};
use super::super::tree::Stage;
use super::blamed;
use crate::host::groups::Source;

/// Those of the group on the interface.
fn named(case: &Case) -> Option<Vec<Source>> {
    let is_ours = |source: &&Source| source.group == case.address() && source.index == case.place.index;
    Some(case.sources.as_ref().ok()?.iter().filter(is_ours).cloned().collect())
}

fn senders(heard: &Heard) -> String {
    listed(&heard.senders.iter().map(ToString::to_string).collect::<Vec<_>>())
}

pub(super) fn source_lists(case: &Case, stage: Stage, check: &mut Check) {
    let file = case.counter("/proc/net/mcfilter {if} ", "/proc/net/mcfilter6 {if} ");
    let Some(sources) = named(case) else {
        return check.is(Status::Unknown, "The sources that programs name cannot be read.");
    };
    for source in &sources {
        let counts = format_args!("named by {}, blocked by {}", source.included, source.excluded);
        check.sees(&[file, &source.source.to_string()].concat(), &counts);
    }
    let status = blamed(stage == Stage::Source);
    if let Some(others) = case.others.as_ref().filter(|others| others.packets > 0) {
        check.saw_number("packets heard from any source", Some(0), Some(others.packets));
        return check.is_of(
            status,
            "The packets come from {}, not from the named source: ask for that one.",
            &senders(others),
        );
    }
    if case.refused_by_others() == Some(true) {
        return check.is_of(
            status,
            "Programs of this host take the group from other sources than {}: name that one there.",
            &senders(&case.heard),
        );
    }
    let is_blocked = |source: &&Source| source.excluded > 0 && case.heard.senders.contains(&source.source);
    if let Some(blocked) = sources.iter().find(is_blocked) {
        return check.is_of(
            Status::Warn,
            "A program of this host blocks {}, which sends: unblock it there.",
            &blocked.source,
        );
    }
    match (sources.is_empty(), case.order.source, case.heard.packets) {
        (true, None, _) => check.is(Status::Ok, "No program of this host names or blocks sources of the group."),
        (_, _, 1..) => check.is(Status::Ok, "The packets come from sources that are taken."),
        (_, Some(_), 0) => check.is(Status::Unknown, "Nothing came from any source while the doctor listened to all."),
        (false, None, 0) => {
            check.is(Status::Unknown, "Programs name or block sources, and no packet came to compare them with.")
        }
    }
}
