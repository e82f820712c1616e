//! Numbers, kinds of handles and structs.

use super::attributes::{self, HandleWords};
use super::{Meaning, Read};
use crate::model::{Alias, Constant, Element, Field, Kind, Named, Number, Spec, Struct};
use std::collections::HashMap;
use syn::spanned::Spanned;

/// Reads an item of the file, but for the methods of a trait.
pub(super) fn item(item: &syn::Item, spec: &mut Spec, names: &mut HashMap<String, Meaning>) -> Read<()> {
    match item {
        syn::Item::Const(constant) => self::constant(constant, spec, names),
        syn::Item::Type(alias) => self::alias(alias, spec, names),
        syn::Item::Struct(plain) => self::plain_struct(plain, spec, names),
        syn::Item::Trait(chapter) => chapter.items.iter().try_for_each(|member| match member {
            syn::TraitItem::Type(kind) => self::kind(kind, spec, names),
            syn::TraitItem::Fn(_) => Ok(()),
            other => Err((other.span(), "a chapter holds kinds of handles and calls".to_string())),
        }),
        other => Err((other.span(), "a spec holds constants, types, structs and traits".to_string())),
    }
}

fn take_name(ident: &syn::Ident, meaning: Meaning, names: &mut HashMap<String, Meaning>) -> Read<String> {
    let name = ident.to_string();
    let builtin = Number::by_name(&name).is_some() || name == "Handle";
    if builtin || names.insert(name.clone(), meaning).is_some() {
        return Err((ident.span(), format!("the type `{name}` is there already")));
    }
    Ok(name)
}

/// The number that a type is, with its name as spelled.
pub(super) fn number(ty: &syn::Type, names: &HashMap<String, Meaning>) -> Option<(String, Number)> {
    let name = type_name(ty)?;
    match names.get(&name) {
        Some(Meaning::Number(number)) => Some((name, *number)),
        Some(_) => None,
        None => Number::by_name(&name).map(|number| (name, number)),
    }
}

/// The name that a type consists of.
pub(super) fn type_name(ty: &syn::Type) -> Option<String> {
    match ty {
        syn::Type::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
}

/// What a value of a type consists of: a number or a struct.
pub(super) fn element(ty: &syn::Type, names: &HashMap<String, Meaning>) -> Read<Element> {
    if let Some((name, number)) = number(ty, names) {
        return Ok(Element::Number { name, number });
    }
    let name = type_name(ty).ok_or((ty.span(), "here stands the name of a number or a struct".to_string()))?;
    match names.get(&name) {
        Some(Meaning::Struct(place)) => Ok(Element::Struct(*place)),
        Some(_) => Err((ty.span(), format!("`{name}` is a handle; here stands a number or a struct"))),
        None => Err((ty.span(), format!("unknown type `{name}`"))),
    }
}

fn constant(item: &syn::ItemConst, spec: &mut Spec, names: &HashMap<String, Meaning>) -> Read<()> {
    let is_status = type_name(&item.ty).is_some_and(|name| name == spec.status);
    let number = if is_status { Some(Number::I32) } else { number(&item.ty, names).map(|(_, number)| number) };
    let number = number.ok_or((item.ty.span(), "a constant is a number".to_string()))?;
    let value = written(&item.expr).ok_or((item.expr.span(), "a constant's value is written down".to_string()))?;
    let name = item.ident.to_string();
    if spec.constants.iter().any(|other| other.name == name) {
        return Err((item.ident.span(), format!("the constant `{name}` is there already")));
    }
    spec.constants.push(Constant { docs: attributes::docs(&item.attrs), name, number, value, is_status });
    Ok(())
}

/// A whole number as it is written, perhaps with a minus.
fn written(expr: &syn::Expr) -> Option<String> {
    match expr {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(value), .. }) => Some(value.base10_digits().to_string()),
        syn::Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr, .. }) => Some(format!("-{}", written(expr)?)),
        _ => None,
    }
}

fn alias(item: &syn::ItemType, spec: &mut Spec, names: &mut HashMap<String, Meaning>) -> Read<()> {
    let (_, number) = number(&item.ty, names).ok_or((item.ty.span(), "a type stands for a number".to_string()))?;
    let name = take_name(&item.ident, Meaning::Number(number), names)?;
    let mut is_renumbered = false;
    for (attribute, at) in attributes::named(&item.attrs)? {
        match attribute.as_str() {
            "renumbered" => is_renumbered = attributes::bare(at).is_ok(),
            _ => return Err((at.span(), "a type has no such attribute".to_string())),
        }
    }
    spec.aliases.push(Alias { docs: attributes::docs(&item.attrs), name, number, is_renumbered });
    Ok(())
}

fn kind(item: &syn::TraitItemType, spec: &mut Spec, names: &mut HashMap<String, Meaning>) -> Read<()> {
    let name = take_name(&item.ident, Meaning::Kind(spec.kinds.len()), names)?;
    let attributes = attributes::named(&item.attrs)?;
    let [(word, attribute)] = &attributes[..] else {
        return Err((item.ident.span(), "a kind of handle is #[handle(NUMBER, error = NAME)] type NAME;".to_string()));
    };
    if word != "handle" {
        return Err((attribute.span(), format!("a kind of handle has no #[{word}]")));
    }
    let words: HandleWords = attributes::arguments(attribute)?;
    let number: u8 = attributes::number(&words.number)?;
    if number == 0 || spec.kinds.iter().any(|other| other.number == number) {
        return Err((words.number.span(), format!("kind {number} is taken")));
    }
    let (first, last) = spec.kind_numbers.unwrap_or((1, 0));
    if !(first..=last).contains(&number) {
        let what = format!("kind {number} is not among the file's own: #![kinds(FIRST, LAST)]");
        return Err((words.number.span(), what));
    }
    let error = words.error.ok_or((attribute.span(), "a kind says its error: error = NAME".to_string()))?;
    let plain_up_to = words.plain.as_ref().map(attributes::number).transpose()?;
    let docs = attributes::docs(&item.attrs);
    spec.kinds.push(Kind { docs, name, number, error: error.to_string(), plain_up_to, in_context: words.in_context });
    Ok(())
}

fn plain_struct(item: &syn::ItemStruct, spec: &mut Spec, names: &mut HashMap<String, Meaning>) -> Read<()> {
    let syn::Fields::Named(named) = &item.fields else {
        return Err((item.ident.span(), "a struct has named fields".to_string()));
    };
    let mut made =
        Struct { docs: attributes::docs(&item.attrs), name: String::new(), fields: vec![], bytes: 0, align: 1 };
    for field in &named.named {
        let ident = field.ident.as_ref().ok_or((field.span(), "a field has a name".to_string()))?;
        let (ty, count) = match &field.ty {
            syn::Type::Array(array) => match &array.len {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(count), .. }) => {
                    (&*array.elem, Some(attributes::number::<usize>(count)?))
                }
                other => return Err((other.span(), "an array's length is written down".to_string())),
            },
            other => (other, None),
        };
        let element = element(ty, names)?;
        let (bytes, align) = spec.measure(&element);
        if !made.bytes.is_multiple_of(align) {
            return Err((ident.span(), format!("there is a gap before `{ident}`: write the padding as a field")));
        }
        made.bytes += bytes * count.unwrap_or(1);
        made.align = made.align.max(align);
        made.fields.push(Field { docs: attributes::docs(&field.attrs), name: ident.to_string(), element, count });
    }
    if made.bytes == 0 || !made.bytes.is_multiple_of(made.align) {
        return Err((item.ident.span(), "there is a gap at the end: write the padding as a field".to_string()));
    }
    made.name = take_name(&item.ident, Meaning::Struct(spec.structs.len()), names)?;
    spec.structs.push(made);
    Ok(())
}

impl Spec {
    /// Size and alignment in bytes.
    #[must_use]
    pub fn measure(&self, element: &Element) -> (usize, usize) {
        match element {
            Element::Number { number, .. } => (number.bytes(), number.bytes()),
            Element::Struct(place) => (self.structs[*place].bytes, self.structs[*place].align),
        }
    }

    /// Every name that the guest library exports for the calls and locals here.
    #[must_use]
    pub fn exported(&self) -> Vec<Named> {
        let mut names: Vec<Named> = self.locals.iter().map(|local| local.named.clone()).collect();
        for call in &self.calls {
            names.push(Named { name: call.name.clone(), span: call.span });
            names.extend(call.aliases.iter().cloned());
            for (yes, ending) in [(call.ptsz, "ptsz"), (call.ptds.is_some(), "ptds")] {
                if yes {
                    names.push(Named { name: format!("{}_{ending}", call.name), span: call.span });
                }
            }
        }
        names
    }
}
