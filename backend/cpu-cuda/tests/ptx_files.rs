//! Compiles every kernel of PTX files that are not in the repository, and says what is missing:
//! `PTX_FILES=a.ptx:b.ptx cargo test -p cpu-cuda --test ptx_files -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)] // a failure is the run's

#[path = "ptx/host.rs"]
mod host;

use std::time::Instant;

use host::Host;

#[test]
#[ignore = "needs PTX_FILES"]
fn files_named_in_the_environment_compile() {
    let mut bad = 0;
    for file in std::env::var("PTX_FILES").unwrap_or_default().split(':').filter(|f| !f.is_empty()) {
        let text = std::fs::read_to_string(file).unwrap();
        let host = Host::new();
        let start = Instant::now();
        let module = match host.try_load(&text) {
            Ok(module) => module,
            Err(e) => {
                println!("{file}: {e}");
                bad += 1;
                continue;
            }
        };
        println!("{file}: {} functions read in {:?}", module.functions().len(), start.elapsed());
        for (index, info) in module.functions().iter().enumerate().filter(|(_, f)| f.is_entry) {
            let start = Instant::now();
            match module.compile(index) {
                Ok(()) => println!("  {}: {} registers, {:?}", info.name, info.registers, start.elapsed()),
                Err(e) => {
                    println!("  {}: {e}", info.name);
                    bad += 1;
                }
            }
        }
    }
    assert_eq!(bad, 0, "failures");
}
