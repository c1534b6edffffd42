//! Which of the standard streams were open when the program was started.
//!
//! Rust opens `/dev/null` for reading and writing in the place of a closed one, before `main`. After that it cannot be distinguished
//! from a `/dev/null` that the user gave. So this looks before.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

static INPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);
static OUTPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

ctor::declarative::ctor! {
    // What runs before `main` must not rely on it: this makes two system calls and stores what they say.
    #[ctor(unsafe)]
    fn look() {
        INPUT_IS_CLOSED.store(is_closed(&io::stdin()), Ordering::Relaxed);
        OUTPUT_IS_CLOSED.store(is_closed(&io::stdout()), Ordering::Relaxed);
    }
}

fn is_closed(stream: &impl AsFd) -> bool {
    rustix::io::fcntl_getfd(stream) == Err(rustix::io::Errno::BADF)
}

pub(crate) fn input_is_closed() -> bool {
    INPUT_IS_CLOSED.load(Ordering::Relaxed)
}

pub(crate) fn output_is_closed() -> bool {
    OUTPUT_IS_CLOSED.load(Ordering::Relaxed)
}
