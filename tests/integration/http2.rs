//! HTTP/2 with clients: requests like any others (`exchanges`), what is refused (`refusals`), what is
//! bounded (`floods`), how it ends (`ends`), and what foreign programs make of it (`foreign`).

mod ends;
mod exchanges;
mod floods;
mod foreign;
mod refusals;
