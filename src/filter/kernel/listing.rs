//! Prints programs.

use core::fmt;

use super::{Instruction, code};

/// Prints a program with one instruction per line, in the syntax of `bpf_asm` and `tcpdump -d`. Jumps show their target lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing<'p>(pub &'p [Instruction]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, instruction) in self.0.iter().enumerate() {
            write!(f, "({line:03}) ")?;
            instruction.write(line, f)?;
            f.write_str("\n")?;
        }
        Ok(())
    }
}

impl Instruction {
    fn write(&self, line: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = self.operand;
        let place = Place(operand);
        match self.code {
            code::LOAD_WORD => write!(f, "ld {place}"),
            code::LOAD_HALF => write!(f, "ldh {place}"),
            code::LOAD_BYTE => write!(f, "ldb {place}"),
            code::LOAD_WORD_AT_X => write!(f, "ld [x + {}]", operand.cast_signed()),
            code::LOAD_HALF_AT_X => write!(f, "ldh [x + {}]", operand.cast_signed()),
            code::LOAD_BYTE_AT_X => write!(f, "ldb [x + {}]", operand.cast_signed()),
            code::LOAD_NUMBER => write!(f, "ld #{operand:#x}"),
            code::LOAD_LENGTH => f.write_str("ld #len"),
            code::LOAD_X_NUMBER => write!(f, "ldx #{operand:#x}"),
            code::AND => write!(f, "and #{operand:#x}"),
            code::COPY_TO_X => f.write_str("tax"),
            code::JUMP => write!(f, "jmp {}", target(line, operand)),
            code::JUMP_EQUAL => self.write_jump("jeq", line, f),
            code::JUMP_GREATER => self.write_jump("jgt", line, f),
            code::JUMP_AT_LEAST => self.write_jump("jge", line, f),
            code::RETURN if operand == 0 => f.write_str("ret #0"),
            code::RETURN => write!(f, "ret #{operand:#x}"),
            code => write!(f, "{code:#x} {} {} {operand:#x}", self.if_true, self.if_false),
        }
    }

    fn write_jump(&self, name: &str, line: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = |distance: u8| target(line, distance.into());
        write!(f, "{name} #{:#x} jt {} jf {}", self.operand, to(self.if_true), to(self.if_false))
    }
}

/// The target line of a jump: the distance counts from the next line.
const fn target(line: usize, distance: u32) -> usize {
    line.saturating_add(1).saturating_add(distance as usize)
}

/// The place that an instruction loads from.
struct Place(u32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            code::INTERFACE => f.write_str("#ifidx"),
            offset if offset >= code::NETWORK => write!(f, "[net + {}]", offset.wrapping_sub(code::NETWORK)),
            offset => write!(f, "[{offset}]"),
        }
    }
}
