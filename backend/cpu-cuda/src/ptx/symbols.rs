//! Names of a program under construction: module scope, link scope, and what stays open.
//!
//! Every part of a linked image has its own module scope; `.visible`, `.weak`, `.common` and `.extern` names share
//! the link scope. Functions and variables get their numbers when first declared; `finish` drops what was only
//! declared and never used, and renumbers.

use std::collections::HashMap;

use crate::engine::{CompileError, CompileErrorKind, FUNCTION_WINDOW, FunctionInfo, GlobalInfo, Target};
use crate::ptx::ir::{Body, Builtin, Callee, Function, Op, Program, SharedVar, Signature, Slot, Value};
use crate::ptx::parser::{Result, invalid};

/// How a name is seen outside its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Linkage {
    Private,
    Visible,
    Weak,
    Common,
    Extern,
}

/// What a module-scope name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Symbol {
    Function(u32),
    Global(u32),
    Shared(u32),
    Texture(u32),
    Surface(u32),
    Sampler(u32),
}

/// A function declared so far.
pub struct FunctionEntry {
    /// Its name.
    pub name: String,
    /// Its signature's number.
    pub signature: u32,
    /// Information and code once defined.
    pub definition: Option<(FunctionInfo, Body)>,
    /// The definition is weak: further ones are skipped.
    pub weak: bool,
    /// The part that defines it.
    pub part: u32,
    /// Address taken.
    pub address_taken: bool,
    /// Line of the first use, 0 if none.
    pub used: u32,
}

/// A variable declared so far.
pub struct GlobalEntry {
    /// What the API sees.
    pub info: GlobalInfo,
    /// It has a definition.
    pub defined: bool,
    /// The part that defines it.
    pub part: u32,
    /// Line of the first use, 0 if none.
    pub used: u32,
}

/// A program under construction.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Builder {
    pub functions: Vec<FunctionEntry>,
    pub globals: Vec<GlobalEntry>,
    pub shared: Vec<SharedVar>,
    pub textures: Vec<String>,
    pub surfaces: Vec<String>,
    pub samplers: u32,
    pub global_bytes: u64,
    pub signatures: Vec<Signature>,
    /// The lowest `.target` of the parts.
    pub oldest_target: Option<u32>,
    /// The number of the part being read, from 1.
    pub number: u32,
    /// Bytes of what an index counts, of this part's variables.
    pub elements: HashMap<String, u32>,
    signature_numbers: HashMap<Signature, u32>,
    /// Signatures that this part declared functions with.
    declared: HashMap<u32, u32>,
    link: HashMap<String, Symbol>,
    part: HashMap<String, Symbol>,
}

impl Builder {
    /// Forgets the names private to the part read so far.
    pub fn next_part(&mut self) {
        self.number += 1;
        self.part.clear();
        self.declared.clear();
        self.elements.clear();
    }

    /// The number of a signature.
    pub fn signature(&mut self, signature: Signature) -> u32 {
        if let Some(&number) = self.signature_numbers.get(&signature) {
            return number;
        }
        let number = self.signatures.len() as u32;
        self.signatures.push(signature.clone());
        self.signature_numbers.insert(signature, number);
        number
    }

    /// Whether a function may be declared with this signature. Parts of a link may differ in whether it has results, as
    /// GPUs pass them in registers: one that nobody sets is undefined, one that nobody asks for is dropped.
    pub fn fits(&self, function: u32, signature: u32) -> bool {
        let here = self.declared.get(&function).copied();
        let known = here.unwrap_or(self.functions[function as usize].signature);
        let [a, b] = [known, signature].map(|n| &self.signatures[n as usize]);
        let silent = here.is_none() && (a.results.is_empty() || b.results.is_empty());
        known == signature || (silent && a.params == b.params)
    }

    /// Notes with which signature this part knows a function.
    pub fn note_signature(&mut self, function: u32, signature: u32) {
        self.declared.insert(function, signature);
    }

    /// The signature that this part's calls of a function have.
    pub fn signature_of(&self, function: u32) -> u32 {
        let known = self.declared.get(&function).copied();
        known.unwrap_or(self.functions[function as usize].signature)
    }

    /// What `name` is at module scope.
    pub fn find(&self, name: &str) -> Option<Symbol> {
        self.part.get(name).copied()
    }

    /// What `name` already is: in this part, or in an earlier one if the linkage reaches that far.
    pub fn existing(&self, name: &str, linkage: Linkage) -> Option<Symbol> {
        self.part.get(name).copied().or_else(|| match linkage {
            Linkage::Private => None,
            _ => self.link.get(name).copied(),
        })
    }

    /// Makes `name` known in this part and, by its linkage, to others.
    pub fn declare(&mut self, name: &str, linkage: Linkage, symbol: Symbol) {
        self.part.insert(name.to_owned(), symbol);
        if linkage != Linkage::Private {
            self.link.insert(name.to_owned(), symbol);
        }
    }

    /// The error for a second definition of `name`, which `part` defines already.
    pub fn defined_twice(&self, line: u32, name: &str, part: u32) -> CompileError {
        let kind = if part == self.number { CompileErrorKind::InvalidPtx } else { CompileErrorKind::DefinedTwice };
        CompileError { kind, line, message: format!("`{name}` is defined twice") }
    }

    /// Notes a use of a function or variable, for the error if it stays undefined.
    pub fn note_use(&mut self, symbol: Symbol, line: u32, address: bool) {
        match symbol {
            Symbol::Function(n) => {
                let entry = &mut self.functions[n as usize];
                entry.used = entry.used.max(line);
                entry.address_taken |= address;
            }
            Symbol::Global(n) => {
                let entry = &mut self.globals[n as usize];
                entry.used = entry.used.max(line);
            }
            _ => {}
        }
    }

    /// Gives variables that are only declared a place, zeroed, as a GPU's driver does where nothing is linked.
    pub fn adopt_variables(&mut self) {
        for entry in self.globals.iter_mut().filter(|entry| entry.used > 0) {
            entry.defined = true;
        }
    }

    /// The finished program; fails if something used has no definition.
    pub fn finish(self) -> Result<Program> {
        let mut function_map = Vec::with_capacity(self.functions.len());
        let mut count = 0u32;
        for entry in &self.functions {
            let builtin = if entry.definition.is_none() { builtin(&entry.name) } else { None };
            if entry.definition.is_none() && builtin.is_none() && entry.used > 0 {
                return Err(unresolved(entry.used, &entry.name));
            }
            if builtin.is_some() && entry.address_taken {
                return Err(invalid(entry.used, format!("the address of `{}` cannot be taken", entry.name)));
            }
            function_map.push((count, builtin));
            count += u32::from(entry.definition.is_some());
        }
        let mut global_map = Vec::with_capacity(self.globals.len());
        let mut count = 0u32;
        for entry in &self.globals {
            if !entry.defined && entry.used > 0 {
                return Err(unresolved(entry.used, &entry.info.name));
            }
            global_map.push(count);
            count += u32::from(entry.defined);
        }
        let results: Vec<Vec<(u32, u32)>> =
            self.functions.iter().map(|f| self.signatures[f.signature as usize].results.clone()).collect();
        let mut functions = Vec::new();
        let mut bodies = Vec::new();
        for entry in self.functions {
            let Some((info, mut body)) = entry.definition else { continue };
            fit_results(&mut body, &results);
            renumber(&mut body, &function_map, &global_map)?;
            functions.push(info);
            bodies.push(Function { signature: entry.signature, body, address_taken: entry.address_taken });
        }
        let mut globals: Vec<GlobalInfo> = self.globals.into_iter().filter(|g| g.defined).map(|g| g.info).collect();
        for relocation in globals.iter_mut().flat_map(|g| g.relocations.iter_mut()) {
            match &mut relocation.target {
                Target::Function(n) => *n = FUNCTION_WINDOW + 16 * u64::from(function_map[*n as usize].0),
                Target::Global(n) => *n = global_map[*n] as usize,
            }
        }
        Ok(Program {
            functions,
            bodies,
            signatures: self.signatures,
            globals,
            shared: self.shared,
            textures: self.textures,
            surfaces: self.surfaces,
            oldest_target: self.oldest_target.unwrap_or(0),
        })
    }
}

fn builtin(name: &str) -> Option<Builtin> {
    Some(match name {
        "vprintf" => Builtin::Vprintf,
        "__assertfail" => Builtin::Assertfail,
        "malloc" => Builtin::Malloc,
        "free" => Builtin::Free,
        _ => return None,
    })
}

fn unresolved(line: u32, name: &str) -> CompileError {
    CompileError {
        kind: CompileErrorKind::UnresolvedSymbol,
        line,
        message: format!("`{name}` is declared but defined nowhere"),
    }
}

/// Gives calls as many results as their callees have, where a part declared them otherwise.
fn fit_results(body: &mut Body, results: &[Vec<(u32, u32)>]) {
    for inst in &mut body.insts {
        if let Op::Call(Callee::Function(n), _, slots) = &mut inst.op {
            let wanted = &results[*n as usize];
            slots.truncate(wanted.len());
            for &(size, align) in &wanted[slots.len()..] {
                body.slots.push(Slot { size, align });
                slots.push(body.slots.len() as u32 - 1);
            }
        }
    }
}

fn renumber(body: &mut Body, functions: &[(u32, Option<Builtin>)], globals: &[u32]) -> Result<()> {
    for inst in &mut body.insts {
        for value in &mut inst.src {
            match value {
                Value::Function(n) => *n = functions[*n as usize].0,
                Value::Global(n, _) => *n = globals[*n as usize],
                _ => {}
            }
        }
        if let Op::Call(callee, args, results) = &mut inst.op
            && let Callee::Function(n) = callee
        {
            let (number, builtin) = functions[*n as usize];
            *callee = match builtin {
                Some(b) => {
                    let (a, r) = match b {
                        Builtin::Vprintf => (2, 1),
                        Builtin::Assertfail => (5, 0),
                        Builtin::Malloc => (1, 1),
                        Builtin::Free => (1, 0),
                    };
                    if args.len() != a || results.len() > r {
                        return Err(invalid(inst.line, "an engine function is called with the wrong parameters"));
                    }
                    Callee::Builtin(b)
                }
                None => Callee::Function(number),
            };
        }
    }
    Ok(())
}
