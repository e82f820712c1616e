//! The expressions that put a value into a payload and take it out, the same for both sides, and the structs themselves.

use crate::model::{Call, Element, Number, Role, Spec, Struct};
use crate::words::Text;

/// `w.…(value)` without the `?`.
pub(crate) fn put_number(number: Number, value: &str) -> String {
    match number {
        Number::U8 => format!("w.u8({value})"),
        Number::U16 => format!("w.u16({value})"),
        Number::U32 => format!("w.u32({value})"),
        Number::U64 => format!("w.u64({value})"),
        Number::I8 => format!("w.u8({value} as u8)"),
        Number::I16 => format!("w.u16({value} as u16)"),
        Number::I32 => format!("w.u32({value} as u32)"),
        Number::I64 | Number::Usize => format!("w.u64({value} as u64)"),
        Number::F32 => format!("w.u32(f32::to_bits({value}))"),
    }
}

/// The expression that reads a number, its `?` included.
pub(crate) fn take_number(number: Number) -> &'static str {
    match number {
        Number::U8 => "r.u8()?",
        Number::U16 => "r.u16()?",
        Number::U32 => "r.u32()?",
        Number::U64 => "r.u64()?",
        Number::I8 => "r.u8()? as i8",
        Number::I16 => "r.u16()? as i16",
        Number::I32 => "r.u32()? as i32",
        Number::I64 => "r.u64()? as i64",
        Number::Usize => "r.u64()? as usize",
        Number::F32 => "f32::from_bits(r.u32()?)",
    }
}

/// Which side is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Whose numbers travel.
    Host,
    /// Where some numbers are others.
    Guest,
}

fn is_renumbered(spec: &Spec, side: Side, name: &str) -> bool {
    side == Side::Guest && spec.aliases.iter().any(|alias| alias.is_renumbered && alias.name == name)
}

/// `w.…(value)` for a number of a named type.
pub(crate) fn put_named(spec: &Spec, side: Side, name: &str, number: Number, value: &str) -> String {
    if !is_renumbered(spec, side, name) {
        return put_number(number, value);
    }
    put_number(number, &format!("crate::device::on_host({value})"))
}

/// `w.…(value)` for any value.
pub(crate) fn put(spec: &Spec, side: Side, element: &Element, value: &str) -> String {
    match element {
        Element::Number { name, number } => put_named(spec, side, name, *number, value),
        Element::Struct(_) => format!("{value}.write(w)"),
    }
}

/// The expression that reads any value.
pub(crate) fn take(spec: &Spec, side: Side, element: &Element) -> String {
    match element {
        Element::Number { name, number } if is_renumbered(spec, side, name) => {
            format!("crate::device::here({})", take_number(*number))
        }
        Element::Number { number, .. } => take_number(*number).to_string(),
        Element::Struct(place) => format!("{}::read(r)?", spec.structs[*place].name),
    }
}

/// The type of a value as printed.
pub(crate) fn type_name<'a>(spec: &'a Spec, element: &'a Element) -> &'a str {
    match element {
        Element::Number { name, .. } => name,
        Element::Struct(place) => &spec.structs[*place].name,
    }
}

/// A value of zeros.
pub(crate) fn zero(spec: &Spec, element: &Element) -> String {
    match element {
        Element::Number { number: Number::F32, .. } => "0.0".to_string(),
        Element::Number { number, .. } => format!("0{}", number.rust()),
        Element::Struct(place) => format!("{}::default()", spec.structs[*place].name),
    }
}

/// Prints a struct with its encoding.
pub(crate) fn print_struct(spec: &Spec, side: Side, plain: &Struct, text: &mut Text) {
    declaration(spec, plain, text);
    zeros(spec, plain, text);
    text.line(format!("impl {} {{", plain.name));
    writing(spec, side, plain, text);
    reading(spec, side, plain, text);
    text.line("}");
    text.line("");
}

fn declaration(spec: &Spec, plain: &Struct, text: &mut Text) {
    text.docs(&plain.docs);
    text.line("#[repr(C)]");
    text.line("#[derive(Clone, Copy, Debug)]");
    text.line(format!("pub struct {} {{", plain.name));
    for field in &plain.fields {
        text.docs(&field.docs);
        let name = type_name(spec, &field.element);
        match field.count {
            Some(count) => text.line(format!("pub {}: [{name}; {count}],", field.name)),
            None => text.line(format!("pub {}: {name},", field.name)),
        }
    }
    text.line("}");
    text.line("");
    text.line(format!("const _: () = assert!(core::mem::size_of::<{}>() == {});", plain.name, plain.bytes));
    text.line("");
}

fn zeros(spec: &Spec, plain: &Struct, text: &mut Text) {
    text.line(format!("impl Default for {} {{", plain.name));
    text.line(format!("fn default() -> {} {{", plain.name));
    text.line(format!("{} {{", plain.name));
    for field in &plain.fields {
        let zero = zero(spec, &field.element);
        match field.count {
            Some(count) => text.line(format!("{}: [{zero}; {count}],", field.name)),
            None => text.line(format!("{}: {zero},", field.name)),
        }
    }
    text.line("}");
    text.line("}");
    text.line("}");
    text.line("");
}

fn writing(spec: &Spec, side: Side, plain: &Struct, text: &mut Text) {
    text.line("/// Writes the fields in order.");
    text.line("pub fn write(&self, w: &mut Writer<'_>) -> Result<(), Full> {");
    for field in &plain.fields {
        match field.count {
            Some(_) => {
                text.line(format!("for value in &self.{} {{", field.name));
                let value = if matches!(field.element, Element::Struct(_)) { "value" } else { "*value" };
                text.line(format!("{}?;", put(spec, side, &field.element, value)));
                text.line("}");
            }
            None => text.line(format!("{}?;", put(spec, side, &field.element, &format!("self.{}", field.name)))),
        }
    }
    text.line("Ok(())");
    text.line("}");
    text.line("");
}

fn reading(spec: &Spec, side: Side, plain: &Struct, text: &mut Text) {
    text.line("/// Reads the fields in order.");
    text.line(format!("pub fn read(r: &mut Reader<'_>) -> Result<{}, Malformed> {{", plain.name));
    // At once, as a launch's are.
    if plain.fields.iter().all(|field| field.count.is_none() && take(spec, side, &field.element) == "r.u32()?") {
        let names: Vec<&str> = plain.fields.iter().map(|field| field.name.as_str()).collect();
        text.line(format!("let [{}] = r.u32s()?;", names.join(", ")));
        text.line(format!("Ok({} {{ {} }})", plain.name, names.join(", ")));
        text.line("}");
        return;
    }
    text.line(format!("let mut value = {}::default();", plain.name));
    for field in &plain.fields {
        match field.count {
            Some(_) => {
                text.line(format!("for element in &mut value.{} {{", field.name));
                text.line(format!("*element = {};", take(spec, side, &field.element)));
                text.line("}");
            }
            None => text.line(format!("value.{} = {};", field.name, take(spec, side, &field.element))),
        }
    }
    text.line("Ok(value)");
    text.line("}");
}

/// An upper bound of a request's payload: a number, and expressions to add.
pub(crate) fn bound(spec: &Spec, call: &Call) -> (usize, Vec<String>) {
    // The offset is exact until something of varying length was written; from then on every alignment costs its worst.
    let (mut at, mut exact, mut more) = (0usize, true, Vec::new());
    let mut add = |bytes: usize, align: usize, exact: bool| {
        at = if exact { at.next_multiple_of(align) + bytes } else { at + bytes + align - 1 };
    };
    for argument in &call.arguments {
        match &argument.role {
            Role::Number { number, .. } => add(number.bytes(), number.bytes(), exact),
            Role::Struct(place) => add(spec.structs[*place].bytes, 8, exact),
            Role::Handle { .. } | Role::AnyHandle | Role::New { .. } => add(8, 8, exact),
            Role::Input { .. } | Role::Output { .. } => {
                // Place, and the longest description of one: lease, offset, length.
                add(40, 4, exact);
                more.push(format!("inline_bytes(&{})", argument.name));
                exact = false;
            }
            Role::Handles { .. } => {
                add(4, 4, exact);
                more.push(format!("{} * 8", format_args!("{}.len()", argument.name)));
                exact = false;
            }
            Role::Run { align } => {
                add(4 + align, 4, exact);
                more.push(format!("{}.len()", argument.name));
                exact = false;
            }
            Role::Text => {
                add(4, 4, exact);
                more.push(format!("{}.to_bytes().len()", argument.name));
                exact = false;
            }
            Role::Length { .. } | Role::Out { .. } | Role::OutRun => {}
        }
    }
    (at, more)
}
