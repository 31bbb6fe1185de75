//! The checks that the fuzz targets make. Those that need nothing but the codec are also compiled
//! into the ordinary tests of the program, where they run over random messages.

pub mod http1;
pub mod hyper_server;
pub mod proxy_protocol;
