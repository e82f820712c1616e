//! Prints one function that calls any sender by its number, with arguments of zeros: what a fuzz target of replies needs, for every
//! call of the spec and those that come later.

use crate::encode;
use crate::model::{Role, Spec};
use crate::words::Text;

/// Prints the file: `any(number, caller, room)`, where outputs of bytes ask for as many as `room` has.
#[must_use]
pub fn print(spec: &Spec) -> String {
    let mut text = Text::default();
    text.line("// Printed by spec-gen; the source is spec/api.");
    text.line("");
    text.line("/// Numbers of all messages.");
    text.line("pub const NUMBERS: &[u16] = &[");
    for call in &spec.calls {
        text.line(format!("{},", call.number));
    }
    text.line("];");
    text.line("");
    text.line(
        "/// Calls the sender of a message with arguments of zeros; its status, `None` for a number that is none.",
    );
    text.line(format!("pub fn any(number: u16, c: &Caller, room: &mut [u8]) -> Option<{}> {{", spec.status));
    text.line("Some(match number {");
    for call in &spec.calls {
        let mut handed = vec!["c".to_string()];
        handed.extend(call.either.then(|| "true".to_string()));
        for argument in &call.arguments {
            handed.extend(match &argument.role {
                Role::Length { .. } => vec![],
                Role::Number { name, number, .. } => {
                    vec![encode::zero(spec, &crate::model::Element::Number { name: name.clone(), number: *number })]
                }
                Role::Struct(place) => vec![format!("&{}::default()", spec.structs[*place].name)],
                Role::Handle { .. } | Role::AnyHandle | Role::New { .. } => vec!["Handle::NULL".to_string()],
                Role::Out { element, .. } => vec![format!("&mut {}", encode::zero(spec, element))],
                Role::OutRun => vec!["&mut Vec::new()".to_string()],
                Role::Input { .. } => vec!["Buffer::Null".to_string()],
                Role::Output { .. } => {
                    vec!["Buffer::Reply { bytes: room.len() as u64 }".to_string(), "&mut room.to_vec()".to_string()]
                }
                Role::Run { .. } | Role::Handles { .. } => vec!["&[]".to_string()],
                Role::Text => vec!["c\"\"".to_string()],
            });
        }
        text.line(format!("{} => send::{}({}),", call.number, call.name, handed.join(", ")));
    }
    text.line("_ => return None,");
    text.line("})");
    text.line("}");
    text.finish()
}
