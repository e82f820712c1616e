//! The token cursor: look-ahead, expectations, constant expressions, errors with lines.

use crate::engine::{CompileError, CompileErrorKind, Limits};
use crate::ptx::lexer::{Kind, Lexer, Token};

/// Result of everything that reads PTX.
pub type Result<T> = std::result::Result<T, CompileError>;

/// An error of kind `InvalidPtx`.
pub fn invalid(line: u32, message: impl Into<String>) -> CompileError {
    CompileError { kind: CompileErrorKind::InvalidPtx, line, message: message.into() }
}

/// The error for a bound of [`Limits`].
pub fn over_limit(line: u32, name: &str) -> CompileError {
    CompileError { kind: CompileErrorKind::OutOfResources, line, message: format!("limit reached: {name}") }
}

/// A number in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Two's complement.
    Int(u64),
    /// Bits of an `f32`.
    F32(u32),
    /// Bits of an `f64`.
    F64(u64),
}

impl Number {
    /// As an integer, if it is one.
    pub fn int(self) -> Option<u64> {
        match self {
            Number::Int(v) => Some(v),
            _ => None,
        }
    }
}

/// Reads tokens and what is made of few of them.
pub struct Cursor<'a> {
    lexer: Lexer<'a>,
    ahead: Token<'a>,
    second: Option<Token<'a>>,
    /// Bounds on the text.
    pub limits: Limits,
}

impl<'a> Cursor<'a> {
    /// At the first token of `source`.
    pub fn new(source: &'a str, limits: Limits) -> Cursor<'a> {
        let mut lexer = Lexer::new(source);
        let ahead = lexer.next();
        Cursor { lexer, ahead, second: None, limits }
    }

    /// The token that comes next.
    pub fn peek(&self) -> Token<'a> {
        self.ahead
    }

    /// The one after it.
    pub fn peek_second(&mut self) -> Token<'a> {
        *self.second.get_or_insert_with(|| self.lexer.next())
    }

    /// Takes the next token.
    pub fn next(&mut self) -> Token<'a> {
        let token = self.ahead;
        self.ahead = self.second.take().unwrap_or_else(|| self.lexer.next());
        token
    }

    /// Line of the next token.
    pub fn line(&self) -> u32 {
        self.ahead.line
    }

    /// An error at the next token.
    pub fn error(&self, message: impl Into<String>) -> CompileError {
        invalid(self.ahead.line, message)
    }

    /// An error that says what was expected and what is there.
    pub fn expected(&self, what: &str) -> CompileError {
        let got: String = match self.ahead.kind {
            Kind::End => "the end of the text".into(),
            Kind::Dot => format!("`.{}`", self.ahead.text.chars().take(40).collect::<String>()),
            _ => format!("`{}`", self.ahead.text.chars().take(40).collect::<String>()),
        };
        self.error(format!("expected {what}, found {got}"))
    }

    /// Takes `byte` if it comes next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let hit = self.ahead.kind == Kind::Punct(byte);
        if hit {
            self.next();
        }
        hit
    }

    /// Takes `byte` or fails.
    pub fn expect(&mut self, byte: u8) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.expected(&format!("`{}`", byte as char))) }
    }

    /// Takes any `.name` that comes next.
    pub fn dot(&mut self) -> Option<&'a str> {
        (self.ahead.kind == Kind::Dot).then(|| self.next().text)
    }

    /// Takes a name or fails.
    pub fn name(&mut self) -> Result<&'a str> {
        if self.ahead.kind == Kind::Name { Ok(self.next().text) } else { Err(self.expected("a name")) }
    }

    /// Takes an unsigned integer constant that fits 32 bits.
    pub fn small(&mut self, what: &str) -> Result<u32> {
        let line = self.line();
        let value = self.unary(0)?.int().and_then(|v| u32::try_from(v).ok());
        value.ok_or_else(|| invalid(line, format!("{what} is no 32-bit number")))
    }

    /// Skips to after the next `;` at this level.
    pub fn skip_statement(&mut self) -> Result<()> {
        loop {
            match self.next().kind {
                Kind::Punct(b';') => return Ok(()),
                Kind::End => return Err(self.expected("`;`")),
                _ => {}
            }
        }
    }

    /// Skips `{ ... }` with what is nested in it.
    pub fn skip_braces(&mut self) -> Result<()> {
        self.expect(b'{')?;
        let mut depth = 1usize;
        while depth > 0 {
            match self.next().kind {
                Kind::Punct(b'{') => depth += 1,
                Kind::Punct(b'}') => depth -= 1,
                Kind::End => return Err(self.expected("`}`")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a constant expression starts here.
    pub fn at_constant(&self) -> bool {
        matches!(self.ahead.kind, Kind::Int(_) | Kind::F32(_) | Kind::F64(_) | Kind::Punct(b'-' | b'+' | b'(' | b'~'))
            || (self.ahead.kind == Kind::Name && self.ahead.text == "WARP_SZ")
    }

    /// Takes an integer token; 0 if there is none.
    pub fn constant_token(&mut self) -> u64 {
        match self.next().kind {
            Kind::Int(v) => v,
            _ => 0,
        }
    }

    /// A constant expression: numbers, unary and binary operators, parentheses, `?:`.
    pub fn constant(&mut self) -> Result<Number> {
        self.binary(0, 0)
    }

    fn unary(&mut self, depth: usize) -> Result<Number> {
        if depth > self.limits.max_nesting {
            return Err(over_limit(self.line(), "max_nesting"));
        }
        let token = self.next();
        Ok(match token.kind {
            Kind::Int(v) => Number::Int(v),
            Kind::F32(v) => Number::F32(v),
            Kind::F64(v) => Number::F64(v),
            Kind::Name if token.text == "WARP_SZ" => Number::Int(32),
            Kind::Punct(b'+') => self.unary(depth + 1)?,
            Kind::Punct(b'-') => match self.unary(depth + 1)? {
                Number::Int(v) => Number::Int(v.wrapping_neg()),
                Number::F32(v) => Number::F32(v ^ 1 << 31),
                Number::F64(v) => Number::F64(v ^ 1 << 63),
            },
            Kind::Punct(op @ (b'~' | b'!')) => match self.unary(depth + 1)? {
                Number::Int(v) if op == b'~' => Number::Int(!v),
                Number::Int(v) => Number::Int(u64::from(v == 0)),
                _ => return Err(invalid(token.line, "an integer is needed here")),
            },
            Kind::Punct(b'(') => {
                if self.peek().kind == Kind::Dot {
                    // A cast, `(.s64)` or `(.u64)`: all integers are 64 bits wide here.
                    self.next();
                    self.expect(b')')?;
                    return self.unary(depth + 1);
                }
                let value = self.binary(0, depth + 1)?;
                self.expect(b')')?;
                value
            }
            _ => {
                self.second = Some(self.ahead);
                self.ahead = token;
                return Err(self.expected("a constant"));
            }
        })
    }

    /// The operator that comes next, with its precedence and length in tokens.
    fn operator(&mut self) -> Option<(u8, bool, u8)> {
        let Kind::Punct(first) = self.ahead.kind else { return None };
        let twin = matches!(first, b'<' | b'>' | b'&' | b'|' | b'=' | b'!')
            && matches!(self.peek_second().kind, Kind::Punct(b) if b == first || (b == b'=' && first != b'&' && first != b'|'));
        let level = match (first, twin) {
            (b'*' | b'/' | b'%', _) => 10,
            (b'+' | b'-', _) => 9,
            (b'<' | b'>', true) if self.peek_second().kind != Kind::Punct(b'=') => 8,
            (b'<' | b'>', _) => 7,
            (b'=' | b'!', true) => 6,
            (b'&', false) => 5,
            (b'^', _) => 4,
            (b'|', false) => 3,
            (b'&', true) => 2,
            (b'|', true) => 1,
            _ => return None,
        };
        Some((first, twin, level))
    }

    fn binary(&mut self, floor: u8, depth: usize) -> Result<Number> {
        let mut left = self.unary(depth)?;
        // `|` alone joins a pair of predicates in operands, never constants there.
        while let Some((op, twin, level)) = self.operator() {
            if level <= floor {
                break;
            }
            let line = self.line();
            self.next();
            let equal = twin && self.ahead.kind == Kind::Punct(b'=');
            if twin {
                self.next();
            }
            let right = self.binary(level, depth + 1)?;
            left = match (left, right) {
                (Number::Int(a), Number::Int(b)) => {
                    Number::Int(apply(op, twin, equal, a, b).ok_or_else(|| invalid(line, "division by zero"))?)
                }
                (Number::F64(a), Number::F64(b)) => {
                    let (a, b) = (f64::from_bits(a), f64::from_bits(b));
                    let value = match op {
                        b'+' => a + b,
                        b'-' => a - b,
                        b'*' => a * b,
                        b'/' => a / b,
                        _ => return Err(invalid(line, "an integer is needed here")),
                    };
                    Number::F64(value.to_bits())
                }
                _ => return Err(invalid(line, "the operands of a constant expression differ in type")),
            };
        }
        if floor == 0 && self.ahead.kind == Kind::Punct(b'?') {
            self.next();
            let yes = self.binary(0, depth + 1)?;
            self.expect(b':')?;
            let no = self.binary(0, depth + 1)?;
            left = if left == Number::Int(0) { no } else { yes };
        }
        Ok(left)
    }
}

fn apply(op: u8, twin: bool, equal: bool, a: u64, b: u64) -> Option<u64> {
    let (sa, sb) = (a as i64, b as i64);
    Some(match (op, twin) {
        (b'*', _) => a.wrapping_mul(b),
        (b'/', _) => sa.checked_div(sb)? as u64,
        (b'%', _) => sa.checked_rem(sb)? as u64,
        (b'+', _) => a.wrapping_add(b),
        (b'-', _) => a.wrapping_sub(b),
        (b'<', true) if !equal => a.checked_shl(b.min(64) as u32).unwrap_or(0),
        (b'>', true) if !equal => (sa >> b.min(63)) as u64,
        (b'<', true) => u64::from(sa <= sb),
        (b'>', true) => u64::from(sa >= sb),
        (b'<', false) => u64::from(sa < sb),
        (b'>', false) => u64::from(sa > sb),
        (b'=', _) => u64::from(a == b),
        (b'!', _) => u64::from(a != b),
        (b'&', false) => a & b,
        (b'^', _) => a ^ b,
        (b'|', false) => a | b,
        (b'&', true) => u64::from(a != 0 && b != 0),
        _ => u64::from(a != 0 || b != 0),
    })
}
