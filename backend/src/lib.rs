//! The host's side of gpuferry, in the order in which a session meets it.
//!
//! [`front`] is `gpuferryd`: it talks to the VMM ([`front::device`]) and to local programs ([`front::local`]), keeps workers
//! started ([`front::nursery`]) and opens no GPU library. [`channel`] carries messages between front and worker. [`worker`]
//! is `gpuferry-worker`: it maps the session's memory ([`worker::Session`]), takes calls from the ring (`worker::ring`) and
//! makes them ([`worker::Api`]). [`ledger`] is where workers of a guest count its device memory. [`death`] is how a worker
//! tells the front why it ended. [`ctl`] is `gpuferryctl`, which asks a front what it does.
//!
//! Front and worker are two binaries of this crate because they share the window, the channel and the exit statuses.

pub mod channel;
mod complaints;
pub mod ctl;
pub mod death;
pub mod front;
pub mod ledger;
pub mod mapping;
pub mod os;
pub mod sandbox;
mod scm;
pub mod window;
pub mod worker;
