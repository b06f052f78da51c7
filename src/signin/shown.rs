//! Which page shows a step.
//!
//! What holds: showing a step changes nothing, and asks Stytch only where there are organizations to
//! choose among; what is one member's own is shown where that member is signed in.

use http::StatusCode;

use super::choice::Choice;
use super::login::{again, stale, step_path};
use super::page::{self, Creation, Page, Ticket, View};
use super::state::{Away, Keep, Left, Second, Start, State, Step, Using};
use super::texts::Key;
use super::{Answer, Desk, Trouble, enrolment, form, member, see_other, trip};
use crate::access::rejection::Rejection;

/// The page of a step.
pub(super) async fn render(desk: &Desk<'_>, id: &str, state: &State) -> Result<Answer, Rejection> {
    let view = View { typed: state.typed.as_deref().unwrap_or_default(), ..desk.view() };
    let ticket = Ticket { flow: id, token: &state.token, return_to: &state.return_to };
    let page = match &state.step {
        Step::Start(start) => return Ok(start_page(desk, &view, ticket, start, state)),
        Step::Away(Away { mailed: Some(mailed), .. }) => view.link(ticket, &mailed.to, state.notice),
        // Back without having been there: everything may be chosen anew.
        Step::Away(away) => return Ok(start_page(desk, &view, ticket, &away.start, state)),
        Step::Connect { connections, .. } => {
            let page = view.connections(ticket, connections, state.notice);
            return Ok(with_targets(desk, state, &page, trip::start_origin(desk)));
        }
        Step::Code(code) => view.code(ticket, &code.to, state.notice),
        Step::Choose { intermediate } => match choices(desk, intermediate).await {
            Ok(organizations) => {
                let creation =
                    if desk.signin.create_organizations { Creation::Here } else { Creation::Never };
                view.choose(ticket, "/login", &organizations, &creation, state.notice)
            }
            Err(Hindered::Limited(answer)) => return Ok(*answer),
            Err(Hindered::Trouble(Trouble::Refused(_))) => return Ok(stale(desk, &state.return_to)),
            Err(Hindered::Trouble(trouble)) => {
                return Ok(again(desk, &step_path(desk, id), trouble));
            }
        },
        Step::Create(create) => view.create(ticket, create, state.notice),
        Step::Second(second) => second_page(&view, ticket, second, state.notice),
        Step::StepUp(step) => view.step_up(ticket, step),
        Step::Keep(Keep { member, .. }) | Step::Left(Left { member, .. })
            if enrolment::who_is_here(desk, member).await?.is_none() =>
        {
            return Ok(stale(desk, &state.return_to));
        }
        Step::Keep(keep) => view.keep_codes(ticket, &keep.codes),
        Step::Left(left) => view.codes_left(ticket, left.count, state.notice),
        Step::Switch => return Ok(stale(desk, &state.return_to)),
    };
    Ok(with_target(desk, state, &page))
}

/// Why there is nothing to choose among.
enum Hindered {
    Limited(Box<Answer>),
    Trouble(Trouble),
}

/// The one page of a flow that asks Stytch to be shown, so showing it counts.
async fn choices(desk: &Desk<'_>, intermediate: &str) -> Result<Vec<Choice>, Hindered> {
    if let Some(answer) = desk.limited() {
        return Err(Hindered::Limited(Box::new(answer)));
    }
    member::choices(desk, intermediate).await.map_err(Hindered::Trouble)
}

/// A page whose form may lead to another origin in the end.
pub(super) fn with_target(desk: &Desk<'_>, state: &State, page: &Page) -> Answer {
    with_targets(desk, state, page, None)
}

/// The same where a form may lead to a start page as well.
pub(super) fn with_targets(desk: &Desk<'_>, state: &State, page: &Page, start: Option<&str>) -> Answer {
    let target = desk.target(&state.return_to);
    let origins: Vec<&str> = target.origin().into_iter().chain(start).collect();
    let origins = (!origins.is_empty()).then(|| origins.join(" "));
    let script = desk.signin.device.as_ref().filter(|_| state.step.asks_for_device());
    let view = View { script, ..desk.view() };
    Answer::fine(view.answer(StatusCode::OK, page, origins.as_deref()))
}

/// The first page, with what there is on this host. Where there is nothing, everything leaves from
/// another, and one signs in there.
fn start_page(desk: &Desk<'_>, view: &View<'_>, ticket: Ticket<'_>, start: &Start, state: &State) -> Answer {
    let offers = trip::offers(desk, start);
    if offers.are_none() {
        return match trip::on_another_host(desk, &state.return_to, start.organization.as_deref()) {
            Some(url) => Answer::fine(see_other(&url)),
            None => stale(desk, &state.return_to),
        };
    }
    let page = view.start(ticket, &offers, state.notice);
    with_targets(desk, state, &page, trip::start_origin(desk))
}

fn second_page(view: &View<'_>, ticket: Ticket<'_>, second: &Second, notice: Option<Key>) -> Page {
    let enrolling = second.enrolling.as_ref();
    let (may_phone, may_app) = enrolling.map_or((false, false), |it| (it.phone, it.app));
    if let (Using::NewApp, Some(setup)) = (second.using, enrolling.and_then(|it| it.setup.as_ref())) {
        return view.set_up_app(ticket, setup, may_phone, notice);
    }
    let phone = second.phone.as_deref().map(form::covered);
    let using = match second.using {
        Using::Sms if second.sent_at.is_none() => page::Using::SmsUnsent,
        Using::Sms => page::Using::Sms,
        Using::App => page::Using::App,
        Using::RecoveryCode => page::Using::RecoveryCode,
        Using::Enrol | Using::NewApp => return view.enrol(ticket, may_phone, may_app, notice),
    };
    let shown = page::Second { using, phone: phone.as_deref(), app: second.app, other: may_phone && may_app };
    view.second(ticket, &shown, notice)
}
