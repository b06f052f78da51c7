//! The pages of second factors: of those there are, and of those that are set up.
//!
//! What holds: the QR code is drawn here, as an element of the page, so that the policy need not
//! allow any image; what scans it can also be typed.

use maud::{Markup, html};

use super::{Page, Second, Ticket, Using, View, Ways};
use crate::signin::enrolment::{FEW, drawn};
use crate::signin::state::Setup;
use crate::signin::texts::Key;

impl View<'_> {
    /// Asks for a second factor.
    pub(in crate::signin) fn second(
        &self,
        ticket: Ticket<'_>,
        second: &Second<'_>,
        notice: Option<Key>,
    ) -> Page {
        let (text, label, words, asks) = match second.using {
            Using::SmsUnsent => (Key::SecondSmsUnsent, Key::Code, false, false),
            Using::Sms => (Key::SecondSms, Key::Code, false, true),
            Using::App => (Key::SecondApp, Key::Code, false, true),
            Using::RecoveryCode => (Key::SecondRecovery, Key::RecoveryCode, true, true),
        };
        let phone = second.phone.unwrap_or_default();
        let is_sms = matches!(second.using, Using::Sms | Using::SmsUnsent);
        let may_prefer = second.app && second.phone.is_some() && second.using != Using::RecoveryCode;
        let body = html! {
            p #sent { (self.spoken.filled(text, &[("phone", phone)])) }
            (self.notice(notice))
            @if asks { (self.code_form_with(ticket, label, words, notice, &self.preference(may_prefer))) }
            form.more[asks] method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                @if second.using == Using::SmsUnsent {
                    button name="action" value="sms" { (self.text(Key::SendByPhone)) }
                } @else if is_sms {
                    button.second name="action" value="sms" { (self.text(Key::Resend)) }
                } @else if second.phone.is_some() {
                    button.second name="action" value="sms" { (self.text(Key::UseSms)) }
                }
                @if second.app && second.using != Using::App {
                    button.second name="action" value="app" { (self.text(Key::UseApp)) }
                }
                @if second.app && second.using != Using::RecoveryCode {
                    button.second name="action" value="recovery" { (self.text(Key::UseRecovery)) }
                }
                @if second.other {
                    button.second name="action" value="choose" { (self.text(Key::OtherFactor)) }
                }
                button.second name="action" value="restart" { (self.text(Key::StartAgain)) }
            }
        };
        Page { title: self.text(Key::SecondFactor).to_owned(), body }
    }

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
    fn preference(&self, offered: bool) -> Markup {
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
