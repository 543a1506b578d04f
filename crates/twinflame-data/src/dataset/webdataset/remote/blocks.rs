use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Size of the first block, in bytes.
pub(super) const FIRST_BLOCK: u64 = 1 << 20;
const SMALLEST_BLOCK: u64 = 1 << 16;
const LARGEST_BLOCK: u64 = 4 << 20;
/// A gap that costs less to read than a request to begin anew: some 30 ms at 300 Mbit/s.
const SMALL_GAP: u64 = 1 << 20;

/// A file that is fetched in blocks, read from front to back and with gaps left out.
///
/// A block begins where the reader stands when it has left the last one, so what lies between is not fetched. As long as the
/// reader stays close, the blocks grow from 1 to 4 MiB: images shorter than a MiB are streamed. Where it leaves out more, they
/// shrink to 64 KiB: of long images little more than what stands between them is fetched.
#[derive(Debug)]
pub(super) struct Blocks<F> {
    fetch: F,
    len: u64,
    at: u64,
    start: u64,
    block: Vec<u8>,
    block_len: u64,
}

impl<F: FnMut(Range<u64>) -> io::Result<Vec<u8>>> Blocks<F> {
    /// A file of `len` bytes, of which `block` is the beginning.
    pub(super) fn new(len: u64, block: Vec<u8>, fetch: F) -> Self {
        Self {
            fetch,
            len,
            at: 0,
            start: 0,
            block,
            block_len: FIRST_BLOCK,
        }
    }

    fn end(&self) -> u64 {
        self.start + self.block.len() as u64
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.block_len = match self.at.saturating_sub(self.end()) > SMALL_GAP {
            true => (self.block_len / 4).max(SMALLEST_BLOCK),
            false => (self.block_len * 2).min(LARGEST_BLOCK),
        };
        let range = self.at..self.len.min(self.at + self.block_len);
        let wanted = range.end - range.start;
        self.block = (self.fetch)(range)?;
        self.start = self.at;
        match self.block.len() as u64 == wanted {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<F: FnMut(Range<u64>) -> io::Result<Vec<u8>>> Read for Blocks<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len || out.is_empty() {
            return Ok(0);
        }
        if !(self.start..self.end()).contains(&self.at) {
            self.next_block()?;
        }
        let here = &self.block[(self.at - self.start) as usize..];
        let count = here.len().min(out.len());
        out[..count].copy_from_slice(&here[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl<F> Seek for Blocks<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads 1 KiB at every step and returns what was fetched.
    fn fetched(len: u64, step: u64) -> Vec<Range<u64>> {
        let file: Vec<u8> = (0..len).map(|at| (at / 1000) as u8).collect();
        let mut ranges = Vec::new();
        let first = file[..len.min(FIRST_BLOCK) as usize].to_vec();
        let mut blocks = Blocks::new(len, first, |range: Range<u64>| {
            ranges.push(range.clone());
            Ok(file[range.start as usize..range.end as usize].to_vec())
        });
        let mut at = 0;
        while at < len {
            blocks.seek(SeekFrom::Start(at)).unwrap();
            let mut read = Vec::new();
            blocks.by_ref().take(1024).read_to_end(&mut read).unwrap();
            let end = len.min(at + 1024);
            assert_eq!(read, file[at as usize..end as usize]);
            at += step;
        }
        ranges
    }

    #[test]
    fn short_gaps_are_streamed_and_long_ones_left_out() {
        let total = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        // 20 MiB: blocks of 1, 2, 4, 4 … MiB.
        let near = fetched(20 << 20, 50_000);
        assert_eq!(near.len(), 6, "{near:?}");
        assert!(
            near.windows(2).all(|pair| pair[1].start - pair[0].end < 50_000),
            "{near:?}"
        );
        // A read every 3 MiB: all but the first of 64 or 256 KiB.
        let far = fetched(60 << 20, 3 << 20);
        assert_eq!(far.len(), 19, "{far:?}");
        assert!(total(&far) < 24 << 16, "{far:?}");
        assert!(fetched(1000, 100).is_empty());
    }

    #[test]
    fn a_block_that_is_too_short_is_an_error() {
        let mut blocks = Blocks::new(100, vec![0; 10], |_| Ok(vec![0; 5]));
        let error = blocks.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
