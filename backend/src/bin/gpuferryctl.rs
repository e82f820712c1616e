//! `gpuferryctl`: see [`gpuferry_backend::ctl`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gpuferry_backend::ctl::main()
}
