"""Who may do what: every way to a model passes the same gate."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
ROLES = ("test_plain", "test_member", "test_trainer", "test_admin", "test_granted", "test_monitor")
WAYS = {
    "the function": "SELECT pgml.embed('echo', 'a')",
    "the function of an array": "SELECT * FROM pgml.embed('echo', ARRAY['a'])",
    "the table": "SELECT embedding FROM pgml.embedding WHERE model = 'echo' AND input = 'a'",
    "embed_rows": "SELECT * FROM pgml.embed_rows('echo', 'SELECT 1, ''a''')",
}
# Schema pgml takes tables only from these: each makes one, empty, and gives it to the caller.
DEFINERS = {"create_snapshot_table", "create_dataset_table", "refuse_foreign_artifact"}
OBJECTS = """
    SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0)
    FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND x.extname = 'pgml' AND d.deptype = 'e'
        AND d.classid <> 'pg_type'::regclass
"""


@pytest.fixture
def roles(db: Database) -> Iterator[Database]:
    """One role of each kind, in a transaction that is rolled back."""
    for role in ROLES:
        db.execute(f"CREATE ROLE {role}")
    db.execute("GRANT pgml_user TO test_member")
    db.execute("GRANT pgml_trainer TO test_trainer")
    db.execute("GRANT pgml_admin TO test_admin")
    db.execute("GRANT pg_monitor TO test_monitor")
    db.execute("GRANT USAGE ON SCHEMA pgml TO test_granted")
    db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA pgml TO test_granted")
    db.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgml TO test_granted")
    yield db
    db.rollback()


def _refused(db: Database, role: str, sql: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(f"SET LOCAL ROLE {role}")
        db.execute(sql)
    return caught.value


def _is_denied(error: psycopg.Error) -> bool:
    """Multicorn's errors are all XX000; the detail has the SQLSTATE that is meant."""
    return error.sqlstate == "42501" or "sqlstate: 42501" in (error.diag.message_detail or "")


def _allowed(db: Database, role: str, sql: str) -> list[tuple[Any, ...]]:
    with db.transaction():
        db.execute(f"SET LOCAL ROLE {role}")
        rows = db.execute(sql).fetchall()
        db.execute("RESET ROLE")
    return rows


@pytest.mark.parametrize("way", WAYS)
def test_a_plain_role_may_nothing(way: str, roles: Database) -> None:
    assert _is_denied(_refused(roles, "test_plain", WAYS[way]))


@pytest.mark.parametrize("role", ["test_member", "test_trainer", "test_admin"])
@pytest.mark.parametrize("way", WAYS)
def test_members_may_embed(way: str, role: str, roles: Database) -> None:
    assert len(_allowed(roles, role, WAYS[way])) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_grant_on_the_table_is_not_enough(way: str, roles: Database) -> None:
    error = _refused(roles, "test_granted", WAYS[way])
    assert _is_denied(error)
    assert "pgml_user" in (error.diag.message_hint or "")


def test_a_new_membership_counts_at_once(roles: Database) -> None:
    _refused(roles, "test_granted", WAYS["the function"])
    roles.execute("GRANT pgml_user TO test_granted")
    assert len(_allowed(roles, "test_granted", WAYS["the function"])) == 1
    roles.execute("REVOKE pgml_user FROM test_granted")
    assert _is_denied(_refused(roles, "test_granted", WAYS["the function"]))


def test_a_cached_right_is_the_roles_own(roles: Database) -> None:
    assert _allowed(roles, "test_member", WAYS["the table"])
    assert _is_denied(_refused(roles, "test_granted", WAYS["the table"]))
    assert _allowed(roles, "test_member", WAYS["the table"])


def test_a_security_definer_function_lends_its_owners_right(roles: Database) -> None:
    roles.execute("""
        CREATE FUNCTION public.lent(t text) RETURNS real[] LANGUAGE sql SECURITY DEFINER SET search_path = ''
        AS $$ SELECT pgml.embed('echo', t) $$;
        GRANT CREATE ON SCHEMA public TO test_member; ALTER FUNCTION public.lent OWNER TO test_member""")
    assert len(_allowed(roles, "test_plain", "SELECT public.lent('a')")) == 1
    roles.execute("ALTER FUNCTION public.lent OWNER TO test_plain")
    assert _is_denied(_refused(roles, "test_member", "SELECT public.lent('a')"))


def test_only_an_administrator_controls_models(roles: Database) -> None:
    for role in ("test_plain", "test_member", "test_trainer", "test_granted"):
        assert _is_denied(_refused(roles, role, "SELECT * FROM pgml.load_model('echo')"))
    assert _allowed(roles, "test_admin", "SELECT state FROM pgml.load_model('echo')") == [("ready",)]


def test_stat_activity_shows_a_role_its_own_requests(roles: Database) -> None:
    """The reader's own stat_activity request is the one that runs for sure."""
    seen = _allowed(roles, "test_member", "SELECT DISTINCT role FROM pgml.stat_activity")
    assert seen in ([], [("test_member",)])
    assert _allowed(roles, "test_monitor", "SELECT state FROM pgml.stat_server") == [("ready",)]
    assert _is_denied(_refused(roles, "test_plain", "SELECT * FROM pgml.stat_server"))


def test_nobody_can_make_a_foreign_table_of_their_own(roles: Database) -> None:
    for role in ROLES:
        sql = "CREATE FOREIGN TABLE pg_temp.mine (input text) SERVER pgannex OPTIONS (verb 'embed')"
        assert _is_denied(_refused(roles, role, sql))
        assert _is_denied(_refused(roles, role, "CREATE SERVER mine FOREIGN DATA WRAPPER pgannex"))
        assert (
            _refused(roles, role, "CREATE FUNCTION pgml.mine() RETURNS int LANGUAGE sql RETURN 1").sqlstate
            == "42501"
        )


def test_a_user_cannot_point_at_another_socket(roles: Database, host: str) -> None:
    if host != "native":
        pytest.skip("the Multicorn host has no setting for the socket")
    roles.execute("SELECT pgml.embed('echo', 'loads the library')")
    error = _refused(roles, "test_admin", "SET pgannex.socket = '/tmp/mine.sock'")
    assert error.sqlstate in ("55P02", "42501")


def test_a_socket_set_before_the_library_was_loaded_is_not_used(connect: Any, host: str) -> None:
    if host != "native":
        pytest.skip("the Multicorn host has tests of its own for it")
    db = connect(autocommit=True)
    db.execute("SET pgannex.socket = '/tmp/mine.sock'")
    assert db.execute("SELECT pgml.embed('echo', 'a') IS NOT NULL").fetchone() == (True,)
    assert db.execute("SELECT current_setting('pgannex.socket')").fetchone() != ("/tmp/mine.sock",)


def test_a_socket_in_the_options_of_a_connection_is_not_used(connect: Any, host: str, stack: Any) -> None:
    """Such a session falls back to the built-in path; it never speaks to the user's socket."""
    if host != "native":
        pytest.skip("the Multicorn host has tests of its own for it")
    mine = stack.stack.state.run / "mine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(mine))
        mine.chmod(0o777)
        listener.listen()
        listener.setblocking(False)
        db = connect(role="test_early", options=f"-c pgannex.socket={mine}")
        with contextlib.suppress(psycopg.OperationalError):
            db.execute("SELECT pgml.embed('echo', 'a')")
        with pytest.raises(BlockingIOError):
            listener.accept()
    mine.unlink()


def test_nothing_is_public(db: Database) -> None:
    public = db.execute(f"""
        SELECT o.pg_describe_object FROM ({OBJECTS}) AS o
        LEFT JOIN pg_proc AS p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
        LEFT JOIN pg_class AS c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
        CROSS JOIN LATERAL aclexplode(CASE
            WHEN p.oid IS NOT NULL THEN coalesce(p.proacl, acldefault('f', p.proowner))
            WHEN c.oid IS NOT NULL THEN coalesce(c.relacl, acldefault('r', c.relowner)) END) AS a
        WHERE a.grantee = 0""").fetchall()
    assert public == []


def test_no_function_runs_with_the_owners_rights_but_those_that_make_tables(db: Database) -> None:
    rows = db.execute(
        f"SELECT proname FROM ({OBJECTS}) AS o JOIN pg_proc AS p ON p.oid = o.objid"
        " WHERE o.classid = 'pg_proc'::regclass AND p.prosecdef"
    ).fetchall()
    assert {row[0] for row in rows} <= DEFINERS


def test_every_object_and_column_has_a_comment(db: Database) -> None:
    rows = db.execute(f"""
        SELECT o.pg_describe_object FROM ({OBJECTS}) AS o
        WHERE obj_description(o.objid, (SELECT relname FROM pg_class WHERE oid = o.classid)) IS NULL
        UNION ALL
        SELECT format('column %s of %s', a.attname, o.objid::regclass)
        FROM ({OBJECTS}) AS o JOIN pg_attribute AS a ON a.attrelid = o.objid AND a.attnum > 0
            JOIN pg_class AS c ON c.oid = o.objid AND c.relkind <> 'S'
        WHERE o.classid = 'pg_class'::regclass AND col_description(o.objid, a.attnum) IS NULL""").fetchall()
    assert rows == []


def test_operators_of_the_user_are_not_called(roles: Database) -> None:
    """A schema in front of pg_catalog with an = of its own changes nothing."""
    roles.execute("CREATE SCHEMA hostile; GRANT USAGE ON SCHEMA hostile TO PUBLIC")
    for left, right in (("text", "text"), ("jsonb", "jsonb"), ("name", "name"), ("text", "unknown")):
        kind = right if right != "unknown" else "text"
        roles.execute(
            f"CREATE OR REPLACE FUNCTION hostile.eq({left}, {kind}) RETURNS boolean LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'called'; END $$"
        )
        if right != "unknown":
            roles.execute(
                f"CREATE OPERATOR hostile.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = hostile.eq)"
            )
    roles.execute("SET LOCAL search_path = hostile, pg_catalog")
    for way in ("the function", "the function of an array", "embed_rows"):
        assert len(_allowed(roles, "test_member", WAYS[way])) == 1


@pytest.mark.parametrize(
    "command",
    [
        "CREATE SCHEMA pgml AUTHORIZATION test_squatter",
        "CREATE SCHEMA pgml; GRANT CREATE ON SCHEMA pgml TO test_squatter",
    ],
)
def test_a_schema_of_somebody_else_is_refused(command: str, connect: Any) -> None:
    admin = connect(autocommit=True)
    admin.execute("DROP DATABASE IF EXISTS squatted")
    admin.execute("DROP ROLE IF EXISTS test_squatter")
    admin.execute("CREATE ROLE test_squatter")
    admin.execute("CREATE DATABASE squatted")
    try:
        with connect(dbname="squatted", autocommit=True) as other:
            other.execute(command)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="test_squatter"):
                other.execute("CREATE EXTENSION pgml CASCADE")
    finally:
        admin.execute("DROP DATABASE squatted")
        admin.execute("DROP ROLE test_squatter")
