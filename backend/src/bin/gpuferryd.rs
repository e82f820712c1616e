//! `gpuferryd`: see [`gpuferry_backend::front`].

fn main() -> std::process::ExitCode {
    gpuferry_backend::front::main()
}
