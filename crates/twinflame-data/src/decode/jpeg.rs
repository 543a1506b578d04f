//! JPEG, with CMYK kept apart.

use super::{DecodeError, DecodeLimits, DecodedImage, PixelLayout};
use crate::buffers::take;
use crate::resize::clamp_u8;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

/// Decodes a JPEG file as libjpeg and Pillow do: grey stays grey, four components are CMYK.
///
/// `zune-jpeg` is what `image` uses; it is called directly because `image` turns CMYK into RGB on the way.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<DecodedImage, DecodeError> {
    let mut header = JpegDecoder::new_with_options(ZCursor::new(bytes), options(false));
    header.decode_headers().map_err(into_error)?;
    let (Some((width, height)), Some(input)) = (header.dimensions(), header.input_colorspace()) else {
        return Err(damaged("no image header"));
    };
    let (output, layout) = match input {
        ColorSpace::Luma => (ColorSpace::Luma, PixelLayout::Grey),
        ColorSpace::CMYK => (ColorSpace::CMYK, PixelLayout::Cmyk),
        ColorSpace::YCCK => (ColorSpace::YCCK, PixelLayout::Cmyk),
        ColorSpace::YCbCr | ColorSpace::RGB => (ColorSpace::RGB, PixelLayout::Rgb),
        other => return Err(damaged(&format!("colour space {other:?}"))),
    };
    if width == 0 || height == 0 {
        return Err(damaged("the image has no pixels"));
    }
    let size = width as u64 * height as u64 * layout.channels() as u64;
    limits.check(width as u64, height as u64, size)?;

    let mut pixels = take(size as usize);
    decode_pixels(bytes, output, &mut pixels)?;
    if layout == PixelLayout::Cmyk {
        to_pillow_cmyk(&mut pixels, input);
    }
    Ok(DecodedImage::new(width as u32, height as u32, layout, pixels))
}

/// Strictly first, because only the strict decoder reports missing data; other damage that the strict one minds
/// (stray bytes, unknown markers) libjpeg only warns of.
fn decode_pixels(bytes: &[u8], output: ColorSpace, pixels: &mut [u8]) -> Result<(), DecodeError> {
    let mut run = |strict: bool| {
        let options = options(strict).jpeg_set_out_colorspace(output);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers()?;
        if decoder.output_buffer_size() != Some(pixels.len()) {
            return Err(DecodeErrors::FormatStatic("the pixels do not fill the image"));
        }
        // damaged files leave pixels out, where the image before must not show
        pixels.fill(0);
        decoder.decode_into(pixels)
    };
    match run(true).map_err(into_error) {
        Err(DecodeError::Damaged { .. }) => run(false).map_err(into_error),
        result => result,
    }
}

fn options(strict: bool) -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

/// Adobe stores inverted inks, and Pillow takes every CMYK JPEG for Adobe's (`JpegImagePlugin`: "assume adobe
/// conventions"). YCCK holds the inverted inks as YCbCr of the *plain* RGB, as libjpeg's `ycck_cmyk_convert` undoes.
fn to_pillow_cmyk(pixels: &mut [u8], input: ColorSpace) {
    for pixel in pixels.as_chunks_mut::<4>().0 {
        if input == ColorSpace::YCCK {
            let [y, cb, cr, _] = pixel.map(f32::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            // libjpeg: C = 255 - R and so on; Pillow's inversion cancels the subtraction, leaving the RGB values.
            let rgb = [y + 1.402 * cr, y - 0.344_136_3 * cb - 0.714_136_3 * cr, y + 1.772 * cb];
            for (ink, value) in pixel.iter_mut().zip(rgb) {
                *ink = clamp_u8(value + 0.5);
            }
        } else {
            for ink in &mut pixel[..3] {
                *ink = 255 - *ink;
            }
        }
        pixel[3] = 255 - pixel[3];
    }
}

fn into_error(error: DecodeErrors) -> DecodeError {
    let message = error.to_string();
    let truncated =
        matches!(error, DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_)) || message.contains("Premature");
    if truncated {
        DecodeError::Truncated { format: "JPEG" }
    } else {
        damaged(&message)
    }
}

fn damaged(message: &str) -> DecodeError {
    DecodeError::Damaged {
        format: "JPEG",
        message: message.trim().to_owned(),
    }
}
