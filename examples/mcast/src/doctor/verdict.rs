//! The verdict: which check the tree blames, and what that means.

use super::case::{Case, Direction};
use super::checks;
use super::report::{Check, Status, Verdict};
use super::tree::{FEW, Stage};

/// All checks, and what they mean together.
#[inline(never)]
pub(super) fn of(case: &Case) -> (Vec<Check>, Verdict) {
    let stage = match case.order.direction {
        Direction::From => case.signs().verdict(),
        Direction::To => case.send_signs().verdict(),
    };
    let checks = checks::all(case, stage);
    let name = blamed(case, stage);
    let failed = checks.iter().find(|check| check.name == name && check.status == Status::Fail);
    let other = checks.iter().find(|check| check.status == Status::Fail);
    let verdict = match (stage, failed.or(other)) {
        (_, Some(check)) => Verdict { status: Status::Fail, stage: check.name, reason: check.advice.clone() },
        (Stage::Sound, None) => Verdict { status: Status::Ok, stage: "sound", reason: sound(case) },
        (Stage::Silence, None) => Verdict { status: Status::Unknown, stage: "silence", reason: silence(case) },
        (_, None) => Verdict { status: Status::Unknown, stage: "unknown", reason: undecided(case) },
    };
    (checks, verdict)
}

/// The check that looks at the stage.
fn blamed(case: &Case, stage: Stage) -> &'static str {
    match stage {
        Stage::Sound | Stage::Silence | Stage::Undecided => "",
        Stage::Link => "link",
        Stage::Carrier => "carrier",
        Stage::Ipv6 => "ipv6",
        Stage::Join | Stage::Interface => "joined-here",
        Stage::GroupLimit => "group-limit",
        Stage::ReversePath => "rp_filter",
        Stage::Buffer => "receive-buffer",
        Stage::Checksum => "checksum",
        Stage::Fragments => "fragments",
        Stage::Source => "source-lists",
        Stage::Port => "port",
        Stage::BeforeIp => "before-ip",
        Stage::FirewallIn => "firewall-in",
        Stage::Group => "group",
        Stage::Bridge if case.link().is_some_and(checks::takes_all) => "containers",
        Stage::Bridge => "bridge",
        Stage::Reports => "reports",
        Stage::Route => "route",
        Stage::SourceAddress => "source-address",
        Stage::FirewallOut => "firewall-out",
        Stage::Queue => "queue",
    }
}

fn sound(case: &Case) -> String {
    let (group, name) = (case.order.group, &case.place.name);
    match case.order.direction {
        Direction::From => {
            let senders = case.heard.senders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{} packets of {group} were heard on {name}, from {senders}.", case.heard.packets)
        }
        Direction::To => format!("This host can send to {group} by {name}."),
    }
}

fn silence(case: &Case) -> String {
    let (group, name) = (case.order.group, &case.place.name);
    if let Some(dropped @ 1..) = case.listening().grown("softnet:dropped") {
        return format!(
            "Nothing of {group} comes in on {name}, and the processors of this host dropped {dropped} packets, which may be of it: look again when there is less load."
        );
    }
    let tested = match case.looped() {
        Some(super::ears::Looped::Heard) => " A packet of this host to itself was heard, so look outside:",
        _ => " Look outside:",
    };
    format!("Nothing of {group} comes in on {name}.{tested} the sender, its TTL, and the switch between.")
}

fn undecided(case: &Case) -> String {
    match &case.joined {
        Err(error) => format!("The doctor could not listen: {error}."),
        Ok(()) if case.deaf.is_some() => format!(
            "A program holds UDP port {} and does not share it, so the doctor cannot hear beside it; the counters show no fault.",
            case.order.group.port()
        ),
        Ok(()) if case.order.direction == Direction::To => "No packet could be sent, and no check tells why.".to_owned(),
        Ok(()) if case.for_others() >= Some(FEW) => format!(
            "Nothing of {} was heard; frames come in on {} that are for another VLAN or another host: compare the VLANs.",
            case.order.group, case.place.name
        ),
        Ok(()) => format!(
            "Nothing of {} was heard, and what comes in on {} does not tell why: see the checks that say unknown.",
            case.order.group, case.place.name
        ),
    }
}
