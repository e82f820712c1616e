//! Prints how each function of an API is carried, as a Markdown table for `docs/coverage`.

use crate::model::{Call, Spec};

fn how(call: &Call) -> &'static str {
    match (call.waits, call.either) {
        (true, _) => "waited for",
        (_, true) => "posted, or waited for",
        _ => "posted",
    }
}

fn first_line(docs: &[String]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Prints the table: a line a function, by name.
#[must_use]
pub fn print(spec: &Spec) -> String {
    let is_the_apis = |name: &str| !name.starts_with(crate::OWN_PREFIX);
    let calls = spec.calls.iter().filter(|call| is_the_apis(&call.name));
    let mut rows: Vec<[String; 3]> =
        calls.map(|call| [call.name.clone(), how(call).to_string(), first_line(&call.docs)]).collect();
    let locals = spec.locals.iter();
    rows.extend(locals.map(|local| [local.named.name.clone(), "in the guest".to_string(), first_line(&local.docs)]));
    rows.sort();
    let mut text = String::from("| function | message of its own | what becomes of it |\n|---|---|---|\n");
    for [name, how, what] in rows {
        text.push_str(&format!("| `{name}` | {how} | {what} |\n"));
    }
    text
}
