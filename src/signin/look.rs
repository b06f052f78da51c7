//! What all pages look like: the style sheet, with the accent colour of the settings.
//!
//! What holds: whatever the accent is, words on it, and links and focus rings in it, can be read in
//! the light scheme and in the dark one (WCAG 2.2, 1.4.3 and 1.4.11).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::config::Brand;
use crate::reply::PAGE_STYLE;

const STYLE: &str = include_str!("style.css");
const ACCENT: [u8; 3] = [0x1a, 0x56, 0xdb];
/// Of what lies under words in the accent's colour, in either scheme the nearest to it: `--tint`.
const LIGHT_GROUND: [u8; 3] = [0xf3, 0xf4, 0xf7];
const DARK_GROUND: [u8; 3] = [0x22, 0x26, 0x2f];
const READABLE: f64 = 4.5;

/// Made once for a configuration.
pub(super) struct Look {
    pub(super) style: String,
    /// As the pages' policy names the style.
    pub(super) digest: String,
    /// The version of the logo, where there is one.
    pub(super) logo: Option<String>,
}

impl Look {
    pub(super) fn new(brand: &Brand) -> Self {
        let accent = brand.accent.unwrap_or(ACCENT);
        let on_accent = if is_bright(accent) { "#000" } else { "#fff" };
        let (light, dark) = (readable(accent, LIGHT_GROUND, 0), readable(accent, DARK_GROUND, 255));
        let style = format!(
            "{PAGE_STYLE}{STYLE}:root{{--accent:{};--on-accent:{on_accent};--edge:{}}}\n\
             @media (prefers-color-scheme:dark){{:root{{--edge:{}}}}}\n",
            hexadecimal(accent),
            hexadecimal(light),
            hexadecimal(dark),
        );
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
        let logo = brand.logo.as_ref().map(|logo| logo.version.clone());
        Self { style, digest: BASE64_STANDARD.encode(digest), logo }
    }
}

fn hexadecimal([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = |channel: u8| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.040_45 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// Whether black is easier to read on a colour than white.
fn is_bright(colour: [u8; 3]) -> bool {
    contrast(colour, [0; 3]) > contrast(colour, [255; 3])
}

/// Between 1 and 21 (WCAG 2.2).
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// A colour, mixed with as little black (0) or white (255) as makes it readable on a ground.
fn readable(colour: [u8; 3], ground: [u8; 3], towards: u8) -> [u8; 3] {
    let mixed = |percent: u16| {
        colour.map(|channel| {
            let sum = u16::from(channel) * (100 - percent) + u16::from(towards) * percent;
            u8::try_from(sum / 100).unwrap_or(towards)
        })
    };
    (0..100).map(mixed).find(|mixed| contrast(*mixed, ground) >= READABLE).unwrap_or([towards; 3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_on_the_accent_can_be_read() {
        for (colour, bright) in [([0, 0, 0], false), ([255; 3], true), (ACCENT, false), ([255, 220, 0], true)]
        {
            assert_eq!(is_bright(colour), bright, "{colour:?}");
        }
    }

    #[test]
    fn an_accent_that_can_be_read_stays_what_it_is() {
        assert_eq!(readable(ACCENT, LIGHT_GROUND, 0), ACCENT);
        assert_eq!(readable([255, 220, 0], DARK_GROUND, 255), [255, 220, 0]);
        assert_eq!(readable([255; 3], DARK_GROUND, 255), [255; 3]);
    }

    #[test]
    fn the_grounds_are_those_of_the_style() {
        let (light, dark) = PAGE_STYLE.split_once("prefers-color-scheme:dark").unwrap();
        assert!(light.contains(&format!("--tint:{}", hexadecimal(LIGHT_GROUND))));
        assert!(dark.contains(&format!("--tint:{}", hexadecimal(DARK_GROUND))));
    }

    proptest! {
        #[test]
        fn any_accent_can_be_read(colour in any::<[u8; 3]>()) {
            let words = if is_bright(colour) { [0; 3] } else { [255; 3] };
            prop_assert!(contrast(colour, words) >= READABLE);
            for (ground, towards) in [(LIGHT_GROUND, 0), (DARK_GROUND, 255)] {
                prop_assert!(contrast(readable(colour, ground, towards), ground) >= READABLE);
            }
        }
    }
}
