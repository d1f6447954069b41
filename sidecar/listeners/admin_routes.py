"""Every route of the administrators' door, in one table: method, path, guard, what it takes and what it answers.

The table makes the door, its OpenAPI document and the test of every route with every role.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.config.sections import ConnectorSection, PlaneSection, PrincipalSection, SourceSection
from sidecar.listeners import admin_bodies as bodies
from sidecar.listeners.admin_answers import AdminAnswers
from sidecar.listeners.admin_asked import Answer
from sidecar.listeners.admin_credentials import CredentialAnswers
from sidecar.listeners.routes import CHANGES, OPERATES, READS, READS_EVIDENCE, RUNS
from sidecar.model import admin as views
from sidecar.model.registry import ConnectorView, Switch

PAGED: Final = ("limit", "after")


class Listed(NamedTuple):
    """A page: ``{<name>: [...], "next": ...}``."""

    name: str
    item: type


class Endpoint(NamedTuple):
    """One route. ``section`` is a body that stands as in ``sidecar.yaml``, ``body`` one of this door's own;
    ``matches`` says that the change needs If-Match or If-None-Match with a number, ``tagged`` the same with a version
    of another's making; ``runs`` that the answer is the upstream's. ``names`` are what a query must have, ``query``
    what it may.
    """

    method: str
    pattern: str
    guard: str
    answer: Answer
    summary: str
    tells: type | Listed | None = None
    body: type | None = None
    section: type | None = None
    query: tuple[str, ...] = ()
    matches: bool = False
    runs: bool = False
    creates: bool = False
    names: tuple[str, ...] = ()
    tagged: bool = False


def endpoints(a: AdminAnswers) -> tuple[Endpoint, ...]:
    """The table."""
    connector, source, plane = "/v1/connectors/{connector}", "/v1/sources/{source}", "/v1/planes/{plane}"
    principal, key, switch = "/v1/principals/{principal}", "/v1/keys/{key}", "/v1/switches/{target}/{id}"
    run = f"{connector}/operations/{{operation}}"
    page, gone = Listed, views.Removed
    draft = ("draft",)
    E = Endpoint  # noqa: N806  # a row of the table, read many times below
    return (
        E("GET", "/v1/openapi.json", READS, a.openapi, "This document."),
        E("GET", "/v1/status", READS, a.status, "How the sidecar is."),
        E("POST", "/v1/reload", OPERATES, a.reload, "Read configuration and policy again."),
        # connectors
        E("GET", "/v1/connectors", READS, a.list_connectors, "Connectors, declared and registered.",
          tells=page("connectors", ConnectorView), query=("kind", "status", "capability", "declared", *PAGED)),
        E("GET", connector, READS, a.show_connector, "One connector.", tells=ConnectorView),
        E("PUT", connector, CHANGES, a.save_connector, "Register a connector, or give it a new document.",
          tells=ConnectorView, section=ConnectorSection, query=draft, matches=True),
        E("DELETE", connector, CHANGES, a.remove_connector, "Remove a connector.", tells=gone, matches=True),
        E("POST", f"{connector}/connect", CHANGES, a.connect, "Put a connector in service.",
          tells=ConnectorView, body=bodies.Connect),
        E("POST", f"{connector}/disconnect", CHANGES, a.disconnect, "Take a connector out of service.",
          tells=ConnectorView),
        E("POST", f"{connector}/deprecate", CHANGES, a.deprecate_connector, "Retire a connector for good.",
          tells=ConnectorView),
        E("POST", run, RUNS, a.execute, "Run an operation as oneself; policy must grant it.",
          body=bodies.Run, runs=True),
        E("POST", f"{run}/test", RUNS, a.test, "Test an operation as oneself; policy must grant it.",
          body=bodies.Trial, runs=True),
        E("GET", f"{connector}/health", READS, a.health, "How a connector does.", tells=views.HealthView),
        E("GET", f"{connector}/statistics", READS, a.statistics, "A connector's counts.", tells=views.StatisticsView),
        # data sources
        E("GET", "/v1/sources", READS, a.list_sources, "Data sources, declared and registered.",
          tells=page("sources", views.SourceView), query=("type", "status", "connector", "declared", *PAGED)),
        E("GET", source, READS, a.show_source, "One data source.", tells=views.SourceView),
        E("PUT", source, CHANGES, a.save_source, "Register a data source, or give it a new document.",
          tells=views.SourceView, section=SourceSection, query=draft, matches=True),
        E("DELETE", source, CHANGES, a.remove_source, "Remove a data source.", tells=gone, matches=True),
        E("POST", f"{source}/activate", CHANGES, a.activate, "Put a data source in service.", tells=views.SourceView),
        E("POST", f"{source}/deactivate", CHANGES, a.deactivate, "Take a data source out of service.",
          tells=views.SourceView),
        E("POST", f"{source}/deprecate", CHANGES, a.deprecate_source, "Retire a data source for good.",
          tells=views.SourceView),
        E("POST", f"{source}/test", RUNS, a.test_source, "Run an operation of the source's connector as oneself.",
          body=bodies.SourceTest, runs=True),
        E("GET", f"{source}/statistics", READS, a.source_statistics, "The counts of the source's connector.",
          tells=views.StatisticsView),
        # planes
        E("GET", "/v1/planes", READS, a.list_planes, "Knowledge planes, declared and registered.",
          tells=page("planes", views.PlaneView), query=("source", "status", "declared", *PAGED)),
        E("GET", plane, READS, a.show_plane, "One plane.", tells=views.PlaneView),
        E("PUT", plane, CHANGES, a.save_plane, "Register a plane, or give it a new document.",
          tells=views.PlaneView, section=PlaneSection, matches=True),
        E("DELETE", plane, CHANGES, a.remove_plane, "Remove a plane.", tells=gone, matches=True),
        E("POST", f"{plane}/enable", CHANGES, a.enable, "Put a plane in service.", tells=views.PlaneView),
        E("POST", f"{plane}/disable", CHANGES, a.disable, "Take a plane out of service.", tells=views.PlaneView),
        # principals, roles, keys
        E("GET", "/v1/principals", READS, a.list_principals, "Principals, declared and registered.",
          tells=page("principals", views.PrincipalView), query=("kind", "role", "declared", *PAGED)),
        E("GET", principal, READS, a.show_principal, "One principal.", tells=views.PrincipalView),
        E("PUT", principal, CHANGES, a.save_principal, "Register a principal, or give it a new document.",
          tells=views.PrincipalView, section=PrincipalSection, matches=True),
        E("DELETE", principal, CHANGES, a.remove_principal, "Remove a principal, its roles and keys.",
          tells=gone, matches=True),
        E("GET", "/v1/roles", READS, a.list_roles, "Which principal has which role.",
          tells=page("roles", views.RoleView), query=("principal", *PAGED)),
        E("PUT", f"{principal}/roles/{{role}}", CHANGES, a.grant, "Grant a role.", tells=views.RoleView),
        E("DELETE", f"{principal}/roles/{{role}}", CHANGES, a.revoke_role, "Revoke a granted role.", tells=gone),
        E("GET", "/v1/keys", READS, a.list_keys, "API keys, without their secrets.",
          tells=page("keys", views.KeyView), query=("principal", *PAGED)),
        E("POST", "/v1/keys", CHANGES, a.make_key, "Make an API key; it is shown in this answer only.",
          tells=views.MadeKey, body=bodies.KeyOrder, creates=True),
        E("GET", key, READS, a.show_key, "One key.", tells=views.KeyView),
        E("POST", f"{key}/rotate", CHANGES, a.rotate, "Make a new key of the same principal; the old one ends later.",
          tells=views.MadeKey, body=bodies.Rotation, creates=True),
        E("POST", f"{key}/expire", CHANGES, a.expire, "Let a key end.", tells=views.KeyView, body=bodies.Expiry),
        E("DELETE", key, CHANGES, a.revoke_key, "Revoke a key.", tells=gone),
        *_credentials(a.credentials),
        # evidence
        E("GET", "/v1/evidence", READS_EVIDENCE, a.list_evidence, "Evidence records of the tenant, newest first.",
          tells=views.Records, query=("principal", "limit", "before")),
        E("GET", "/v1/evidence/{origin}/{index}", READS_EVIDENCE, a.show_evidence, "One evidence record.",
          tells=dict),
        # the tenant
        E("GET", "/v1/tenant", READS, a.show_tenant, "The tenant's record.", tells=views.TenantView),
        E("POST", "/v1/tenant/suspend", OPERATES, a.suspend, "Deny the tenant everything.",
          tells=views.TenantView, body=bodies.Why),
        E("POST", "/v1/tenant/activate", OPERATES, a.activate_tenant, "Serve the tenant again.",
          tells=views.TenantView, body=bodies.Why),
        # kill switches
        E("GET", "/v1/switches", READS, a.list_switches, "Kill switches that are set.",
          tells=page("switches", Switch), query=PAGED),
        E("PUT", switch, CHANGES, a.set_switch, "Set a kill switch.", tells=Switch, body=bodies.Why),
        E("DELETE", switch, CHANGES, a.clear_switch, "Clear a kill switch.", tells=gone),
        # policy
        E("GET", "/v1/policy/activations", READS, a.activations, "The history of the policy's bundles.",
          tells=dict),
        E("POST", "/v1/policy/activate", OPERATES, a.activate_policy, "Activate what the source, or a file, has now.",
          tells=dict, body=bodies.Activate),
        E("POST", "/v1/policy/rollback", OPERATES, a.rollback_policy, "Go back to a bundle that is kept.",
          tells=dict, body=bodies.Rollback),
    )  # fmt: skip


def _credentials(a: CredentialAnswers) -> tuple[Endpoint, ...]:
    one, named = "/v1/credential", ("reference",)
    many, tells = views.CredentialPage, views.CredentialView
    E = Endpoint  # noqa: N806  # as above
    return (
        E("GET", "/v1/credentials", READS, a.list, "Credentials, stored and configured, without their values.",
          tells=many, query=("scheme", "kind", "connector", "state", *PAGED)),
        E("GET", "/v1/credentials/expiring", READS, a.expiring, "What has ended or ends within so many days.",
          tells=many, query=("days", "leases", *PAGED)),
        E("GET", "/v1/credentials/rotatable", READS, a.rotatable, "What can be rotated here, the most overdue first.",
          tells=many, query=PAGED),
        E("GET", "/v1/credentials/log", READS_EVIDENCE, a.log, "Who used or changed which credential, newest first.",
          tells=views.Accesses,
          query=("reference", "version", "principal", "connector", "since", "limit", "before")),
        E("GET", one, READS, a.show, "One credential, without its value.", tells=tells, names=named),
        E("PUT", one, CHANGES, a.save, "Store a value with all its terms: a new one, or over a version.",
          tells=tells, body=bodies.Stored, names=named, tagged=True),
        E("PATCH", one, CHANGES, a.amend, "Change the terms and leave the value.",
          tells=tells, body=bodies.Amended, names=named, tagged=True),
        E("DELETE", one, CHANGES, a.delete, "Delete a credential, with all its versions.",
          tells=views.RemovedCredential, names=named, query=("force",), tagged=True),
        E("POST", f"{one}/rotate", CHANGES, a.rotate, "Give a credential its next value; its terms stay.",
          tells=tells, body=bodies.Rotated, names=named, tagged=True),
    )  # fmt: skip
