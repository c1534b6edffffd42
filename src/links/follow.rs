//! Applies each change to all followers.

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
    /// How many interfaces all followers joined and left, and how many of their memberships, and of the senders, now wait for an
    /// interface, address or route. If one has failed, [`pending`](Applied::pending) is never 0.
    pub applied: Applied,
    /// How often a sender got another interface or source address, or the one that it waited for.
    pub renewed: usize,
    /// The first error of joining (see [`ListeningSocket::join`]), or of setting a sender again. The other memberships and senders were
    /// still handled. The failed one stays as it was. The next call of [`Links::follow`] tries it again, also if nothing has changed: so call
    /// it again after a time, for example after a second, if the reason may pass (no free descriptor). If you read changes yourself, apply
    /// [`Change::Overrun`] after a time. A sender of a listener that
    /// [`Bind::Interface`](crate::Bind::Interface) pins to an interface which was deleted returns
    /// [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface) whenever it is tried.
    pub failed: Option<Error>,
    /// Whether there may be more changes to read, since one call reads at most 64 times. A level-triggered poller reports the
    /// [`Links`] again; with an edge-triggered one, call again.
    pub more: bool,
}

/// A value that [`Links::follow`] applies changes to: a book with its listener ([`Memberships::with`]), a [`Sender`](crate::Sender), a
/// [`Multicaster`](crate::Multicaster), or several of them in a tuple, an array or a slice.
///
/// This trait is sealed. To handle changes yourself, read them with [`Links::next`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot follow changes",
    note = "give `book.with(&mut listener)`, a sender, a multicaster, or a tuple, an array or a slice of those: `&mut vec[..]`"
)]
pub trait Follow: sealed::Follows {}

impl<T: sealed::Follows + ?Sized> Follow for T {}

pub(super) mod sealed {
    use super::{Change, Followed};

    pub trait Follows {
        /// Applies the change, and adds the result to `followed`.
        fn follow(&mut self, change: &Change, followed: &mut Followed);

        /// Tries again what may have failed, and adds the result to `followed`.
        fn retry(&mut self, followed: &mut Followed);

        /// How many memberships and senders wait for an interface, address or route.
        fn pending(&self) -> usize;

        /// On how many interfaces memberships are not joined because of a limit.
        fn over_limit(&self) -> usize {
            0
        }
    }
}

impl Links {
    /// Reads changes, and applies each to all followers. It never blocks, and reads at most 64 times.
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
    /// A sender or multicaster follows its interface on the same socket: the items of a multicaster stay. When the interface is created
    /// again, gets its address late, or gets another one, packets leave on the new one, with its address. As long as the interface, its
    /// address or its route is missing, sending returns an error, and nothing leaves on another interface. A multicaster on
    /// [`Interface::Default`](crate::Interface::Default) follows the route to its group, and so does the sender of a listener that is
    /// bound to a group. Other senders on it have nothing to follow, since the routing table decides for each packet.
    ///
    /// ```no_run
    /// # use multicast::{Bind, Group, Interface, Links, ListenOptions, Membership, Memberships, SendOptions};
    /// # let group: Group = "239.1.2.3:5000".parse()?;
    /// let (eth0, mut links): (Interface, _) = ("eth0".parse()?, Links::watch()?);
    /// let mut listener = ListenOptions::new().bind::<1500>(Bind::Later(group))?;
    /// let mut book = Memberships::<1>::new();
    /// book.join(Membership::any(group).on(eth0), &mut listener)?;
    /// let options = SendOptions::new().interface(eth0).later();
    /// let (mut sender, mut caster) = (options.open(group.family())?, options.packets(group, ["one", "two"])?);
    ///
    /// // Whenever `links` is readable:
    /// let followed = links.follow(&mut (book.with(&mut listener), &mut sender, &mut caster))?;
    /// println!("{} senders were set again, {} followers wait", followed.renewed, followed.applied.pending);
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// Give a multicaster itself: its [`sender`](crate::Multicaster::sender) alone does not know the group.
    ///
    /// # Errors
    /// What the kernel reports of this socket. Errors of joining, and of setting a sender again, are in [`Followed::failed`].
    pub fn follow<T: Follow + ?Sized>(&mut self, followers: &mut T) -> Result<Followed> {
        let (mut followed, mut reads) = (Followed::default(), BUDGET);
        // No change may come that concerns the one that failed.
        if self.has_failed {
            followers.retry(&mut followed);
            self.has_failed = followed.failed.is_some();
        }
        // It does not end before every message that was read is handled: the descriptor does not become readable for them again.
        followed.more = loop {
            match self.advance(&mut reads)? {
                Step::Change(change) => {
                    followers.follow(&change, &mut followed);
                    // Now: reading may fail before the call ends.
                    self.has_failed |= followed.failed.is_some();
                }
                Step::Nothing => break false,
                Step::Paused => break true,
            }
        };
        followed.count(followers);
        Ok(followed)
    }
}

impl Change {
    /// Applies this change to all followers: for those who read changes themselves, with [`Links::next`]. Otherwise use
    /// [`Links::follow`].
    ///
    /// Errors of joining, and of setting a sender again, are in [`Followed::failed`].
    pub fn apply<T: Follow + ?Sized>(&self, followers: &mut T) -> Followed {
        let mut followed = Followed::default();
        followers.follow(self, &mut followed);
        followed.count(followers);
        followed
    }
}

impl Followed {
    fn count<T: Follow + ?Sized>(&mut self, followers: &T) {
        self.applied.pending = followers.pending().max(self.failed.is_some().into());
        self.applied.over_limit = followers.over_limit();
    }
}

/// A book and its listener.
struct With<'f, F, const N: usize> {
    book: &'f mut Memberships<N>,
    listener: &'f mut Inner<F>,
}

impl<const N: usize> Memberships<N> {
    /// This book with the listener whose memberships it holds, for [`Links::follow`].
    pub fn with<'f, B, F: Filter>(&'f mut self, listener: &'f mut ListeningSocket<B, F>) -> impl Follow + use<'f, B, F, N> {
        With { book: self, listener: listener.inner_mut() }
    }
}

impl<F: Filter, const N: usize> sealed::Follows for With<'_, F, N> {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        let result = self.book.apply_to(change, self.listener, &mut followed.applied);
        if let (Err(error), None) = (result, &followed.failed) {
            followed.failed = Some(error);
        }
    }

    fn retry(&mut self, followed: &mut Followed) {
        let result = self.book.retry(self.listener, &mut followed.applied);
        if let (Err(error), None) = (result, &followed.failed) {
            followed.failed = Some(error);
        }
    }

    fn pending(&self) -> usize {
        self.book.pending().count()
    }

    fn over_limit(&self) -> usize {
        self.book.over_limit()
    }
}

impl<T: sealed::Follows + ?Sized> sealed::Follows for &mut T {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        (**self).follow(change, followed);
    }

    fn retry(&mut self, followed: &mut Followed) {
        (**self).retry(followed);
    }

    fn pending(&self) -> usize {
        (**self).pending()
    }

    fn over_limit(&self) -> usize {
        (**self).over_limit()
    }
}

impl<T: sealed::Follows> sealed::Follows for [T] {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        for follower in self {
            follower.follow(change, followed);
        }
    }

    fn retry(&mut self, followed: &mut Followed) {
        for follower in self {
            follower.retry(followed);
        }
    }

    fn pending(&self) -> usize {
        self.iter().fold(0, |pending, follower| pending.saturating_add(follower.pending()))
    }

    fn over_limit(&self) -> usize {
        self.iter().fold(0, |sum, follower| sum.saturating_add(follower.over_limit()))
    }
}

impl<T: sealed::Follows, const N: usize> sealed::Follows for [T; N] {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        self.as_mut_slice().follow(change, followed);
    }

    fn retry(&mut self, followed: &mut Followed) {
        self.as_mut_slice().retry(followed);
    }

    fn pending(&self) -> usize {
        self.as_slice().pending()
    }

    fn over_limit(&self) -> usize {
        self.as_slice().over_limit()
    }
}

macro_rules! follow_as_tuple {
    ($($name:ident $place:tt),+) => {
        impl<$($name: sealed::Follows),+> sealed::Follows for ($($name,)+) {
            fn follow(&mut self, change: &Change, followed: &mut Followed) {
                $(self.$place.follow(change, followed);)+
            }

            fn retry(&mut self, followed: &mut Followed) {
                $(self.$place.retry(followed);)+
            }

            fn pending(&self) -> usize {
                0_usize$(.saturating_add(self.$place.pending()))+
            }

            fn over_limit(&self) -> usize {
                0_usize$(.saturating_add(self.$place.over_limit()))+
            }
        }
    };
}

follow_as_tuple!(A 0);
follow_as_tuple!(A 0, B 1);
follow_as_tuple!(A 0, B 1, C 2);
follow_as_tuple!(A 0, B 1, C 2, D 3);
