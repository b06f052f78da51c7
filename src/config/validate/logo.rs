//! `signin.brand.logo`: the image on the sign-in pages.
//!
//! What holds: what it is is told by its bytes; what is none of the four kinds is not served.

use std::fmt::Write as _;
use std::path::PathBuf;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::Findings;
use crate::config::Logo;
use crate::config::problems::KeyPath;

/// The largest image that is taken.
const MAX_LOGO: u64 = 256 << 10;

/// `None` where there is a problem; `Some(None)` where none is named.
pub(super) fn logo(path: Option<&str>, findings: &mut Findings) -> Option<Option<Logo>> {
    let Some(path) = path else { return Some(None) };
    findings.watched.push(PathBuf::from(path));
    findings.problems.keep(&KeyPath::of("signin.brand.logo"), read(path)).map(Some)
}

fn read(path: &str) -> Result<Logo, String> {
    let cannot = |error: std::io::Error| format!("{path} cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(format!("{path} is not a file"));
    }
    if metadata.len() > MAX_LOGO {
        return Err(format!("{path} is larger than 256 KiB"));
    }
    let image = std::fs::read(path).map_err(cannot)?;
    let media_type =
        media_type(&image).ok_or_else(|| format!("{path} is no SVG, PNG, JPEG or WebP image"))?;
    let hash = digest::digest(&digest::SHA256, &image);
    let version = hash.as_ref()[..8].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(Logo { image: Bytes::from(image), media_type, version })
}

/// By the signature that each kind begins with.
fn media_type(image: &[u8]) -> Option<&'static str> {
    match image {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => is_svg(image).then_some("image/svg+xml"),
    }
}

/// Whether it is text whose first element is `svg`. Declarations of entities are not looked through.
fn is_svg(image: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(image) else { return false };
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<?") => "?>",
            _ if rest.starts_with("<!DOCTYPE") => ">",
            _ => break,
        };
        let Some((_, after)) = rest.split_once(end) else { return false };
        rest = after.trim_start();
    }
    rest.strip_prefix("<svg").is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n', '>', '/']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_its_bytes_say() {
        for (image, kind) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0....", Some("image/jpeg")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Some("image/svg+xml")),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- ours --><!DOCTYPE svg>\n<svg>", Some("image/svg+xml")),
            (b"<svgs>", None),
            (b"<html><svg></svg></html>", None),
            (b"<!-- <svg> ", None),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"GIF89a", None),
            (b"<svg \xff>", None),
            (b"", None),
        ] {
            assert_eq!(media_type(image), kind, "{}", String::from_utf8_lossy(image));
        }
    }
}
