//! Each change, given to all who follow.

use super::change::Change;
use super::memberships::{Applied, Memberships};
use super::{BUDGET, Links, Step};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::listener::{Inner, ListeningSocket};

/// What one call of [`Links::follow`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether joining failed, and whether there is more to follow"]
pub struct Followed {
    /// How many interfaces were joined and left by all who follow, and how many memberships wait for their interface, address or
    /// route now.
    pub applied: Applied,
    /// The first error that joining met, as of [`ListeningSocket::join`]. All other memberships were handled all the same, and the
    /// failed one is tried again at the next change that concerns it.
    pub failed: Option<Error>,
    /// Whether there may be more changes, which were not read yet: one call reads 64 times at most. A level-triggered poller reports
    /// the [`Links`] again; with an edge-triggered one, call again.
    pub more: bool,
}

/// What follows changes: a book with its listener ([`Memberships::with`]), and several of those as a tuple, an array or a slice.
///
/// You cannot implement it. For anything else read the changes with [`Links::next`].
pub trait Follow: sealed::Follow {}

impl<T: sealed::Follow + ?Sized> Follow for T {}

mod sealed {
    use super::{Change, Followed};

    pub trait Follow {
        /// Does what the change calls for, and adds to what was done.
        fn follow(&mut self, change: &Change, followed: &mut Followed);

        /// How many memberships wait for their interface, address or route.
        fn pending(&self) -> usize;
    }
}

impl Links {
    /// Reads what has changed, and gives each change to all who follow. It never blocks, and reads 64 times at most.
    ///
    /// ```no_run
    /// # use multicast::{Bind, Group, Links, ListenOptions, Membership, Memberships};
    /// # let (one, two): (Group, Group) = ("239.1.2.3:5000".parse()?, "239.1.2.4:5000".parse()?);
    /// let mut links = Links::watch()?;
    /// let mut first = ListenOptions::new().bind::<1500>(Bind::Later(one))?;
    /// let mut second = ListenOptions::new().bind::<1500>(Bind::Later(two))?;
    /// let (mut book, mut other) = (Memberships::<1>::new(), Memberships::<1>::new());
    /// book.join(Membership::any(one).on("eth0".parse()?), &mut first)?;
    /// other.join(Membership::any(two).on("wlan0".parse()?), &mut second)?;
    ///
    /// // Whenever `links` is readable:
    /// let followed = links.follow(&mut (book.with(&mut first), other.with(&mut second)))?;
    /// if let Some(error) = followed.failed {
    ///     eprintln!("{error}");
    /// }
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the kernel reports of the watching socket. What joining meets is in [`Followed::failed`].
    pub fn follow<T: Follow + ?Sized>(&mut self, followers: &mut T) -> Result<Followed> {
        let (mut followed, mut reads) = (Followed::default(), BUDGET);
        // It ends where all that was read is handled: the descriptor does not become readable for what is left of that.
        followed.more = loop {
            match self.advance(&mut reads)? {
                Step::Change(change) => followers.follow(&change, &mut followed),
                Step::Nothing => break false,
                Step::Paused => break true,
            }
        };
        followed.applied.pending = followers.pending();
        Ok(followed)
    }
}

/// A book and its listener.
struct With<'f, F, const N: usize> {
    book: &'f mut Memberships<N>,
    listener: &'f mut Inner<F>,
}

impl<const N: usize> Memberships<N> {
    /// This book with the listener whose memberships are in it, to be given to [`Links::follow`].
    pub fn with<'f, B, F: Filter>(&'f mut self, listener: &'f mut ListeningSocket<B, F>) -> impl Follow + use<'f, B, F, N> {
        With { book: self, listener: listener.inner_mut() }
    }
}

impl<F: Filter, const N: usize> sealed::Follow for With<'_, F, N> {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        let result = self.book.apply_to(change, self.listener, &mut followed.applied);
        if let (Err(error), None) = (result, &followed.failed) {
            followed.failed = Some(error);
        }
    }

    fn pending(&self) -> usize {
        self.book.pending().count()
    }
}

impl<T: sealed::Follow> sealed::Follow for [T] {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        for follower in self {
            follower.follow(change, followed);
        }
    }

    fn pending(&self) -> usize {
        self.iter().fold(0, |pending, follower| pending.saturating_add(follower.pending()))
    }
}

impl<T: sealed::Follow, const N: usize> sealed::Follow for [T; N] {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        self.as_mut_slice().follow(change, followed);
    }

    fn pending(&self) -> usize {
        self.as_slice().pending()
    }
}

macro_rules! follow_as_tuple {
    ($($name:ident $place:tt),+) => {
        impl<$($name: sealed::Follow),+> sealed::Follow for ($($name,)+) {
            fn follow(&mut self, change: &Change, followed: &mut Followed) {
                $(self.$place.follow(change, followed);)+
            }

            fn pending(&self) -> usize {
                0_usize$(.saturating_add(self.$place.pending()))+
            }
        }
    };
}

follow_as_tuple!(A 0);
follow_as_tuple!(A 0, B 1);
follow_as_tuple!(A 0, B 1, C 2);
follow_as_tuple!(A 0, B 1, C 2, D 3);
