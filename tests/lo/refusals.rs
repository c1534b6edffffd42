//! Errors of the kernel for senders: devices without segmentation, older kernels, full queues. Errors of receiving are in
//! `receive_refusals.rs`.

use core::time::Duration;

use crate::common;
use crate::common::refusing::refusing;
use crate::common::segments::{assert_same, numbered};
use crate::common::{LO, on_lo, send_all, send_on_lo, unique_group};
use multicast::{Bind, COALESCING_BUFFER, Destination, ErrorKind, Family, ListenOptions, Progress, Received};

/// Sends everything in batches of three, and returns how many left at each step. The listener must receive all in order.
fn steps(packets: &[Vec<u8>]) -> Vec<usize> {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<200>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().batches::<3, _>(group, packets).unwrap();
    let mut steps = Vec::new();
    loop {
        match caster.step().unwrap() {
            Progress::Sent(count) => steps.push(count),
            Progress::Done => break,
            other => panic!("{other:?}"),
        }
    }
    let mut seen = Vec::new();
    while let Received::Packet(packet) = listener.recv().unwrap() {
        seen.push(packet.payload().to_vec());
    }
    assert_same(&seen, packets);
    steps
}

fn of_sizes(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().enumerate().map(|(number, size)| vec![number as u8; *size]).collect()
}

#[test]
fn a_device_that_cannot_segment_is_not_asked_twice() {
    // EIO and ENOPROTOOPT.
    let sets = ["sendmsg:5", "sendmsg:92"];
    if refusing("a_device_that_cannot_segment_is_not_asked_twice", &sets).is_some() {
        // The packets of the refused batch are sent one by one at once. After that no batch is tried.
        assert_eq!(steps(&of_sizes(&[100, 100, 100, 100, 100, 50, 50])), [3, 1, 1, 1, 1]);
    }
}

#[test]
fn a_size_that_the_kernel_does_not_segment_is_remembered() {
    // EMSGSIZE and EINVAL.
    let sets = ["sendmsg:90", "sendmsg:22"];
    if refusing("a_size_that_the_kernel_does_not_segment_is_remembered", &sets).is_some() {
        // Size 100 is refused once, and not tried again. Size 99 is tried, and then 98 is the limit.
        assert_eq!(steps(&of_sizes(&[100, 100, 100, 100, 100, 99, 99, 98, 99, 99])), [3, 1, 1, 3, 1, 1]);
    }
}

#[test]
fn a_kernel_without_udp_segment_never_gets_segments() {
    // Before Linux 4.18 the option is unknown, and the kernel would ignore the control message: one long packet instead of three.
    if refusing("a_kernel_without_udp_segment_never_gets_segments", &["getsockopt:92:1=17:2=103,sendmsg:1"]).is_some() {
        assert_eq!(steps(&numbered(7, 10, 0)), [1; 7]);
    }
}

#[test]
fn a_batch_too_long_for_the_queue_is_sent_one_by_one() {
    // ENOBUFS and EINTR.
    let sets = ["sendmsg:105", "sendmsg:4"];
    if refusing("a_batch_too_long_for_the_queue_is_sent_one_by_one", &sets).is_some() {
        // Batches are tried again each time, since the queue may have room.
        assert_eq!(steps(&of_sizes(&[100, 100, 100, 50])), [1; 4]);
    }
}

#[test]
fn a_batch_too_long_for_the_send_buffer_waits() {
    if refusing("a_batch_too_long_for_the_send_buffer_waits", &["sendmsg:11"]).is_some() {
        let packets = numbered(5, 10, 0);
        let mut caster = send_on_lo().batches::<4, _>(unique_group(), &packets).unwrap();
        for _ in 0..3 {
            assert_eq!(caster.step().unwrap(), Progress::Blocked);
            assert_eq!(caster.pending(), Some(&&packets[0]));
        }
        let (rest, staged) = caster.into_parts();
        assert!(staged.chain(rest).eq(&packets), "none was lost");
    }
}

#[test]
fn each_send_error_has_its_kind_and_loses_no_packet() {
    let test = "each_send_error_has_its_kind_and_loses_no_packet";
    // The rule selects by the length of the address: route queries must succeed.
    let both = |errno: i32| format!("sendto:{errno}:5=16,sendmsg:{errno}");
    let kinds = [
        (1, ErrorKind::Denied),
        (13, ErrorKind::Denied),
        (101, ErrorKind::Unreachable),
        (113, ErrorKind::Unreachable),
        (100, ErrorKind::Unreachable),
        (12, ErrorKind::Transient),
        (90, ErrorKind::TooLong),
        (19, ErrorKind::NoSuchInterface),
    ];
    let sets: Vec<_> = kinds.iter().map(|(errno, _)| both(*errno)).collect();
    let sets: Vec<_> = sets.iter().map(String::as_str).collect();
    let Some(rules) = refusing(test, &sets) else { return };
    let (errno, kind) = kinds.into_iter().find(|(errno, _)| both(*errno) == rules).unwrap();
    let packets = numbered(5, 10, 0);
    let refused = |error: multicast::Error| {
        assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(errno)), "{error}");
    };
    let mut caster = send_on_lo().batches::<4, _>(unique_group(), &packets).unwrap();
    for _ in 0..3 {
        refused(caster.step().unwrap_err());
        assert_eq!(caster.pending(), Some(&&packets[0]));
    }
    // `discard` returns the packet, and the next one is pending.
    assert_eq!(caster.discard(), Some(&packets[0]));
    refused(caster.step().unwrap_err());
    let (rest, staged) = caster.into_parts();
    assert!(staged.chain(rest).eq(&packets[1..]), "none was lost");
}

#[test]
fn a_full_device_queue_is_waited_for() {
    if refusing("a_full_device_queue_is_waited_for", &["sendto:105:5=16,sendmsg:105"]).is_some() {
        let mut caster = send_on_lo().batches::<4, _>(unique_group(), numbered(5, 10, 0)).unwrap();
        for _ in 0..3 {
            let Progress::Wait(time) = caster.step().unwrap() else { panic!("it must wait") };
            assert!(time >= Duration::from_micros(100), "{time:?} is to spin");
            assert_eq!(caster.pending().map(Vec::as_slice), Some(&[0; 10][..]));
        }
        let (rest, staged) = caster.into_parts();
        assert!(staged.chain(rest).eq(numbered(5, 10, 0)), "none was lost");
    }
}

#[test]
fn coalescing_without_udp_gro_is_an_unsupported_error() {
    if refusing("coalescing_without_udp_gro_is_an_unsupported_error", &["setsockopt:92:1=17:2=104"]).is_some() {
        let mut buffer = Box::new([0; COALESCING_BUFFER]);
        let group = unique_group();
        let error = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "set UDP_GRO: this kernel does not support it");
        let error = ListenOptions::new()
            .bind_coalescing(Bind::Port(group.port(), Family::V4), COALESCING_BUFFER, &mut buffer)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn time_stamps_work_with_the_older_option() {
    if refusing("time_stamps_work_with_the_older_option", &["setsockopt:92:1=1:2=64"]).is_some() {
        let group = unique_group();
        let mut listener = ListenOptions::new().metadata().bind::<64>(on_lo(group)).unwrap();
        send_all(group, ["x"]);
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now - packet.metadata().and_then(|metadata| metadata.received_at()).expect("a time");
        assert!(age < Duration::from_secs(5), "{age:?}");
    }
}

#[test]
fn without_so_meminfo_dropped_is_none() {
    if refusing("without_so_meminfo_dropped_is_none", &["getsockopt:92:1=1:2=55"]).is_some() {
        let listener = ListenOptions::new().bind::<64>(on_lo(unique_group())).unwrap();
        assert_eq!(listener.counters().dropped, None);
    }
}

#[test]
fn a_buffer_that_may_not_exceed_the_limit_is_granted_up_to_it() {
    // SO_RCVBUFFORCE needs CAP_NET_ADMIN.
    if refusing("a_buffer_that_may_not_exceed_the_limit_is_granted_up_to_it", &["setsockopt:1:1=1:2=33"]).is_some() {
        let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse::<usize>().unwrap();
        let granted = |bytes| {
            let listener = ListenOptions::new().receive_buffer(bytes).bind::<64>(on_lo(unique_group())).unwrap();
            listener.receive_buffer().unwrap()
        };
        assert_eq!(granted(10_000), 20_000);
        assert_eq!(granted(limit + 1), 2 * limit);
        assert_eq!(granted(usize::MAX), 2 * limit);
    }
}

#[test]
fn a_signal_at_every_call_is_an_error_and_not_a_loop_without_an_end() {
    let sets = ["sendto:4:5=16,sendmsg:4"];
    if refusing("a_signal_at_every_call_is_an_error_and_not_a_loop_without_an_end", &sets).is_some() {
        let group = unique_group();
        let mut caster = send_on_lo().packets(group, numbered(2, 10, 0)).unwrap();
        let mut batches = send_on_lo().batches::<4, _>(group, numbered(5, 10, 0)).unwrap();
        let mut sender = send_on_lo().open(Family::V4).unwrap();
        let elsewhere = Destination::from(group).on(LO).unwrap();
        for error in [
            caster.step().unwrap_err(),
            batches.step().unwrap_err(),
            sender.send(&[0; 10], group).unwrap_err(),
            sender.send(&[0; 10], elsewhere).unwrap_err(),
        ] {
            assert_eq!(error.raw_os_error(), Some(4));
            assert_eq!(error.to_string(), format!("send 10 bytes to {group}: interrupted by a signal, again and again"));
        }
        let (rest, staged) = batches.into_parts();
        assert!(staged.chain(rest).eq(numbered(5, 10, 0)), "none was lost");
    }
}

#[test]
fn a_clock_that_fails_is_an_error_where_a_rate_needs_it() {
    if refusing("a_clock_that_fails_is_an_error_where_a_rate_needs_it", &["clock_gettime:38"]).is_some() {
        let group = unique_group();
        let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let options = send_on_lo().rate(10, 1);
        let mut caster = options.packets(group, ["one", "two"]).unwrap();
        let mut sender = options.open(Family::V4).unwrap();
        for error in [caster.step().unwrap_err(), sender.send(b"three", group).unwrap_err()] {
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Unsupported, Some(38)));
            assert_eq!(error.to_string(), "read the clock: this kernel does not support it");
        }
        assert_eq!(listener.recv().unwrap(), Received::Empty);
        // Another clock is possible, and without a rate none is needed.
        assert_eq!(caster.step_at(Duration::ZERO).unwrap(), Progress::Sent(1));
        assert_eq!(caster.step_at(Duration::ZERO).unwrap(), Progress::Wait(Duration::from_millis(100)));
        send_all(group, ["three"]);
        assert_eq!([(); 2].map(|()| common::expect_packet(&mut listener)), [&b"one"[..], b"three"]);
    }
}

#[test]
fn a_dead_queue_is_given_up_whatever_the_kernel_does_not_tell() {
    // The queued bytes, the send buffer, the option for copies, and the clock.
    let all = ["ioctl:25:1=21521", "getsockopt:92:1=1:2=7", "setsockopt:92:1=0:2=34", "clock_gettime:38"];
    let sets = all.map(|rule| format!("sendto:105:5=16,{rule}"));
    let together = format!("sendto:105:5=16,{}", all.join(","));
    let sets: Vec<&str> = sets.iter().map(String::as_str).chain([together.as_str()]).collect();
    if refusing("a_dead_queue_is_given_up_whatever_the_kernel_does_not_tell", &sets).is_some() {
        let begin = std::time::Instant::now();
        let options = send_on_lo().give_up_after(Duration::from_secs(1));
        let mut caster = options.packets(unique_group(), ["one", "two"]).unwrap();
        let mut sender = options.open(Family::V4).unwrap();
        let group = unique_group();
        let (mut of_caster, mut of_sender) = (None, None);
        while of_caster.is_none() || of_sender.is_none() {
            of_caster = of_caster.or(caster.step().err());
            of_sender = of_sender.or(sender.send(b"three", group).err());
            assert!(begin.elapsed() < common::PATIENCE, "it never ends");
            std::thread::sleep(Duration::from_millis(10));
        }
        for error in [of_caster, of_sender].into_iter().flatten() {
            assert_eq!(error.kind(), ErrorKind::QueueRefused);
        }
        assert_eq!(caster.pending(), Some(&"one"));
    }
}
