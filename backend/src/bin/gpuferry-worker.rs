//! `gpuferry-worker`: see [`gpuferry_backend::worker`].

use gpuferry_backend::worker::{self, router};

fn main() {
    worker::main(router::load)
}
