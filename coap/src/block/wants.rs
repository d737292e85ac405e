//! What does a request with Q-Block2 ask for? All of a response's body, the next set of its blocks,
//! or some of them (RFC 9177 section 4.4).

use super::missing::Missing;
use super::quick::{MAX_PAYLOADS, set_end};
use super::{Block, BlockSize};
use crate::option::Number;
use crate::option::list::Options;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// How large the blocks are to be.
    pub size: BlockSize,
    /// Which of them.
    pub what: What,
}

/// Which blocks are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All.
    Body,
    /// All before this one are there: go on ('Continue').
    From(u32),
    /// These, and no others.
    Blocks(Missing),
}

/// The options contradict each other, or the order they must have: 4.00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unordered;

impl Wants {
    /// Reads Q-Block2 of a request; `None` when there is none.
    pub fn of(options: &Options<'_>) -> Result<Option<Self>, Unordered> {
        let mut blocks = options.all(Number::Q_BLOCK2).map(|value| {
            let value = value.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
            Block::from_value(value).ok_or(Unordered)
        });
        let Some(first) = blocks.next().transpose()? else { return Ok(None) };
        let size = first.size;
        if first.more && first.number().is_multiple_of(MAX_PAYLOADS) {
            if blocks.next().is_some() {
                return Err(Unordered);
            }
            let what = if first.number() == 0 { What::Body } else { What::From(first.number()) };
            return Ok(Some(Self { size, what }));
        }
        let (mut numbers, mut last, mut covered) = (Missing::default(), None, 0);
        for block in core::iter::once(Ok(first)).chain(blocks) {
            let (number, block) = (block?.number(), block?);
            if block.size != size || last.is_some_and(|last| number <= last) {
                return Err(Unordered);
            }
            // What two options ask for is sent once.
            let end = if block.more { set_end(number) } else { number + 1 };
            (covered.max(number)..end).for_each(|number| numbers.push(number));
            (last, covered) = (Some(number), covered.max(end));
        }
        Ok(Some(Self { size, what: What::Blocks(numbers) }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::code::Code;
    use crate::message::{Message, Token, Type, Writer};

    /// QB2:NUM/M of 1024 bytes, each; what is asked for.
    fn wants(blocks: &[(u32, bool)]) -> Result<Option<What>, Unordered> {
        let values: Vec<u32> = blocks
            .iter()
            .map(|(number, more)| Block::new(*number, *more, BlockSize::MAX).unwrap().value())
            .collect();
        Ok(read(&values)?.map(|wants| wants.what))
    }

    fn read(values: &[u32]) -> Result<Option<Wants>, Unordered> {
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer, Type::Non, Code::GET, 1, &Token::EMPTY);
        for value in values {
            writer.option_uint(Number::Q_BLOCK2, *value);
        }
        let length = writer.finish().unwrap();
        Wants::of(&Message::parse(&buffer[..length]).unwrap().options)
    }

    fn blocks(numbers: &[u32]) -> What {
        What::Blocks(Missing::of(numbers.iter().copied()))
    }

    /// The meanings of section 4.4.
    #[test]
    fn m_has_its_meaning_by_the_number() {
        assert_eq!(wants(&[]), Ok(None));
        assert_eq!(wants(&[(0, true)]), Ok(Some(What::Body)));
        assert_eq!(wants(&[(10, true)]), Ok(Some(What::From(10))));
        assert_eq!(wants(&[(2, true)]), Ok(Some(blocks(&[2, 3, 4, 5, 6, 7, 8, 9]))));
        assert_eq!(wants(&[(10, false)]), Ok(Some(blocks(&[10]))));
        assert_eq!(wants(&[(0, false)]), Ok(Some(blocks(&[0]))));
        assert_eq!(wants(&[(1, false), (9, false)]), Ok(Some(blocks(&[1, 9]))));
    }

    /// "the server MUST only send back one instance of that block".
    #[test]
    fn what_is_asked_for_twice_is_sent_once() {
        assert_eq!(
            wants(&[(6, true), (8, false), (11, false)]),
            Ok(Some(blocks(&[6, 7, 8, 9, 11])))
        );
        assert_eq!(wants(&[(6, true), (8, true)]), Ok(Some(blocks(&[6, 7, 8, 9]))));
    }

    #[test]
    fn numbers_ascend_and_sizes_agree() {
        assert_eq!(wants(&[(9, false), (1, false)]), Err(Unordered));
        assert_eq!(wants(&[(1, false), (1, false)]), Err(Unordered));
        assert_eq!(wants(&[(10, true), (11, false)]), Err(Unordered));
        assert_eq!(read(&[0x16, 0x25]), Err(Unordered), "1024, then 512 bytes");
        assert_eq!(read(&[0x17]), Err(Unordered), "the reserved size");
    }

    #[test]
    fn a_set_s_worth_is_sent_for_one_request() {
        let many: Vec<(u32, bool)> = (0..12).map(|number| (2 * number, false)).collect();
        let first: Vec<u32> = (0..10).map(|number| 2 * number).collect();
        assert_eq!(wants(&many), Ok(Some(blocks(&first))));
    }
}
