//! `gpuferry-worker`: see [`gpuferry_backend::worker`].

use gpuferry_backend::worker::{self, cuda};

fn main() {
    worker::main(cuda::load)
}
