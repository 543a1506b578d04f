use std::io::{self, Read};

use flate2::read::GzDecoder;

/// The text of an embedded gzip file.
///
/// # Errors
/// If the file was damaged before it was embedded.
pub(crate) fn inflate(bytes: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}
