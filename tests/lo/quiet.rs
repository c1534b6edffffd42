//! The example `quiet`: a flood wakes the listener if its filter runs in the process, and not if it runs in the kernel.

use std::process::Command;

use crate::programs::example;

/// The number before this word.
fn number_before(word: &str, line: &str) -> u32 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = words.iter().position(|found| *found == word).unwrap_or_else(|| panic!("no {word} in {line:?}"));
    words[place - 1].parse().unwrap()
}

#[test]
fn a_flood_wakes_the_listener_only_without_a_kernel_filter() {
    let output = Command::new(example("quiet")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{text}"));
    assert!(number_before("wakes", line("filter in this process")) > 1, "{text}");
    assert_eq!(number_before("wakes", line("filter in the kernel")), 1, "the wanted packet: {text}");
    let counters: Vec<&str> = text.lines().filter(|line| line.starts_with("Counters")).collect();
    assert!(counters[0].contains("kernel_refuses: false") && !counters[0].contains("rejected: 0,"), "{text}");
    assert!(counters[1].contains("rejected: 0,") && counters[1].contains("dropped: Some(200000)"), "{text}");
    assert!(text.contains("jeq #0x77616e74 jt 2 jf 5"), "the program: {text}");
}
