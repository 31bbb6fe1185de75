//! The data plane over real sockets: a raw client on one side, a raw upstream on the other that shows
//! the exact bytes it got.

mod echo;
mod ends;
mod headers;
mod life;
mod messages;
mod observed;
mod refusals;
mod slow;
mod support;
mod tcp;
mod upgrades;
mod uploads;
