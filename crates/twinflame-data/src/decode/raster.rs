//! PNG, WebP, GIF and BMP through the crate `image`.

use super::{DecodeError, DecodeLimits, DecodedImage, PixelLayout};
use ::image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::error::Error;
use std::io::{self, Cursor};

/// Decodes one of the formats that `image` reads, keeping what Pillow would call the mode.
pub(super) fn decode(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Result<DecodedImage, DecodeError> {
    let fail = |error| into_error(error, format, limits);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = Limits::default();
    allowed.max_alloc = Some(limits.max_alloc_bytes);
    reader.limits(allowed);

    let decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    let size = decoder.total_bytes();
    limits.check(u64::from(width), u64::from(height), size)?;
    if size == 0 {
        return Err(DecodeError::Damaged {
            format: name(format),
            message: "the image has no pixels".to_owned(),
        });
    }
    let color = decoder.color_type();
    let mut pixels = vec![0; size as usize];
    decoder.read_image(&mut pixels).map_err(fail)?;

    let pixels = high_bytes(pixels, color);
    let found = match color {
        ColorType::L8 | ColorType::L16 => PixelLayout::Grey,
        ColorType::La8 | ColorType::La16 => PixelLayout::GreyAlpha,
        ColorType::Rgb8 | ColorType::Rgb16 => PixelLayout::Rgb,
        ColorType::Rgba8 | ColorType::Rgba16 => PixelLayout::Rgba,
        other => {
            return Err(DecodeError::Damaged {
                format: name(format),
                message: format!("unexpected pixel type {other:?}"),
            });
        }
    };
    let wanted = layout_in_file(bytes, format).unwrap_or(found);
    let pixels = convert(pixels, found, wanted);
    Ok(DecodedImage::new(width, height, wanted, pixels))
}

/// 16-bit samples keep their high byte, as Pillow's `;16B` raw modes do for RGB, RGBA and LA.
///
/// A 16-bit *grey* file is treated alike. Pillow keeps those 16 bits through the resize and then clips them to 255,
/// which makes nearly every such picture plain white; that is the one place where we do not follow it.
fn high_bytes(pixels: Vec<u8>, color: ColorType) -> Vec<u8> {
    match color {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => pixels
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&sample| (u16::from_ne_bytes(sample) >> 8) as u8)
            .collect(),
        _ => pixels,
    }
}

/// The layout that the file declares, where `image` hides it: it expands palettes, single bits and the transparent
/// colour (`tRNS`), all of which Pillow keeps until after the resize.
fn layout_in_file(bytes: &[u8], format: ImageFormat) -> Option<PixelLayout> {
    match format {
        ImageFormat::Png => match (bytes.get(24)?, bytes.get(25)?) {
            (1, 0) | (_, 3) => Some(PixelLayout::Indexed),
            (_, 0) => Some(PixelLayout::Grey),
            (_, 2) => Some(PixelLayout::Rgb),
            (_, 4) => Some(PixelLayout::GreyAlpha),
            _ => Some(PixelLayout::Rgba),
        },
        ImageFormat::Gif => Some(gif_layout(bytes)),
        ImageFormat::Bmp => bmp_palette_layout(bytes),
        _ => None,
    }
}

/// Pillow opens a GIF whose colour table is the grey ramp as `L`, any other as `P`.
fn gif_layout(bytes: &[u8]) -> PixelLayout {
    let ramp = || {
        let flags = bytes.get(10)?;
        let colors = 2_usize << (flags & 7);
        let table = bytes.get(13..13 + 3 * colors)?;
        let is_ramp = table
            .as_chunks::<3>()
            .0
            .iter()
            .enumerate()
            .all(|(i, c)| *c == [i as u8; 3]);
        Some(flags & 0x80 != 0 && is_ramp)
    };
    if ramp() == Some(true) {
        PixelLayout::Grey
    } else {
        PixelLayout::Indexed
    }
}

/// `None` for a BMP without a colour table. Pillow opens a table that is the grey ramp as `L` and any other as `P`
/// (black and white as `1`, which is resized like `P`).
fn bmp_palette_layout(bytes: &[u8]) -> Option<PixelLayout> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let header = u32_at(14)?;
    let (bits, entry, used) = if header == 12 {
        (u16_at(24)?, 3, 0)
    } else {
        (u16_at(28)?, 4, u32_at(46)?)
    };
    if bits > 8 {
        return None;
    }
    let colors = if used == 0 { 1 << bits } else { used as usize };
    let start = 14 + header as usize;
    let table = bytes.get(start..start + colors.min(256) * entry)?;
    let is_ramp = table
        .chunks_exact(entry)
        .enumerate()
        .all(|(i, c)| c[..3] == [i as u8; 3]);
    Some(if is_ramp && colors > 2 {
        PixelLayout::Grey
    } else {
        PixelLayout::Indexed
    })
}

/// Undoes an expansion: drops the alpha that `tRNS` became, or the copies of a grey value.
fn convert(pixels: Vec<u8>, found: PixelLayout, wanted: PixelLayout) -> Vec<u8> {
    let (from, to) = (found.channels(), wanted.channels());
    if from == to {
        return pixels;
    }
    if from <= 2 && to == 3 {
        // single bits, read as grey
        return pixels.chunks_exact(from).flat_map(|p| [p[0]; 3]).collect();
    }
    pixels
        .chunks_exact(from)
        .flat_map(|p| &p[..to.min(from)])
        .copied()
        .collect()
}

fn into_error(error: ImageError, format: ImageFormat, limits: &DecodeLimits) -> DecodeError {
    if let ImageError::Limits(_) = error {
        return DecodeError::TooManyBytes {
            bytes: limits.max_alloc_bytes.saturating_add(1),
            max_alloc_bytes: limits.max_alloc_bytes,
        };
    }
    let message = error.to_string();
    // some decoders put the error of the reader into words
    let said = ["unexpected end", "failed to fill whole buffer"]
        .iter()
        .any(|words| message.contains(words));
    if said || is_end_of_file(&error) {
        DecodeError::Truncated { format: name(format) }
    } else {
        DecodeError::Damaged {
            format: name(format),
            message,
        }
    }
}

fn is_end_of_file(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        _ => "BMP",
    }
}
