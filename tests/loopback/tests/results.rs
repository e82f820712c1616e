//! The same results over the local carrier as from the library directly, and as from a real GPU.

use std::collections::BTreeMap;
use std::path::Path;

use loopback::{Folder, Front, Way, differences, errors, finish, lines, program};

fn battery(way: Way<'_>, folder: &Folder) -> Vec<String> {
    let output = finish(&mut program("battery", way, folder));
    assert!(output.status.success(), "{:?}: {}\n{:?}", output.status, errors(&output), lines(&output).last());
    lines(&output)
}

#[test]
fn battery_when_run_on_the_cpu_device_then_answers_as_a_real_gpu() {
    let folder = Folder::new();
    let found: Vec<String> =
        battery(Way::Direct, &folder).into_iter().filter(|line| !line.starts_with("device: ")).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/expected/battery.txt");
    let text = std::fs::read_to_string(file).expect("the measure");
    let wanted: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert!(wanted == found, "{}", differences(&wanted, &found));
}

#[test]
fn battery_when_run_over_the_local_carrier_then_gives_the_lines_of_a_direct_run() {
    let (folder, front) = (Folder::new(), Front::start());
    let wanted = battery(Way::Direct, &folder);
    let found = battery(Way::Local(&front), &folder);
    assert!(wanted == found, "{}", differences(&wanted, &found));
}

#[test]
fn battery_when_workers_have_contexts_ahead_then_gives_the_same_lines() {
    let (folder, front) = (Folder::new(), Front::with(&["--prestart-contexts", "--prestart", "2"]));
    let wanted = battery(Way::Direct, &folder);
    let found = battery(Way::Local(&front), &folder);
    assert!(wanted == found, "{}", differences(&wanted, &found));
}

#[test]
fn picture_when_painted_over_the_local_carrier_then_is_the_expected_one() {
    let (folder, front) = (Folder::new(), Front::start());
    let (expected, painted) = (folder.path("expected.png"), folder.path("painted.png"));
    let made = finish(program("picture-expected", Way::Direct, &folder).arg("--output").arg(&expected));
    assert!(made.status.success(), "{}", errors(&made));
    for way in [Way::Direct, Way::Local(&front)] {
        let made = finish(program("picture", way, &folder).arg("--output").arg(&painted));
        assert!(made.status.success(), "{}", errors(&made));
        let same = finish(program("picture-expected", Way::Direct, &folder).arg("--same").arg(&painted).arg(&expected));
        assert!(same.status.success(), "{}", errors(&same));
    }
}

#[test]
fn kernels_when_they_print_then_their_lines_stand_among_the_programs_own() {
    let (folder, front) = (Folder::new(), Front::start());
    let wanted: Vec<String> = "before device-1-thread-0 device-1-thread-1 device-1-thread-2 after-cuCtxSynchronize \
        device-2-thread-0 device-3-thread-0 after-cuStreamSynchronize device-4-thread-0 after-cuEventSynchronize \
        device-5-thread-0 after-cuMemcpyDtoH device-6-thread-0 after-cuMemcpyHtoD device-7-thread-0 after-cuMemFree \
        device-8-thread-0 device-8-thread-1 end"
        .split_whitespace()
        .map(|line| line.replace('-', " "))
        .collect();
    for way in [Way::Direct, Way::Local(&front)] {
        let output = finish(&mut program("prints", way, &folder));
        assert!(output.status.success(), "{}", errors(&output));
        assert!(lines(&output) == wanted, "{}", differences(&wanted, &lines(&output)));
    }
}

#[test]
fn kernel_when_an_assertion_fails_then_its_message_is_on_the_programs_standard_error() {
    let (folder, front) = (Folder::new(), Front::start());
    for way in [Way::Direct, Way::Local(&front)] {
        let output = finish(program("prints", way, &folder).arg("--assert"));
        assert_eq!(lines(&output), ["device 1 thread 0", "cuCtxSynchronize: 710"], "{}", errors(&output));
        assert_eq!(errors(&output), "file:7: wrong: block: [0,0,0], thread: [0,0,0] Assertion `never` failed.\n");
    }
}

#[test]
fn kernels_when_they_print_without_end_then_the_worker_keeps_what_it_says() {
    let (folder, front) = (Folder::new(), Front::start());
    let output = finish(program("prints", Way::Local(&front), &folder).args(["--flood", "80000"]));
    assert!(output.status.success(), "{}", errors(&output));
    // 16 MiB for the guest, what it had fetched before those were full, and the program's own two lines.
    let printed = output.stdout.len() - "before\nafter\n".len();
    assert!((16 << 20..17 << 20).contains(&printed), "{printed}");
    assert!(output.stdout.starts_with(b"before\ndevice 1") && output.stdout.ends_with(b"after\n"));
}

#[test]
fn processes_when_many_run_at_once_then_each_gets_its_own_results() {
    let (folder, front) = (Folder::new(), Front::start());
    let wanted = lines(&finish(program("battery", Way::Direct, &folder).args(["--only", "threads"])));
    assert!(!wanted.is_empty(), "nothing to compare with");
    let found = std::thread::scope(|scope| {
        let one = || lines(&finish(program("battery", Way::Local(&front), &folder).args(["--only", "threads"])));
        let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|thread| thread.join().expect("a result")).collect::<Vec<_>>()
    });
    for found in found {
        assert!(found == wanted, "{}", differences(&wanted, &found));
    }
}

#[test]
fn stats_when_asked_for_then_count_calls_by_class_and_bytes_each_way() {
    let (folder, front) = (Folder::new(), Front::start());
    let (stats, painted) = (folder.path("stats.json"), folder.path("painted.png"));
    let mut command = program("picture", Way::Local(&front), &folder);
    let made = finish(command.arg("--output").arg(&painted).env("GPUFERRY_STATS", &stats));
    assert!(made.status.success(), "{}", errors(&made));
    let text = std::fs::read_to_string(&stats).expect("stats");
    let numbers: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
        .filter_map(|(name, value)| Some((name.trim_matches('"'), value.parse().ok()?)))
        .collect();
    // The picture is 1024 x 768 pixels of 4 bytes, each way.
    for (name, least) in
        [("local", 1), ("posted", 5), ("waited", 2), ("bytes_to_host", 3 << 20), ("bytes_to_guest", 3 << 20)]
    {
        assert!(numbers.get(name).is_some_and(|&number| number >= least), "{name} is not {least} or more in {text}");
    }
    assert!(text.contains("\"unsupported\": {}"), "{text}");
}

fn wide(way: Way<'_>, folder: &Folder, group: &str) -> Vec<String> {
    let output = finish(program("wide", way, folder).arg(group));
    assert!(output.status.success(), "{group}: {}", errors(&output));
    lines(&output)
}

#[test]
fn several_devices_when_reached_over_the_local_carrier_then_give_the_lines_of_a_direct_run() {
    let (folder, front) = (Folder::new(), Front::with(&["--device", "cpu"]));
    let run = |way| {
        let output = finish(program("several", way, &folder).env("GPUFERRY_CPU_DEVICES", "2"));
        assert!(output.status.success(), "{}", errors(&output));
        // Its workers do not share memory of the CPU device.
        lines(&output).into_iter().filter(|line| !line.starts_with("ipc")).collect::<Vec<_>>()
    };
    let (direct, local) = (run(Way::Direct), run(Way::Local(&front)));
    assert!(direct == local, "{}", differences(&direct, &local));
    // The other way round they are two devices as well, and one is no pair.
    let chosen = |list| finish(program("several", Way::Local(&front), &folder).env("CUDA_VISIBLE_DEVICES", list));
    let turned = lines(&chosen("1,0")).into_iter().filter(|line| !line.starts_with("ipc")).collect::<Vec<_>>();
    assert!(direct == turned, "{}", differences(&direct, &turned));
    for list in ["1", "0,2,1", "", "1,1"] {
        assert!(!chosen(list).status.success(), "{list:?}");
    }
}

fn of_programs(name: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/expected").join(name);
    let text = std::fs::read_to_string(file).expect("the measure");
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn recordings_when_made_over_the_local_carrier_then_are_held_to_the_rules_of_a_real_gpu() {
    let (folder, front) = (Folder::new(), Front::start());
    let (wanted, found) = (of_programs("recordings.txt"), wide(Way::Local(&front), &folder, "recordings"));
    assert!(wanted == found, "{}", differences(&wanted, &found));
}

#[test]
fn external_memory_when_imported_over_the_local_carrier_then_is_what_it_is_on_a_real_gpu() {
    let (folder, front) = (Folder::new(), Front::start());
    let (wanted, found) = (of_programs("external.txt"), wide(Way::Local(&front), &folder, "external"));
    assert!(wanted == found, "{}", differences(&wanted, &found));
}

#[test]
fn threads_when_they_take_turns_over_the_local_carrier_then_the_device_keeps_their_order() {
    let (folder, front) = (Folder::new(), Front::start());
    let found = wide(Way::Local(&front), &folder, "order");
    let wanted = [
        "order: copies that failed: 0",
        "order: words that have arrived: 2001",
        "order: event, waited for with no context: 0",
        "order: event, asked for with no context: 0",
        "order: read at once: 5",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn threads_when_each_has_a_queue_of_its_own_then_the_test_of_their_order_sees_it() {
    let (folder, front) = (Folder::new(), Front::start());
    let found = wide(Way::Local(&front), &folder, "order of queues");
    let arrived = found[1].strip_prefix("order of queues: words that have arrived: ").expect("a count");
    // The first word is there, and some more by luck: one step before its time ends them.
    assert!(arrived.parse::<usize>().is_ok_and(|count| (1..2001).contains(&count)), "{found:?}");
}

#[test]
fn wide_when_run_over_the_local_carrier_then_differs_from_a_direct_run_only_where_it_is_known() {
    let (folder, front) = (Folder::new(), Front::start());
    let mut found = Vec::new();
    let groups = [
        "graphs",
        "graph copies",
        "areas",
        "sharing",
        "nests",
        "nests in themselves",
        "asides",
        "green",
        "green, of no resource",
        "older",
        "older, a place before the first",
    ];
    for group in groups {
        let (direct, local) = (wide(Way::Direct, &folder, group), wide(Way::Local(&front), &folder, group));
        assert_eq!(direct.len(), local.len(), "{group}: {}", differences(&direct, &local));
        let differs = direct.iter().zip(&local).filter(|(direct, local)| direct != local);
        found.extend(differs.map(|(direct, local)| format!("{direct} -> {}", local.rsplit(": ").next().unwrap_or(""))));
    }
    let known = of_programs("wide-known.txt");
    assert!(known == found, "{}", differences(&known, &found));
}
