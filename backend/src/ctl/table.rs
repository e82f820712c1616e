//! A report as a table for people.

use super::report::{Report, Words, number, word};

/// Counted since the session began: heading, and name in the report.
const COUNTS: [(&str, &str); 6] = [
    ("POSTED", "posted"),
    ("WAITED", "waited"),
    ("SLEEPING", "sleeping"),
    ("DOORBELLS", "doorbells"),
    ("PARKS", "parks"),
    ("INTERRUPTS", "wakes"),
];
/// The same, in bytes.
const BYTES: [(&str, &str); 2] = [("COPIED", "copied"), ("LEASED", "leased")];

/// The table. Where it is `watched` counts are those of a second, since the `last` report or since the session began.
pub(super) fn show(report: &Report, last: Option<&Report>, watched: bool) -> String {
    let mut rows = vec![heading(watched)];
    rows.extend(report.rows.iter().map(|row| {
        let is_same =
            |other: &&Words| ["carrier", "session", "process", "worker"].iter().all(|n| word(other, n) == word(row, n));
        cells(row, last.and_then(|last| last.rows.iter().find(is_same)), watched)
    }));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let of = |name| word(&report.head, name);
    let mut text = format!(
        "gpuferryd {} on {}, up {}, {} sessions\n",
        of("version"),
        of("device"),
        age(of("age_s")),
        of("sessions")
    );
    for row in &rows {
        // Names to the left, numbers to the right.
        let cell = |(at, (cell, width)): (usize, (&String, &usize))| {
            if at < 3 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        };
        let line: Vec<String> = row.iter().zip(&widths).enumerate().map(cell).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn heading(watched: bool) -> Vec<String> {
    let plain = ["SESSION", "PROGRAM", "STATE", "WORKER", "AGE", "MEMORY"].map(str::to_owned);
    let counts =
        COUNTS.iter().chain(&BYTES).map(|(head, _)| if watched { format!("{head}/s") } else { (*head).to_owned() });
    plain.into_iter().chain(counts).collect()
}

fn cells(row: &Words, last: Option<&Words>, watched: bool) -> Vec<String> {
    let seconds = |words: &Words| word(words, "age_s").parse::<f64>().unwrap_or(0.0);
    let time = (seconds(row) - last.map_or(0.0, seconds)).max(0.1);
    let count = |name: &str| {
        let more =
            number(row, name).saturating_sub(if watched { last.map_or(0, |last| number(last, name)) } else { 0 });
        if watched { (more as f64 / time) as u64 } else { more }
    };
    let worker = word(row, "worker");
    let mut cells = vec![
        format!("{} {}", word(row, "carrier"), word(row, "session")),
        format!("{}[{}]", word(row, "program"), word(row, "process")),
        word(row, "state").to_owned(),
        if worker == "0" { "-".to_owned() } else { worker.to_owned() },
        age(word(row, "age_s")),
        size(number(row, "device_memory")),
    ];
    cells.extend(COUNTS.iter().map(|(_, name)| count(name).to_string()));
    cells.extend(BYTES.iter().map(|(_, name)| size(count(name))));
    cells
}

fn age(seconds: &str) -> String {
    let seconds = seconds.parse::<f64>().unwrap_or(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let name = units.get(unit).unwrap_or(&"");
    if unit == 0 || value >= 100.0 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(posted: u64, age: &str) -> Report {
        let text = format!(
            "front\tversion=0.1.0\tdevice=cpu\tage_s=300\tsessions=1\nsession\tcarrier=local\tsession=2\tprogram=train\t\
             process=7\tworker=9\tstate=open\tage_s={age}\tdevice_memory=1610612736\tposted={posted}\tcopied=2048\n"
        );
        Report::parse(&text).expect("a report")
    }

    #[test]
    fn table_when_shown_once_then_has_what_was_counted() {
        let text = show(&report(1000, "10.0"), None, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "gpuferryd 0.1.0 on cpu, up 5 min, 1 sessions");
        assert!(lines[1].starts_with("SESSION  PROGRAM   STATE  WORKER   AGE   MEMORY  POSTED"), "{}", lines[1]);
        assert!(lines[2].starts_with("local 2  train[7]  open        9  10 s  1.5 GiB    1000"), "{}", lines[2]);
        assert!(lines[2].ends_with("2.0 KiB     0 B"), "{}", lines[2]);
    }

    #[test]
    fn table_when_watched_then_counts_are_of_a_second() {
        let text = show(&report(3000, "12.0"), Some(&report(1000, "10.0")), true);
        assert!(text.lines().nth(2).is_some_and(|line| line.contains(" 1000 ")), "{text}");
    }
}
