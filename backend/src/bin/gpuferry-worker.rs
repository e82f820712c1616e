//! `gpuferry-worker`: see [`gpuferry_backend::worker`].

use gpuferry_backend::worker::{self, Library, LoadError, Settings};

/// The API that this build serves.
fn load(settings: &Settings) -> Result<Box<dyn Library>, LoadError> {
    Err(format!("this build of gpuferry-worker has no API for device {}: build one with it", settings.device).into())
}

fn main() {
    worker::main(load)
}
