//! Code generation.
use crate::engine::{CompileError, Options};
use crate::ptx::Program;

/// A module's code.
pub struct Code {
    program: Program,
}

impl Code {
    /// Takes a checked program.
    pub fn new(program: Program, _options: &Options) -> Result<Code, CompileError> {
        Ok(Code { program })
    }
    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }
    /// Compiles everything.
    pub fn compile_all(&self) -> Result<(), CompileError> {
        Ok(())
    }
    /// Compiles one function.
    pub fn compile(&self, _index: usize) -> Result<(), CompileError> {
        Ok(())
    }
    /// See the engine.
    pub fn bind_global(&self, _index: usize, _address: u64) {}
    /// See the engine.
    pub fn bind_texture(&self, _index: usize, _handle: u64) {}
    /// See the engine.
    pub fn bind_surface(&self, _index: usize, _handle: u64) {}
}
