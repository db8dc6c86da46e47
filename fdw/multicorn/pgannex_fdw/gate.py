"""Who may ask: the gate that stands before every request of this host.

A wrapper in Python cannot call the SQL function that the option `authorize` names: an
error in it would jump over Python's frames. So the one function that the extension brings,
pgml.authorize, has its twin here, asked of the same roles; a table that names another
function is refused rather than left open. So are verbs over trained models: rows of the
registry say who may use one, and no query runs here. The privileges on the foreign tables
stand in front of both.
"""

from __future__ import annotations

from pgannex_wire.errors import WireError

from pgannex_fdw.backend import Backend
from pgannex_fdw.options import TableSpec

KNOWN_FUNCTION = "pgml.authorize"
OF_THE_REGISTRY = frozenset({"predict", "forecast"})
NEEDED = {"control": "pgml_admin"} | dict.fromkeys(("train", "job_result", "job_control"), "pgml_trainer")


def grant_for(spec: TableSpec, model: str, backend: Backend) -> str:
    """The grant to forward; raises not_permitted where the role may not use the verb."""
    if not spec.authorize:
        return ""
    if spec.authorize != KNOWN_FUNCTION:
        raise WireError(
            "unknown_verb",
            f"the Multicorn host cannot call {spec.authorize}, which is to authorize verb {spec.verb}",
            hint="use the native host, or drop the option authorize and let the table's privileges decide",
        )
    if spec.verb in OF_THE_REGISTRY:
        raise WireError(
            "unknown_verb",
            f"verb {spec.verb} needs the native host",
            detail="rows of pgml.models say who may use a trained model, and a wrapper in Python reads none",
            hint="pgannex install --host native",
        )
    administers = backend.has_role("pgml_admin")
    watches = administers or backend.has_role("pg_read_all_stats")
    needed = NEEDED.get(spec.verb, "pgml_user")
    if not backend.has_role(needed) and not (watches and spec.verb.startswith("stat_")):
        role = backend.role()
        raise WireError(
            "not_permitted",
            f"role {role} may not use verb {spec.verb} of pgml",
            detail=f"model: {model or 'none'}",
            hint=f"GRANT {needed} TO {role}",
        )
    return f'{{"control": {_json(administers)}, "see_all": {_json(watches)}}}'


def _json(value: bool) -> str:
    return "true" if value else "false"
