//! Streams, which need no answer: sACN, MPEG-TS, SAP. And PTP, whose clocks talk to the group.

use std::fs::File;
use std::io::Write;

use super::{AWAY, joined, ours};
use crate::cases::hosts::two_hosts;
use crate::network::{Host, run};
use crate::programs::{Program, example, file_of, installed, python};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, off: AWAY, run };
    vec![
        case("protocols/sacn-21-universes-of-python", sacn_from_python),
        case("protocols/sacn-python-hears-us", sacn_to_python),
        case("protocols/mpegts-from-ffmpeg", mpegts_from_ffmpeg),
        case("protocols/mpegts-ffmpeg-hears-us", mpegts_to_ffmpeg),
        case("protocols/sap-from-ffmpeg", sap_from_ffmpeg),
        case("protocols/sap-ffmpeg-hears-us", sap_to_ffmpeg),
        case("protocols/ptp-times-of-sync-and-delay-request", ptp_times),
        case("protocols/ptp-linuxptp-follows-us", ptp_follows_us),
    ]
}

/// One socket may join 20 groups: the 21st universe comes by a second listener.
fn sacn_from_python(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut listening = example(&b, "sacn", &["listen", ours(trial), "1", "21"]);
    listening.says("2 listeners");
    let _python = python(&a, "sacn_peer.py", &["send", "10.0.0.1", "1", "21"]);
    // In each round of packets they come in order.
    for universe in 1..=21 {
        listening.says(&format!("universe {universe}: [{universe}, {universe}, {universe}, {universe}] from 10.0.0.1:5568"));
    }
}

fn sacn_to_python(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut python = python(&a, "sacn_peer.py", &["listen", "10.0.0.1", "7"]);
    python.says("ready");
    let _sending = example(&b, "sacn", &["send", ours(trial), "7"]);
    python.says("7 20");
}

/// Lets ffmpeg on this host send some seconds of a test picture to this address.
fn ffmpeg_sends(host: &Host, seconds: &str, format: &str, to: &str) -> Program {
    let picture = "-nostdin -loglevel error -re -f lavfi -i testsrc=size=160x120:rate=25 -c:v mpeg2video -t";
    installed(host, "ffmpeg", &picture.split(' ').chain([seconds, "-f", format, to]).collect::<Vec<_>>())
}

/// Lets ffprobe on this host count the pictures of a stream, until it pauses for a second.
fn ffprobe(host: &Host, from: &str, options: &[&str]) -> Program {
    let count =
        "-loglevel error -analyzeduration 300000 -count_frames -show_entries stream=codec_name,nb_read_frames -of csv=p=0";
    installed(host, "ffprobe", &count.split(' ').chain(options.iter().copied()).chain([from]).collect::<Vec<_>>())
}

const STREAM: &str = "239.1.1.1:5000";

fn mpegts_from_ffmpeg(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut receiving = example(&b, "mpegts", &["receive", ours(trial), STREAM]);
    receiving.says("listening");
    let _ffmpeg = ffmpeg_sends(&a, "1", "mpegts", "udp://239.1.1.1:5000?localaddr=10.0.0.1&pkt_size=1316");
    receiving.says(" cells, 0 gaps, Some(0) packets dropped");
}

fn mpegts_to_ffmpeg(trial: &Trial) {
    let (a, b) = two_hosts();
    let film = format!("/run/film-{}.ts", a.name());
    run(&format!("ffmpeg -loglevel error -f lavfi -i testsrc=size=160x120:rate=25 -t 2 -c:v mpeg2video {film}"));
    let mut ffprobe = ffprobe(&b, "udp://239.1.1.1:5000?localaddr=10.0.0.2&timeout=1000000", &[]);
    joined(&b, STREAM);
    let mut sending = example(&a, "mpegts", &["send", ours(trial), STREAM, "200"]);
    let mut input = File::open(film).unwrap();
    std::io::copy(&mut input, sending.input()).unwrap();
    sending.close_input();
    ffprobe.says("mpeg2video,50");
}

fn sap_from_ffmpeg(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut listening = example(&b, "sap", &["listen", ours(trial)]);
    listening.says("listening");
    let _ffmpeg = ffmpeg_sends(&a, "1", "sap", "sap://239.1.1.1:5004?announce_addr=224.2.127.254&ttl=1");
    let announced = listening.says("10.0.0.1:");
    assert!(announced.contains("c=IN IP4 239.1.1.1") && announced.contains("m=video 5004"), "{announced}");
    // At its end it takes the announcement back.
    listening.says("a session has ended");
}

/// We announce the stream, and ffmpeg sends it: ffprobe finds it only by the announcement.
fn sap_to_ffmpeg(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut ffprobe = ffprobe(&b, "sap://224.2.127.254?localaddr=10.0.0.2", &["-read_intervals", "%+#20"]);
    joined(&b, "224.2.127.254:9875");
    let mut announcing = example(&a, "sap", &["announce", ours(trial), "A film", "239.1.1.1:5004"]);
    announcing.says("announced");
    let _ffmpeg = ffmpeg_sends(&a, "3", "rtp_mpegts", "rtp://239.1.1.1:5004?localaddr=10.0.0.1&ttl=1");
    ffprobe.says("mpeg2video,");
}

/// Starts a clock of linuxptp on this host.
fn ptp4l(host: &Host, role: &str) -> Program {
    let path = format!("/run/ptp-{}", host.name());
    let common = std::fs::read_to_string(file_of("ptp.conf")).unwrap();
    write!(File::create(format!("{path}.conf")).unwrap(), "{common}{role} 1\nuds_address {path}\n").unwrap();
    installed(host, "ptp4l", &["-i", "eth0", "-m", "-q", "-l", "7", "-f", &format!("{path}.conf")])
}

/// Two clocks of linuxptp talk to each other. On each host we hear what comes from the other one, on a port that we share with the
/// clock of this host.
fn ptp_times(trial: &Trial) {
    let (a, b) = two_hosts();
    let [mut on_master, mut on_slave] = [&a, &b].map(|host| example(host, "ptp", &["listen", ours(trial)]));
    let (_master, mut slave) = (ptp4l(&a, "masterOnly"), ptp4l(&b, "slaveOnly"));
    for (listening, message) in [(&mut on_slave, "sync "), (&mut on_master, "delay request ")] {
        let heard = listening.says(message);
        assert!(heard.contains("received at Some(") && heard.contains("read Some("), "no time: {heard}");
    }
    slave.says("LISTENING to UNCALIBRATED");
}

/// linuxptp chooses us as its master, and measures the way by our answers.
fn ptp_follows_us(trial: &Trial) {
    let (a, b) = two_hosts();
    let _clock = example(&a, "ptp", &["serve", ours(trial)]);
    let mut slave = ptp4l(&b, "slaveOnly");
    slave.says("selected best master clock 6d756c.7469.636173");
    slave.says("delay   filtered ");
}
