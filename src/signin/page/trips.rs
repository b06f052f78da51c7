//! The parts of pages from which people leave, and the pages they wait on.

use maud::{Markup, html};

use super::{Page, Ticket, View, described, field_of, invalid};
use crate::signin::texts::Key;
use crate::signin::trip::{Offers, Sso};

impl View<'_> {
    /// One button for each provider.
    pub(super) fn providers(&self, ticket: Ticket<'_>, offers: &Offers) -> Markup {
        html! {
            @if !offers.providers.is_empty() {
                form method="post" action={ (self.base) "/login" } {
                    (ticket.fields())
                    input type="hidden" name="action" value="oauth";
                    @for provider in &offers.providers {
                        button.second name="provider" value=(provider.slug()) {
                            (self.spoken.filled(Key::ContinueWith, &[("provider", provider.name())]))
                        }
                    }
                }
            }
        }
    }

    /// Single sign-on, with a field for the organization where none is known.
    pub(super) fn single_sign_on(&self, ticket: Ticket<'_>, offers: &Offers, notice: Option<Key>) -> Markup {
        let described = described("organization", Some("sso-hint"), notice);
        html! {
            @if offers.sso != Sso::Off {
                form method="post" action={ (self.base) "/login" } {
                    (ticket.fields())
                    @if offers.sso == Sso::Asks {
                        label for="organization" { (self.text(Key::SsoOrganization)) }
                        p.hint #sso-hint { (self.text(Key::SsoHint)) }
                    }
                    (self.wrong("organization", notice))
                    @if offers.sso == Sso::Asks {
                        input #organization name="organization" type="text" autocomplete="organization"
                            autocapitalize="none" spellcheck="false" required
                            autofocus[field_of(notice) == Some("organization")]
                            value=[self.typed_into("organization", notice)]
                            aria-invalid=[invalid("organization", notice)] aria-describedby=[described];
                    }
                    button.second name="action" value="sso" { (self.text(Key::Sso)) }
                }
            }
        }
    }

    /// Says that a link is on its way, and takes the address of the page that it has led to.
    pub(in crate::signin) fn link(&self, ticket: Ticket<'_>, to: &str, notice: Option<Key>) -> Page {
        let body = html! {
            p #sent { (self.spoken.filled(Key::LinkSent, &[("address", to)])) }
            (self.notice(notice))
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                label for="link" { (self.text(Key::LinkAddress)) }
                p.hint #link-hint { (self.text(Key::LinkHint)) }
                (self.wrong("link", notice))
                input #link name="link" type="text" inputmode="url" autocomplete="off" autocapitalize="none"
                    spellcheck="false" required aria-invalid=[invalid("link", notice)]
                    aria-describedby=[described("link", Some("link-hint"), notice)];
                button.second name="action" value="paste" { (self.text(Key::Continue)) }
            }
            form.more method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                button name="action" value="resend" { (self.text(Key::ResendLink)) }
                button name="action" value="restart" { (self.text(Key::OtherAddress)) }
            }
        };
        Page { title: self.text(Key::CheckMail).to_owned(), body }
    }

    /// Asks which of an organization's connections.
    pub(in crate::signin) fn connections(
        &self,
        ticket: Ticket<'_>,
        connections: &[(String, String)],
        notice: Option<Key>,
    ) -> Page {
        let body = html! {
            (self.notice(notice))
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                input type="hidden" name="action" value="connect";
                ul.choices {
                    @for (id, name) in connections {
                        li { button.second name="connection" value=(id) { (if name.is_empty() { id } else { name }) } }
                    }
                }
            }
        };
        Page { title: self.text(Key::ChooseConnection).to_owned(), body }
    }
}
