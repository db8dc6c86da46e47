"""Whose rows of the registry are whose: owners, grants, and what nobody may do.

Models are stored without a fit (registry_rows). Everything happens in one transaction that is
rolled back, as roles that it makes; what counts between two sessions has connections of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from registry_rows import NUMBERS, one, stored

Database = psycopg.Connection[tuple[Any, ...]]
ROLES = {
    "test_alice": "pgml_trainer", "test_bob": "pgml_trainer", "test_carol": "pgml_user", "test_dave": "",
    "test_boss": "pgml_admin", "test_anna": "test_alice, pgml_trainer",
}  # fmt: skip
TABLES = ("projects", "snapshots", "models", "deployments", "files")


@pytest.fixture
def roles(db: Database) -> Iterator[Database]:
    """Alice and Bob train, Carol uses, Dave may nothing, Anna is a member of Alice, Boss administers."""
    db.execute(NUMBERS)
    db.execute("GRANT SELECT ON public.numbers TO PUBLIC")
    for role, groups in ROLES.items():
        db.execute(f"CREATE ROLE {role}")
        for group in filter(None, groups.split(", ")):
            db.execute(f"GRANT {group} TO {role}")
    yield db
    db.rollback()


@contextlib.contextmanager
def acting(db: Database, role: str) -> Iterator[Database]:
    """As that role, in a savepoint that stays unless an error leaves it."""
    with db.transaction():
        db.execute(f"SET LOCAL ROLE {role}")
        yield db
        db.execute("RESET ROLE")


def trained(db: Database, role: str, project: str = "shop", **facts: Any) -> int:
    with acting(db, role):
        return stored(db, project, **facts)


def seen(db: Database, role: str) -> dict[str, int]:
    """How many rows of each table the role sees."""
    with acting(db, role):
        return {table: int(one(db, f"SELECT count(*) FROM pgml.{table}")) for table in TABLES}


def refused(db: Database, role: str, sql: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught, acting(db, role):
        db.execute(sql)
    return caught.value


def test_a_model_is_its_owners_alone(roles: Database) -> None:
    trained(roles, "test_alice")
    everything = {"projects": 1, "snapshots": 1, "models": 1, "deployments": 1, "files": 2}
    for role in ("test_alice", "test_anna", "test_boss"):
        assert seen(roles, role) == everything, role
    for role in ("test_bob", "test_carol"):
        assert seen(roles, role) == dict.fromkeys(TABLES, 0), role
    assert one(roles, "SELECT DISTINCT owner::text FROM pgml.files") == "test_alice"


def test_who_has_no_right_reads_nothing(roles: Database) -> None:
    trained(roles, "test_alice")
    for table in (*TABLES, "overview", "trained_models", "deployed_models", "model_grants", "logs"):
        assert refused(roles, "test_dave", f"SELECT * FROM pgml.{table}").sqlstate == "42501"


def test_a_user_reads_and_does_not_write(roles: Database) -> None:
    for sql in (
        "INSERT INTO pgml.projects (name, task) VALUES ('mine', 'regression')",
        "DELETE FROM pgml.models",
        "SELECT * FROM pgml.deploy('shop')",
        "SELECT * FROM pgml.train('shop', 'regression', 'numbers', 'y')",
        "SELECT * FROM pgml.snapshot('numbers', 'y')",
        "SELECT pgml.grant_model('shop', 'test_carol')",
    ):
        assert refused(roles, "test_carol", sql).sqlstate == "42501", sql


def test_nobody_changes_what_is_anothers(roles: Database) -> None:
    model = trained(roles, "test_alice")
    with acting(roles, "test_bob"):
        for table in TABLES:
            assert roles.execute(f"DELETE FROM pgml.{table}").rowcount == 0
        assert roles.execute("UPDATE pgml.projects SET name = 'mine'").rowcount == 0
        assert roles.execute("UPDATE pgml.models SET status = 'failed'").rowcount == 0
    assert "does not exist" in str(refused(roles, "test_bob", "SELECT * FROM pgml.deploy('shop')"))
    assert "could not be loaded" in str(refused(roles, "test_bob", f"SELECT * FROM pgml.deploy({model})"))
    assert seen(roles, "test_alice")["files"] == 2


def test_a_name_that_is_taken_is_refused_before_the_fit(roles: Database) -> None:
    trained(roles, "test_alice")
    error = refused(roles, "test_bob", "SELECT * FROM pgml.train('shop', 'regression', 'numbers', 'y')")
    assert error.sqlstate == "42501" and "belongs to another role" in str(error)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO pgml.files (model_id, path, part, data) VALUES ({model}, 'model.annex', 9, 'x')",
        "INSERT INTO pgml.deployments (project_id, model_id, strategy)"
        " VALUES ({project}, {model}, 'rollback')",
        "INSERT INTO pgml.models (project_id, num_features, algorithm, hyperparams, status, search_params,"
        " search_args, artifact) VALUES ({project}, 1, 'x', '{{}}', 'successful', '{{}}', '{{}}', 'mine')",
        "INSERT INTO pgml.model_grants (project_id, grantee) VALUES ({project}, 'test_bob')",
        "INSERT INTO pgml.model_grants (project_id, grantee, owner)"
        " VALUES ({project}, 'test_bob', 'test_alice')",
        "INSERT INTO pgml.logs (project_id, logs) VALUES ({project}, '{{}}')",
        "INSERT INTO pgml.projects (name, task, owner) VALUES ('hers', 'regression', 'test_alice')",
        "INSERT INTO pgml.models (id, project_id) VALUES (-1, {project})",
        "SELECT setval('pgml.models_id_seq', 1)",
        "UPDATE pgml.models SET artifact = 'other'",
        "UPDATE pgml.files SET data = 'other'",
        "CREATE TABLE pgml.mine (a int)",
    ],
)
def test_nothing_is_put_under_a_model_of_another(sql: str, roles: Database) -> None:
    """Foreign keys look past the policies: these rows would reach whoever predicts with it."""
    model = trained(roles, "test_alice")
    project = one(roles, "SELECT id FROM pgml.projects")
    assert refused(roles, "test_bob", sql.format(model=model, project=project)).sqlstate == "42501"


def test_a_grant_lets_others_read_and_no_more(roles: Database) -> None:
    trained(roles, "test_alice")
    trained(roles, "test_alice", "secret", artifact="other")
    with acting(roles, "test_alice"):
        assert one(roles, "SELECT pgml.grant_model('shop', 'test_carol')") is True
        assert one(roles, "SELECT pgml.grant_model('shop', 'test_carol')") is False
    assert seen(roles, "test_carol") == {
        "projects": 1,
        "snapshots": 1,
        "models": 1,
        "deployments": 1,
        "files": 2,
    }
    assert seen(roles, "test_bob")["models"] == 0
    with acting(roles, "test_carol"):
        assert one(roles, "SELECT name, grantee::text, owner::text FROM pgml.granted_models") == (
            "shop", "test_carol", "test_alice",
        )  # fmt: skip
        assert one(roles, "SELECT name FROM pgml.deployed_models") == "shop"
    with acting(roles, "test_alice"):
        assert one(roles, "SELECT pgml.revoke_model('shop', 'test_carol')") is True
        assert one(roles, "SELECT pgml.revoke_model('shop', 'test_carol')") is False
    assert seen(roles, "test_carol") == dict.fromkeys(TABLES, 0)


def test_a_grant_is_no_right_to_train(roles: Database) -> None:
    trained(roles, "test_alice")
    roles.execute("SELECT pgml.grant_model('shop', 'test_bob')")
    for sql in ("SELECT * FROM pgml.train('shop')", "SELECT * FROM pgml.deploy('shop')",
                "SELECT pgml.grant_model('shop', 'test_carol')"):  # fmt: skip
        error = refused(roles, "test_bob", sql)
        assert error.sqlstate == "42501" and "belongs to role test_alice" in str(error)
    model = one(roles, "SELECT id FROM pgml.models")
    assert refused(roles, "test_bob", f"SELECT * FROM pgml.deploy({model})").sqlstate == "42501"


def test_public_and_groups_may_be_granted(roles: Database) -> None:
    trained(roles, "test_alice")
    roles.execute("CREATE ROLE test_team; GRANT test_team TO test_carol")
    roles.execute("SELECT pgml.grant_model('shop', 'test_team')")
    assert (seen(roles, "test_carol")["models"], seen(roles, "test_bob")["models"]) == (1, 0)
    roles.execute("SELECT pgml.grant_model('shop', 'PUBLIC')")
    assert seen(roles, "test_bob")["models"] == 1
    with pytest.raises(psycopg.errors.UndefinedObject, match='role "nobody" does not exist'):
        roles.execute("SELECT pgml.grant_model('shop', 'nobody')")


NAMES_A_SNAPSHOT = (
    "INSERT INTO pgml.models (project_id, snapshot_id, num_features, algorithm, hyperparams, status,"
    " search_params, search_args) SELECT id, {snapshot}, 1, 'x', '{{}}', 'successful', '{{}}', '{{}}'"
    " FROM pgml.projects WHERE name = '{project}'"
)


def test_a_model_names_no_snapshot_of_another(roles: Database) -> None:
    trained(roles, "test_alice")
    snapshot = one(roles, "SELECT id FROM pgml.snapshots")
    for role in ("test_bob", "test_anna", "test_boss"):
        trained(roles, role, f"of {role}", artifact=role)
    for missing in (snapshot, 99999):
        error = refused(roles, "test_bob", NAMES_A_SNAPSHOT.format(snapshot=missing, project="of test_bob"))
        assert error.sqlstate == "42501" and f"snapshot {missing} is not one of role test_bob" in str(error)
        assert error.diag.message_hint
    for role in ("test_anna", "test_boss"):
        with acting(roles, role):
            roles.execute(NAMES_A_SNAPSHOT.format(snapshot=snapshot, project=f"of {role}"))
    with acting(roles, "test_bob"):
        roles.execute(NAMES_A_SNAPSHOT.format(snapshot="NULL", project="of test_bob"))
        assert roles.execute("SELECT owner::text FROM pgml.snapshots").fetchall() == [("test_bob",)]


def test_a_grant_does_not_let_a_trainer_name_the_snapshot(roles: Database) -> None:
    """It is visible by the grant, and would stay so after the grant was taken back."""
    trained(roles, "test_alice")
    trained(roles, "test_bob", "own", artifact="of his own")
    snapshot = one(roles, "SELECT min(id) FROM pgml.snapshots")
    roles.execute("SELECT pgml.grant_model('shop', 'test_bob')")
    with acting(roles, "test_bob"):
        assert one(roles, "SELECT count(*) FROM pgml.snapshots") == 2
    error = refused(roles, "test_bob", NAMES_A_SNAPSHOT.format(snapshot=snapshot, project="own"))
    assert error.sqlstate == "42501"


def test_a_model_shows_no_snapshot_that_its_owner_may_not_see(roles: Database) -> None:
    """Where the row is there nevertheless: written by a superuser, or by who has lost the right."""
    trained(roles, "test_alice")
    trained(roles, "test_bob", "own", artifact="of his own")
    trained(roles, "test_anna", "annas", artifact="hers")
    snapshot = one(roles, "SELECT min(id) FROM pgml.snapshots")
    roles.execute("UPDATE pgml.models SET snapshot_id = %s WHERE owner = 'test_bob'::regrole", [snapshot])
    assert seen(roles, "test_bob")["snapshots"] == 1
    with acting(roles, "test_anna"):
        roles.execute(NAMES_A_SNAPSHOT.format(snapshot=snapshot, project="annas"))
        assert one(roles, "SELECT count(*) FROM pgml.snapshots") == 2
    roles.execute("REVOKE test_alice FROM test_anna")
    assert seen(roles, "test_anna")["snapshots"] == 1


@pytest.mark.parametrize("verb", ["predict", "forecast"])
def test_the_gate_asks_for_a_model_that_the_role_sees(verb: str, roles: Database) -> None:
    trained(roles, "test_alice", artifact="theirs")
    ask = f"SELECT pgml.authorize('theirs', '{verb}')"
    for role in ("test_alice", "test_anna", "test_boss"):
        with acting(roles, role):
            assert one(roles, ask) is not None
    for role in ("test_bob", "test_carol"):
        error = refused(roles, role, ask)
        assert error.sqlstate == "42501" and "theirs" in str(error)
    roles.execute("SELECT pgml.grant_model('shop', 'test_carol')")
    with acting(roles, "test_carol"):
        assert one(roles, ask) is not None
    assert refused(roles, "test_boss", f"SELECT pgml.authorize('no such hash', '{verb}')").sqlstate == "42501"


@pytest.mark.parametrize("verb", ["train", "job_result", "job_control"])
def test_training_is_for_trainers(verb: str, roles: Database) -> None:
    error = refused(roles, "test_carol", f"SELECT pgml.authorize(NULL, '{verb}')")
    assert error.sqlstate == "42501" and "pgml_trainer" in (error.diag.message_hint or "")
    with acting(roles, "test_alice"):
        assert one(roles, f"SELECT pgml.authorize(NULL, '{verb}')") is not None


def test_a_snapshot_is_a_table_of_the_callers(roles: Database) -> None:
    roles.execute(
        "CREATE TABLE public.private AS SELECT 1.5::real AS x, g AS y FROM generate_series(1, 9) AS g"
    )
    roles.execute(
        "ALTER TABLE public.private ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.private TO test_alice"
    )
    roles.execute("CREATE POLICY few ON public.private USING (y <= 4)")
    with acting(roles, "test_alice"):
        assert one(roles, "SELECT * FROM pgml.snapshot('private', 'y')") == ("private", "y")
        table = f"pgml.snapshot_{one(roles, 'SELECT max(id) FROM pgml.snapshots')}"
        assert one(roles, f"SELECT count(*) FROM {table}") == 4
    assert (
        one(roles, "SELECT relowner::regrole::text FROM pg_class WHERE oid = %s::regclass", table)
        == "test_alice"
    )
    assert refused(roles, "test_bob", f"SELECT * FROM {table}").sqlstate == "42501"
    assert refused(roles, "test_bob", "SELECT * FROM pgml.snapshot('private', 'y')").sqlstate == "42501"
    assert one(roles, "SELECT count(*) FROM pgml.snapshots WHERE owner = 'test_bob'::regrole") == 0


def test_the_helper_makes_no_other_table(roles: Database) -> None:
    trained(roles, "test_alice")
    snapshot = one(roles, "SELECT id FROM pgml.snapshots")
    for number in (snapshot, 99999):
        error = refused(roles, "test_bob", f"SELECT pgml.create_snapshot_table({number})")
        assert error.sqlstate == "42704"
    roles.execute("CREATE TABLE public.secret (a int)")
    error = refused(roles, "test_bob", """
        WITH s AS (INSERT INTO pgml.snapshots (relation_name, test_size, test_sampling, status, materialized)
                   VALUES ('public.secret', 0.5, 'last', 'in_progress', true) RETURNING id)
        SELECT pgml.create_snapshot_table(id) FROM s""")  # fmt: skip
    assert error.sqlstate in ("42501", "42704")


def test_a_dump_that_would_lack_rows_is_refused(roles: Database) -> None:
    roles.execute("GRANT pg_write_server_files TO test_alice")
    roles.execute("GRANT EXECUTE ON FUNCTION pgml.dump_all, pgml.registry_tables TO test_alice")
    error = refused(roles, "test_alice", "SELECT pgml.dump_all('/tmp')")
    assert error.sqlstate == "42501" and "does not see all rows" in str(error)
    assert refused(roles, "test_boss", "SELECT pgml.dump_all('/tmp')").sqlstate == "42501"


def test_settings_of_postgresml_are_a_superusers(roles: Database, host: str) -> None:
    if host != "native":
        pytest.skip("the Multicorn host has no settings")
    roles.execute("SELECT pgml.embed('echo', 'loads the library')")
    for setting in ("huggingface_whitelist", "huggingface_trust_remote_code", "venv", "omp_num_threads",
                    "predict_concurrency", "huggingface_trust_remote_code_whitelist"):  # fmt: skip
        assert refused(roles, "test_boss", f"SET pgml.{setting} = '1'").sqlstate == "42501", setting


def test_the_white_list_narrows_embed_at_once(roles: Database, host: str) -> None:
    if host != "native":
        pytest.skip("the Multicorn host has no settings")
    ask = "SELECT pgml.embed('echo', 'a') IS NOT NULL"
    with acting(roles, "test_carol"):
        assert one(roles, ask) is True
    for names, allowed in (
        ("other", False),
        ("other, echo", True),
        ('"echo"', True),
        ("other", False),
        ("", True),
    ):
        roles.execute("SELECT set_config('pgml.huggingface_whitelist', %s, true)", [names])
        if allowed:
            with acting(roles, "test_carol"):
                assert one(roles, ask) is True
        else:
            error = refused(roles, "test_carol", ask)
            assert error.sqlstate == "42501" and "echo is not whitelisted" in str(error)


@pytest.fixture
def committed(connect: Callable[..., Database], stack: Any) -> Iterator[Database]:
    """A project `shared` that is there for other sessions too."""
    admin = connect(autocommit=True)
    stack.role("test_row_reader")
    admin.execute("DELETE FROM pgml.projects WHERE name = 'shared'; DROP TABLE IF EXISTS public.numbers")
    admin.execute(NUMBERS)
    stored(admin, "shared", artifact="shared hash")
    yield admin
    admin.execute("DELETE FROM pgml.projects; DELETE FROM pgml.snapshots; DROP TABLE public.numbers")


def test_a_revoked_grant_is_forgotten_by_other_sessions(
    committed: Database, connect: Callable[..., Database], host: str
) -> None:
    """The host keeps a right that was found; taking it back reaches the session that keeps it.

    No server knows the artifact, so a question that passes the gate fails after it.
    """
    if host != "native":
        pytest.skip("the Multicorn host keeps no rights")
    reader = connect(role="test_row_reader")
    ask = "SELECT prediction FROM pgml.prediction WHERE artifact = 'shared hash' AND features = '{1}'"

    def passes() -> bool:
        with pytest.raises(psycopg.Error) as caught:
            reader.execute(ask)
        return caught.value.sqlstate != "42501"

    assert not passes()
    committed.execute("SELECT pgml.grant_model('shared', 'test_row_reader')")
    assert passes() and passes()
    committed.execute("SELECT pgml.revoke_model('shared', 'test_row_reader')")
    assert not passes()
    committed.execute("SELECT pgml.grant_model('shared', 'public')")
    assert passes()
    committed.execute("DELETE FROM pgml.models WHERE artifact = 'shared hash'")
    assert not passes()


def test_the_hash_of_anothers_artifact_opens_no_door(roles: Database) -> None:
    trained(roles, "test_alice")
    hash = one(roles, "SELECT artifact FROM pgml.models")
    trained(roles, "test_bob", "own", artifact="of his own")
    steal = (
        "INSERT INTO pgml.models (project_id, num_features, algorithm, hyperparams, status, search_params,"
        " search_args, artifact) SELECT id, 1, 'x', '{}', 'successful', '{}', '{}',"
        f" '{hash}' FROM pgml.projects"
    )
    error = refused(roles, "test_bob", steal)
    assert error.sqlstate == "42501" and "belongs to a model of another role" in str(error)
    assert refused(roles, "test_bob", f"SELECT pgml.authorize('{hash}', 'predict')").sqlstate == "42501"
