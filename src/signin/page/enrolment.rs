//! The pages of second factors that are set up: the choice, an authenticator app, recovery codes.
//!
//! What holds: the QR code is drawn here, as an element of the page, so that the policy need not
//! allow any image; what scans it can also be typed.

use maud::{Markup, html};

use super::{Page, Ticket, View, Ways};
use crate::signin::enrolment::{FEW, drawn};
use crate::signin::state::Setup;
use crate::signin::texts::Key;

impl View<'_> {
    /// Asks what is to become the second factor.
    pub(in crate::signin) fn enrol(
        &self,
        ticket: Ticket<'_>,
        phone: bool,
        app: bool,
        notice: Option<Key>,
    ) -> Page {
        let body = html! {
            p { (self.text(if phone { Key::EnrolPhone } else { Key::EnrolApp })) }
            (self.notice(notice))
            @if phone { (self.phone_form(ticket, Ways { sms: true, whatsapp: false }, false, notice)) }
            @if phone && app { p.or { (self.text(Key::Or)) } }
            @if app {
                form method="post" action={ (self.base) "/login" } {
                    (ticket.fields())
                    button.second[phone] name="action" value="new_app" { (self.text(Key::UseNewApp)) }
                }
            }
        };
        Page { title: self.text(Key::SecondFactor).to_owned(), body }
    }

    /// Hands an authenticator app its key, and asks for the first code. `phone`: one may be added
    /// instead.
    pub(in crate::signin) fn set_up_app(
        &self,
        ticket: Ticket<'_>,
        setup: &Setup,
        phone: bool,
        notice: Option<Key>,
    ) -> Page {
        let uri = setup.uri(self.product);
        let body = html! {
            (self.notice(notice))
            @if let Some((side, path)) = drawn(&uri) {
                p #sent { (self.text(Key::SetUpText)) }
                (self.picture(side, &path))
            }
            p { a.button.plain href=(uri) { (self.text(Key::SetUpLink)) } }
            p { (self.text(Key::SetUpKey)) }
            p.key translate="no" { (setup.grouped()) }
            (self.code_form(ticket, Key::SetUpCode, false, notice))
            form.more method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                @if phone { button.second name="action" value="choose" { (self.text(Key::OtherFactor)) } }
                button.second name="action" value="restart" { (self.text(Key::StartAgain)) }
            }
        };
        Page { title: self.text(Key::SetUpApp).to_owned(), body }
    }

    /// Asks, of whoever has two second factors, whether this is the one to be asked for first.
    pub(super) fn preference(&self, offered: bool) -> Markup {
        html! {
            @if offered {
                p.check {
                    input #prefer name="prefer" type="checkbox" value="yes";
                    label for="prefer" { (self.text(Key::Prefer)) }
                }
            }
        }
    }

    /// Black on white in either colour scheme: cameras read nothing else for sure.
    fn picture(&self, side: usize, path: &str) -> Markup {
        html! {
            svg.qr role="img" aria-label=(self.text(Key::QrCode)) xmlns="http://www.w3.org/2000/svg"
                viewBox={ "0 0 " (side) " " (side) } width="240" height="240" shape-rendering="crispEdges" {
                rect width=(side) height=(side) fill="#fff" {}
                path d=(path) fill="#000" {}
            }
        }
    }

    /// Shows recovery codes.
    pub(in crate::signin) fn keep_codes(&self, ticket: Ticket<'_>, codes: &[String]) -> Page {
        let body = html! {
            p { (self.text(Key::KeepCodesText)) }
            ol.codes translate="no" { @for code in codes { li { (code) } } }
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                button name="action" value="on" { (self.text(Key::CodesKept)) }
            }
        };
        Page { title: self.text(Key::KeepCodes).to_owned(), body }
    }

    /// Says how many recovery codes are left.
    pub(in crate::signin) fn codes_left(&self, ticket: Ticket<'_>, count: u32, notice: Option<Key>) -> Page {
        let few = count <= FEW;
        let body = html! {
            (self.notice(notice))
            p { (self.spoken.filled(Key::CodesLeft, &[("count", &count.to_string())])) }
            @if few { p.note role="alert" { (self.text(Key::CodesFew)) } }
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                button.second[few] name="action" value="on" { (self.text(Key::Continue)) }
            }
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                p.hint #replaced { (self.text(Key::NewCodesText)) }
                button.second[!few] name="action" value="new_codes" aria-describedby="replaced" {
                    (self.text(Key::NewCodes))
                }
            }
        };
        Page { title: self.text(Key::RecoveryUsed).to_owned(), body }
    }
}
