//! The front's report, read: a head and rows of named words, kept as they came so that a newer front's words are shown too.

use std::fmt::Write;

/// What is text in JSON; all else is a number.
const TEXTS: [&str; 5] = ["version", "device", "carrier", "program", "state"];

/// Names and values in order.
pub(super) type Words = Vec<(String, String)>;

/// One report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The front's own.
    pub(super) head: Words,
    /// One a session.
    pub(super) rows: Vec<Words>,
}

/// A value by its name.
pub(super) fn word<'a>(words: &'a Words, name: &str) -> &'a str {
    words.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// A number by its name; 0 where there is none.
pub(super) fn number(words: &Words, name: &str) -> u64 {
    word(words, name).parse().unwrap_or(0)
}

impl Report {
    /// Reads a report; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Report> {
        let mut lines = text.lines();
        let head = words(lines.next()?, "front")?;
        let rows = lines.map(|line| words(line, "session")).collect::<Option<Vec<Words>>>()?;
        (number(&head, "sessions") == rows.len() as u64).then_some(Report { head, rows })
    }

    /// One object, on a line.
    pub(super) fn json(&self) -> String {
        let mut text = String::from("{");
        object(&mut text, &self.head);
        text.push_str(", \"rows\": [");
        for (at, row) in self.rows.iter().enumerate() {
            text.push_str(if at == 0 { "{" } else { ", {" });
            object(&mut text, row);
            text.push('}');
        }
        text.push_str("]}\n");
        text
    }
}

fn words(line: &str, about: &str) -> Option<Words> {
    let mut words = line.split('\t');
    if words.next() != Some(about) {
        return None;
    }
    words
        .map(|word| {
            let (name, value) = word.split_once('=')?;
            let is_sound = TEXTS.contains(&name) || value.parse::<f64>().is_ok_and(f64::is_finite);
            is_sound.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn object(text: &mut String, words: &Words) {
    for (at, (name, value)) in words.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        quote(text, name);
        text.push_str(": ");
        if TEXTS.contains(&name.as_str()) { quote(text, value) } else { text.push_str(value) }
    }
}

/// A text of JSON's.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            letter if letter.is_control() => {
                // A string takes whatever is written.
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const TEXT: &str = "front\tversion=0.1.0\tdevice=cpu\tage_s=1.5\tsessions=1\n\
        session\tcarrier=local\tsession=2\tprogram=a\"\\\tprocess=7\tworker=9\tstate=open\tage_s=0.5\tposted=10\n";

    #[test]
    fn report_when_read_then_json_has_its_names_and_escapes_its_texts() {
        let report = Report::parse(TEXT).expect("a report");
        let expected = "{\"version\": \"0.1.0\", \"device\": \"cpu\", \"age_s\": 1.5, \"sessions\": 1, \"rows\": [\
            {\"carrier\": \"local\", \"session\": 2, \"program\": \"a\\\"\\\\\", \"process\": 7, \"worker\": 9, \
            \"state\": \"open\", \"age_s\": 0.5, \"posted\": 10}]}\n";
        assert_eq!(report.json(), expected);
    }

    #[test]
    fn report_when_cut_or_of_something_else_then_is_none() {
        let bad = ["", "HTTP/1.1 400", "front\tsessions=1\n", "front\tsessions=x\n", "front\tsessions=0\nother\ta=1\n"];
        for text in bad {
            assert_eq!(Report::parse(text), None, "{text:?}");
        }
        assert_eq!(Report::parse(&TEXT[..TEXT.len() - 60]), None);
    }
}
