//! The layout of questions and answers. All numbers are big-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | `mcpg` |
//! | 4 | version: 1 |
//! | 5 | kind: 0 question, 1 answer by unicast, 2 answer by multicast |
//! | 6..8 | 0 |
//! | 8..16 | ping: a random number that the one who asks chooses when it starts |
//! | 16..24 | the number of the question, from 0 on; an answer repeats it |
//! | 24..32 | pong: a random number that the one who answers chooses when it starts; 0 in a question |
//! | 32..40 | how many different questions of this ping it has heard; 0 in a question |
//!
//! A question is padded to the length of two answers: so both together are no longer than what was asked with, and who forges the source
//! of questions gains nothing.

/// The length of an answer.
pub(crate) const ANSWER: usize = 40;
/// The length of a question: a shorter one gets no answer.
pub(crate) const QUESTION: usize = 2 * ANSWER;

const MAGIC: [u8; 4] = *b"mcpg";
const VERSION: u8 = 1;

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Unicast,
    Multicast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) ping: u64,
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) to: Question,
    pub(crate) way: Way,
    pub(crate) pong: u64,
    /// How many different questions of this ping the pong has heard.
    pub(crate) heard: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Question(Question),
    Answer(Answer),
}

impl Packet {
    /// The packet in these bytes; `None` if somebody else's packet is in them, or a question that is too short.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (fields, _) = bytes.split_first_chunk::<ANSWER>()?;
        let (magic, rest) = fields.split_first_chunk()?;
        let ([version, kind, 0, 0], rest) = rest.split_first_chunk()? else { return None };
        if *magic != MAGIC || *version != VERSION {
            return None;
        }
        let (ping, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (pong, rest) = rest.split_first_chunk()?;
        let (heard, _) = rest.split_first_chunk()?;
        let to = Question { ping: u64::from_be_bytes(*ping), number: u64::from_be_bytes(*number) };
        let (pong, heard) = (u64::from_be_bytes(*pong), u64::from_be_bytes(*heard));
        match kind {
            0 => (bytes.len() >= QUESTION).then_some(Self::Question(to)),
            1 => Some(Self::Answer(Answer { to, way: Way::Unicast, pong, heard })),
            2 => Some(Self::Answer(Answer { to, way: Way::Multicast, pong, heard })),
            _ => None,
        }
    }
}

impl Question {
    pub(crate) fn bytes(&self) -> [u8; QUESTION] {
        let mut bytes = [0; QUESTION];
        fill(&mut bytes, 0, *self, 0, 0);
        bytes
    }
}

impl Answer {
    pub(crate) fn bytes(&self) -> [u8; ANSWER] {
        let kind = match self.way {
            Way::Unicast => 1,
            Way::Multicast => 2,
        };
        let mut bytes = [0; ANSWER];
        fill(&mut bytes, kind, self.to, self.pong, self.heard);
        bytes
    }
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Unicast, Self::Multicast];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Multicast => "multicast",
        }
    }
}

fn fill(bytes: &mut [u8], kind: u8, Question { ping, number }: Question, pong: u64, heard: u64) {
    let fields = MAGIC.into_iter().chain([VERSION, kind, 0, 0]);
    let numbers = [ping, number, pong, heard].into_iter().flat_map(u64::to_be_bytes);
    for (place, byte) in bytes.iter_mut().zip(fields.chain(numbers)) {
        *place = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_documented() {
        let to = Question { ping: 0x0102_0304_0506_0708, number: 258 };
        let question =
            [&b"mcpg\x01\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x00\x00\x00\x01\x02"[..], &[0; 56]]
                .concat();
        assert_eq!(to.bytes()[..], question);
        assert_eq!(Packet::read(&question), Some(Packet::Question(to)));
        let answer = Answer { to, way: Way::Multicast, pong: 0xff, heard: 3 };
        let bytes = [&b"mcpg\x01\x02\x00\x00"[..], &question[8..24], b"\0\0\0\0\0\0\0\xff\0\0\0\0\0\0\0\x03"].concat();
        assert_eq!(answer.bytes()[..], bytes);
        assert_eq!(Packet::read(&bytes), Some(Packet::Answer(answer)));
        let answer = Answer { way: Way::Unicast, ..answer };
        assert_eq!(Packet::read(&answer.bytes()), Some(Packet::Answer(answer)));
    }

    #[test]
    fn short_questions_and_other_peoples_packets_are_none() {
        let bytes = Question { ping: 1, number: 2 }.bytes();
        assert_eq!(Packet::read(&bytes[..QUESTION - 1]), None);
        assert_eq!(Packet::read(&[]), None);
        for (place, byte) in [(0, 0), (3, b'G'), (4, 2), (5, 3), (6, 1), (7, 1)] {
            let mut other = bytes;
            other[place] = byte;
            assert_eq!(Packet::read(&other), None, "{byte} at {place}");
        }
    }
}
