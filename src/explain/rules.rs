//! The rules of a route, each with what it wants, what it got and whether it holds.

use super::report::{Mark, Report};
use super::why;
use crate::access::authz::rules::{Context, Permission, PermissionCheck, Rule, Rules};
use crate::access::rejection::{Code, Rejection};

/// Tells all rules, also those after the first that does not hold. `refusal` is what the gate said.
pub(super) fn tell(report: &mut Report, rules: &Rules, context: &Context<'_>, refusal: Option<&Rejection>) {
    let mut all_hold = true;
    for rule in &rules.first {
        all_hold &= judged(report, rule, context);
    }
    if let Some(permission) = &rules.permission {
        let (mark, outcome) = match refusal {
            _ if !all_hold => (Mark::Note, "not looked at".to_owned()),
            Some(refusal) if refusal.code != Code::StepUpRequired => (Mark::No, why(refusal)),
            _ => (Mark::Ok, "permitted".to_owned()),
        };
        report.add(mark, "allow.permission", format!("wants {}; {outcome}", wanted(permission)));
    }
    for rule in &rules.step_up {
        judged(report, rule, context);
    }
}

fn judged(report: &mut Report, rule: &Rule, context: &Context<'_>) -> bool {
    let (key, wanted) = rule.wanted();
    let holds = rule.judge(context).is_ok();
    let mark = if holds { Mark::Ok } else { Mark::No };
    report.add(mark, key, format!("wants {wanted}; has {}", rule.got(context)));
    holds
}

fn wanted(permission: &Permission) -> String {
    let Permission { resource, action, check } = permission;
    let who = match check {
        PermissionCheck::Local => "by this gateway's copy of the policy",
        PermissionCheck::Remote => "by Stytch's word",
    };
    format!("{action} on {resource} {who}")
}
