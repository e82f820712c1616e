//! Attributes: what may stand on what, taken apart.

use super::Read;
use crate::model::{Named, Spec};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Ident, LitInt, Token};

/// Lines of the documentation among `attributes`.
pub(super) fn docs(attributes: &[Attribute]) -> Vec<String> {
    attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Every attribute that is no documentation, by name.
pub(super) fn named(attributes: &[Attribute]) -> Read<Vec<(String, &Attribute)>> {
    let mut found: Vec<(String, &Attribute)> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| !attribute.path().is_ident("doc")) {
        let name = attribute.path().get_ident().ok_or((attribute.span(), "unknown attribute".to_string()))?.to_string();
        if name != "alias" && found.iter().any(|(other, _)| *other == name) {
            return Err((attribute.span(), format!("#[{name}] stands here twice")));
        }
        found.push((name, attribute));
    }
    Ok(found)
}

/// The attribute's arguments as `T`.
pub(super) fn arguments<T: Parse>(attribute: &Attribute) -> Read<T> {
    attribute.parse_args().map_err(|error| (error.span(), error.to_string()))
}

/// A single identifier in parentheses.
pub(super) fn ident(attribute: &Attribute) -> Read<Named> {
    let ident: Ident = arguments(attribute)?;
    Ok(Named { name: ident.to_string(), span: ident.span() })
}

/// The attribute has no arguments.
pub(super) fn bare(attribute: &Attribute) -> Read<()> {
    match attribute.meta {
        syn::Meta::Path(_) => Ok(()),
        _ => Err((attribute.span(), "this attribute takes nothing in parentheses".to_string())),
    }
}

/// A whole number that fits.
pub(super) fn number<T: std::str::FromStr>(literal: &LitInt) -> Read<T>
where
    T::Err: std::fmt::Display,
{
    literal.base10_parse().map_err(|_| (literal.span(), format!("{literal} is out of range here")))
}

/// `call(NUMBER, post|wait)`.
pub(super) struct CallWords {
    pub number: LitInt,
    pub mode: Ident,
}

impl Parse for CallWords {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let number = input.parse()?;
        input.parse::<Token![,]>()?;
        Ok(CallWords { number, mode: input.parse()? })
    }
}

/// `handle(NUMBER, error = NAME, plain(N), in_context)`.
pub(super) struct HandleWords {
    pub number: LitInt,
    pub error: Option<Ident>,
    pub plain: Option<LitInt>,
    pub in_context: bool,
}

impl Parse for HandleWords {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut words = HandleWords { number: input.parse()?, error: None, plain: None, in_context: false };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            let word: Ident = input.parse()?;
            if word == "error" {
                input.parse::<Token![=]>()?;
                words.error = Some(input.parse()?);
            } else if word == "plain" {
                let inner;
                syn::parenthesized!(inner in input);
                words.plain = Some(inner.parse()?);
            } else if word == "in_context" {
                words.in_context = true;
            } else {
                return Err(syn::Error::new(word.span(), format!("a handle has no `{word}`")));
            }
        }
        Ok(words)
    }
}

/// `status(TYPE, invalid = NAME, gone = NAME)`.
struct StatusWords {
    status: Ident,
    invalid: Ident,
    gone: Ident,
}

impl Parse for StatusWords {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let status = input.parse()?;
        let pair = |name: &str| {
            input.parse::<Token![,]>()?;
            let word: Ident = input.parse()?;
            if word != name {
                return Err(syn::Error::new(word.span(), format!("here stands `{name} = …`")));
            }
            input.parse::<Token![=]>()?;
            input.parse()
        };
        Ok(StatusWords { status, invalid: pair("invalid")?, gone: pair("gone")? })
    }
}

/// `(FIRST, LAST)`.
struct Bounds {
    first: LitInt,
    last: LitInt,
}

impl Parse for Bounds {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let first = input.parse()?;
        input.parse::<Token![,]>()?;
        Ok(Bounds { first, last: input.parse()? })
    }
}

impl Bounds {
    fn of<T: std::str::FromStr>(attribute: &Attribute) -> Read<(T, T)>
    where
        T::Err: std::fmt::Display,
    {
        let bounds: Bounds = arguments(attribute)?;
        Ok((number(&bounds.first)?, number(&bounds.last)?))
    }
}

/// Reads the file's own attributes.
pub(super) fn file(attributes: &[Attribute], spec: &mut Spec) -> Read<()> {
    for (name, attribute) in named(attributes)? {
        match name.as_str() {
            "status" => {
                let words: StatusWords = arguments(attribute)?;
                spec.status = words.status.to_string();
                spec.invalid = words.invalid.to_string();
                spec.gone = words.gone.to_string();
            }
            "numbers" => spec.numbers = Bounds::of(attribute)?,
            "kinds" => spec.kind_numbers = Some(Bounds::of(attribute)?),
            "no_context" => {
                bare(attribute)?;
                spec.no_context = true;
            }
            "order" => {
                bare(attribute)?;
                spec.has_order = true;
            }
            "by_hand" => match ident(attribute)? {
                side if side.name == "guest" => spec.guest_by_hand = true,
                side => return Err((side.span, "a whole file is by_hand for `guest` only".to_string())),
            },
            _ => return Err((attribute.span(), format!("a spec file has no #![{name}]"))),
        }
    }
    let missing = match (spec.status.is_empty(), spec.numbers.1) {
        (true, _) => "the file begins with #![status(TYPE, invalid = NAME, gone = NAME)]",
        (false, 0) => "the file says which messages are its own: #![numbers(FIRST, LAST)]",
        _ => return Ok(()),
    };
    Err((proc_macro2::Span::call_site(), missing.to_string()))
}

/// An expression of numbers, names, `+`, `-` and `*`, printed so that it never wraps: `None` on overflow, 0 below 0.
///
/// `place` says how a name is printed, or that it names no number.
pub(super) fn expression(expr: &Expr, place: &impl Fn(&str) -> Option<String>) -> Read<String> {
    match expr {
        Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(literal), .. }) => {
            Ok(format!("Some({}u64)", number::<u64>(literal)?))
        }
        Expr::Path(path) => {
            let name = path.path.get_ident().map(Ident::to_string).unwrap_or_default();
            let printed = place(&name).ok_or((expr.span(), format!("`{name}` is no number among the arguments")))?;
            Ok(format!("Some({printed})"))
        }
        Expr::Paren(inner) => expression(&inner.expr, place),
        Expr::Binary(binary) => {
            let (left, right) = (expression(&binary.left, place)?, expression(&binary.right, place)?);
            let step = match binary.op {
                syn::BinOp::Add(_) => "checked_add(b)",
                syn::BinOp::Mul(_) => "checked_mul(b)",
                syn::BinOp::Sub(_) => return Ok(format!("{left}.zip({right}).map(|(a, b)| a.saturating_sub(b))")),
                _ => return Err((expr.span(), "only +, - and * stand here".to_string())),
            };
            Ok(format!("{left}.zip({right}).and_then(|(a, b)| a.{step})"))
        }
        _ => Err((expr.span(), "only numbers, names, +, - and * stand here".to_string())),
    }
}
