//! The pages on which organizations are joined and created.

use maud::{Markup, html};

use super::{Page, Ticket, View, described, field_of, invalid};
use crate::signin::choice::{Choice, Standing};
use crate::signin::state::Create;
use crate::signin::texts::Key;

/// Whether a choice of organizations offers to create one.
pub(in crate::signin) enum Creation {
    Never,
    /// As another answer to the choice.
    Here,
    /// By a link to this path.
    Elsewhere(String),
}

impl View<'_> {
    /// Asks which organization; `action` is the endpoint that takes the answer.
    pub(in crate::signin) fn choose(
        &self,
        ticket: Ticket<'_>,
        action: &str,
        organizations: &[Choice],
        creation: &Creation,
        notice: Option<Key>,
    ) -> Page {
        let body = html! {
            (self.notice(notice))
            p { (self.text(Key::ChooseText)) }
            form method="post" action={ (self.base) (action) } {
                (ticket.fields())
                input type="hidden" name="action" value="choose";
                ul.choices {
                    @for (at, choice) in organizations.iter().enumerate() { li { (self.choice(at, choice)) } }
                }
            }
            (self.creation(ticket, creation))
        };
        Page { title: self.text(Key::Choose).to_owned(), body }
    }

    /// One organization, with what somebody is to it where that is not a member.
    fn choice(&self, at: usize, choice: &Choice) -> Markup {
        let hint = match choice.standing {
            Standing::Member => None,
            Standing::Invited => Some(Key::Invited),
            Standing::Pending => Some(Key::Pending),
            Standing::OfDomain => Some(Key::OpenToDomain),
            Standing::OfTenant => Some(Key::OpenToTenant),
        };
        html! {
            button.second name="organization" value=(choice.id)
                aria-describedby=[hint.map(|_| format!("standing-{at}"))] {
                @if hint.is_some() {
                    (self.spoken.filled(Key::Join, &[("organization", &choice.name)]))
                } @else { (choice.name) }
            }
            @if let Some(hint) = hint { p.hint id={ "standing-" (at) } { (self.text(hint)) } }
        }
    }

    fn creation(&self, ticket: Ticket<'_>, creation: &Creation) -> Markup {
        html! {
            @match creation {
                Creation::Never => {}
                Creation::Here => {
                    p.or { (self.text(Key::Or)) }
                    form method="post" action={ (self.base) "/login" } {
                        (ticket.fields())
                        button.second name="action" value="create" { (self.text(Key::Create)) }
                    }
                }
                Creation::Elsewhere(path) => { p.more { a.button href=(path) { (self.text(Key::Create)) } } }
            }
        }
    }

    /// Asks how an organization is to be called.
    pub(in crate::signin) fn create(&self, ticket: Ticket<'_>, asked: &Create, notice: Option<Key>) -> Page {
        let of_slug = field_of(notice) == Some("slug");
        let body = html! {
            p { (self.text(if asked.others { Key::CreateText } else { Key::CreateFirst })) }
            (self.notice(notice))
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                label for="name" { (self.text(Key::CreateName)) }
                (self.wrong("name", notice))
                input #name name="name" type="text" autocomplete="organization" maxlength="128" required
                    autofocus[!of_slug] value=(asked.name)
                    aria-invalid=[invalid("name", notice)] aria-describedby=[described("name", None, notice)];
                label for="slug" { (self.text(Key::CreateSlug)) }
                p.hint #slug-hint { (self.text(Key::CreateSlugHint)) }
                (self.wrong("slug", notice))
                input #slug name="slug" type="text" autocomplete="off" autocapitalize="none"
                    spellcheck="false" maxlength="128" autofocus[of_slug] value=(asked.slug)
                    aria-invalid=[invalid("slug", notice)]
                    aria-describedby=[described("slug", Some("slug-hint"), notice)];
                button name="action" value="create" { (self.text(Key::Create)) }
            }
            form.more method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                @if asked.others {
                    button.second name="action" value="choose" { (self.text(Key::ChooseInstead)) }
                }
                button.second name="action" value="restart" { (self.text(Key::StartAgain)) }
            }
        };
        Page { title: self.text(Key::Create).to_owned(), body }
    }
}
