//! Text to tokens.
//!
//! Borrowed from the source, one token of look-ahead, no allocation. A `.name` (with `::` parts) is one token, so an
//! opcode is an identifier followed by such tokens. Bytes that start no token become [`Kind::Bad`]; the parser
//! refuses them with their line.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `name`, `%name`, `$name`, `_name`.
    Name,
    /// `.name`; the text is without the dot.
    Dot,
    /// An integer.
    Int(u64),
    /// `0fXXXXXXXX`.
    F32(u32),
    /// `0dXXXXXXXXXXXXXXXX` or decimal.
    F64(u64),
    /// `"..."`; the text is without the quotes.
    Text,
    /// One punctuation byte.
    Punct(u8),
    /// A byte or number that is none of these.
    Bad,
    /// The end.
    End,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: &'a str,
    /// Its line, from 1.
    pub line: u32,
}

/// Reads tokens from `source`.
pub struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

impl<'a> Lexer<'a> {
    /// Starts at line 1.
    pub fn new(source: &'a str) -> Lexer<'a> {
        Lexer { source, at: 0, line: 1 }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blank(&mut self) {
        let bytes = self.source.as_bytes();
        while self.at < bytes.len() {
            match (bytes[self.at], self.byte(1)) {
                (b'\n', _) => {
                    self.line = self.line.saturating_add(1);
                    self.at += 1;
                }
                (b' ' | b'\t' | b'\r' | 0x0b | 0x0c | 0, _) => self.at += 1,
                (b'/', b'/') => {
                    self.at = bytes[self.at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| self.at + n)
                }
                (b'/', b'*') => {
                    self.at += 2;
                    while self.at < bytes.len() && !(bytes[self.at] == b'*' && self.byte(1) == b'/') {
                        self.line = self.line.saturating_add(u32::from(bytes[self.at] == b'\n'));
                        self.at += 1;
                    }
                    self.at = (self.at + 2).min(bytes.len());
                }
                _ => return,
            }
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let start = self.at;
        self.at = (start + len).min(self.source.len());
        // Token ends stand next to ASCII bytes, but the source may have other characters anywhere.
        self.source.get(start..self.at).unwrap_or("")
    }

    fn run(&self, from: usize) -> usize {
        self.source.as_bytes()[self.at + from..].iter().take_while(|&&b| is_word(b)).count()
    }

    /// The next token; [`Kind::End`] for ever after the last.
    pub fn next(&mut self) -> Token<'a> {
        self.skip_blank();
        let line = self.line;
        let first = self.byte(0);
        let (kind, text) = match first {
            _ if self.at >= self.source.len() => (Kind::End, ""),
            b'0'..=b'9' => self.number(),
            b'.' if is_word(self.byte(1)) => {
                let mut len = 1 + self.run(1);
                while self.byte(len) == b':' && self.byte(len + 1) == b':' && is_word(self.byte(len + 2)) {
                    len += 2 + self.run(len + 2);
                }
                (Kind::Dot, self.take(len).get(1..).unwrap_or(""))
            }
            b'%' if is_word(self.byte(1)) => {
                let len = 1 + self.run(1);
                (Kind::Name, self.take(len))
            }
            b if is_word(b) => {
                let len = self.run(0);
                (Kind::Name, self.take(len))
            }
            b'"' => {
                self.at += 1;
                let rest = &self.source.as_bytes()[self.at..];
                let len = rest.iter().position(|&b| b == b'"').unwrap_or(rest.len());
                self.line = self.line.saturating_add(rest[..len].iter().filter(|&&b| b == b'\n').count() as u32);
                let text = self.take(len);
                self.at = (self.at + 1).min(self.source.len());
                (Kind::Text, text)
            }
            b if b.is_ascii_punctuation() => (Kind::Punct(b), self.take(1)),
            _ => {
                let len = self.source.get(self.at..).and_then(|s| s.chars().next()).map_or(1, char::len_utf8);
                (Kind::Bad, self.take(len))
            }
        };
        Token { kind, text, line }
    }

    fn number(&mut self) -> (Kind, &'a str) {
        let bytes = self.source.as_bytes();
        let mut len = self.run(0);
        let word = self.source.get(self.at..self.at + len).unwrap_or("");
        let hex = |digits: &str, radix| u64::from_str_radix(digits.trim_end_matches(['U', 'u']), radix).ok();
        let prefix = word.get(..2).unwrap_or("");
        let tail = word.get(2..).unwrap_or("");
        let kind = match prefix {
            "0f" | "0F" if tail.len() == 8 => u32::from_str_radix(tail, 16).ok().map(Kind::F32),
            "0d" | "0D" if tail.len() == 16 => u64::from_str_radix(tail, 16).ok().map(Kind::F64),
            "0x" | "0X" => hex(tail, 16).map(Kind::Int),
            "0b" | "0B" => hex(tail, 2).map(Kind::Int),
            _ => {
                let mut decimal = false;
                if self.byte(len) == b'.' && self.byte(len + 1).is_ascii_digit() {
                    len += 1 + self.run(len + 1);
                    decimal = true;
                } else if self.byte(len) == b'.' && !is_word(self.byte(len + 1)) {
                    len += 1;
                    decimal = true;
                }
                if matches!(bytes.get(self.at + len - 1), Some(b'e' | b'E')) && matches!(self.byte(len), b'+' | b'-') {
                    len += 1 + self.run(len + 1);
                    decimal = true;
                }
                let word = self.source.get(self.at..self.at + len).unwrap_or("");
                if decimal || (word.contains(['e', 'E']) && !word.starts_with('0')) {
                    word.parse::<f64>().ok().map(|v| Kind::F64(v.to_bits()))
                } else if word.len() > 1 && word.starts_with('0') {
                    hex(word, 8).map(Kind::Int)
                } else {
                    hex(word, 10).map(Kind::Int)
                }
            }
        };
        (kind.unwrap_or(Kind::Bad), self.take(len))
    }
}
