//! `mcast watch` on `lo`: what it tells of streams, of ffmpeg and of our own, and its alarms.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use multicast::Group;
use serde_json::{Value, json};

use crate::common::{is_installed, send_all, send_on_lo, unique_group, unique_v6_group};
use crate::mcast::mcast as command;
use crate::programs::{Running, run, wait_for_member};
use crate::streams::{Ffmpeg, Relay, cells, next_object, objects, only_source, pick, rtp, total, wait_until_read, watch};

/// A source that keeps its port.
fn send(caster: &mut impl FnMut(Vec<u8>), packets: impl IntoIterator<Item = Vec<u8>>) {
    packets.into_iter().for_each(caster);
}

/// Sends single packets to a group from one port.
fn source(group: Group) -> impl FnMut(Vec<u8>) {
    let mut sender = send_on_lo().open(group.family()).unwrap();
    move |packet| while sender.send(&packet, group).unwrap() != multicast::Outcome::Sent {}
}

#[test]
fn wrong_values_are_usage_errors_with_their_reason() {
    for (arguments, reason) in [
        (&["--interval", "0.05"][..], "--interval: give 0.10 or more"),
        (&["--gone", "0"], "--gone: give 0.10 or more"),
        (&["--alarm-silence", "soon"], "--alarm-silence soon: give seconds"),
        (&["--alarm-silence", "0"], "--alarm-silence: give 0.01 or more"),
        (&["--alarm-loss=101"], "--alarm-loss=101: give a percentage"),
        (&["--alarm-loss", "1"], "unexpected argument: 1"),
        (&["--clock-rate", "0"], "--clock-rate 0: give 1 to"),
        (&["--metrics", "here"], "--metrics: here: give ADDRESS:PORT"),
        (&["--to", "239.1.2.3:5000"], "--to"),
    ] {
        run(command(["watch"]).args(arguments)).expect(2).saying(reason).saying("mcast watch --help");
    }
}

#[test]
fn the_example_of_the_help_runs() {
    let help = run(&mut command(["help", "watch"])).expect(0).quietly();
    // With a group of its own: another test sends to that of the examples.
    let example = help.lines.last().unwrap().replace("239.1.2.3:5000", &unique_group().to_string());
    let example = example.trim().strip_prefix("mcast ").unwrap();
    // Nothing comes, so nothing was heard: and no alarm is due within a second.
    run(&mut command(example.split(' '))).expect(3).saying("nothing was heard");
}

#[test]
fn losses_of_an_rtp_stream_of_ffmpeg_are_counted_as_they_were_caused() {
    if !is_installed("ffmpeg") {
        return;
    }
    let group = unique_group();
    let watching = watch(group, &["--json", "--alarm-loss"]);
    let mut relay = Relay::losing(group, 10, 3);
    Ffmpeg::sending(3, "rtp_mpegts", &format!("rtp://127.0.0.1:{}", relay.port)).end();
    let (sent, lost) = relay.end();
    assert!(lost > 5, "the relay lost {lost} packets");
    // The alarm is raised while it runs.
    let alarm = next_object(&watching, "alarm");
    assert_eq!(pick(&alarm, ["alarm", "state", "group"]), json!(["loss", "raised", group.to_string()]));
    wait_until_read(group);
    watching.signal("INT");
    let ended = watching.end().expect(4).saying("alarm: ").saying("packets lost").saying("alarms that were raised: 1");
    let source = only_source(&ended);
    assert_eq!(pick(&source, ["format", "received_packets"]), json!(["rtp+mpegts", sent]));
    let rtp = &source["rtp"];
    assert_eq!(pick(rtp, ["received_packets", "lost_packets", "gaps"]), json!([sent, lost, lost]), "{rtp}");
    assert_eq!(pick(rtp, ["payload_type", "reordered_packets", "duplicate_packets"]), json!([33, 0, 0]));
    assert!(rtp["jitter_us"].as_f64().unwrap() > 0.0, "{rtp}");
    let mpegts = &source["mpegts"];
    assert!(mpegts["continuity_errors"].as_u64().unwrap() >= lost, "{mpegts}");
    assert_eq!(mpegts["explained_errors"], mpegts["continuity_errors"], "all of them come from the relay");
}

/// The continuity errors that tshark finds in a file, by PID.
fn errors_that_tshark_finds(file: &std::path::Path) -> Vec<(u64, u64)> {
    let output =
        Command::new("tshark").arg("-r").arg(file).args(["-Y", "mp2t.cc.drop", "-T", "fields", "-e", "mp2t.pid"]).output();
    let output = output.expect("tshark is needed for the tests against the wire: install it");
    let mut errors: Vec<(u64, u64)> = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let pid = u64::from_str_radix(line.trim_start_matches("0x"), 16).unwrap();
        match errors.iter_mut().find(|(known, _)| *known == pid) {
            Some((_, count)) => *count += 1,
            None => errors.push((pid, 1)),
        }
    }
    errors.sort_unstable();
    errors
}

#[test]
fn continuity_errors_of_a_transport_stream_of_ffmpeg_are_those_that_tshark_finds() {
    if !is_installed("tshark") || !is_installed("ffmpeg") {
        return;
    }
    let group = unique_group();
    let watching = watch(group, &["--json"]);
    let mut relay = Relay::losing(group, 7, 2);
    Ffmpeg::sending(3, "mpegts", &format!("udp://127.0.0.1:{}?pkt_size=1316", relay.port)).end();
    let (sent, lost) = relay.end();
    assert!(lost > 5, "the relay lost {lost} packets");
    let expected = errors_that_tshark_finds(&relay.file);
    wait_until_read(group);
    watching.signal("TERM");
    let ended = watching.end().expect(143);
    let source = only_source(&ended);
    assert_eq!(pick(&source, ["format", "received_packets"]), json!(["mpegts", sent]));
    let mpegts = &source["mpegts"];
    let pids = mpegts["pids"].as_array().unwrap();
    let number = |pid: &Value, key: &str| pid[key].as_u64().unwrap();
    let errors: Vec<_> = pids.iter().map(|pid| (number(pid, "pid"), number(pid, "continuity_errors"))).collect();
    assert_eq!(errors.iter().filter(|(_, errors)| *errors > 0).copied().collect::<Vec<_>>(), expected, "{mpegts}");
    assert!(expected.iter().map(|(_, count)| count).sum::<u64>() >= lost, "{expected:?}");
    assert_eq!(mpegts["sync_errors"], 0);
    assert!(mpegts["pcr_jitter_us"].as_f64().unwrap() > 0.0, "{mpegts}");
}

#[test]
fn reordered_duplicate_and_late_packets_are_told_apart_from_lost_ones() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--limit", "98"]);
    // 6 comes twice, 8 after 9, and 5 when it is no longer waited for. 20 and 21 do not come.
    let numbers = [1, 2, 3, 4, 6, 6, 7, 9, 8].into_iter().chain(10..20).chain(22..100).chain([5]);
    send_all(group, numbers.map(|number| rtp(7, number)));
    let rtp = &only_source(&watching.end().expect(0))["rtp"];
    assert_eq!(pick(rtp, ["ssrc", "received_packets", "lost_packets", "gaps"]), json!([7, 96, 3, 2]), "{rtp}");
    assert_eq!(pick(rtp, ["reordered_packets", "duplicate_packets", "late_packets", "jumps"]), json!([1, 1, 1, 0]), "{rtp}");
}

#[test]
fn a_sender_that_starts_again_is_another_ssrc_and_one_that_jumps_is_a_jump() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--alarm-loss=50", "--limit", "40"]);
    let mut sends = source(group);
    send(&mut sends, (0..10).map(|number| rtp(1, number)));
    send(&mut sends, (100..110).map(|number| rtp(2, number)));
    send(&mut sends, (40_000..40_020).map(|number| rtp(2, number)));
    let ended = watching.end().expect(4).saying("how much is lost is unknown");
    let rtp = &only_source(&ended)["rtp"];
    assert_eq!(pick(rtp, ["ssrc_changes", "jumps", "lost_packets"]), json!([1, 1, 0]), "{rtp}");
}

#[test]
fn an_alarm_of_a_percentage_needs_more_loss_than_that() {
    for (percent, code) in [("--alarm-loss=50", 0), ("--alarm-loss=1.5", 4), ("--alarm-loss", 4)] {
        let group = unique_group();
        let watching = watch(group, &["--json", percent, "--limit", "98"]);
        send_all(group, (0..100).filter(|number| number % 50 != 30).map(|number| rtp(1, number)));
        let ended = watching.end().expect(code);
        assert_eq!(total(&ended)["groups"][0]["loss_alarms"], u64::from(code == 4));
    }
}

#[test]
fn silence_is_an_alarm_and_its_end_is_told() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--alarm-silence", "0.5"]);
    let alarm = next_object(&watching, "alarm");
    assert_eq!(pick(&alarm, ["alarm", "state", "source"]), json!(["silence", "raised", null]));
    assert!(alarm["silent_us"].as_u64().unwrap() >= 500_000, "{alarm}");
    send_all(group, ["something"]);
    let alarm = next_object(&watching, "alarm");
    assert_eq!(pick(&alarm, ["alarm", "state"]), json!(["silence", "over"]));
    assert_eq!(next_object(&watching, "alarm")["state"], "raised");
    watching.signal("TERM");
    let ended =
        watching.end().expect(4).saying("alarm: ").saying("silent for 0.").saying("alarm over: ").saying("heard again");
    assert_eq!(pick(&total(&ended), ["alarms", "received_packets"]), json!([2, 1]));
}

#[test]
fn alarms_are_printed_also_with_quiet_and_nothing_else_is() {
    let group = unique_group();
    let ended = watch(group, &["--quiet", "--alarm-silence", "0.2", "--timeout", "0.7"]).end().expect(4);
    assert_eq!(ended.errors.lines().count(), 2, "{ended:?}");
    assert!(ended.errors.starts_with(&format!("mcast: alarm: {group} on lo: silent for 0.")), "{ended:?}");
}

#[test]
fn without_an_alarm_the_status_is_that_of_the_end() {
    let group = unique_group();
    watch(group, &["--alarm-silence", "60", "--timeout", "0.3"]).end().expect(3).saying("nothing was heard");
    let watching = watch(group, &["--alarm-silence", "60"]);
    send_all(group, ["something"]);
    assert!(watching.line().ends_with(": came"));
    watching.signal("INT");
    watching
        .end()
        .expect(130)
        .saying("received 1 from 1 sources, dropped here 0, by this host's backlog ")
        .saying(", alarms 0");
}

#[test]
fn sources_come_go_and_come_back() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--gone", "0.1"]);
    let mut sends = source(group);
    sends(b"one".to_vec());
    let came = next_object(&watching, "source");
    assert_eq!(came["event"], "came");
    let gone = next_object(&watching, "source");
    assert_eq!(pick(&gone, ["event", "source"]), json!(["gone", came["source"]]));
    sends(b"two".to_vec());
    let back = next_object(&watching, "source");
    assert_eq!(pick(&back, ["event", "source"]), json!(["back", came["source"]]));
    watching.signal("TERM");
    assert_eq!(only_source(&watching.end().expect(143))["received_packets"], 2);
}

#[test]
fn more_sources_than_there_is_room_for_are_counted_and_said_once() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--limit", "210"]);
    for _ in 0..70 {
        send_all(group, ["one", "two", "three"]);
    }
    let ended = watching.end().expect(0).saying("too many sources");
    assert_eq!(ended.errors.matches("too many sources").count(), 1, "{ended:?}");
    let total = total(&ended);
    let group = &total["groups"][0];
    assert_eq!(group["sources"].as_array().unwrap().len(), 64);
    assert_eq!(pick(group, ["received_packets", "beyond_packets"]), json!([210, 18]));
    assert_eq!(objects(&ended, "source").len(), 65, "64 that came, and one for which there was no room");
}

/// What strangers send: one half of them packets of MPEG-TS with these PIDs, and the other one RTP with as many SSRCs.
fn send_much(senders: &mut [impl FnMut(Vec<u8>)], pids: std::ops::Range<u16>) {
    for (number, sends) in senders.iter_mut().enumerate() {
        if number % 2 == 0 {
            for pid in pids.clone().step_by(7) {
                sends((pid..pid + 7).flat_map(|pid| cells(pid, 0)[..188].to_vec()).collect());
            }
        } else {
            for ssrc in pids.clone() {
                // Half of them long enough to count as RTP.
                let packets = if ssrc % 2 == 0 { 4 } else { 1 };
                send(sends, (0..packets).map(|packet| rtp(ssrc.into(), packet)));
            }
        }
    }
}

/// The memory of a process, in kB.
fn memory(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn strangers_cannot_use_up_its_memory() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--metrics", "0"]);
    let mut senders: Vec<_> = (0..40).map(|_| source(group)).collect();
    let after = [0..400, 400..800, 800..1_200, 1_200..1_600].map(|pids| {
        send_much(&mut senders, pids);
        // Others, until there is no room for more.
        send_much(&mut [(); 10].map(|()| source(group)), 0..14);
        wait_until_read(group);
        // The text for --metrics, which is made once a second, is part of it.
        std::thread::sleep(Duration::from_millis(1_500));
        memory(&watching)
    });
    // Without the limit of PIDs it grows by 15,000, without that of SSRCs by 4,800; with both by 1,400, which the allocator keeps.
    assert!(after[0] < 20_000 && after[3] < after[0] + 3_500, "{after:?} kB");
    watching.signal("TERM");
    let ended = watching.end().expect(143);
    let total = total(&ended);
    assert!(total["groups"][0]["beyond_packets"].as_u64().unwrap() > 0, "{total}");
}

#[test]
fn a_total_that_is_longer_than_a_pipe_is_complete_also_after_a_signal() {
    let group = unique_group();
    let from = group.to_string();
    let mut command = command(["watch", "--interface", "lo", "--from", &from, "--json", "--interval", "60"]);
    let (watching, mut output) = Running::start_unread(&mut command);
    wait_for_member(group);
    send_much(&mut [(); 24].map(|()| source(group)), 0..250);
    wait_until_read(group);
    watching.signal("TERM");
    // The pipe is full, and the reader is late.
    std::thread::sleep(Duration::from_millis(500));
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["kind"] == "total" && text.len() > 100_000 && text.ends_with('\n'), "{} bytes", text.len());
    watching.end().expect(143);
}

#[test]
fn a_report_is_a_line_with_rates_and_what_the_stream_is() {
    let group = unique_group();
    let watching = watch(group, &["--interval", "0.2"]);
    assert!(watching.line().starts_with(&format!("{group}%lo silent 0.")), "a silent group is reported, too");
    let mut sends = source(group);
    send(&mut sends, (0..10).map(|number| cells(0x100, number * 7)));
    let line = loop {
        let line = watching.line();
        if line.contains("packets/s") {
            break line;
        }
    };
    assert!(line.starts_with(&format!("{group}%lo 127.0.0.1:")), "{line}");
    assert!(
        line.contains(" mpegts packets ") && line.contains(" kbit/s") && line.ends_with(" pids 1 continuity 0"),
        "{line}"
    );
    wait_until_read(group);
    watching.signal("TERM");
    let ended = watching.end().expect(143);
    let last = ended.lines.last().unwrap();
    assert!(last.starts_with(&format!("total {group}%lo ")) && last.contains(" packets 10 bytes 13160 "), "{last}");
}

#[test]
fn several_groups_of_both_families_are_told_apart() {
    let (one, two) = (unique_group(), unique_v6_group(5));
    let watching = watch(one, &["--from", &two.to_string(), "--json", "--limit", "5"]);
    wait_for_member(two);
    send_all(one, ["one", "two"]);
    send_all(two, ["three", "four", "five"]);
    let total = total(&watching.end().expect(0));
    let packets = [0, 1].map(|number| pick(&total["groups"][number], ["group", "received_packets"]));
    assert_eq!(packets, [json!([one.to_string(), 2]), json!([two.to_string(), 3])]);
}

#[test]
fn a_terminal_shows_a_table_and_alarms_stand_above_it() {
    // `script` gives it a terminal; standard output goes to a file.
    let group = unique_group();
    let line =
        format!("{} watch --interface lo --from {group} --alarm-silence 1.2 --timeout 2.5", env!("CARGO_BIN_EXE_mcast"));
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &line, "/dev/null"]).env("TERM", "xterm");
    let shown = Running::start(&mut script);
    let ended = shown.end().expect(4);
    let text = ended.lines.join("\n");
    assert!(text.contains("GROUP") && text.contains("\x1b[J") && text.contains("\x1b[2A"), "{text:?}");
    assert!(text.matches(&group.to_string()).count() >= 3, "{text:?}");
    assert!(text.contains(&format!("mcast: alarm: {group} on lo: silent for ")), "{text:?}");
    assert!(ended.time >= Duration::from_secs(2));
}

#[cfg(not(feature = "plot"))]
#[test]
fn a_plot_needs_a_feature_that_the_error_names() {
    run(&mut command(["watch", "--plot", "plot.svg"])).expect(2).saying("cargo build -p mcast --features plot");
}

#[cfg(feature = "plot")]
#[test]
fn a_plot_shows_each_source_also_if_a_signal_ends_it() {
    let group = unique_group();
    let file = std::env::temp_dir().join(format!("mcast-watch-{}.svg", group.port()));
    let watching = watch(group, &["--plot", file.to_str().unwrap()]);
    send_all(group, (0..50).chain(60..100).map(|number| rtp(1, number)));
    let line = loop {
        let line = watching.line();
        if line.contains(" lost 10 ") {
            break line;
        }
    };
    watching.signal("TERM");
    watching.end().expect(143);
    let plot = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let source = line.split(' ').nth(2).unwrap();
    for words in ["<svg ", "Mbit/s", "Jitter, ms", &format!("{group} on lo from {source}"), "</svg>"] {
        assert!(plot.contains(words), "{words} is not in {plot}");
    }
    let nowhere = ["watch", "--interface", "lo", "--from", &group.to_string(), "--plot", "/nowhere/plot.svg"];
    run(&mut command(nowhere)).expect(1).saying("--plot /nowhere/plot.svg: No such file or directory");
}
