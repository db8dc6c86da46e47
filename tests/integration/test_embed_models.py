"""Real text through a real model: every form of embed gives the same vector, and it means something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
TEXTS = [
    "How do I remove trailing blanks?",
    "rtrim removes spaces from the end of a string",
    "Ein ganz anderer Satz.",
]


@pytest.fixture
def model(stack: Any) -> str:
    from pgannex_server.host.stack import MINILM, minilm

    if minilm() is None:
        pytest.skip("the weights of all-MiniLM-L6-v2 are not installed (extra: demo)")
    if MINILM not in stack.models:
        pytest.skip(f"the stack serves no {MINILM}")
    return MINILM


@pytest.fixture
def db(connect: Callable[..., Database]) -> Database:
    return connect(autocommit=True)


def _cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return float(dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5))


def _ask(db: Database, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    return db.execute(sql, values).fetchall()


def test_every_form_gives_the_same_vector(model: str, db: Database) -> None:
    scalar = [_ask(db, "SELECT pgml.embed(%s, %s::text)", [model, text])[0][0] for text in TEXTS]
    forms = {
        "array": _ask(db, "SELECT embed FROM pgml.embed(%s, %s::text[])", [model, TEXTS]),
        "table": _ask(
            db,
            "SELECT embedding FROM pgml.embedding"
            " WHERE model = %s AND input = ANY (%s::text[]) ORDER BY ordinal",
            [model, TEXTS],
        ),
        "rows": _ask(
            db,
            "SELECT embedding FROM pgml.embed_rows(%s, format("
            "'SELECT n, t FROM unnest(%%L::text[]) WITH ORDINALITY AS u (t, n)', %s::text[]))"
            " ORDER BY key::int",
            [model, TEXTS],
        ),
    }
    for name, rows in forms.items():
        assert len(rows) == len(TEXTS), name
        for one, (other,) in zip(scalar, rows, strict=True):
            assert len(other) == 384
            assert _cosine(one, other) > 0.999, name


def test_near_in_meaning_is_near_in_space(model: str, db: Database) -> None:
    question, answer, other = (_ask(db, "SELECT pgml.embed(%s, %s::text)", [model, t])[0][0] for t in TEXTS)
    assert _cosine(question, answer) > _cosine(question, other) + 0.2


def test_vectors_have_length_one_and_can_be_cut(model: str, db: Database) -> None:
    row = _ask(db, """SELECT pgml.embed(%s, 'a', '{"truncate_dim": 64}')""", [model])[0][0]
    assert len(row) == 64
    assert sum(x * x for x in _ask(db, "SELECT pgml.embed(%s, 'a')", [model])[0][0]) == pytest.approx(
        1, abs=1e-3
    )


def test_an_alias_is_the_model(model: str, db: Database) -> None:
    rows = _ask(db, "SELECT pgml.embed(%s, 'a') = pgml.embed('text-embedding-ada-002', 'a')", [model])
    assert rows == [(True,)]


def test_all_of_pg_description(model: str, db: Database) -> None:
    db.execute("CREATE TEMP TABLE described (key text, v real[])")
    row = db.execute(
        "SELECT pgml.embed_into(%s, 'SELECT min(objoid::bigint), description FROM pg_description"
        " WHERE length(description) > 40 GROUP BY description ORDER BY description LIMIT 300',"
        " 'described', 'key', 'v')",
        [model],
    ).fetchone()
    assert row == (300,)
    assert db.execute("SELECT count(*), count(DISTINCT v) FROM described").fetchone() == (300, 300)


def test_a_long_text_is_truncated_and_says_so(model: str, db: Database) -> None:
    rows = _ask(
        db,
        "SELECT tokens FROM pgml.embedding WHERE model = %s AND input = repeat('word ', 5000)",
        [model],
    )
    assert rows == [(256,)]
