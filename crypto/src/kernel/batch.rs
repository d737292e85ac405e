//! How do a batch's jobs come to lie in lanes? Those of one algorithm, and of about one length,
//! side by side: a group takes as long as its longest record.

use crate::aead::{Aead, Job, TEXT_BYTES_MAX};

use super::isa::BLOCK_BYTES;

/// Most jobs that are put in order at once; a longer batch is cut.
const ORDERED_MAX: usize = 64;
/// Classes of length: each number of blocks up to 15, then octaves.
const LENGTH_CLASSES: usize = 32;
/// The class of what can't be a record.
const REFUSED: usize = Aead::ALL.len() * LENGTH_CLASSES;

/// What seals or opens a few jobs side by side.
pub(super) trait Groups: Copy {
    /// Most jobs of a group.
    const JOBS_MAX: usize;

    /// `jobs` are 1 to [`JOBS_MAX`](Self::JOBS_MAX) of one algorithm, their keys of its length,
    /// their texts with room for its tag. Bit `n` of the answer: job `n` is sealed, or authentic.
    fn group<const SEAL: bool>(self, aead: Aead, jobs: &mut [Option<&mut Job<'_>>]) -> u32;
}

/// Seals (or else opens) every job, and wipes the texts of those that are not authentic.
pub(super) fn run<G: Groups, const SEAL: bool>(groups: G, jobs: &mut [Job<'_>]) {
    for jobs in jobs.chunks_mut(ORDERED_MAX) {
        let mut ordered = in_order::<SEAL>(jobs);
        let mut left = ordered.as_mut_slice();
        while let Some(aead) = left.first().and_then(|job| job.as_ref().map(|job| job.aead)) {
            let is_same =
                |job: &&Option<&mut Job<'_>>| job.as_ref().is_some_and(|j| j.aead == aead);
            let len = left.iter().take(G::JOBS_MAX).take_while(is_same).count();
            let group;
            (group, left) = left.split_at_mut(len);
            let done = groups.group::<SEAL>(aead, group);
            for (index, job) in group.iter_mut().flatten().enumerate() {
                job.done = done >> index & 1 == 1;
                if !job.done {
                    job.wipe_text();
                }
            }
        }
    }
    if jobs.len() > 1 { scrub::<STACK_BYTES_MAX>() } else { scrub::<STACK_BYTES_OF_ONE>() }
}

/// Twice what the largest frames take that hold round keys (3.7 KiB), and what those of one record
/// do (700 bytes).
const STACK_BYTES_MAX: usize = 7 << 10;
const STACK_BYTES_OF_ONE: usize = 3 << 9;

/// Overwrites what the groups left on the stack, round keys among it: its own frame lies where
/// theirs were. *Why:* registers are spilled where no variable can be wiped.
#[inline(never)]
fn scrub<const BYTES: usize>() {
    std::hint::black_box(&mut [0u8; BYTES]);
}

/// The jobs by algorithm, then by length, `None` behind. What can't be a record is refused here.
fn in_order<'j, 'a, const SEAL: bool>(
    jobs: &'j mut [Job<'a>],
) -> [Option<&'j mut Job<'a>>; ORDERED_MAX] {
    let mut classes = [0; ORDERED_MAX];
    let mut is_ordered = true;
    let mut last = 0;
    for (class, job) in classes.iter_mut().zip(&*jobs) {
        *class = class_of::<SEAL>(job);
        is_ordered &= last <= *class;
        last = *class;
    }
    let mut ordered = [const { None }; ORDERED_MAX];
    if is_ordered && usize::from(last) < REFUSED {
        for (place, job) in ordered.iter_mut().zip(jobs) {
            *place = Some(job);
        }
        return ordered;
    }
    let mut starts = [0u8; REFUSED + 1];
    for class in &classes[..jobs.len()] {
        starts[usize::from(*class)] += 1;
    }
    let mut start = 0;
    for count in &mut starts {
        (*count, start) = (start, start + *count);
    }
    for (class, job) in classes.into_iter().map(usize::from).zip(jobs) {
        if class == REFUSED {
            job.done = false;
            job.wipe_text();
        } else {
            ordered[usize::from(starts[class])] = Some(job);
            starts[class] += 1;
        }
    }
    ordered
}

fn class_of<const SEAL: bool>(job: &Job<'_>) -> u8 {
    assert_eq!(job.key.len(), job.aead.key_bytes(), "key length of {:?}", job.aead);
    let tag_bytes = job.aead.tag_bytes();
    let text_bytes = job.text.len().wrapping_sub(tag_bytes);
    if text_bytes > TEXT_BYTES_MAX - tag_bytes {
        assert!(!SEAL || job.text.len() >= tag_bytes, "no room for the tag");
        assert!(!SEAL, "text longer than a record");
        return REFUSED as u8;
    }
    let blocks = text_bytes.div_ceil(BLOCK_BYTES);
    let length = if blocks < 16 { blocks } else { 12 + blocks.ilog2() as usize };
    (job.aead as usize * LENGTH_CLASSES + length) as u8
}
