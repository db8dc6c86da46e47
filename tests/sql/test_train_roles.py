"""Training as a role with rights of its own, and in the background: whose rows, whose model, whose job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from backends import until
from registry_rows import counts, one, refused, said

Database = psycopg.Connection[tuple[Any, ...]]
HOSTILE = {"=": "text bigint jsonb name oid integer", "<>": "text jsonb", "||": "text jsonb", "->>": "jsonb",
           "->": "jsonb", ">": "integer", "~": "text"}  # fmt: skip
TYPES = ("text", "jsonb", "json", "name", "oid", "regclass", "regrole", "regnamespace", "record", "refcursor",
         "bytea", "int4", "int8", "float4", "float8", "bool", "varchar", "numeric")  # fmt: skip
CALL = "'mine', 'classification', 'shop', 'y'"


@pytest.fixture(autouse=True)
def native(host: str) -> None:
    if host != "native":
        pytest.skip("only the native host trains")


# -- who -----------------------------------------------------------------------------------------


@pytest.fixture
def shop(connect: Callable[..., Database], stack: Any) -> Iterator[Database]:
    """A table of which the trainer `test_fitter` may read the rows with c < 5."""
    admin = connect(autocommit=True)
    stack.role("test_fitter", ("pgml_trainer",))
    stack.role("test_fitter_too", ("pgml_trainer",))
    stack.role("test_looker", ("pgml_user",))
    admin.execute("DROP TABLE IF EXISTS public.shop; DELETE FROM pgml.projects; DELETE FROM pgml.snapshots")
    admin.execute("""
        CREATE TABLE public.shop AS SELECT (g % 7)::real AS a, (g % 5)::float8 AS b,
            (g * 37 % 11)::smallint AS c,
            (g % 7 > 3)::int AS y FROM generate_series(1, 200) AS g""")
    admin.execute(
        "ALTER TABLE public.shop ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON public.shop USING (c < 5)"
    )
    admin.execute("GRANT SELECT ON public.shop TO test_fitter, test_looker")
    yield admin
    for (kept,) in admin.execute("SELECT format('pgml.snapshot_%s', id) FROM pgml.snapshots").fetchall():
        admin.execute(f"DROP TABLE IF EXISTS {kept}")
    admin.execute(
        "DROP TABLE public.shop; DELETE FROM pgml.projects; DELETE FROM pgml.snapshots; DELETE FROM pgml.jobs"
    )


def test_a_trainer_trains_on_the_rows_that_the_policies_show(
    shop: Database, connect: Callable[..., Database]
) -> None:
    visible = one(shop, "SELECT count(*) FROM public.shop WHERE c < 5")
    fitter = connect(role="test_fitter")
    for materialize in ("false", "true"):
        row = one(fitter, f"SELECT * FROM pgml.train({CALL}, materialize_snapshot =>"
                          f" {materialize})")  # fmt: skip
        assert row == ("mine", "classification", "linear", True)
    assert shop.execute("SELECT DISTINCT rows, owner::text FROM pgml.models").fetchall() == [
        (visible, "test_fitter")
    ]
    assert one(fitter, "SELECT pgml.predict('mine', ARRAY[6, 1, 1]::real[])") == 1
    assert one(fitter, "SELECT strategy FROM pgml.deploy('mine', 'most_recent')") == "most_recent"


def test_who_may_not_read_the_table_may_not_train_on_it(
    shop: Database, connect: Callable[..., Database]
) -> None:
    for role in ("test_fitter_too", "test_looker"):
        error = refused(connect(role=role), f"SELECT * FROM pgml.train({CALL})")
        assert error.sqlstate == "42501", role
    assert counts(shop)["projects"] == 0


def test_a_model_predicts_for_whom_it_was_granted_until_it_is_revoked(
    shop: Database, connect: Callable[..., Database]
) -> None:
    fitter, looker = connect(role="test_fitter"), connect(role="test_looker")
    fitter.execute(f"SELECT * FROM pgml.train({CALL}, 'xgboost')")
    ask = "SELECT pgml.predict('mine', ARRAY[6, 1, 1]::real[])"
    hash_ = one(fitter, "SELECT artifact FROM pgml.models")
    direct = f"SELECT prediction FROM pgml.prediction WHERE artifact = '{hash_}' AND features = '{{6,1,1}}'"
    assert one(fitter, ask) == 1
    assert refused(looker, direct).sqlstate == "42501"
    fitter.execute("SELECT pgml.grant_model('mine', 'test_looker')")
    assert one(looker, ask) == one(looker, direct) == 1
    fitter.execute("SELECT pgml.revoke_model('mine', 'test_looker')")
    assert refused(looker, direct).sqlstate == "42501"
    assert refused(looker, ask).sqlstate in ("42501", "42704")


def test_operators_of_the_user_are_not_called(shop: Database, connect: Callable[..., Database]) -> None:
    """A schema in front of pg_catalog with operators of its own changes nothing."""
    shop.execute("DROP SCHEMA IF EXISTS hostile CASCADE; CREATE SCHEMA hostile")
    shop.execute("GRANT USAGE ON SCHEMA hostile TO PUBLIC")
    try:
        for symbol, kinds in HOSTILE.items():
            for kind in kinds.split():
                right = "text" if symbol.startswith("->") else kind
                function = f"hostile.{kind}_{symbol.encode().hex()}"
                shop.execute(
                    f"CREATE FUNCTION {function}({kind}, {right}) RETURNS {kind} LANGUAGE plpgsql"
                    " AS $$ BEGIN RAISE EXCEPTION 'called'; END $$"
                )
                shop.execute(
                    f"CREATE OPERATOR hostile.{symbol}"
                    f" (LEFTARG = {kind}, RIGHTARG = {right}, FUNCTION = {function})"
                )
        fitter = connect(role="test_fitter")
        fitter.execute("SET search_path = hostile, pg_catalog")
        fitter.execute(f"SELECT * FROM pgml.train({CALL}, materialize_snapshot => true)")
        fitter.execute("SELECT * FROM pgml.train('mine', algorithm => 'ridge')")
        fitter.execute("SELECT * FROM pgml.deploy('mine', 'most_recent')")
        fitter.execute("SELECT pgml.grant_model('mine', 'public'), pgml.revoke_model('mine', 'public')")
        job = fitter.execute(f"SELECT pgml.train_background({CALL})").fetchall()[0][0]
        until(
            "the job is done",
            lambda: one(shop, "SELECT state = 'done' FROM pgml.stat_jobs WHERE job = %s", job),
        )
        fitter.execute("SELECT * FROM pgml.collect(%s)", [job])
        assert counts(shop)["models"] == 3
    finally:
        shop.execute("DROP SCHEMA hostile CASCADE")


def test_types_of_the_user_are_not_used(shop: Database, connect: Callable[..., Database]) -> None:
    """A schema in front of pg_catalog with domains of its names: none is looked up, nothing of it runs."""
    shop.execute(
        "DROP SCHEMA IF EXISTS hostile CASCADE; CREATE SCHEMA hostile; DROP TABLE IF EXISTS pgml.iris"
    )
    shop.execute("GRANT USAGE ON SCHEMA hostile TO PUBLIC")
    shop.execute("""
        CREATE FUNCTION hostile.runs(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'hostile.% runs', what; END $$""")
    try:
        for name in TYPES:
            shop.execute(f"CREATE DOMAIN hostile.{name} AS pg_catalog.text CHECK (hostile.runs('{name}'))")
        fitter = connect(role="test_fitter")
        fitter.execute("SET search_path = hostile, pg_catalog, public")
        with pytest.raises(psycopg.errors.RaiseException, match=r"hostile\.text runs"):
            fitter.execute("SELECT 'a'::text")
        fitter.execute(
            f'SELECT * FROM pgml.train({CALL}, preprocess => \'{{"a": {{"scale": "standard"}}}}\')'
        )
        fitter.execute(
            f"SELECT * FROM pgml.train({CALL}, 'ridge'::pg_catalog.text, materialize_snapshot => true)"
        )
        fitter.execute("SELECT * FROM pgml.train('mine')")
        fitter.execute("SELECT * FROM pgml.train_joint('both', 'regression', 'public.shop', ARRAY['y', 'a'])")
        assert one(fitter, "SELECT * FROM pgml.snapshot('shop', 'y')") == ("shop", "y")
        for _ in range(2):
            assert one(fitter, "SELECT * FROM pgml.load_dataset('iris')") == ("pgml.iris", 150)
        job = fitter.execute(f"SELECT pgml.train_background({CALL})").fetchall()[0][0]
        until(
            "the job is done",
            lambda: one(shop, "SELECT state = 'done' FROM pgml.stat_jobs WHERE job = %s", job),
        )
        fitter.execute(f"SELECT * FROM pgml.collect('{job}')")
        assert refused(fitter, "SELECT * FROM pgml.cancel_job('none')").sqlstate == "22023"
        fitter.execute("SELECT * FROM pgml.deploy('mine', 'most_recent')")
        assert one(fitter, "SELECT pgml.predict('mine', ARRAY[6, 1, 1]::real[])") == 1
        assert one(fitter, "SELECT pgml.predict('mine', (6, 1, 1))") == 1
        assert len(one(fitter, "SELECT pgml.predict_joint('both', '{1, 1}')")) == 2
        rows = fitter.execute(
            "SELECT key FROM pgml.predict_rows('mine', 'SELECT 1, a, b, c FROM public.shop')"
        )
        assert len(rows.fetchall()) == one(shop, "SELECT count(*) FROM public.shop WHERE c < 5")
    finally:
        shop.execute("DROP SCHEMA hostile CASCADE; DROP TABLE IF EXISTS pgml.iris")


# -- in the background -------------------------------------------------------------------------------


def started(db: Database, more: str = "") -> str:
    """A background training of `shop`, which has ended."""
    job = str(one(db, f"SELECT pgml.train_background({CALL}{more})"))
    until(
        "the job has ended",
        lambda: one(db, "SELECT state NOT IN ('waiting', 'running') FROM pgml.stat_jobs WHERE job = %s", job),
    )
    return job


def test_a_job_is_collected(shop: Database, connect: Callable[..., Database]) -> None:
    fitter = connect(role="test_fitter")
    job = started(fitter, ", 'xgboost', test_size => 0.5")
    assert one(fitter, "SELECT state FROM pgml.stat_jobs WHERE job = %s", job) == "done"
    assert counts(fitter) == {"projects": 1, "snapshots": 1, "models": 0, "deployments": 0, "files": 0}
    with pytest.raises(ZeroDivisionError), fitter.transaction():
        fitter.execute("SELECT * FROM pgml.collect(%s)", [job])
        raise ZeroDivisionError
    cursor = fitter.execute("SELECT * FROM pgml.collect(%s)", [job])
    assert [c.name for c in cursor.description or ()] == ["project", "task", "algorithm", "deployed"]
    assert cursor.fetchall() == [("mine", "classification", "xgboost", True)]
    assert counts(fitter) == {"projects": 1, "snapshots": 1, "models": 1, "deployments": 1, "files": 1}
    assert one(fitter, "SELECT pgml.predict('mine', ARRAY[6, 1, 1]::real[])") == 1
    assert refused(fitter, f"SELECT * FROM pgml.collect('{job}')").sqlstate == "42704"


def test_the_background_gives_what_the_foreground_gives(
    shop: Database, connect: Callable[..., Database]
) -> None:
    fitter = connect(role="test_fitter")
    fitter.execute("SELECT * FROM pgml.collect(%s)", [started(fitter, ", 'ridge'")])
    fitter.execute(f"SELECT * FROM pgml.train({CALL}, 'ridge')")
    assert one(fitter, "SELECT count(*), count(DISTINCT artifact) FROM pgml.models") == (2, 1)


def test_a_job_is_its_owners(shop: Database, connect: Callable[..., Database]) -> None:
    fitter, other = connect(role="test_fitter"), connect(role="test_fitter_too")
    job = started(fitter)
    assert (
        other.execute("SELECT job FROM pgml.stat_jobs UNION ALL SELECT job FROM pgml.jobs").fetchall() == []
    )
    assert refused(other, f"SELECT * FROM pgml.collect('{job}')").sqlstate == "42704"
    error = refused(other, f"SELECT * FROM pgml.cancel_job('{job}')")
    assert error.sqlstate in ("22023", "42501")
    assert one(fitter, "SELECT project FROM pgml.collect(%s)", job) == "mine"


def test_a_job_whose_call_was_rolled_back_is_not_collected(
    shop: Database, connect: Callable[..., Database]
) -> None:
    fitter = connect(role="test_fitter", autocommit=False)
    heard = said(fitter)
    job = one(fitter, f"SELECT pgml.train_background({CALL})")
    assert any("only if this transaction commits" in text for _, text in heard)
    fitter.rollback()
    error = refused(fitter, f"SELECT * FROM pgml.collect('{job}')")
    assert error.sqlstate == "42704" and "rolled back" in (error.diag.message_detail or "")


def test_a_job_is_cancelled(shop: Database, connect: Callable[..., Database]) -> None:
    fitter = connect(role="test_fitter")
    job = one(fitter, f"SELECT pgml.train_background({CALL}, 'xgboost',"
                      " '{\"n_estimators\": 1000000}')")  # fmt: skip
    assert one(fitter, "SELECT state FROM pgml.cancel_job(%s)", job) == "cancelled"
    assert one(fitter, "SELECT count(*) FROM pgml.jobs") == 0
    assert one(fitter, "SELECT state FROM pgml.stat_jobs WHERE job = %s", job) == "cancelled"
