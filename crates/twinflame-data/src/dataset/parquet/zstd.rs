//! Pages compressed with zstd, decompressed in Rust: the codec of the library is C.

use std::io::Read;

use bytes::Bytes;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::serialized_reader::SerializedPageReader;
use ruzstd::decoding::StreamingDecoder;

use super::column::Shard;

/// Window that every frame may ask for, in bytes (RFC 8878, section 3.1.1.1.2), however small the column is.
const WINDOW: u64 = 8 << 20;

/// Decompresses what a reader leaves compressed, because it was told that the column is not.
pub(super) struct ZstdPages {
    pages: SerializedPageReader<Shard>,
    /// Bytes of all pages of the column, without compression: none has more.
    max_bytes: u64,
}

impl ZstdPages {
    pub(super) fn new(pages: SerializedPageReader<Shard>, max_bytes: u64) -> Self {
        Self { pages, max_bytes }
    }

    fn decompressed(&self, mut page: Page) -> Result<Page> {
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = decompress(buf, 0, self.max_bytes)?,
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } => {
                // Levels stand in front and are never compressed.
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                if *is_compressed {
                    *buf = decompress(buf, levels, self.max_bytes)?;
                    *is_compressed = false;
                }
            }
        }
        Ok(page)
    }
}

/// The first `plain` bytes as they are, and what the frames behind them hold.
///
/// # Errors
/// What is no frame of zstd, a window above 8 MiB and `max_bytes`, or more than `max_bytes`.
fn decompress(bytes: &[u8], plain: usize, max_bytes: u64) -> Result<Bytes> {
    let wrong = |message: String| ParquetError::General(format!("zstd: {message}"));
    let (levels, mut frames) = bytes
        .split_at_checked(plain)
        .ok_or_else(|| wrong("a page is shorter than its levels".to_owned()))?;
    let mut whole = levels.to_vec();
    while !frames.is_empty() {
        let frame = StreamingDecoder::new_with_max_window_size(&mut frames, max_bytes.max(WINDOW))
            .map_err(|error| wrong(error.to_string()))?;
        let room = max_bytes.saturating_sub(whole.len() as u64);
        let read = frame.take(room + 1).read_to_end(&mut whole);
        if read.map_err(|error| wrong(error.to_string()))? as u64 > room {
            return Err(wrong(format!(
                "a page has more than the {max_bytes} bytes of its column"
            )));
        }
    }
    Ok(whole.into())
}

impl Iterator for ZstdPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ZstdPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|page| self.decompressed(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        page.map(|page| self.decompressed(page)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    #[test]
    fn frames_follow_plain_bytes_and_have_a_limit() {
        let text = "a dog and a cat and a dog. ".repeat(100).into_bytes();
        let frame = compress_to_vec(&text[..], CompressionLevel::Fastest);
        let page = [b"levels", &frame[..], &frame[..]].concat();
        let whole = decompress(&page, 6, 10_000).unwrap();
        assert_eq!(whole, [b"levels", &text[..], &text[..]].concat());
        assert_eq!(
            decompress(b"levels", 6, 6).unwrap(),
            &b"levels"[..],
            "all values are null"
        );
        let exact = whole.len() as u64;
        assert_eq!(decompress(&page, 6, exact).unwrap().len() as u64, exact);
        let error = |bytes: &[u8], plain, max| decompress(bytes, plain, max).unwrap_err().to_string();
        assert!(error(&page, 6, exact - 1).ends_with(&format!("more than the {} bytes of its column", exact - 1)));
        assert!(error(b"lev", 6, 99).contains("shorter than its levels"));
        assert!(error(b"no frame at all", 0, 99).starts_with("Parquet error: zstd: "));
        assert!(error(&page[..page.len() - 4], 6, exact).starts_with("Parquet error: zstd: "));
    }
}
