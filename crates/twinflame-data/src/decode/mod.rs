//! Image files to pixels, the way Pillow reads them.
//!
//! open_clip resizes an image in the colour mode that Pillow gives it and turns it into RGB afterwards, so the mode
//! decides the result: palette images are resized with the nearest pixel, images with alpha premultiplied, CMYK in
//! CMYK. [`decode`] therefore keeps the mode as [`PixelLayout`] instead of converting at once.
//!
//! As in open_clip, EXIF orientation is not applied and colour profiles are ignored.

mod image;
mod jpeg;
mod raster;

pub use self::image::{DecodedImage, PixelLayout};

use ::image::codecs::png::PngEncoder;
use ::image::{ExtendedColorType, ImageEncoder, ImageFormat};

/// What a file may ask for before decoding is refused.
///
/// A few kilobytes can declare an image of many gigabytes (a decompression bomb); the limits are checked against the
/// header, before any pixel is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest accepted width x height, in pixels.
    pub max_pixels: u64,
    /// Largest buffer the decoder may allocate, in bytes.
    pub max_alloc_bytes: u64,
}

impl Default for DecodeLimits {
    /// 89,478,485 pixels, where Pillow starts to warn of a decompression bomb (`Image.MAX_IMAGE_PIXELS`), and 512 MiB.
    fn default() -> Self {
        Self {
            max_pixels: 89_478_485,
            max_alloc_bytes: 512 << 20,
        }
    }
}

impl DecodeLimits {
    /// Refuses an image that its header declares to be too large.
    pub(crate) fn check(&self, width: u64, height: u64, bytes: u64) -> Result<(), DecodeError> {
        if width * height > self.max_pixels {
            return Err(DecodeError::TooManyPixels {
                width,
                height,
                max_pixels: self.max_pixels,
            });
        }
        if bytes > self.max_alloc_bytes {
            return Err(DecodeError::TooManyBytes {
                bytes,
                max_alloc_bytes: self.max_alloc_bytes,
            });
        }
        Ok(())
    }
}

/// Why an image could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The first bytes match no known image format.
    #[error("not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP")]
    UnknownFormat,
    /// An image, but of a format that is not compiled in.
    #[error("{format} images are not supported; convert to JPEG, PNG, WebP, GIF or BMP")]
    UnsupportedFormat {
        /// The format found.
        format: String,
    },
    /// More pixels than [`DecodeLimits::max_pixels`].
    #[error("the header declares {width}x{height} pixels, more than the limit of {max_pixels} (a decompression bomb?)")]
    TooManyPixels {
        /// Declared width, in pixels.
        width: u64,
        /// Declared height, in pixels.
        height: u64,
        /// The limit, in pixels.
        max_pixels: u64,
    },
    /// More memory than [`DecodeLimits::max_alloc_bytes`].
    #[error("decoding needs {bytes} bytes, more than the limit of {max_alloc_bytes} (a decompression bomb?)")]
    TooManyBytes {
        /// Bytes needed.
        bytes: u64,
        /// The limit, in bytes.
        max_alloc_bytes: u64,
    },
    /// The data ends before the image does.
    #[error("the {format} file is truncated: the data ends before the image does")]
    Truncated {
        /// The format of the file.
        format: &'static str,
    },
    /// The decoder gave up.
    #[error("the {format} file is damaged: {message}")]
    Damaged {
        /// The format of the file.
        format: &'static str,
        /// What the decoder said.
        message: String,
    },
}

impl DecodeError {
    /// A short name of the reason, the same for every file that fails alike: the key to count failures by.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty file",
            Self::UnknownFormat => "not an image",
            Self::UnsupportedFormat { .. } => "unsupported format",
            Self::TooManyPixels { .. } | Self::TooManyBytes { .. } => "image too large",
            Self::Truncated { .. } => "truncated file",
            Self::Damaged { .. } => "damaged file",
        }
    }
}

/// Decodes a JPEG, PNG, WebP, GIF (first frame) or BMP file.
///
/// The format is recognised by its first bytes, whatever the file is called.
///
/// # Errors
/// If the bytes are no such image, exceed `limits`, are truncated or damaged.
///
/// ```
/// use twinflame_data::{DecodeError, DecodeLimits, decode};
///
/// let error = decode(b"<html>404</html>", &DecodeLimits::default());
/// assert!(matches!(error, Err(DecodeError::UnknownFormat)));
/// ```
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<DecodedImage, DecodeError> {
    match recognise(bytes)? {
        (ImageFormat::Jpeg, _) => jpeg::decode(bytes, limits),
        (format, _) => raster::decode(bytes, format, limits),
    }
}

/// Format and usual ending of a file, by its first bytes.
fn recognise(bytes: &[u8]) -> Result<(ImageFormat, &'static str), DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match ::image::guess_format(bytes) {
        Ok(format @ ImageFormat::Jpeg) => Ok((format, "jpg")),
        Ok(format @ ImageFormat::Png) => Ok((format, "png")),
        Ok(format @ ImageFormat::WebP) => Ok((format, "webp")),
        Ok(format @ ImageFormat::Gif) => Ok((format, "gif")),
        Ok(format @ ImageFormat::Bmp) => Ok((format, "bmp")),
        Ok(format) => Err(DecodeError::UnsupportedFormat {
            format: format!("{format:?}").to_uppercase(),
        }),
        Err(_) => Err(DecodeError::UnknownFormat),
    }
}

/// The bytes of an image file with the ending of its format.
///
/// # Errors
/// If they begin like no image that [`decode`] reads.
pub(crate) fn with_ending(bytes: Vec<u8>) -> Result<(&'static str, Vec<u8>), DecodeError> {
    let (_, ending) = recognise(&bytes)?;
    Ok((ending, bytes))
}

/// An image as an RGB PNG file, with its ending.
///
/// # Errors
/// If the encoder fails, which it does for images of many gigabytes only.
pub(crate) fn encode_png(image: &DecodedImage) -> Result<(&'static str, Vec<u8>), DecodeError> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&image.to_rgb(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(|error| DecodeError::Damaged {
            format: "PNG",
            message: error.to_string(),
        })?;
    Ok(("png", bytes))
}

#[cfg(test)]
mod tests;
