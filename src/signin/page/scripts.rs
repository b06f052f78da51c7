//! The scripts of a page: one that tells devices apart, of the origin that the settings name, and
//! one of the gateway's own that hands its answer to the form.
//!
//! What holds: a page runs these two and no other, by a nonce of its own; what they may speak to is
//! the one origin that the settings name.

use maud::{Markup, html};

use super::View;

impl View<'_> {
    /// In the order in which they run. While the first is awaited, or where it never comes, the page
    /// works without either.
    pub(super) fn scripts(&self, nonce: Option<&str>) -> Markup {
        html! {
            @if let (Some(device), Some(nonce)) = (self.script, nonce) {
                script defer nonce=(nonce) src=(device.script) {}
                script defer nonce=(nonce) src={ (self.base) "/device.js" }
                    data-public-token=(device.public_token) data-submit=(device.submit) {}
            }
        }
    }

    /// What a page's policy says of them, as the beginning of it.
    pub(super) fn script_policy(&self, nonce: Option<&str>) -> String {
        match (self.script, nonce) {
            (Some(device), Some(nonce)) => {
                format!("script-src 'nonce-{nonce}'; connect-src {}; ", device.collector)
            }
            _ => String::new(),
        }
    }
}
