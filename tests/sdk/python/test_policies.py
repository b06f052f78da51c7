"""The SDK's local checks against the gateway's: the cases and answers that its own property test
leaves behind (`tests/it/policies.rs`)."""

import json
import os
import pathlib

import pytest
from stytch.b2b.models.rbac import OrgPolicy, Policy
from stytch.b2b.models.sessions import AuthorizationCheck
from stytch.consumer.models.rbac import Policy as ConsumerPolicy
from stytch.consumer.models.sessions import AuthorizationCheck as ConsumerAuthorizationCheck
from stytch.shared.policy_cache import _merge_policies
from stytch.shared.rbac_local import (
    RBACConsumerPermissionError,
    RBACPermissionError,
    perform_authorization_check,
    perform_consumer_authorization_check,
    perform_consumer_scope_authorization_check,
    perform_scope_authorization_check,
)

CASES = json.loads(pathlib.Path(os.environ["POLICY_CASES"]).read_text())


def passes(check, *arguments):
    try:
        check(*arguments)
    except (RBACPermissionError, RBACConsumerPermissionError):
        return False
    return True


def test_there_are_cases():
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES)
def test_members(case):
    asked = AuthorizationCheck.model_validate(case["check"])
    project = Policy.model_validate(case["policy"])
    merged = _merge_policies(project, OrgPolicy.model_validate(case["org_policy"]))
    organization = case["check"]["organization_id"]
    roles = passes(perform_authorization_check, merged, case["session_roles"], organization, asked)
    assert roles == case["permitted"]
    scopes = passes(perform_scope_authorization_check, merged, case["token_scopes"], organization, asked)
    assert scopes == case["permitted_by_scopes"]


@pytest.mark.parametrize("case", CASES)
def test_users(case):
    """A project's roles alone: where the organization's own add nothing, the answer is the same."""
    asked = ConsumerAuthorizationCheck.model_validate(
        {key: case["check"][key] for key in ("resource_id", "action")})
    policy = ConsumerPolicy.model_validate(case["policy"])
    roles = passes(perform_consumer_authorization_check, policy, case["session_roles"], asked)
    assert roles == case["permitted_by_project"]
    scopes = passes(perform_consumer_scope_authorization_check, policy, case["token_scopes"], asked)
    assert scopes == case["permitted_by_scopes"]
