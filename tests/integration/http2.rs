//! HTTP/2 with clients: requests like any others (`exchanges`), what is refused (`refusals`), what is
//! bounded (`floods`), how it ends (`ends`), what foreign programs make of it (`foreign`), also
//! much of it at once (`load`), and WebSockets over it (`websockets`). Then the same with upstreams (`upstreams`).

mod ends;
mod exchanges;
mod floods;
mod foreign;
mod load;
mod refusals;
mod upstreams;
mod websockets;
