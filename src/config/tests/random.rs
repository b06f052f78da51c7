//! Whatever is written, loading it gives settings or mistakes, and never a panic.

use proptest::prelude::*;

use super::super::environment;
use super::super::problems::Problems;
use super::super::units::{CountLimit, Period, RateLimit, Size, SizeLimit, Written};
use super::{SECRET, outcome, settings};

const VALUES: [&str; 24] = [
    "true",
    "0",
    "-1",
    "1.5",
    "nan",
    "\"\"",
    "\"x\"",
    "[]",
    "[\"\"]",
    "[1, {}]",
    "{}",
    "{ a = 1 }",
    "1979-05-27",
    "\"5m\"",
    "\"10MiB\"",
    "\"20/min\"",
    "\"unix:/\"",
    "\"http://[::1\"",
    "\"http://@\"",
    "\"{\"",
    "\"/{a}/{a}/*\"",
    "\"\u{1F510}\"",
    "9223372036854775807",
    "\"\\u0000\"",
];

const FULL: &str = include_str!("../../../config/full.toml");

/// The full example with some of its values replaced, lines dropped and bytes cut.
fn mutated() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..VALUES.len() + 2), 0..12);
    (edits, prop::option::of(any::<prop::sample::Index>())).prop_map(|(edits, cut)| {
        let mut lines: Vec<String> = FULL.replace("\n#: ", "\n").lines().map(str::to_owned).collect();
        for (index, edit) in edits {
            let at = index.index(lines.len());
            let Some((key, _)) = lines[at].split_once(" = ") else { continue };
            lines[at] = match VALUES.get(edit) {
                Some(value) => format!("{key} = {value}"),
                None if edit == VALUES.len() => String::new(),
                None => format!("{key}x.y = 1"),
            };
        }
        let text = lines.join("\n");
        let end = cut.map_or(text.len(), |cut| cut.index(text.len()));
        text.chars().take(end).collect()
    })
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let deep = 50_000;
    for text in [
        format!("a{} = 1", ".a".repeat(deep)),
        format!("[a{}]\nb = 1", ".a".repeat(deep)),
        format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}", "{ a = ".repeat(deep), " }".repeat(deep)),
        format!("routes = [{}]", "{},".repeat(deep)),
    ] {
        outcome(&[&text], &[]).unwrap_err();
    }
    let name = format!("STYTCH_GATEWAY_A{}", "__A".repeat(deep));
    outcome(&[&settings("[stytch]", "")], &[(&name, "1")]).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_settings_make_it_panic(text in mutated()) {
        let _ = outcome(&[&text], &[]);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a-z\"'=.{}#\\n\\PC]{0,200}") {
        let _ = outcome(&[&text], &[]);
    }

    #[test]
    fn no_variable_makes_it_panic(
        name in "(SERVER|STYTCH|ROUTES|UPSTREAMS|)(__|_)[A-Z_]{0,12}",
        value in "[\\[{]?\\PC{0,20}",
    ) {
        let name = format!("STYTCH_GATEWAY_{name}");
        let _ = outcome(&[&settings("[stytch]", "")], &[(&name, &value)]);
        let _ = environment::read(std::iter::once((name, value)), 0, &mut Problems::default());
    }

    #[test]
    fn no_mistake_beside_the_secret_shows_it(line in "[a-z_]{1,8} = (\"[a-z\\\\]{0,5}\"?|[0-9a-z.]{1,5})") {
        // `outcome` looks for the secret in every message.
        let text = settings("[stytch]", &line);
        prop_assert!(text.contains(SECRET));
        let _ = outcome(&[&text], &[]);
    }

    #[test]
    fn quantities_read_back_what_they_print(milliseconds in 0..300_000_000_000_u64, bytes in 0..u64::MAX / 2, count in 1..u32::MAX) {
        let period = Period(std::time::Duration::from_millis(milliseconds));
        prop_assert_eq!(Period::try_from(Written::from(period)), Ok(period));
        prop_assert_eq!(Size::try_from(Written::from(Size(bytes))), Ok(Size(bytes)));
        prop_assert_eq!(SizeLimit::try_from(Written::from(SizeLimit(Some(bytes)))), Ok(SizeLimit(Some(bytes))));
        let rate = RateLimit::per_minute(count);
        prop_assert_eq!(RateLimit::try_from(Written::from(rate)), Ok(rate));
        prop_assert_eq!(CountLimit::try_from(Written::from(CountLimit(Some(count)))), Ok(CountLimit(Some(count))));
    }
}
