//! `mcast ping` and `mcast pong`: who answers to a group, how fast, and what is lost on which way.

mod manners;
mod packet;
mod tally;
