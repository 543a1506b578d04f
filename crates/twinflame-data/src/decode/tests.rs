use super::*;

/// A bitmap header that declares `width` x `height` pixels of 24 bits and has none.
fn bmp_header(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend([0; 8]);
    bytes.extend(54_u32.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes
}

fn message(bytes: &[u8]) -> String {
    decode(bytes, &DecodeLimits::default()).unwrap_err().to_string()
}

#[test]
fn what_is_no_image_is_named() {
    assert_eq!(message(b""), "the file is empty");
    assert_eq!(
        message(b"file,caption\n"),
        "not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP"
    );
    assert_eq!(
        message(b"II*\0\0\0\0\0"),
        "TIFF images are not supported; convert to JPEG, PNG, WebP, GIF or BMP"
    );
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    assert_eq!(
        message(&bmp_header(60_000, 60_000)),
        "the header declares 60000x60000 pixels, more than the limit of 89478485 (a decompression bomb?)"
    );
    let limits = DecodeLimits {
        max_alloc_bytes: 1000,
        ..DecodeLimits::default()
    };
    let error = decode(&bmp_header(20, 20), &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "decoding needs 1200 bytes, more than the limit of 1000 (a decompression bomb?)"
    );
    assert_eq!(error.reason(), "image too large");
}

#[test]
fn missing_pixels_are_a_truncated_file() {
    let error = decode(&bmp_header(20, 20), &DecodeLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the BMP file is truncated: the data ends before the image does"
    );
    assert_eq!(error.reason(), "truncated file");
}

#[test]
fn a_broken_jpeg_is_damaged_or_truncated() {
    for bytes in [
        &b"\xff\xd8\xff"[..],
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"\xff\xd8\xff\xdb\0\x03\0",
    ] {
        let reason = decode(bytes, &DecodeLimits::default()).unwrap_err().reason();
        assert!(
            ["damaged file", "truncated file"].contains(&reason),
            "{bytes:?}: {reason}"
        );
    }
}

/// A second scan in the middle of the first ends the picture, and no decoder says so. Buffers are used again: nothing of another
/// picture may be in the rest.
#[test]
fn what_a_damaged_jpeg_leaves_out_is_empty() {
    let mut bytes = include_bytes!("../../../../tests/fixtures/clip_preprocess/h_rgb_70x52_q95_444.jpg").to_vec();
    let scan = bytes.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    let length = 2 + usize::from(u16::from_be_bytes([bytes[scan + 2], bytes[scan + 3]]));
    let header = bytes[scan..scan + length].to_vec();
    let middle = (scan + length + bytes.len()) / 2;
    bytes.splice(middle..middle, header);
    let limits = DecodeLimits::default();
    let first = decode(&bytes, &limits).unwrap();
    crate::buffers::give(vec![77; 1 << 20]);
    let second = decode(&bytes, &limits).unwrap();
    assert!(first.pixels().ends_with(&[0; 70 * 3]), "the end is there");
    assert_eq!(first, second);
}
